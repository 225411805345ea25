"""Files written whole or not at all, their checksums, and the folders that the package uses."""

import codecs
import contextlib
import errno
import functools
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from r21d_lib.errors import DatasetError, R21DError, SettingsError, few

_PACKAGE = Path(__file__).resolve().parent
# Of errors that say something of the disk and its rights, not of the program.
UNWRITABLE = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
    | {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP}
)
_MADE = "made_by_r21d.json"
_LONGEST_STEM = 200  # bytes of a name that leave room for what is put around it
_UNFINISHED = ("r21d-unfinished", "r21d-old")
_SECONDS_UNTIL_LEFT = 3600.0  # a partial file that nobody touched for so long has no writer
LONGEST_NAME = 255  # bytes of a file or a folder; characters of a class
_SECONDS_TO_WAIT = 5.0  # for another writer, which may be about to end
# The repository around the package; None where it was installed without it.
CHECKOUT = _PACKAGE.parent if (_PACKAGE.parent / "notebooks/00_start_here.ipynb").is_file() else None
DATA_SPLITS = (CHECKOUT or _PACKAGE) / "data_splits"  # a wheel carries the lists inside
# For data, caches, runs and results. R21D_BUILD names another place, such as a larger disk; a package
# without its repository writes below the folder in which it is run.
BUILD = Path(os.environ.get("R21D_BUILD") or (CHECKOUT or Path.cwd()) / "build").expanduser()


class UnwritableError(R21DError):
    """A place that cannot be written."""


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path that becomes `path` on success and is removed on any error.

    It lies in the same folder, made where missing, and keeps the suffix, because writers such as
    FFmpeg choose the format by it. A reader sees the old file or the whole new one, never a part.

    Raises:
        UnwritableError: if the disk is full, read-only or the like.
    """
    path = Path(path)
    stem = path.stem
    if len(os.fsencode(stem)) > _LONGEST_STEM:
        stem = hashlib.sha256(os.fsencode(stem)).hexdigest()[:16]
    partial = path.with_name(f".{stem}.{os.getpid()}.partial{path.suffix}")
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            clear_partials(path.parent)
            yield partial
            os.replace(partial, path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def fitting(name: str, suffix: str) -> str:
    """Return `name` + `suffix` for a file, the name cut where no disk takes it whole.

    Args:
        name: with folders before it or not; a cut one ends with a part of its SHA-256.
        suffix: with its dot.
    """
    folder, slash, own = name.rpartition("/")
    room = LONGEST_NAME - len(os.fsencode(suffix))
    whole = os.fsencode(own)
    if len(whole) > room:
        digest = "-" + hashlib.sha256(whole).hexdigest()[:12]
        own = os.fsdecode(whole[: room - len(digest)]).encode("utf-8", "ignore").decode() + digest
    return f"{folder}{slash}{own}{suffix}"


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say in one line that `path` cannot be written, where that is why something inside fails.

    Raises:
        UnwritableError: if the disk is full, read-only or the like.
    """
    try:
        yield
    except R21DError:
        raise
    except Exception as error:  # torch, safetensors and others have errors of their own for a full disk
        code = _why_unwritable(error) or (errno.ENOSPC if _is_full(path.parent) else None)
        if code is None:
            raise
        raise UnwritableError(
            f"{path} cannot be written ({os.strerror(code)}): free space or choose another place; what "
            "was there before is whole"
        ) from error


def _why_unwritable(error: BaseException) -> int | None:
    """Return the number of the system's error that led to another one, if it is one of the disk's."""
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, OSError) and chain.errno in UNWRITABLE:
            return chain.errno
        chain = chain.__cause__ or chain.__context__
    return None


def _is_full(folder: Path) -> bool:
    return folder.is_dir() and shutil.disk_usage(folder).free < 2**16


@functools.lru_cache(1024)  # a folder once a process: it may hold many files
def clear_partials(folder: Path) -> None:
    """Delete the partial files that killed writers left in a folder."""
    for partial in folder.glob(".*.partial*"):
        if re.search(r"\.\d+\.partial(\.\w+)?$", partial.name):
            with contextlib.suppress(OSError):
                if time.time() - partial.stat().st_mtime > _SECONDS_UNTIL_LEFT:
                    partial.unlink()


