"""What tells that a decoded file has another content now, although its time and size are the same.

Archives and copying programs give files the times that they had elsewhere, and uncompressed or padded
videos the same size. What nobody can put back is the moment when a file was last changed in any way
(`st_ctime_ns`): as long as it is the same, so is the file, and it costs no reading. It changes with
copies, links, renames and rights, too; then the first and the last 64 kB decide, where the headers and
the index of a video are.

They are kept beside the frames in a file of their own, so that caches of before stay valid: a video
without a record is taken as it is, once, and gets one.
"""

import contextlib
import os
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from r21d_lib.errors import DatasetError

_FILE = "origins.sqlite"
_ENDS_BYTES = 2**16
_SECONDS_TO_WAIT = 60.0  # for another process that writes
_TABLE = (
    "create table if not exists origins "
    "(name text primary key, mtime_ns int, bytes int, changed_ns int, ends int)"
)


class Origin(NamedTuple):
    """A file when it was decoded: its times [ns], its size [bytes] and its ends' CRC-32."""

    mtime_ns: int
    bytes: int
    changed_ns: int
    ends: int


def of_file(file: Path) -> Origin | None:
    """Return what a file is now; None where it cannot be read."""
    try:
        with open(file, "rb") as content:
            status = file.stat()
            ends = zlib.crc32(content.read(_ENDS_BYTES))
            content.seek(max(status.st_size - _ENDS_BYTES, 0))
            ends = zlib.crc32(content.read(_ENDS_BYTES), ends)
    except OSError:
        return None
    return Origin(status.st_mtime_ns, status.st_size, status.st_ctime_ns, ends)


def changed(folder: Path, files: Mapping[str, Path], *, progress: bool = True) -> set[str]:
    """Return which videos of a cache's folder are of another content than their files have now.

    Args:
        folder: of the cache.
        files: the files, by name, whose time and size are those of the frames.
        progress: shows a bar where it takes more than two seconds.

    Raises:
        DatasetError: if what is known of them is damaged.
    """
    from tqdm.auto import tqdm  # not where frames are only read: the GPU's machine may lack it

    known = _read(folder)
    others, fresh = set[str](), dict[str, Origin]()
    bar = tqdm(files.items(), desc="check", unit="video", disable=not progress, delay=2, leave=False)
    for name, file in bar:
        before = known.get(name)
        if before is not None and before.changed_ns == file.stat().st_ctime_ns:
            continue
        now = of_file(file)
        if now is None:  # its time and size are right, and that is all that can be known
            continue
        if before is not None and before[:2] == now[:2] and before.ends != now.ends:
            others.add(name)
        else:
            fresh[name] = now
    write(folder, fresh)
    return others


def write(folder: Path, origins: Mapping[str, Origin]) -> None:
    """Keep what files were; where the disk is full or read-only, they are looked at again next time.

    Raises:
        DatasetError: if what is known of others is damaged.
    """
    if not origins:
        return
    rows = ((name, *origin) for name, origin in origins.items())
    with (
        _saying_damage(folder),
        contextlib.suppress(sqlite3.OperationalError),
        contextlib.closing(_connect(folder, "rwc")) as store,
        store,
    ):
        store.execute(_TABLE)
        store.executemany("insert or replace into origins values (?, ?, ?, ?, ?)", rows)


def _read(folder: Path) -> dict[str, Origin]:
    file = folder / _FILE
    if not file.is_file():
        return {}
    # For writing, because a killed writer's last transaction must be undone first.
    mode = "rw" if os.access(file, os.W_OK) and os.access(folder, os.W_OK) else "ro"
    with _saying_damage(folder), contextlib.closing(_connect(folder, mode)) as store:
        there = store.execute("select 1 from sqlite_master where name = 'origins'").fetchone()
        rows = store.execute("select * from origins") if there else ()
        return {name: Origin(*values) for name, *values in rows}


def _connect(folder: Path, mode: str) -> sqlite3.Connection:
    address = f"{(folder / _FILE).resolve().as_uri()}?mode={mode}"
    return sqlite3.connect(address, uri=True, timeout=_SECONDS_TO_WAIT)


@contextlib.contextmanager
def _saying_damage(folder: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise DatasetError(
            f"{folder / _FILE} is damaged ({error}): delete it, and it is written anew"
        ) from error
