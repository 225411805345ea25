"""Taking files out of archives: .zip, .tar, .parquet, and .rar through whichever program reads it.

Nothing is written before every name in the archive was seen to stay inside the target folder.
"""

import contextlib
import errno
import functools
import io
import json
import os
import shutil
import stat
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm.auto import tqdm

from r21d_lib.errors import DatasetError
from r21d_lib.files import UNWRITABLE, stays_inside

Bar = Callable[..., Any]  # a bar of tqdm's, all but what it goes over
Unpack = Callable[[Path, Bar], None]

SUFFIXES = (".rar", ".zip", ".tar", ".tar.gz", ".tgz", ".parquet")

# What a disk alone says, whichever program writes to it.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


@dataclass(frozen=True)
class _Tool:
    """A program that lists and extracts .rar files.

    Attributes:
        program: its name.
        list_command: arguments that list; the archive follows.
        names: from the list command's output to the names in the archive.
        extract_command: from archive and folder to the arguments that extract.
    """

    program: str
    list_command: tuple[str, ...]
    names: Callable[[str], list[str]]
    extract_command: Callable[[str, str], list[str]]


def _names_of_7z(text: str) -> list[str]:
    """Read `7z l -slt`: after a line of dashes, one "Path = ..." an entry."""
    _, _, entries = text.partition("\n----------\n")
    return [line.removeprefix("Path = ") for line in entries.splitlines() if line.startswith("Path = ")]


def _names_of_lsar(text: str) -> list[str]:
    return [entry["XADFileName"] for entry in json.loads(text)["lsarContents"]]


_TOOLS = (
    _Tool("bsdtar", ("bsdtar", "-tf"), str.splitlines, lambda a, to: ["bsdtar", "-xf", a, "-C", to]),
    _Tool("7z", ("7z", "l", "-slt"), _names_of_7z, lambda a, to: ["7z", "x", "-y", f"-o{to}", a]),
    _Tool("unrar", ("unrar", "lb"), str.splitlines, lambda a, to: ["unrar", "x", "-idq", a, f"{to}/"]),
    _Tool("unar", ("lsar", "-json"), _names_of_lsar, lambda a, to: ["unar", "-q", "-D", "-o", to, a]),
)


def is_archive(path: Path) -> bool:
    """Tell by its name whether a file is an archive that `extract` takes."""
    return path.is_file() and path.name.lower().endswith(SUFFIXES)


def extract(archive: Path, to: Path, *, progress: bool = False) -> None:
    """Take all files out of an archive into a folder that does not exist yet.

    Args:
        archive: one that `is_archive` knows.
        to: the folder.
        progress: shows a bar when it takes more than two seconds.

    Raises:
        DatasetError: if no program can read the archive, it is damaged, or a name in it leaves the
            folder; then the folder is not there.
    """
    readers = {".zip": _zip, ".rar": _rar, ".parquet": _parquet}
    bar: Bar = functools.partial(
        tqdm, desc=archive.name, unit="file", disable=not progress, delay=2, leave=False
    )
    names, unpack = readers.get(archive.suffix.lower(), _tar)(archive, bar)
    for name in names:
        if not stays_inside(name):
            raise DatasetError(
                f"{archive} is refused: its entry {name!r} would be written outside of {to}"
            )
    to.mkdir(parents=True)
    try:
        unpack(to, bar)
        for path in to.rglob("*"):
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise DatasetError(f"{archive} is refused: its entry {path.name!r} is no plain file")
            path.chmod(0o755 if path.is_dir() else 0o644)  # whatever rights the archive gives
    except BaseException:
        shutil.rmtree(to, ignore_errors=True)
        raise


@contextlib.contextmanager
def _reading(archive: Path, *, writes: bool = False) -> Iterator[None]:
    """Say in one line why an archive cannot be read.

    Args:
        archive: what is read inside.
        writes: something is written inside, too: what the target's disk refuses is let through.

    Raises:
        DatasetError: if it is damaged, may not be read, or is of a kind that Python does not unpack.
    """
    try:
        yield
    except Exception as error:  # each form and each compression has errors of its own for damage
        why = str(error) or type(error).__name__
        if isinstance(error, OSError) and error.errno:
            if writes and error.errno in UNWRITABLE and str(error.filename) != str(archive):
                raise
            way_out = f"cannot be read ({error.strerror or why}): check its rights, or copy it again"
        elif isinstance(error, RuntimeError):  # zipfile's for a password and an unknown compression
            way_out = f"cannot be unpacked ({why}): unpack it with another program, and give the folder"
        else:
            way_out = f"is damaged ({why}): copy it again"
        raise DatasetError(f"{archive} {way_out}") from error


