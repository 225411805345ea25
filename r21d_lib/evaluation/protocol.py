"""The test protocol: ten clips a video, scored once and kept in one file."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from tqdm.auto import tqdm

from r21d_lib.data.cache import PreparedVideos
from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.data.clips import three_crops, to_network
from r21d_lib.data.sampling import TestClips
from r21d_lib.errors import DatasetError, SettingsError, few
from r21d_lib.evaluation.scores import Scores
from r21d_lib.models.fast import FastNetwork, optimized
from r21d_lib.models.networks import VideoResNet

# From a video's (N, T, H, W, 3) uint8 clips and its number to the clips that are scored instead.
ClipChange = Callable[[Tensor, int], Tensor]


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

    The default is the paper's protocol (section 4.1): ten uniformly spaced, centre-cropped clips. A
    launcher's processes share the videos and get all scores, so each of them has to call this.

    Args:
        network: its num_classes must be the list's; its `fast.optimized` copy scores, on the
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
    fast = optimized(network, engine="torch")  # the same digits whatever else is installed
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
    listed = videos.videos
    labels = np.array(listed.labels, np.int64)
    if listed.starts is not None:
        views = "clips where the list says"
    elif dense_step is None:
        views = f"{num_clips} evenly spaced clips"
    else:
        views = f"a clip every {dense_step} frames"
    views += ", their centre square" if crops == 1 else f", {crops} squares of each"
    return Scores(
        listed.names,
        labels,
        classes,
        probabilities,
        groups=listed.groups,
        views=views if change is None else "",
    )


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

    Arguments as for `score_videos`. Other weights, videos or views are scored anew. Of several
    processes the first alone reads and writes the file, and the others wait until it has.
    """
    file, origin = Path(file), _origin(network, videos, clips, num_clips)
    first = _place()[0] == 0
    kept = Scores.load(file) if first and file.is_file() else None
    kept = _from_first(kept if kept is not None and kept.origin == origin else None)
    if kept is not None:
        return replace(kept, groups=videos.videos.groups)
    scores = score_videos(network, videos, clips, num_clips=num_clips, progress=progress)
    scores = replace(scores, origin=origin)
    if first:
        scores.save(file)
    _from_first(None)  # comes when the file is there
    return scores


def _origin(network: VideoResNet, videos: PreparedVideos, clips: ClipSettings, num_clips: int) -> str:
    """Return the SHA-256 of all that scores depend on."""
    listed = videos.videos
    of_list = (listed.names, listed.labels, videos.sources())
    views: tuple[object, ...] = (clips.to_dict(), num_clips, *of_list)
    form = videos.folder.name  # size, and the quality of frames that are not kept exactly
    if listed.starts is not None or "-q" in form:  # others' scores of before stay valid
        views += (listed.starts, form)
    if listed.starts is not None and clips.modality == "flow":
        # Where clips end; those of before took the first field for the last.
        views += ("within the video",)
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


def _from_first(found: Scores | None) -> Scores | None:
    """Return what the first process found."""
    if _place()[1] == 1:
        return found
    box = [found]
    torch.distributed.broadcast_object_list(box)
    return box[0]


def _from_all(of_video: dict[int, np.ndarray]) -> list[dict[int, np.ndarray]]:
    """Return what each process found."""
    processes = _place()[1]
    if processes == 1:
        return [of_video]
    everything: list[dict[int, np.ndarray]] = [{}] * processes
    torch.distributed.all_gather_object(everything, of_video)
    return everything
