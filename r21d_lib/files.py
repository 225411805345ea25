"""Files written whole or not at all, their checksums, and the folders of this repository."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
DATA_SPLITS = REPOSITORY / "data_splits"
FIGURES = REPOSITORY / "figures"
# R21D_BUILD names another place for data, caches, runs and results, such as a larger disk.
BUILD = Path(os.environ.get("R21D_BUILD") or REPOSITORY / "build").expanduser()


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
