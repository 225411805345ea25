"""The decode-once cache: every video decoded once, and clips read out of it.

It can be interrupted at any time: a video is in it whole or not at all, and a rerun goes on.
"""

import contextlib
import hashlib
import os
import re
import time
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from r21d_lib.data import flow as optical_flow
from r21d_lib.data import frame_store, origins
from r21d_lib.data.clip_settings import ClipSettings, Modality
from r21d_lib.data.clips import clip_indices, resize
from r21d_lib.data.frame_store import Frames, StoredVideo
from r21d_lib.data.lists import VideoList
from r21d_lib.data.safe_decoder import patience, stream, timed
from r21d_lib.data.safe_pool import given_up, guarded_map
from r21d_lib.data.video import at_rate
from r21d_lib.errors import DatasetError, SettingsError, VideoError
from r21d_lib.files import clear_partials, only_writer

BadVideo = Literal["fail", "report"]
# What `_decode_one` takes: file, name, size, quality, fps, seconds and folder.
_Job = tuple[Path, str, tuple[int, int], int, float | None, float, Path]
# A process takes about two seconds to start, in which one decodes this many of HMDB51's videos.
_VIDEOS_WORTH_A_PROCESS = 64
_BYTES_AT_ONCE = 2**24  # of decoded frames: 72 of HMDB51's, two of 1080p
# Few enough to stay open in every worker, and enough to copy Kinetics' 550 GB in parts.
_STORES = 16
# What waits to be written is at most this, which is lost when the process is killed.
_BYTES_A_TRANSACTION, _SECONDS_A_TRANSACTION = 2**26, 5.0
_SECONDS_A_VIDEO = 600.0


@dataclass(frozen=True)
class PreparedVideos:
    """Videos whose resized frames are on disk.

    Attributes:
        videos: the list, without the bad ones.
        folder: where the stores are.
        decoded_from: (videos, 2) int64, time [ns] and size [bytes] of each file when the list was
            opened; a read checks that the frames in the store are of that file.
        bad: name and reason of each listed video that could not be decoded.
    """

    videos: VideoList
    folder: Path
    decoded_from: np.ndarray = field(repr=False, compare=False)
    bad: tuple[tuple[str, str], ...] = ()
    # Workers read these: reading a str writes its reference count, which would copy all of them.
    _names: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = np.array([name.encode() for name in self.videos.names])
        object.__setattr__(self, "_names", names)  # the class is frozen

    def __len__(self) -> int:
        return len(self.videos)

    def frames(self, index: int) -> np.ndarray:
        """Return a video: (T, H, W, 3) uint8, or its flow as bytes, (T - 1, H, W, 2)."""
        path, entry = self._find(index)
        return frame_store.read(path, entry, np.arange(entry.frames)).numpy()

    def clips(self, index: int, settings: ClipSettings, starts: Callable[[int], list[int]]) -> Tensor:
        """Read clips of one video: (clips, clip_len, H, W, C) uint8. Each frame is read once.

        Args:
            index: of the video.
            settings: length and stride of a clip.
            starts: gives the first frame of each clip when told how many frames the video has.

        Raises:
            DatasetError: if the cache is damaged, or the file was changed and decoded again since.
        """
        path, entry = self._find(index)
        indices = torch.stack(
            [
                clip_indices(start, settings.clip_len, settings.stride, entry.frames)
                for start in starts(entry.frames)
            ]
        )
        needed, places = indices.unique(return_inverse=True)
        frames = frame_store.read(path, entry, needed.numpy())
        if not torch.equal(needed, indices.flatten()):  # clips overlap, or a video starts over
            frames = frames.index_select(0, places.flatten())
        return frames.unflatten(0, indices.shape)

    def sources(self) -> list[tuple[int, int]]:
        """Return each video's time [ns] and size [bytes] when it was decoded: what tells a change."""
        return [(time_ns, size) for time_ns, size in self.decoded_from.tolist()]

    def _find(self, index: int) -> tuple[Path, frame_store.Entry]:
        name = self._names[index].decode()
        path = store_of(self.folder, name)
        entry = frame_store.find(path, name)
        if entry.source != tuple(self.decoded_from[index].tolist()):
            raise frame_store.changed(name)
        return path, entry


