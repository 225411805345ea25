"""The test protocol: ten clips a video, clip and video accuracy, per-class intervals, confusion.

Scores are softmax probabilities, kept for every clip in one file, so that each number and figure
can be redrawn without video, network or GPU. A video's score is the mean over its clips.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from tqdm.auto import tqdm

from r21d_lib.clips import ClipSettings, three_crops, to_network
from r21d_lib.datasets.prepared import PreparedVideos
from r21d_lib.datasets.sampling import TestClips
from r21d_lib.errors import DatasetError, SettingsError, few
from r21d_lib.files import whole_file
from r21d_lib.inference import FastNetwork, optimized
from r21d_lib.networks import VideoResNet

# From a video's (N, T, H, W, 3) uint8 clips and its number to the clips that are scored instead.
ClipChange = Callable[[Tensor, int], Tensor]


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

    Raises:
        DatasetError: if the parts do not fit each other, or a video has no finite score.
    """

    names: tuple[str, ...]
    labels: np.ndarray
    classes: tuple[str, ...]
    probabilities: np.ndarray
    origin: str = ""

    def __post_init__(self) -> None:
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
    crops: int = 1,
    dense_step: int | None = None,
    change: ClipChange | None = None,
    batch_size: int = 80,
    workers: int = 0,
    progress: bool = True,
) -> Scores:
    """Score every listed video once, whatever the number of processes.

    The default is the paper's protocol (section 4.1): ten uniformly spaced, centre-cropped clips.

    Args:
        network: its num_classes must be the list's; its `inference.optimized` copy scores, on the
            device where its weights are.
        videos: the decoded videos.
        clips: how clips are cut, from the checkpoint's card.
        num_clips: clips a video.
        crops: 1 takes the centre square of a clip, 3 the first, middle and last along the longer
            side; their probabilities are averaged.
        dense_step: instead of `num_clips`, a clip every so many frames from the first to the last.
        change: made to every video's clips first, such as `inspection.reverse_time`.
        batch_size: squares that the network sees at once.
        workers: processes that read clips.
        progress: shows a bar.

    Raises:
        SettingsError: for another number of crops, or no positive step.
        DatasetError: if the classes do not fit, or a video cannot be scored.
    """
    classes = videos.videos.classes
    if crops not in (1, 3):
        raise SettingsError(f"there are 1 or 3 crops, not {crops}")
    if dense_step is not None and dense_step < 1:
        raise SettingsError(f"dense_step must be 1 frame or more, got {dense_step}")
    if network.settings.num_classes != len(classes):
        raise DatasetError(
            f"the network scores {network.settings.num_classes} classes and {videos.videos.name} "
            f"has {len(classes)}: evaluate a checkpoint made for this list"
        )
    if videos.bad:
        raise DatasetError(
            f"{len(videos.bad)} of {len(videos) + len(videos.bad)} videos of {videos.videos.name} "
            f"cannot be decoded, and all count: {few([reason for _, reason in videos.bad])}"
        )
    fast = optimized(network)
    dataset = TestClips(videos, clips, num_clips, dense_step=dense_step)
    rank, processes = _place()
    own = range(rank, len(videos), processes)
    # One video a batch: they have different numbers of clips where clips are dense.
    loader = DataLoader(Subset(dataset, own), batch_size=None, num_workers=workers)
    bar = tqdm(loader, desc="evaluate", unit="video", disable=not progress or rank > 0, delay=2)
    of_video: dict[int, np.ndarray] = {}
    waiting: list[tuple[int, Tensor]] = []
    for frames, _, position in bar:
        waiting.append((position, frames if change is None else change(frames, position)))
        if sum(len(frames) for _, frames in waiting) * crops >= batch_size:
            of_video.update(_score(fast, waiting, clips, crops, batch_size))
            waiting = []
    of_video.update(_score(fast, waiting, clips, crops, batch_size))
    for other in _from_all(of_video):
        of_video.update(other)
    most = max((len(scores) for scores in of_video.values()), default=0)
    probabilities = np.full((len(videos), most, len(classes)), np.nan, np.float16)
    for position, scores in of_video.items():
        probabilities[position, : len(scores)] = scores
    return Scores(videos.videos.names, np.array(videos.videos.labels, np.int64), classes, probabilities)


