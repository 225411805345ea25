"""The test protocol: ten clips a video, clip and video accuracy, per-class intervals, confusion.

Scores are softmax probabilities, kept for every clip in one file, so that each number and figure
can be redrawn without video, network or GPU. A video's score is the mean over its clips.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from r21d_lib.clips import ClipSettings, to_network
from r21d_lib.datasets.prepared import PreparedVideos
from r21d_lib.datasets.sampling import TestClips
from r21d_lib.errors import DatasetError
from r21d_lib.files import whole_file
from r21d_lib.networks import VideoResNet


@dataclass(frozen=True)
class Scores:
    """The class probabilities of every clip of every video.

    Attributes:
        names: (videos,) "class/video.avi".
        labels: (videos,) int64, positions in `classes`.
        classes: class names.
        probabilities: (videos, clips, classes) float16, softmax over the classes.
    """

    names: tuple[str, ...]
    labels: np.ndarray
    classes: tuple[str, ...]
    probabilities: np.ndarray

    def __post_init__(self) -> None:
        shape = (len(self.names), self.probabilities.shape[1], len(self.classes))
        if self.probabilities.shape != shape or len(self.labels) != len(self.names):
            raise DatasetError(
                f"scores of shape {self.probabilities.shape} do not fit {len(self.names)} videos, "
                f"{len(self.labels)} labels and {len(self.classes)} classes: score the list again"
            )

    @property
    def video_probabilities(self) -> np.ndarray:
        """(videos, classes) float32: the mean over a video's clips (paper, section 4.1)."""
        return self.probabilities.astype(np.float32).mean(1)

    def save(self, path: str | Path) -> None:
        """Write a compressed .npz without pickles, whole or not at all."""
        with whole_file(path) as partial:
            np.savez_compressed(
                partial,
                names=np.array(self.names),
                labels=self.labels,
                classes=np.array(self.classes),
                probabilities=self.probabilities.astype(np.float16),
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
                )
        except FileNotFoundError as error:
            raise DatasetError(f"no scores file {path}: evaluate a checkpoint first") from error
        except (KeyError, ValueError, OSError) as error:
            raise DatasetError(f"{path} is not a scores file: evaluate again") from error


@torch.inference_mode()
def score_videos(
    network: VideoResNet,
    videos: PreparedVideos,
    clips: ClipSettings,
    *,
    num_clips: int = 10,
    batch_size: int = 8,
    workers: int = 0,
    progress: bool = True,
) -> Scores:
    """Score every listed video on uniformly spaced, centre-cropped clips.

    Args:
        network: its num_classes must be the list's; runs on the device where its weights are.
        videos: the decoded videos.
        clips: how clips are cut, from the checkpoint's card.
        num_clips: clips a video, 10 in the paper.
        batch_size: videos in a batch; the network sees batch_size * num_clips clips at once.
        workers: processes that read clips.
        progress: shows a bar.

    Raises:
        DatasetError: if the classes do not fit or a video was left unscored.
    """
    classes = videos.videos.classes
    if network.settings.num_classes != len(classes):
        raise DatasetError(
            f"the network scores {network.settings.num_classes} classes and {videos.videos.name} "
            f"has {len(classes)}: evaluate a checkpoint made for this list"
        )
    was_training = network.training
    network.eval()
    device = next(network.parameters()).device
    loader = DataLoader(TestClips(videos, clips, num_clips), batch_size, num_workers=workers)
    probabilities = np.full((len(videos), num_clips, len(classes)), np.nan, np.float16)
    bar = tqdm(loader, desc="evaluate", unit="batch", disable=not progress, delay=2)
    for frames, _, positions in bar:
        inputs = to_network(frames.flatten(0, 1).to(device), clips)
        softmax = network(inputs).softmax(1).unflatten(0, (-1, num_clips))
        probabilities[positions.numpy()] = softmax.float().cpu().numpy()
    network.train(was_training)
    if not np.isfinite(probabilities).all():
        unscored = int((~np.isfinite(probabilities).all((1, 2))).sum())
        raise DatasetError(
            f"{unscored} of {len(videos)} videos of {videos.videos.name} have no finite score: "
            "check the checkpoint"
        )
    return Scores(videos.videos.names, np.array(videos.videos.labels, np.int64), classes, probabilities)


def clip_accuracy(scores: Scores) -> float:
    """Return clip@1: the fraction of single clips whose best class is right."""
    return float((scores.probabilities.argmax(2) == scores.labels[:, None]).mean())


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


def confusion(scores: Scores) -> np.ndarray:
    """Return (classes, classes) int64: videos of the row's class taken for the column's."""
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    predicted = torch.from_numpy(scores.video_probabilities.argmax(1))
    truth = torch.from_numpy(scores.labels)
    return multiclass_confusion_matrix(predicted, truth, len(scores.classes)).numpy()


def per_class(scores: Scores) -> pd.DataFrame:
    """Return video@1 of each class with its 95% Wilson interval.

    Columns: class, videos, correct, accuracy, low, high (fractions) and mistaken_for, the class
        that took most of its wrong videos ("" where there are none).
    """
    return per_class_counts(confusion(scores), scores.classes)


def per_class_counts(counts: np.ndarray, classes: Sequence[str]) -> pd.DataFrame:
    """Return the table of `per_class` of any (classes, classes) counts, true classes in rows."""
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
                "mistaken_for": classes[int(wrong.argmax())] if wrong.any() else "",
            }
        )
    return pd.DataFrame(rows)


def wilson_interval(correct: int, total: int, z: float = 1.959964) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion, at 95% by default.

    Unlike accuracy +- 2 standard errors it stays inside [0, 1] and has a width at 0 and at 1,
    which matters with 30 test videos a class. No videos give (0, 1): nothing is known.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    if total == 0:
        return 0.0, 1.0
    p = correct / total
    centre = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z * ((p * (1 - p) + z * z / (4 * total)) / total) ** 0.5 / (1 + z * z / total)
    return max(0.0, centre - half), min(1.0, centre + half)