def prepare(
    videos: VideoList,
    cache: str | Path,
    *,
    size: tuple[int, int],
    quality: int | None = None,
    fps: float | None = None,
    modality: Modality = "rgb",
    on_bad_video: BadVideo = "fail",
    seconds: float = _SECONDS_A_VIDEO,
    workers: int | None = None,
    progress: bool = True,
) -> PreparedVideos:
    """Decode and resize the videos that the cache does not hold yet, in parallel.

    Where another process of this machine decodes into the same place, it is waited for, and what it has
    decoded is not decoded again.

    Args:
        videos: what to decode.
        cache: folder of the cache; in it each folder of videos, by its full path, and each size and
            quality has a folder of its own, so that data sets of one name never meet.
        size: (height, width) of the kept frames [pixels].
        quality: keeps them as JPEG of this quality, in a tenth of the space; None keeps them exact.
        fps: keeps the frames nearest to the moments of this rate, see `ClipSettings.fps`; None keeps
            the video's own.
        modality: "flow" keeps, instead of the frames, the optical flow from each to the next, computed
            once between the resized frames at that rate: see `flow`. It is always kept exactly.
        on_bad_video: "fail" stops at the first video that cannot be decoded, and what was decoded
            stays; "report" goes on and names all of them in `PreparedVideos.bad`.
        seconds: a video that takes longer is given up, a large one after 100 s a megabyte. Few videos
            (under 64) are decoded in this process, which looks at the clock between frames and has
            one other decode; other processes are stopped whatever they do, and may crash.
        workers: processes; None takes one a core, fewer where there is little to decode.
        progress: shows a bar when it takes more than two seconds.

    Raises:
        VideoError: at the first video of the list that cannot be decoded, unless it is reported.
        DatasetError: if the cache cannot be written.
        SettingsError: for a quality that JPEG does not have; for a rate, where the list says by frames'
            numbers where clips start; for flow, where a quality is given or OpenCV is missing.
    """
    if modality == "flow":
        if quality is not None:
            raise SettingsError(
                f"flow is kept exactly, as JPEG of quality {quality} would move still pixels: give "
                "quality=none"
            )
        quality = frame_store.FLOW
    elif quality is not None and not 1 <= quality <= 100:
        raise SettingsError(
            f"JPEG has no quality {quality}: choose 1 to 100, or None to keep the frames exactly"
        )
    if fps is not None and videos.starts is not None:
        raise SettingsError(
            f"{videos.name} says by the numbers of frames where clips start, which another rate moves: "
            "give fps=none"
        )
    form = "-flow" if modality == "flow" else f"-q{quality}" if quality else ""
    kind = form + (f"-{_rate(fps)}fps" if fps else "")
    folder = Path(cache) / _place(videos.root) / f"{size[0]}x{size[1]}{kind}"
    versions = _versions(videos)
    todo = _missing(videos, folder, versions, progress)
    bad: dict[str, str] = {}
    if todo:
        with contextlib.ExitStack() as alone:
            waited = alone.enter_context(only_writer(folder, wait=True))
            before, versions = todo, _versions(videos)
            todo = _missing(videos, folder, versions, progress)
            if waited and todo == before and on_bad_video == "report":
                # The other left them all: they may be bad, and each take minutes until it is given up.
                # Processes that were started together must not try them one after the other.
                alone.close()
            jobs = [(file, name, size, quality or 0, fps, seconds, folder) for name, file, _ in todo]
            bad = _decode_all(
                jobs,
                folder,
                anew={name for name, _, anew in todo if anew},
                seconds=seconds,
                workers=workers,
                on_bad=on_bad_video,
                progress=progress,
            )
    return _prepared(videos, folder, versions, bad)


