"""The test protocol: ten clips a video, clip and video accuracy, per-class intervals, confusion.

Scores are softmax probabilities, kept for every clip in one file, so that each number and figure
can be redrawn without video, network or GPU. A video's score is the mean over its clips.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from r21d_lib.data.lists import groups_of
from r21d_lib.errors import DatasetError, SettingsError
from r21d_lib.evaluation.intervals import Interval, accuracy_interval, wilson_interval
from r21d_lib.files import check_zip, whole_file

_VIDEOS_AT_ONCE = 256


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
        views: in words, which clips and squares of each video were scored; "" where not known.

    Raises:
        DatasetError: if the parts do not fit each other, or a video has no finite score.
    """

    names: tuple[str, ...]
    labels: np.ndarray
    classes: tuple[str, ...]
    probabilities: np.ndarray
    origin: str = ""
    groups: tuple[str, ...] = ()
    views: str = ""

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
        # In parts, as all scores in float32 would be four times what is kept.
        parts = np.array_split(self.probabilities, 1 + len(self.names) // _VIDEOS_AT_ONCE)
        return np.concatenate([np.nanmean(part.astype(np.float32), 1) for part in parts])

    def save(self, path: str | Path) -> None:
        """Write a compressed .npz without pickles, whole or not at all."""
        with whole_file(path) as partial:
            np.savez_compressed(
                partial,
                names=np.array(self.names),
                labels=self.labels,
                classes=np.array(self.classes),
                probabilities=self.probabilities.astype(np.float16, copy=False),
                origin=np.array(self.origin),
                groups=np.array(self.groups),
                views=np.array(self.views),
            )

    @classmethod
    def load(cls, path: str | Path) -> "Scores":
        """Read what `save` wrote.

        Raises:
            DatasetError: if the file is missing or is no scores file.
        """
        try:
            check_zip(path)
            with np.load(path, allow_pickle=False) as file:
                return cls(
                    tuple(file["names"].tolist()),
                    file["labels"],
                    tuple(file["classes"].tolist()),
                    file["probabilities"],
                    str(file["origin"]),
                    tuple(file["groups"].tolist()),
                    str(file["views"]) if "views" in file else "",  # older files have none
                )
        except FileNotFoundError as error:
            raise DatasetError(f"no scores file {path}: evaluate a checkpoint first") from error
        except DatasetError as error:
            raise DatasetError(f"{path}: {error}") from error
        except Exception as error:  # a damaged archive can raise anything
            raise DatasetError(
                f"{path} is not a scores file, or damaged: delete it and evaluate again"
            ) from error


def with_clips(scores: Scores, count: int) -> Scores:
    """Return what the same videos are given by fewer clips, spread evenly over those that there are.

    Args:
        scores: of `clips` a video.
        count: how many to keep, 1 to `clips`; a video that has no more than that keeps all of its own.

    Raises:
        SettingsError: for another count.
    """
    total = scores.probabilities.shape[1]
    if not 1 <= count <= total:
        raise SettingsError(f"there are {total} clips a video: choose 1 to {total}, not {count}")
    kept = scores.probabilities[:, _spread(total, count)]
    exists = scores.clip_exists
    for video in np.flatnonzero(~exists.all(1)):
        own = np.flatnonzero(exists[video])
        picked = own[_spread(len(own), min(count, len(own)))]
        kept[video] = np.nan
        kept[video, : len(picked)] = scores.probabilities[video, picked]
    return replace(scores, probabilities=kept)


def _spread(total: int, count: int) -> np.ndarray:
    """Return which `count` of `total` clips are spread evenly: the inner ones where that leaves any."""
    inner = np.unique(np.linspace(0, total - 1, count + 2)[1:-1].round().astype(int))
    # Of almost all clips two round to one place: then each is the middle one of an equal part.
    return inner if len(inner) == count else (2 * np.arange(count) + 1) * total // (2 * count)


def clip_accuracy(scores: Scores) -> float:
    """Return clip@1: the fraction of single clips whose best class is right."""
    right = scores.probabilities.argmax(2) == scores.labels[:, None]
    return float(right[scores.clip_exists].mean())


def video_accuracy(scores: Scores, top: int = 1) -> float:
    """Return video@`top`: the fraction of videos whose class is among the `top` best scores."""
    means, labels = scores.video_probabilities, scores.labels[:, None]
    right = np.take_along_axis(means, labels, 1)
    # Of equal scores the first class is the better one, as everywhere else.
    better = (means > right) | (means == right) & (np.arange(means.shape[1]) < labels)
    # Divided in single precision, as every recorded number was: they are compared by each digit.
    return float((better.sum(1) < top).mean(dtype=np.float32))


def summary(scores: Scores) -> dict[str, float | int]:
    """Return the numbers that a table prints: videos, clips, clip@1, video@1 and video@5."""
    return {
        "videos": len(scores.names),
        "clips_per_video": scores.probabilities.shape[1],
        "clip@1": clip_accuracy(scores),
        "video@1": video_accuracy(scores, 1),
        "video@5": video_accuracy(scores, 5),
    }


def mean_of_splits(splits: Mapping[int, Scores] | Mapping[str, Scores]) -> pd.DataFrame:
    """Return the accuracies of each split and their mean, as HMDB51's results are reported.

    Args:
        splits: a split's number to the scores of its test videos by the network trained on it; of
            several networks a split, its number and the network's name.

    Returns:
        A row a split or network and a row "mean"; columns videos, clip@1, video@1, low, high, groups,
        video@5. low and high are the 95% interval of video@1 over so many groups; the mean's is that
        of all test videos together, in which a group that several rows share is one.
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
    said, count = scores.video_probabilities.argmax(1), len(scores.classes)
    return np.bincount(scores.labels * count + said, minlength=count**2).reshape(count, count)


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


def per_video(scores: Scores) -> pd.DataFrame:
    """Return a row a video: video, class, said (the best class), probability, right and group."""
    mean = scores.video_probabilities
    best = mean.argmax(1)
    return pd.DataFrame(
        {
            "video": scores.names,
            "class": [scores.classes[label] for label in scores.labels],
            "said": [scores.classes[label] for label in best],
            "probability": mean.max(1),
            "right": best == scores.labels,
            "group": scores.groups,
        }
    )


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
