"""Clips whose time is reversed, shuffled or frozen, to ask whether a network looks at motion."""

from collections.abc import Mapping

import pandas as pd
import torch
from torch import Tensor

from r21d_lib.data.clips import seeded_generator
from r21d_lib.evaluation.protocol import ClipChange
from r21d_lib.evaluation.scores import Scores


def reverse_time(clips: Tensor, video: int) -> Tensor:
    """Play clips backwards: (N, T, H, W, 3) to the same with the last frame first."""
    return clips.flip(1)


def shuffle_time(clips: Tensor, video: int) -> Tensor:
    """Put the frames of each (T, H, W, 3) clip into a random order, always the same for a video."""
    generator = seeded_generator(video)
    orders = [torch.randperm(clips.shape[1], generator=generator) for _ in clips]
    return torch.stack([clip[order] for clip, order in zip(clips, orders, strict=True)])


def freeze_time(clips: Tensor, video: int) -> Tensor:
    """Show nothing but the middle frame of each clip: (N, T, H, W, 3) to the same without motion."""
    middle = clips.shape[1] // 2
    return clips[:, middle : middle + 1].expand_as(clips)


# What notebook 08 does to the test clips. Pass one as `change` to `evaluation.score_videos`.
TIME_CHANGES: Mapping[str, ClipChange | None] = {
    "as filmed": None,
    "reversed": reverse_time,
    "shuffled": shuffle_time,
    "frozen": freeze_time,
}


def taken_for(scores: Scores, true_class: str) -> pd.Series:
    """Return how many videos of a class are taken for each class, most first, without zeros."""
    label = scores.classes.index(true_class)
    best = scores.video_probabilities[scores.labels == label].argmax(1)
    found = pd.Series([scores.classes[i] for i in best], dtype=str).value_counts()
    return found.rename(true_class).rename_axis("taken for")