def _decode_all(
    jobs: Sequence[_Job],
    folder: Path,
    *,
    anew: Collection[str],
    seconds: float,
    workers: int | None,
    on_bad: BadVideo,
    progress: bool,
) -> dict[str, str]:
    """Decode videos into the stores of a folder; return name and reason of each bad one."""
    if not jobs:
        return {}
    processes = workers or min(os.cpu_count() or 1, 1 + len(jobs) // _VIDEOS_WORTH_A_PROCESS)
    clear_partials(folder)
    decoded = guarded_map(_decode_one, jobs, processes=processes, seconds=seconds)
    what = "flow" if jobs[0][3] == frame_store.FLOW else "decode"
    bar = tqdm(decoded, total=len(jobs), desc=what, unit="video", disable=not progress, delay=2)
    bad: dict[str, str] = {}
    waiting: dict[Path, list[StoredVideo]] = {}
    bytes_waiting, written = 0, time.monotonic()
    try:
        for (_, name, *_), result in zip(jobs, bar, strict=True):
            if isinstance(result, VideoError):
                if on_bad == "fail":
                    raise result
                bad[name] = str(result)
                continue
            waiting.setdefault(store_of(folder, name), []).append(result)
            bytes_waiting += result.frames.bytes_held
            late = time.monotonic() - written > _SECONDS_A_TRANSACTION
            if late or bytes_waiting > _BYTES_A_TRANSACTION:
                _write_all(waiting, anew)
                bytes_waiting, written = 0, time.monotonic()
    finally:
        decoded.close()
        _write_all(waiting, anew)
    return bad


def _prepared(
    videos: VideoList, folder: Path, versions: dict[str, tuple[int, int]], bad: dict[str, str]
) -> PreparedVideos:
    whole = videos
    if bad:
        whole = videos.subset([i for i, name in enumerate(videos.names) if name not in bad])
    decoded_from = np.array([versions[name] for name in whole.names], np.int64).reshape(-1, 2)
    return PreparedVideos(whole, folder, decoded_from, tuple(bad.items()))


def _place(root: Path) -> str:
    """Return a folder name for the frames of all videos below `root`: its last names and a hash."""
    full = root.resolve()
    words = [re.sub(r"[^A-Za-z0-9]+", "-", part).strip("-") for part in full.parts[-2:]]
    digest = hashlib.sha256(os.fsencode(full)).hexdigest()
    return "-".join([*filter(None, (word[:24] for word in words)), digest[:12]])


def _rate(fps: float) -> str:
    """Return a rate as a folder's name has it: whole, for 23.976 is not 24000/1001."""
    short = f"{fps:g}"
    return short if float(short) == float(fps) else repr(float(fps))


def _missing(
    videos: VideoList, folder: Path, versions: dict[str, tuple[int, int]], progress: bool = False
) -> list[tuple[str, Path, bool]]:
    """Return the videos that no store holds as they are now.

    Returns:
        Name and file of each, and whether a store holds it with the same time and size.
    """
    there: dict[Path, dict[str, tuple[int, int]]] = {}
    held: dict[str, Path] = {}
    for index, name in enumerate(videos.names):
        path = store_of(folder, name)
        if path not in there:
            there[path] = frame_store.sources(path)
        if there[path].get(name) == versions[name]:
            held[name] = videos.path(index)
    anew = origins.changed(folder, held, progress=progress)
    return [
        (name, videos.path(index), name in anew)
        for index, name in enumerate(videos.names)
        if name not in held or name in anew
    ]


def _versions(videos: VideoList) -> dict[str, tuple[int, int]]:
    """Return each video's file as it is now, by name."""
    return {name: _version(videos.path(index)) for index, name in enumerate(videos.names)}


def _version(file: Path) -> tuple[int, int]:
    """Return what changes when a file does: its time [ns] and its size [bytes]."""
    if not file.is_file():
        return 0, 0  # decoding it will say so
    status = file.stat()
    return status.st_mtime_ns, status.st_size


def store_of(folder: Path, name: str) -> Path:
    """Return the store of a video: one of a few, the same for ever, filled evenly."""
    return folder / f"{zlib.crc32(name.encode()) % _STORES:02}.sqlite"


def _write_all(waiting: dict[Path, list[StoredVideo]], anew: Collection[str]) -> None:
    for path, its in waiting.items():
        frame_store.write(path, its, anew)
        # Behind the frames: a record of content that is not kept would hide that it has changed.
        origins.write(path.parent, {one.name: one.origin for one in its if one.origin is not None})
    waiting.clear()
    frame_store.forget_readers()


def _decode_one(
    file: Path,
    name: str,
    size: tuple[int, int],
    quality: int,
    fps: float | None,
    seconds: float,
    folder: Path,
) -> StoredVideo | VideoError:
    """Decode, resize and encode a video or its flow, some frames at a time: it may last hours."""
    seconds = patience(file, seconds)
    version, until = _version(file), time.monotonic() + seconds
    origin = origins.of_file(file)  # before it is decoded: what changes it meanwhile is seen next time
    frames = Frames(folder)
    decoded = stream(file) if fps is None else (frame for _, frame in at_rate(timed(file), fps))
    if quality == frame_store.FLOW:
        small_frames = (resize(torch.from_numpy(frame[None]), size)[0].numpy() for frame in decoded)
        decoded = optical_flow.of_frames(small_frames)
    try:
        for first in decoded:
            largest = max(first.nbytes, 3 * size[0] * size[1])  # a frame, as it comes or as it is kept
            chunk = [first, *islice(decoded, _BYTES_AT_ONCE // largest)]
            # Of one type for frames and flow, which is of its size already.
            small = resize(torch.from_numpy(np.stack(chunk)), size)
            frames.extend(frame_store.encode(small, quality))
            if time.monotonic() > until:
                raise given_up(file, seconds)
    except VideoError as error:
        frames.discard()
        return error
    except OSError as error:
        frames.discard()
        raise DatasetError(
            f"{folder} cannot be written ({error}): free space or choose another folder"
        ) from error
    return StoredVideo(name, *size, quality, *version, frames, origin)
