"""The test protocol: ten clips a video, clip and video accuracy, per-class intervals, confusion.

Scores are softmax probabilities, kept for every clip in one file, so that each number and figure
can be redrawn without video, network or GPU. A video's score is the mean over its clips.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from r21d_lib.data.lists import groups_of
from r21d_lib.errors import DatasetError
from r21d_lib.evaluation.intervals import Interval, accuracy_interval, wilson_interval
from r21d_lib.files import whole_file


@dataclass(frozen=True)
class Scores:
    """The class probabilities of every clip of every video.

    Attributes:
        names: (videos,) "class/video.avi".
        labels: (videos,) int64, positions in `classes`.
        classes: class names.
        probabilities: (videos, clips, classes) float16, softmax over the classes; NaN for the clips
            that a video does not have (clips every so many frames are more in a long video).
        origin: SHA-256 of weights, videos and views, where `score_once` made them.
        groups: what each video was cut from, as in `VideoList`; () takes what the names say.

    Raises:
        DatasetError: if the parts do not fit each other, or a video has no finite score.
    """

    names: tuple[str, ...]
    labels: np.ndarray
    classes: tuple[str, ...]
    probabilities: np.ndarray
    origin: str = ""
    groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", groups_of(self.names, self.groups))
        shape = (len(self.names), self.probabilities.shape[1], len(self.classes))
        if self.probabilities.shape != shape or len(self.labels) != len(self.names):
            raise DatasetError(
                f"scores of shape {self.probabilities.shape} do not fit {len(self.names)} videos, "
                f"{len(self.labels)} labels and {len(self.classes)} classes: score the list again"
            )
        exists = self.clip_exists
        finite = np.isfinite(self.probabilities).all(2)
        unscored = ~exists.any(1) | (exists & ~finite).any(1)
        if unscored.any():
            raise DatasetError(
                f"{unscored.sum()} of {len(self.names)} videos have no finite score, first "
                f"{self.names[int(unscored.argmax())]}: check the checkpoint"
            )

    @property
    def clip_exists(self) -> np.ndarray:
        """(videos, clips) bool: False where a video has fewer clips than the others."""
        return ~np.isnan(self.probabilities).all(2)

    @property
    def video_probabilities(self) -> np.ndarray:
        """(videos, classes) float32: the mean over a video's clips (paper, section 4.1)."""
        return np.nanmean(self.probabilities.astype(np.float32), 1)

    def save(self, path: str | Path) -> None:
        """Write a compressed .npz without pickles, whole or not at all."""
        with whole_file(path) as partial:
            np.savez_compressed(
                partial,
                names=np.array(self.names),
                labels=self.labels,
                classes=np.array(self.classes),
                probabilities=self.probabilities.astype(np.float16),
                origin=np.array(self.origin),
                groups=np.array(self.groups),
            )

    @classmethod
    def load(cls, path: str | Path) -> "Scores":
        """Read what `save` wrote.

        Raises:
            DatasetError: if the file is missing or is no scores file.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                return cls(
                    tuple(file["names"].tolist()),
                    file["labels"],
                    tuple(file["classes"].tolist()),
                    file["probabilities"],
                    str(file["origin"]) if "origin" in file else "",
                    tuple(file["groups"].tolist()) if "groups" in file else (),
                )
        except FileNotFoundError as error:
            raise DatasetError(f"no scores file {path}: evaluate a checkpoint first") from error
        except (KeyError, ValueError, OSError) as error:
            raise DatasetError(f"{path} is not a scores file: evaluate again") from error


def clip_accuracy(scores: Scores) -> float:
    """Return clip@1: the fraction of single clips whose best class is right."""
    right = scores.probabilities.argmax(2) == scores.labels[:, None]
    return float(right[scores.clip_exists].mean())


def video_accuracy(scores: Scores, top: int = 1) -> float:
    """Return video@`top`: the fraction of videos whose class is among the `top` best scores."""
    from torchmetrics.functional.classification import multiclass_accuracy

    accuracy = multiclass_accuracy(
        torch.from_numpy(scores.video_probabilities),
        torch.from_numpy(scores.labels),
        num_classes=len(scores.classes),
        top_k=min(top, len(scores.classes)),
        average="micro",
    )
    return float(accuracy)


def summary(scores: Scores) -> dict[str, float | int]:
    """Return the numbers that a table prints: videos, clips, clip@1, video@1 and video@5."""
    return {
        "videos": len(scores.names),
        "clips_per_video": scores.probabilities.shape[1],
        "clip@1": clip_accuracy(scores),
        "video@1": video_accuracy(scores, 1),
        "video@5": video_accuracy(scores, 5),
    }


def mean_of_splits(splits: Mapping[int, Scores]) -> pd.DataFrame:
    """Return the accuracies of each split and their mean, as HMDB51's results are reported.

    Args:
        splits: a split's number to the scores of its test videos by the network trained on it.

    Returns:
        A row a split and a row "mean"; columns videos, clip@1, video@1, low, high, groups, video@5. low
        and high are the 95% interval of video@1 over so many groups; the mean's is that of all test
        videos together, in which a group that several splits share is one.
    """
    rows = {}
    for split, scores in splits.items():
        numbers = summary(scores)
        kept = {key: numbers[key] for key in ("videos", "clip@1", "video@1")}
        of_split = video_interval(scores)._asdict()
        rows[f"split {split}"] = {**kept, **of_split, "video@5": numbers["video@5"]}
    table = pd.DataFrame(rows).T
    mean = table.mean()
    mean["videos"] = table["videos"].sum()
    together = pd.concat([hits_by_group(scores) for scores in splits.values()])
    together = together.groupby(level=0).sum()
    interval = accuracy_interval(together["right"].to_numpy(), together["videos"].to_numpy())
    for key, value in interval._asdict().items():
        mean[key] = value
    table.loc["mean"] = mean
    return table.astype({"videos": int, "groups": int})


def hits_by_group(scores: Scores) -> pd.DataFrame:
    """Return how many videos of each group are right: index group, columns right and videos."""
    right = scores.video_probabilities.argmax(1) == scores.labels
    table = pd.DataFrame({"group": scores.groups, "right": right.astype(int), "videos": 1})
    return table.groupby("group").sum()


def video_interval(scores: Scores) -> Interval:
    """Return the 95% interval of video@1 over the groups of the videos, and how many there are."""
    table = hits_by_group(scores)
    return accuracy_interval(table["right"].to_numpy(), table["videos"].to_numpy())


def confusion(scores: Scores) -> np.ndarray:
    """Return (classes, classes) int64: videos of the row's class taken for the column's."""
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    predicted = torch.from_numpy(scores.video_probabilities.argmax(1))
    truth = torch.from_numpy(scores.labels)
    return multiclass_confusion_matrix(predicted, truth, len(scores.classes)).numpy()


def per_class(scores: Scores) -> pd.DataFrame:
    """Return video@1 of each class with its 95% interval over the groups of its videos.

    Columns: class, videos, correct, accuracy, low, high (fractions), groups and mistaken_for, the
        class that took most of its wrong videos ("" where there are none).
    """
    table = per_class_counts(confusion(scores), scores.classes)
    right = scores.video_probabilities.argmax(1) == scores.labels
    videos = pd.DataFrame({"label": scores.labels, "group": scores.groups, "right": right})
    for label, its in videos.groupby("label"):
        of_groups = its.groupby("group")["right"].agg(["sum", "size"])
        interval = accuracy_interval(of_groups["sum"].to_numpy(), of_groups["size"].to_numpy())
        for key, value in interval._asdict().items():
            table.loc[label, key] = value
    return table


def per_class_counts(counts: np.ndarray, classes: Sequence[str]) -> pd.DataFrame:
    """Return the table of `per_class` of any (classes, classes) counts, true classes in rows.

    Each counted clip or video is taken for a group of its own; the interval is Wilson's.
    """
    rows = []
    for label, name in enumerate(classes):
        total, correct = int(counts[label].sum()), int(counts[label, label])
        wrong = np.where(np.arange(len(counts)) == label, 0, counts[label])
        low, high = wilson_interval(correct, total)
        rows.append(
            {
                "class": name,
                "videos": total,
                "correct": correct,
                "accuracy": correct / total if total else float("nan"),
                "low": low,
                "high": high,
                "groups": total,
                "mistaken_for": classes[int(wrong.argmax())] if wrong.any() else "",
            }
        )
    return pd.DataFrame(rows)
