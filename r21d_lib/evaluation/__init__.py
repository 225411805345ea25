"""How well a network does: the test protocol, its scores, their intervals, and looks inside.

What scores videos is imported when it is asked for: kept scores are read and drawn without torch.
"""

from typing import TYPE_CHECKING, Any

from r21d_lib.evaluation.intervals import Interval, accuracy_interval, wilson_interval
from r21d_lib.evaluation.scores import (
    Scores,
    clip_accuracy,
    confusion,
    hits_by_group,
    mean_of_splits,
    per_class,
    per_class_counts,
    per_video,
    summary,
    video_accuracy,
    video_interval,
    with_clips,
)
from r21d_lib.evaluation.streams import average, gains

if TYPE_CHECKING:
    from r21d_lib.evaluation.protocol import ClipChange, score_once, score_videos


def __getattr__(name: str) -> Any:
    if name not in ("ClipChange", "score_once", "score_videos"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from r21d_lib.evaluation import protocol

    return getattr(protocol, name)
