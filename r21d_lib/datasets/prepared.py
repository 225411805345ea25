"""The decode-once cache: every video decoded once, and clips read out of it.

Each video is decoded once, in order, resized and kept as one uint8 .npy file; a clip is then a short
read. The cache can be interrupted at any time: only whole files are ever in it.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from r21d_lib.clips import ClipSettings, clip_indices, resize
from r21d_lib.datasets.listed import VideoList
from r21d_lib.errors import DatasetError
from r21d_lib.files import whole_file
from r21d_lib.videos import decode

# A process takes about two seconds to start, in which one decodes this many of HMDB51's videos.
_VIDEOS_WORTH_A_PROCESS = 64


BadVideo = Literal["fail", "report"]


@dataclass(frozen=True)
class PreparedVideos:
    """Videos whose resized frames are on disk.

    Attributes:
        videos: the list.
        folder: where the .npy files are, in the list's own folders.
    """

    videos: VideoList
    folder: Path
    bad: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.videos)

    def frames(self, index: int) -> np.ndarray:
        """Return a video as a read-only (T, H, W, 3) uint8 memory map."""
        return np.load(_cached(self.folder, self.videos.names[index]), mmap_mode="r")

    def clips(self, index: int, settings: ClipSettings, starts: Callable[[int], list[int]]) -> Tensor:
        """Read clips of one video: (clips, clip_len, H, W, 3) uint8.

        Reads just the frames that it needs, from a file that it opens and closes: memory maps that
        stay open would exceed the usual limit of 1,024 files on HMDB51.

        Args:
            index: of the video.
            settings: length and stride of a clip.
            starts: gives the first frame of each clip when told how many frames the video has.

        Raises:
            DatasetError: if the file of the cache was cut.
        """
        path = _cached(self.folder, self.videos.names[index])
        with open(path, "rb") as file:
            np.lib.format.read_magic(file)
            (num_frames, *size), _, _ = np.lib.format.read_array_header_1_0(file)
            first = file.tell()
            indices = torch.stack(
                [
                    clip_indices(start, settings.clip_len, settings.stride, num_frames)
                    for start in starts(num_frames)
                ]
            )
            clips = torch.empty((*indices.shape, *size), dtype=torch.uint8)
            for frame, row in zip(indices.flatten().tolist(), clips.flatten(0, 1).numpy(), strict=True):
                file.seek(first + frame * row.nbytes)
                if file.readinto(row) != row.nbytes:
                    raise DatasetError(f"{path} was cut: delete it, and it is decoded again")
        return clips


def prepare(
    videos: VideoList,
    cache: str | Path,
    *,
    size: tuple[int, int],
    quality: int | None = None,
    on_bad_video: "BadVideo" = "fail",
    workers: int | None = None,
    progress: bool = True,
) -> PreparedVideos:
    """Decode and resize the videos that the cache does not hold yet, in parallel.

    Args:
        videos: what to decode.
        cache: folder of the cache; each size gets a folder of its own in it.
        size: (height, width) of the kept frames [pixels].
        workers: processes; None takes one a core, fewer where there is little to decode.
        progress: shows a bar when it takes more than two seconds.

    Raises:
        VideoError: at the first video of the list that cannot be decoded; what was decoded stays.
    """
    folder = Path(cache) / f"{size[0]}x{size[1]}"
    todo = [
        (videos.path(i), _cached(folder, name))
        for i, name in enumerate(videos.names)
        if _is_stale(videos.path(i), _cached(folder, name))
    ]
    workers = workers or min(os.cpu_count() or 1, 1 + len(todo) // _VIDEOS_WORTH_A_PROCESS)
    with contextlib.ExitStack() as stack:
        run: Callable[..., Iterator[None]] = map
        if workers > 1 and todo:
            # Processes are spawned: a fork of a process that runs torch threads may hang.
            pool = ProcessPoolExecutor(
                min(workers, len(todo)),
                mp_context=get_context("spawn"),
                initializer=torch.set_num_threads,  # the processes are the parallelism
                initargs=(1,),
            )
            run = stack.enter_context(pool).map
        done = run(partial(_prepare_one, size=size), todo)
        for _ in tqdm(
            done, total=len(todo), desc="decode", unit="video", disable=not progress, delay=2
        ):
            pass
    return PreparedVideos(videos, folder)


def _cached(folder: Path, name: str) -> Path:
    return folder / f"{name}.npy"


def _is_stale(source: Path, target: Path) -> bool:
    return not target.is_file() or target.stat().st_mtime_ns < source.stat().st_mtime_ns


def _prepare_one(source_and_target: tuple[Path, Path], size: tuple[int, int]) -> None:
    source, target = source_and_target
    frames = resize(torch.from_numpy(decode(source)), size).numpy()
    with whole_file(target) as temporary:
        np.save(temporary, frames)
