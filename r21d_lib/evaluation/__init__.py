"""How well a network does: the test protocol, its scores, their intervals, and looks inside."""

from r21d_lib.evaluation.intervals import Interval, accuracy_interval, wilson_interval
from r21d_lib.evaluation.protocol import ClipChange, score_once, score_videos
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
