"""Training on Accelerate: its settings, the run's folder, and the loop."""

from r21d_lib.training.loop import EpochReport, measure_speed, train
from r21d_lib.training.settings import TrainingDiverged, TrainingSettings

__all__ = ["EpochReport", "TrainingDiverged", "TrainingSettings", "measure_speed", "train"]