def _zip(archive: Path, _: Bar) -> tuple[list[str], Unpack]:
    with _reading(archive), zipfile.ZipFile(archive) as file:
        entries = file.infolist()
    for entry in entries:
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise DatasetError(f"{archive} is refused: its entry {entry.filename!r} is a link")

    def unpack(to: Path, bar: Bar) -> None:
        with _reading(archive, writes=True), zipfile.ZipFile(archive) as file:
            file.extractall(to, bar(entries))

    return [entry.filename for entry in entries], unpack


def _tar(archive: Path, seen: Bar) -> tuple[list[str], Unpack]:
    with _reading(archive), tarfile.open(archive) as file:
        entries = list(seen(file))  # of a compressed one, all of it is read for its names
        _check_end(file)
    for entry in entries:
        if not (entry.isfile() or entry.isdir()):
            raise DatasetError(f"{archive} is refused: its entry {entry.name!r} is no plain file")

    def unpack(to: Path, bar: Bar) -> None:
        with _reading(archive, writes=True), tarfile.open(archive) as file:
            file.extractall(to, bar(file, total=len(entries)), filter="data")

    return [entry.name for entry in entries], unpack


def _check_end(file: tarfile.TarFile) -> None:
    """Tell whether a tar whose entries were listed is whole, which tarfile alone does not.

    It takes a header that makes no sense for the end, and leaves out the end of a compressed stream,
    which holds its checksum.
    """
    stream = file.fileobj
    assert stream is not None
    if isinstance(stream, io.BufferedReader):  # not compressed
        stream.seek(file.offset)
        if any(stream.read(tarfile.BLOCKSIZE)):
            raise tarfile.ReadError("one of its headers makes no sense")
    while stream.read(2**20):
        pass


def _parquet(archive: Path, _: Bar) -> tuple[list[str], Unpack]:
    """Read a table of the Hugging Face Hub: a column `video` of {bytes, path}, a row a video."""
    import pyarrow.parquet

    with _reading(archive):
        table = pyarrow.parquet.ParquetFile(archive)
        columns = {table.schema.column(i).path for i in range(len(table.schema.names))}
    if not {"video.bytes", "video.path"} <= columns:
        raise DatasetError(
            f"{archive} is no table with a column video of bytes and path: take another form"
        )
    with _reading(archive):
        videos = table.read(columns=["video.path"]).column("video").to_pylist()
    paths = [(video or {}).get("path") for video in videos]
    names = [PurePosixPath(path).name if isinstance(path, str) else "" for path in paths]
    if not all(names):
        raise DatasetError(
            f"{archive} does not say the videos' names, which the official splits list: take another "
            "form"
        )

    def rows() -> Iterator[dict[str, Any]]:
        with _reading(archive):  # and nothing of the writing, which is its reader's
            for batch in table.iter_batches(batch_size=16, columns=["video"]):
                yield from batch.column("video").to_pylist()

    def unpack(to: Path, bar: Bar) -> None:
        for row in bar(rows(), total=len(names)):
            if not isinstance(row["bytes"], bytes):
                raise DatasetError(
                    f"{archive} names {row['path']} but does not hold the video itself: take another "
                    "form, whose files are in it"
                )
            (to / PurePosixPath(row["path"]).name).write_bytes(row["bytes"])

    return names, unpack


def _rar(archive: Path, _: Bar) -> tuple[list[str], Unpack]:
    """List with the first program that can: not every 7z was built with rar."""
    failures = []
    for tool in (tool for tool in _TOOLS if shutil.which(tool.program)):
        try:
            names = tool.names(_run([*tool.list_command, str(archive)], archive))
        except DatasetError as error:
            failures.append(error)
            continue
        return names, functools.partial(_extract_with, tool, archive, len(names))
    if failures:
        raise failures[0]
    raise DatasetError(
        f"{archive} needs a program that reads .rar: apt-get install libarchive-tools "
        "(or unrar, 7zip-rar, unar; macOS and conda: libarchive)"
    )


def _extract_with(tool: _Tool, archive: Path, entries: int, to: Path, bar: Bar) -> None:
    with bar(total=entries) as shown:

        def look() -> None:
            shown.update(sum(1 for _ in to.rglob("*")) - shown.n)

        _run(tool.extract_command(str(archive), str(to)), archive, look)


def _run(command: list[str], archive: Path, look: Callable[[], None] = lambda: None) -> str:
    """Run a program to its end and return what it said; call `look` every second meanwhile."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as done:
        while True:
            try:
                out, err = done.communicate(timeout=1)
                break
            except subprocess.TimeoutExpired:
                look()
            except BaseException:  # such as Ctrl-C
                done.kill()
                raise
    if done.returncode != 0:
        said = (err or out).decode(errors="replace")
        for full in _FULL:  # not the archive's fault, and told as of every other form
            if os.strerror(full) in said:
                raise OSError(full, os.strerror(full))
        lines = said.strip().splitlines()
        reason = lines[-1] if lines else f"{command[0]} ended with {done.returncode}"
        raise DatasetError(f"{archive} cannot be unpacked ({reason}): copy it again")
    return out.decode(errors="surrogateescape")
