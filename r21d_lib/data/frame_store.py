"""The files that keep decoded videos: SQLite databases of frames.

SQLite is in Python's standard library, writes a video whole or not at all, is read by any number of
processes at once, and finds a clip's frames without an index in memory. A frame is a row, raw, as
JPEG or, of flow, as PNG, with its CRC-32; the frames of a video follow each other on disk, so that a
clip is one short read. Other forms are compared in benchmarks/database.py.
"""

import contextlib
import io
import os
import sqlite3
import tempfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from r21d_lib.data.origins import Origin
from r21d_lib.errors import DatasetError

try:
    import simplejpeg as _simplejpeg
except ImportError:  # it comes with the extra [fast]
    _simplejpeg = None

# A frame's key is video * 2^24 + its number: 2^24 frames are 155 hours at 30 a second.
_FRAME_BITS = 24
FLOW = -1  # in place of a quality: two channels of flow, kept exactly, as PNG
_PNG_LEVEL = 1  # of 9: higher ones take several times as long for a few percent
_PAGE_BYTES = 65536  # the largest that SQLite has: a row of pixels or JPEG fits into one page
_CACHE_KB = 64  # of each open file; the system caches what is read again
_OPEN_FILES = 64  # of a process
_HELD_BYTES = 2**26  # of a video on its way into a store: nine minutes of JPEG, half a minute raw
_SECONDS_TO_WAIT = 60.0  # for another process that writes
_SCHEMA = """
create table videos (
    id integer primary key, name text unique, frames int, height int, width int, quality int,
    source_mtime_ns int, source_bytes int, crc int
);
create table frames (id integer primary key, crc int, pixels blob);
"""
_COLUMNS = "name, frames, height, width, quality, source_mtime_ns, source_bytes"


class Frames:
    """A video's encoded frames in their order: in memory, and in a file as soon as they are many.

    It can be sent to another process. Who is done with it calls `discard`.

    Args:
        folder: where the file lies, if there is one.
        frames: the first ones.
    """

    def __init__(self, folder: Path, frames: Iterable[bytes] = ()) -> None:
        self._folder, self._sizes = folder, list[int]()
        self._held: list[bytes] = []
        self._file: Path | None = None
        self.extend(frames)

    def extend(self, frames: Iterable[bytes]) -> None:
        """Add frames at the end."""
        for frame in frames:
            self._held.append(frame)
            self._sizes.append(len(frame))
        if sum(map(len, self._held)) > _HELD_BYTES:
            if self._file is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                suffix = f".{os.getpid()}.partial"  # what a killed process leaves is deleted by it
                number, name = tempfile.mkstemp(dir=self._folder, prefix=".", suffix=suffix)
                os.close(number)
                self._file = Path(name)
            with open(self._file, "ab") as file:
                file.writelines(self._held)
            self._held.clear()

    def __len__(self) -> int:
        return len(self._sizes)

    def __iter__(self) -> Iterator[bytes]:
        if self._file is not None:
            with open(self._file, "rb") as file:
                yield from map(file.read, self._sizes[: len(self) - len(self._held)])
        yield from self._held

    @property
    def bytes_held(self) -> int:
        """What it takes in memory."""
        return sum(map(len, self._held))

    def discard(self) -> None:
        """Delete the file."""
        if self._file is not None:
            self._file.unlink(missing_ok=True)


@dataclass(frozen=True)
class StoredVideo:
    """A decoded video on its way into a store.

    Attributes:
        name: its key.
        height, width: of a frame [pixels].
        quality: of its JPEG frames, 0 where they are raw uint8, `FLOW` where they are flow.
        source_mtime_ns, source_bytes: of the file that it was decoded from.
        frames: each frame's bytes; they are discarded once they are written.
        origin: what tells later whether that file has another content, where it is known.
    """

    name: str
    height: int
    width: int
    quality: int
    source_mtime_ns: int
    source_bytes: int
    frames: Frames
    origin: Origin | None = None


@dataclass(frozen=True)
class Entry:
    """Where a video is in a store, its form, and the time [ns] and size [bytes] of its source."""

    name: str
    id: int
    frames: int
    height: int
    width: int
    quality: int
    source: tuple[int, int]

    @property
    def channels(self) -> int:
        """Of a frame: 3 of RGB, 2 of flow."""
        return 2 if self.quality == FLOW else 3


class _FramesMissingError(DatasetError):
    """Frames are not where they were found: damaged, unless the video was written again meanwhile."""


