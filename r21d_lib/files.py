"""Files written whole or not at all, their checksums, and the folders that the package uses."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
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


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
