"""Which videos a user means by files, folders, patterns and lists."""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from r21d_lib.errors import SettingsError

SUFFIXES = frozenset(
    {".3g2", ".3gp", ".asf", ".avi", ".dv", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4"}
    | {".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".rm", ".ts", ".vob", ".webm", ".wmv", ".y4m"}
)


def find(given: Sequence[str]) -> dict[str, Path]:
    """Return the videos that are meant, by a name of each, in the order given.

    Args:
        given: video files, folders (all videos in them, at any depth), patterns such as "*.avi", and
            .txt lists of one path a line, relative to the list's folder or to the current one.

    Returns:
        A video's name to its path. The name is relative to the folder given, or the file's own. A
        file that does not exist is returned as well: whoever opens it says so.

    Raises:
        SettingsError: if a folder or list names no video, or two videos would have one name.
    """
    found: dict[str, Path] = {}
    for text in given:
        for name, path in _expand(text):
            if found.setdefault(name, path) != path:
                raise SettingsError(
                    f"{found[name]} and {path} would both be called {name}: give the folder above them"
                )
    if not found:
        raise SettingsError("no video was given: name files, folders or a .txt list")
    return found


def _expand(text: str) -> Iterator[tuple[str, Path]]:
    path = Path(text).expanduser()
    if path.is_dir():
        inside = sorted(_inside(path))
        if not inside:
            raise SettingsError(f"{path} holds no video: give a folder with .avi, .mp4, ... files")
        yield from ((p.relative_to(path).as_posix(), p) for p in inside)
    elif path.is_file() and path.suffix.lower() == ".txt":
        yield from _listed(path)
    elif not path.exists() and any(mark in text for mark in "*?["):
        # HMDB51's names hold brackets: a file of that very name comes before the pattern.
        matches = [Path(m) for m in sorted(glob.glob(str(path), recursive=True))]
        yield from ((m.name, m) for m in matches or [path])
    else:
        yield path.name, path


def _inside(folder: Path) -> Iterator[Path]:
    """Yield the videos below a folder, also of linked folders, each folder once.

    Names that begin with a dot are none of the user's: macOS's "._x.avi", Jupyter's copies, partials.
    """
    seen: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a link to a folder above it
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            path = Path(place, name)
            if not name.startswith(".") and path.suffix.lower() in SUFFIXES and path.is_file():
                yield path


def _listed(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield the videos of a list; a name that begins with "#" is one, as in HMDB51."""
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read as a list of videos ({error})") from error
    names = [line for line in lines if line]
    if not names:
        raise SettingsError(f"{path} names no video: write one path a line")
    for name in names:
        beside, own = path.parent / name, Path(name).expanduser()
        # Results are written under the name: it must not lead out of their folder.
        leads_out = own.is_absolute() or ".." in own.parts
        yield own.name if leads_out else name, beside if beside.exists() else own