def encode(frames: torch.Tensor, quality: int) -> list[bytes]:
    """Return each frame of (T, H, W, C) uint8 as bytes: raw for quality 0, PNG of flow, else JPEG."""
    if quality == 0:
        return [frame.tobytes() for frame in frames.numpy()]
    encoded = []
    for frame in frames.numpy():
        file = io.BytesIO()
        if quality == FLOW:
            # x beside y: PNG foretells a byte from its neighbours, which are of one kind so.
            Image.fromarray(np.hstack([frame[..., 0], frame[..., 1]])).save(
                file, "PNG", compress_level=_PNG_LEVEL
            )
        else:
            Image.fromarray(frame).save(file, "JPEG", quality=quality)
        encoded.append(file.getvalue())
    return encoded


def write(path: Path, videos: Sequence[StoredVideo], anew: Collection[str] = ()) -> None:
    """Add videos to a store, made where missing; those that it holds under the same name are replaced.

    One that it holds in the same form and of the same source stays: another process decoded it, too,
    and may read it now; but those of `anew`, whose source says the same of another content, do not.
    Each call is one transaction: after a kill the file is as it was before.

    Raises:
        DatasetError: if it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(_connect(path, "rwc")) as store, store:
            for video in videos:
                row = (
                    *(video.name, len(video.frames), video.height, video.width, video.quality),
                    *(video.source_mtime_ns, video.source_bytes),
                )
                if video.name not in anew and _holds(store, row):
                    continue
                # Found before the old one is deleted, whose id a reader may still have in hand.
                (number,) = store.execute("select coalesce(max(id), 0) + 1 from videos").fetchone()
                _delete(store, video.name)
                store.execute(
                    f"insert into videos (id, {_COLUMNS}, crc) values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (number, *row, _crc(row)),
                )
                first = number << _FRAME_BITS
                store.executemany(
                    "insert into frames values (?, ?, ?)",
                    ((first + n, zlib.crc32(data), data) for n, data in enumerate(video.frames)),
                )
        for video in videos:
            video.frames.discard()
    except (sqlite3.Error, OSError) as error:
        if _is_held(error):
            raise _damaged(path, error) from error
        raise DatasetError(
            f"{path} cannot be written ({error}): free space or choose another folder; "
            "what it held before is whole"
        ) from error


def _holds(store: sqlite3.Connection, row: Sequence[object]) -> bool:
    """Tell whether a video is there just so."""
    found = store.execute(f"select {_COLUMNS}, crc from videos where name = ?", row[:1]).fetchone()
    return bool(found == (*row, _crc(row)))


def _delete(store: sqlite3.Connection, name: str) -> None:
    for (number,) in store.execute("select id from videos where name = ?", (name,)).fetchall():
        between = (number << _FRAME_BITS, ((number + 1) << _FRAME_BITS) - 1)
        store.execute("delete from frames where id between ? and ?", between)
        store.execute("delete from videos where id = ?", (number,))


def sources(path: Path) -> dict[str, tuple[int, int]]:
    """Return the videos of a store, each with its source's time and size; none if there is no store.

    Raises:
        DatasetError: if the file is no store.
    """
    if not path.is_file():
        return {}
    try:
        # For writing, because a killed writer's last transaction must be undone first.
        mode = "rw" if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK) else "ro"
        with contextlib.closing(_connect(path, mode)) as store:
            if not _has_tables(store):  # its first writer was killed
                return {}
            rows = store.execute(f"select {_COLUMNS}, crc from videos").fetchall()
            # A row that is not as it was written counts as absent: the video is decoded again.
            return {row[0]: (row[5], row[6]) for *row, crc in rows if _crc(row) == crc}
    except sqlite3.Error as error:
        raise _damaged(path, error) from error


def find(path: Path, name: str) -> Entry:
    """Return where a video is.

    Raises:
        DatasetError: if the store or the video is not there, or its row is not as it was written.
    """
    query = f"select id, crc, {_COLUMNS} from videos where name = ?"
    try:
        found = _reader(os.getpid(), path).execute(query, (name,)).fetchone()
    except sqlite3.Error as error:
        raise _damaged(path, error) from error
    if found is None:
        raise DatasetError(f"{path} does not hold {name}: prepare the list again")
    number, crc, *row = found
    if _crc(row) != crc:
        raise _damaged(path, f"the entry of {name}")
    _, frames, height, width, quality, *source = row
    return Entry(name, number, frames, height, width, quality, (source[0], source[1]))


def read(path: Path, entry: Entry, numbers: np.ndarray) -> torch.Tensor:
    """Return frames of a video by their numbers, ascending and without repetition.

    Returns:
        (len(numbers), H, W, C) uint8, C 3 or, of flow, 2.

    Raises:
        DatasetError: if a frame is not there or not as it was written, or the video was changed and
            decoded again since it was found.
    """
    try:
        return _read(path, entry, numbers)
    except _FramesMissingError:
        now = find(path, entry.name)
        if now.id == entry.id:
            raise
    # Another process wrote it again since it was found.
    if replace(now, id=entry.id) != entry:
        raise changed(entry.name)
    return read(path, now, numbers)


def changed(name: str) -> DatasetError:
    """Return the error of a video that is no longer the one that was asked for."""
    return DatasetError(f"{name} was changed and decoded again since its list was opened: start again")


def _read(path: Path, entry: Entry, numbers: np.ndarray) -> torch.Tensor:
    frames = np.empty((len(numbers), entry.height, entry.width, entry.channels), np.uint8)
    rows = _rows(path, entry, numbers)
    for target, number, (found, crc, data) in zip(frames, numbers.tolist(), rows, strict=True):
        if found != number or zlib.crc32(data) != crc:
            raise _damaged(path, f"frame {number}")
        if entry.quality == FLOW:
            with Image.open(io.BytesIO(data)) as picture:
                target[..., 0], target[..., 1] = np.split(np.asarray(picture), 2, axis=1)
            continue
        if entry.quality:
            _decode_jpeg(data, target)
        else:
            target[:] = np.frombuffer(data, np.uint8).reshape(target.shape)
    return torch.from_numpy(frames)


def _decode_jpeg(data: bytes, target: np.ndarray) -> None:
    """Decode a frame into (H, W, 3) uint8: by simplejpeg where it is installed, else by PIL.

    Both are libjpeg-turbo in its exact mode and give the same pixels; simplejpeg takes half as long.
    """
    if _simplejpeg is not None:
        _simplejpeg.decode_jpeg(data, buffer=target)
        return
    # Image.open would parse the header in Python first, for a quarter of the time.
    size = target.shape[1::-1]
    decoded = Image.frombytes("RGB", size, data, "jpeg", "RGB", "").tobytes()
    target[:] = np.frombuffer(decoded, np.uint8).reshape(target.shape)


def _rows(path: Path, entry: Entry, numbers: np.ndarray) -> Iterator[tuple[int, int, bytes]]:
    """Yield (number, crc, bytes), a run of neighbours by one query."""
    store = _reader(os.getpid(), path)
    first = entry.id << _FRAME_BITS
    try:
        for run in np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1):
            between = (first + int(run[0]), first + int(run[-1]))
            found = 0
            # Row by row: a frame is checked and decoded while it is in the processor's cache.
            for key, crc, data in store.execute(
                "select id, crc, pixels from frames where id between ? and ? order by id", between
            ):
                found += 1
                yield key - first, crc, data
            if found != len(run):
                missing = _damaged(path, f"{len(run) - found} frames are missing")
                raise _FramesMissingError(str(missing))
    except sqlite3.Error as error:
        raise _damaged(path, error) from error


@lru_cache(_OPEN_FILES)
def _reader(process: int, path: Path) -> sqlite3.Connection:
    """Return an open store; a process never uses one that its parent opened."""
    return _connect(path, "ro")


def forget_readers() -> None:
    """Close this process's open stores, so that written ones are read anew."""
    _reader.cache_clear()


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    # as_uri() quotes odd characters. A loader's threads may share a reader, one after the other.
    address = f"{path.resolve().as_uri()}?mode={mode}"
    store = sqlite3.connect(address, uri=True, timeout=_SECONDS_TO_WAIT, check_same_thread=False)
    store.execute(f"pragma cache_size = -{_CACHE_KB}")
    if mode == "rwc":
        store.execute(f"pragma page_size = {_PAGE_BYTES}")
        store.execute("pragma synchronous = normal")
        store.execute("begin immediate")  # another process may be making the same store
        if not _has_tables(store):
            for statement in _SCHEMA.split(";"):
                store.execute(statement)
    return store


def _crc(row: Sequence[object]) -> int:
    """Return the checksum of a row: a flipped bit in a frame count would show other frames."""
    return zlib.crc32(repr(tuple(row)).encode())


def _has_tables(store: sqlite3.Connection) -> bool:
    return bool(store.execute("select 1 from sqlite_master where name = 'videos'").fetchone())


def _damaged(path: Path, reason: object) -> DatasetError:
    if _is_held(reason):
        return DatasetError(f"{path} is held by another process: wait until that has ended")
    return DatasetError(f"{path} is damaged ({reason}): delete it, and it is decoded again")


def _is_held(error: object) -> bool:
    """Tell whether SQLite gave up because another process held the file, not because of its content."""
    busy = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in busy
