"""The decode-once cache, and the clips that training and testing read from it.

Each video is decoded once, in order, resized and kept as one uint8 .npy file; a clip is then a short
read of a memory map. The cache can be interrupted at any time: only whole files are ever in it.
"""

import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler
from tqdm.auto import tqdm

from r21d_lib.clips import (
    ClipSettings,
    clip_indices,
    random_start,
    resize,
    seeded_generator,
    uniform_starts,
)
from r21d_lib.datasets.listed import VideoList
from r21d_lib.files import whole_file
from r21d_lib.videos import decode


@dataclass(frozen=True)
class PreparedVideos:
    """Videos whose resized frames are on disk.

    Attributes:
        videos: the list.
        folder: where the .npy files are, in the list's own folders.
    """

    videos: VideoList
    folder: Path

    def __len__(self) -> int:
        return len(self.videos)

    def frames(self, index: int) -> np.ndarray:
        """Return a video as a read-only (T, H, W, 3) uint8 memory map."""
        return np.load(_cached(self.folder, self.videos.names[index]), mmap_mode="r")


def prepare(
    videos: VideoList,
    cache: str | Path,
    *,
    size: tuple[int, int],
    workers: int | None = None,
    progress: bool = True,
) -> PreparedVideos:
    """Decode and resize the videos that the cache does not hold yet, in parallel.

    Args:
        videos: what to decode.
        cache: folder of the cache; each size gets a folder of its own in it.
        size: (height, width) of the kept frames [pixels].
        workers: processes; None takes one a core.
        progress: shows a bar when it takes more than two seconds.

    Raises:
        VideoError: at the first video that cannot be decoded; what was decoded stays.
    """
    folder = Path(cache) / f"{size[0]}x{size[1]}"
    todo = [
        (videos.path(i), _cached(folder, name))
        for i, name in enumerate(videos.names)
        if _is_stale(videos.path(i), _cached(folder, name))
    ]
    if todo:
        # Processes are spawned: a fork of a process that runs torch threads may hang.
        with ProcessPoolExecutor(
            min(workers or os.cpu_count() or 1, len(todo)), mp_context=get_context("spawn")
        ) as pool:
            jobs = [pool.submit(_prepare_one, source, target, size) for source, target in todo]
            bar = tqdm(total=len(jobs), desc="decode", unit="video", disable=not progress, delay=2)
            try:
                for job in as_completed(jobs):
                    job.result()
                    bar.update()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
            finally:
                bar.close()
    return PreparedVideos(videos, folder)


def _cached(folder: Path, name: str) -> Path:
    return folder / f"{name}.npy"


def _is_stale(source: Path, target: Path) -> bool:
    return not target.is_file() or target.stat().st_mtime_ns < source.stat().st_mtime_ns


def _prepare_one(source: Path, target: Path, size: tuple[int, int]) -> None:
    torch.set_num_threads(1)  # the processes are the parallelism
    frames = resize(torch.from_numpy(decode(source)), size).numpy()
    with whole_file(target) as partial:
        np.save(partial, frames)


class TrainClips(Dataset[tuple[Tensor, int]]):
    """One random clip of each video in every epoch (temporal jitter).

    An item's number says both: number = epoch * len(videos) + video, as `EpochSampler` gives it. The
    start depends on (seed, epoch, video) alone, so worker processes and resumption change nothing.
    An item is ((clip_len, H, W, 3) uint8, label).
    """

    def __init__(self, prepared: PreparedVideos, settings: ClipSettings, *, seed: int = 0) -> None:
        self.prepared, self.settings, self.seed = prepared, settings, seed
        # Opening a memory map costs more than reading a clip from it.
        self._frames = cache(prepared.frames)

    def __len__(self) -> int:
        return len(self.prepared)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        epoch, video = divmod(number, len(self.prepared))
        frames = self._frames(video)
        generator = seeded_generator(self.seed, epoch, video)
        start = random_start(len(frames), self.settings.span, generator=generator)
        return _clip(frames, start, self.settings), self.prepared.videos.labels[video]


class EpochSampler(Sampler[int]):
    """Every video once an epoch, in an order drawn from (seed, epoch)."""

    def __init__(self, num_videos: int, *, seed: int = 0) -> None:
        self.num_videos, self.seed, self.epoch = num_videos, seed, 0

    def __len__(self) -> int:
        return self.num_videos

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.epoch = epoch

    def __iter__(self):  # type: ignore[no-untyped-def]
        generator = seeded_generator(self.seed, self.epoch)
        order = torch.randperm(self.num_videos, generator=generator)
        yield from (self.epoch * self.num_videos + order).tolist()


class TestClips(Dataset[tuple[Tensor, int, int]]):
    """Uniformly spaced clips of each video: ((num_clips, clip_len, H, W, 3) uint8, label, video)."""

    __test__ = False  # not a test, whatever pytest makes of the name

    def __init__(self, prepared: PreparedVideos, settings: ClipSettings, num_clips: int = 10) -> None:
        self.prepared, self.settings, self.num_clips = prepared, settings, num_clips

    def __len__(self) -> int:
        return len(self.prepared)

    def __getitem__(self, video: int) -> tuple[Tensor, int, int]:
        frames = self.prepared.frames(video)
        starts = uniform_starts(len(frames), self.settings.span, self.num_clips)
        clips = torch.stack([_clip(frames, start, self.settings) for start in starts])
        return clips, self.prepared.videos.labels[video], video


def _clip(frames: np.ndarray, start: int, settings: ClipSettings) -> Tensor:
    indices = clip_indices(start, settings.clip_len, settings.stride, len(frames))
    return torch.from_numpy(frames[indices.numpy()])