def score_once(
    file: str | Path,
    network: VideoResNet,
    videos: PreparedVideos,
    clips: ClipSettings,
    *,
    num_clips: int = 10,
    progress: bool = True,
) -> Scores:
    """Score the videos and keep the scores in `file`; read them from there if nothing has changed.

    Arguments as for `score_videos`. Other weights, videos or views are scored anew.
    """
    file, origin = Path(file), _origin(network, videos, clips, num_clips)
    if file.is_file():
        kept = Scores.load(file)
        if kept.origin == origin:
            return kept
    scores = score_videos(network, videos, clips, num_clips=num_clips, progress=progress)
    scores = replace(scores, origin=origin)
    scores.save(file)
    return scores


def _origin(network: VideoResNet, videos: PreparedVideos, clips: ClipSettings, num_clips: int) -> str:
    """Return the SHA-256 of all that scores depend on."""
    listed = videos.videos
    views = (clips.to_dict(), num_clips, listed.names, listed.labels, videos.sources())
    total = hashlib.sha256(repr((network.settings, views)).encode())
    for name, values in network.state_dict().items():
        total.update(name.encode())
        total.update(values.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()


def _score(
    network: FastNetwork,
    waiting: Sequence[tuple[int, Tensor]],
    clips: ClipSettings,
    crops: int,
    batch_size: int,
) -> dict[int, np.ndarray]:
    """Return (clips, classes) float16 for each video, from batches over the bounds of videos."""
    if not waiting:
        return {}
    device = next(network.parameters()).device
    frames = torch.cat([frames for _, frames in waiting])
    if crops == 3:
        frames = three_crops(frames, clips.crop)
    softmax = [
        network(to_network(part.to(device), clips)).softmax(1).cpu()
        for part in frames.split(batch_size)
    ]
    mean = torch.cat(softmax).unflatten(0, (-1, crops)).mean(1).half()
    counts = [len(frames) for _, frames in waiting]
    positions = [position for position, _ in waiting]
    return {p: part.numpy() for p, part in zip(positions, mean.split(counts), strict=True)}


def _place() -> tuple[int, int]:
    """Return this process's rank and how many there are."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def _from_all(of_video: dict[int, np.ndarray]) -> list[dict[int, np.ndarray]]:
    """Return what each process found."""
    processes = _place()[1]
    if processes == 1:
        return [of_video]
    everything: list[dict[int, np.ndarray]] = [{}] * processes
    torch.distributed.all_gather_object(everything, of_video)
    return everything


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
        A row a split and a row "mean"; columns videos, clip@1, video@1, low, high, video@5. low and
        high are the 95% Wilson interval of video@1; the mean's is that of all test videos together,
        as if they were different ones (the splits share some).
    """
    rows = {}
    for split, scores in splits.items():
        numbers = summary(scores)
        low, high = video_interval(scores)
        kept = {key: numbers[key] for key in ("videos", "clip@1", "video@1")}
        rows[f"split {split}"] = {**kept, "low": low, "high": high, "video@5": numbers["video@5"]}
    table = pd.DataFrame(rows).T
    mean = table.mean()
    mean["videos"] = table["videos"].sum()
    right = round(float((table["video@1"] * table["videos"]).sum()))
    mean["low"], mean["high"] = wilson_interval(right, int(mean["videos"]))
    table.loc["mean"] = mean
    return table.astype({"videos": int})


def video_interval(scores: Scores) -> tuple[float, float]:
    """Return the 95% Wilson interval of video@1."""
    return wilson_interval(round(video_accuracy(scores) * len(scores.names)), len(scores.names))


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