@contextlib.contextmanager
def only_writer(folder: str | Path, *, wait: bool = False) -> Iterator[bool]:
    """Keep other processes of this machine, that ask likewise, from writing into a folder meanwhile.

    The lock is a file in the system's temporary folder, so nothing is left beside `folder`; when its
    process ends in any way, it is free.

    Args:
        folder: whether it is there or not.
        wait: lets another one that writes there for more than a few seconds end, and says so in a line.

    Yields:
        Whether it was said that another one is waited for.

    Raises:
        SettingsError: if another one writes there, and still does after a few seconds, unless `wait`.
    """
    from filelock import FileLock, Timeout
    from tqdm.auto import tqdm

    place = os.fsencode(Path(folder).resolve())
    owner = getattr(os, "getuid", lambda: 0)()
    locks = Path(tempfile.gettempdir()) / f"r21d-locks-{owner}"
    locks.mkdir(mode=0o700, exist_ok=True)
    lock = FileLock(locks / hashlib.sha256(place).hexdigest())
    waited = False
    try:
        lock.acquire(timeout=_SECONDS_TO_WAIT)
    except Timeout as error:
        if not wait:
            raise SettingsError(
                f"another r21d command is writing into {folder}: wait until it has ended, or choose "
                "another folder"
            ) from error
        waited = True
    if waited:
        line = f"another r21d command is writing into {folder}: this one goes on when it has ended"
        tqdm.write(line, file=sys.stderr)
        lock.acquire()
    try:
        yield waited
    finally:
        lock.release()


def check_writable(path: Path) -> None:
    """Try whether a file can be written, without touching one that is there.

    Raises:
        SettingsError: if it cannot, or is a folder.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".partial"):
            pass
    except OSError as error:
        raise SettingsError(f"{path} cannot be written ({error.strerror}): name another") from error


@contextlib.contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Yield a new folder that becomes `path` on success and is removed on any error.

    A folder that is there is replaced only if it was made so and nothing was added since: its file
    `made_by_r21d.json` lists what was made.

    Raises:
        SettingsError: if `path` holds anything else, before anything is written and again at the end.
    """
    path = Path(path)
    _check_made_here(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with only_writer(path):
        _clear_unfinished(path)
        fresh, old = (path.with_name(f".{path.name}.{kind}") for kind in _UNFINISHED)
        fresh.mkdir()
        try:
            yield fresh
            (fresh / _MADE).write_text(json.dumps(sorted(_files_in(fresh))) + "\n")
            _check_made_here(path)
            if path.exists():
                os.replace(path, old)
            os.replace(fresh, path)
        finally:
            _clear_unfinished(path)


def _clear_unfinished(path: Path) -> None:
    """Delete what a killed writer of a folder left; put the old one back if it was already moved."""
    fresh, old = (path.with_name(f".{path.name}.{kind}") for kind in _UNFINISHED)
    if old.is_dir() and not path.exists():
        os.replace(old, path)
    for folder in (fresh, old):
        shutil.rmtree(folder, ignore_errors=True)


def _check_made_here(folder: Path) -> None:
    """Refuse a folder that holds what `whole_folder` did not write there."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise SettingsError(f"{folder} is there and no folder that r21d made: choose another name")
    there = _files_in(folder)
    try:
        made = set(json.loads((folder / _MADE).read_text())) | {_MADE} if there else set()
    except (OSError, ValueError, TypeError):
        made = set()
    foreign = sorted(there - made)
    if foreign:
        raise SettingsError(
            f"{folder} holds {few(foreign)}, which r21d did not put there: choose another folder, or "
            "move it away"
        )


def _files_in(folder: Path) -> set[str]:
    """Return the files and links in a folder and below, by relative path; links are not followed."""
    return {
        file.relative_to(folder).as_posix()
        for file in folder.rglob("*")
        if file.is_symlink() or not file.is_dir()
    }


def check_name(name: str) -> None:
    """Refuse a name to be given to a folder where it is a place, which may lie anywhere.

    Raises:
        SettingsError: if it has other folders in it, or is one of them.
    """
    if name != Path(name).name or not stays_inside(name):
        raise SettingsError(f"{name!r} is no name but a place: give the folder with --to")


def stays_inside(name: str) -> bool:
    """Tell whether a name, by the rules of Linux and of Windows, is a place below its folder."""
    for path in (PurePosixPath(name), PureWindowsPath(name)):
        if path.is_absolute() or path.drive or path.root or ".." in path.parts:
            return False
    return "\n" not in name and "\0" not in name


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_text(file: Path) -> str:
    """Return a text file as editors, spreadsheets and shells write one: UTF-8, or UTF-16 with its mark.

    Raises:
        DatasetError: if it is missing, or in another encoding.
    """
    try:
        content = file.read_bytes()
        marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = content.decode("utf-16" if marked else "utf-8-sig")
    except OSError as error:
        raise DatasetError(f"no file {file} ({error.strerror}): check the path") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{file} is not in UTF-8 ({error.reason}): save it as UTF-8") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def check_zip(path: str | Path) -> None:
    """Compare every entry of a zip archive with its checksum, which numpy does not.

    Raises:
        OSError, ValueError, zipfile.BadZipFile or others: if it is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        if damaged := archive.testzip():
            raise ValueError(f"{damaged} is not as it was written")
