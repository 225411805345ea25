"""Training on Accelerate: its settings, the run's folder, and the loop.

The loop is imported when it is asked for: settings and prefetch need torch alone, and so run where
neither Accelerate nor pandas is installed.
"""

from typing import TYPE_CHECKING, Any

from r21d_lib.training.settings import TrainingDiverged, TrainingSettings

if TYPE_CHECKING:
    from r21d_lib.training.loop import EpochReport, train

__all__ = ["EpochReport", "TrainingDiverged", "TrainingSettings", "train"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from r21d_lib.training import loop

    return getattr(loop, name)
