"""Files written whole or not at all, their checksums, and the folders that the package uses."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from r21d_lib.errors import SettingsError, few

_PACKAGE = Path(__file__).resolve().parent
_MADE = "made_by_r21d.json"
# The repository around the package; None where it was installed without it.
CHECKOUT = _PACKAGE.parent if (_PACKAGE.parent / "notebooks/00_start_here.ipynb").is_file() else None
DATA_SPLITS = (CHECKOUT or _PACKAGE) / "data_splits"  # a wheel carries the lists inside
# For data, caches, runs and results. R21D_BUILD names another place, such as a larger disk; a package
# without its repository writes below the folder in which it is run.
BUILD = Path(os.environ.get("R21D_BUILD") or (CHECKOUT or Path.cwd()) / "build").expanduser()


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path that becomes `path` on success and is removed on any error.

    It lies in the same folder, made where missing, and keeps the suffix, because writers such as
    FFmpeg choose the format by it. A reader sees the old file or the whole new one, never a part.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


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
    fresh = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    try:
        yield fresh
        (fresh / _MADE).write_text(json.dumps(sorted(_files_in(fresh))) + "\n")
        _check_made_here(path)
        if path.exists():
            os.replace(path, old)
        os.replace(fresh, path)
    finally:
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


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
