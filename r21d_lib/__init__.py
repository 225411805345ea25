"""R(2+1)D, explained and reproduced: networks, data path, protocol and explanation.

The names below are what a script usually starts from; the rooms (`models`, `data`, `checkpoints`,
`evaluation`, `training`, `plots`, `prediction`, `suite`, `live`, `publish`, `cli`) hold the rest.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from r21d_lib.checkpoints import Card
    from r21d_lib.data.cache import PreparedVideos, prepare
    from r21d_lib.data.catalog import open_videos
    from r21d_lib.data.clip_settings import ClipSettings
    from r21d_lib.data.lists import VideoList
    from r21d_lib.evaluation.protocol import score_videos
    from r21d_lib.evaluation.scores import Scores
    from r21d_lib.models.networks import VideoResNet, build_network
    from r21d_lib.models.settings import NetworkSettings
    from r21d_lib.prediction.prediction import Prediction
    from r21d_lib.prediction.recognizer import Recognizer
    from r21d_lib.training import TrainingSettings, train

__version__ = "0.1.0"
_HOMES = {
    "Card": "checkpoints",
    "ClipSettings": "data.clip_settings",
    "NetworkSettings": "models.settings",
    "Prediction": "prediction.prediction",
    "PreparedVideos": "data.cache",
    "Recognizer": "prediction.recognizer",
    "Scores": "evaluation.scores",
    "TrainingSettings": "training",
    "VideoList": "data.lists",
    "VideoResNet": "models.networks",
    "build_network": "models.networks",
    "open_videos": "data.catalog",
    "prepare": "data.cache",
    "score_videos": "evaluation.protocol",
    "train": "training",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> object:
    """Import a name when it is asked for, so that `r21d --help` answers at once."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"r21d_lib.{_HOMES[name]}"), name)
