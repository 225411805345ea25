"""Which videos a user means by files, folders, patterns and lists."""

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from r21d_lib.errors import SettingsError
from r21d_lib.files import read_text

# What FFmpeg's readers in `video` are for, under all names that people give such files.
_NAMES = (
    "264 265 3g2 3gp 3gpp asf avi divx dv f4v flv gif h264 h265 hevc ivf m1v m2t m2ts m2v m4v mjpeg "
    "mjpg mkv mov mp4 mpe mpeg mpg mpv mts mxf nut ogm ogv qt rm rmvb ts vob webm wmv wtv xvid y4m"
)
SUFFIXES = frozenset(f".{name}" for name in _NAMES.split())


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
        inside = videos_below(path)
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


def videos_below(folder: Path) -> list[Path]:
    """Return the videos below a folder, sorted, also of linked folders, each folder once.

    A link with a video's name that leads nowhere is returned as well: whoever opens it says so.
    """
    return [
        path
        for path in files_below(folder)
        # What is there and no file, such as a pipe, would be waited for without end.
        if has_name_of_video(path) and (os.path.isfile(path) or not os.path.exists(path))
    ]


def files_below(folder: Path) -> list[Path]:
    """Return the files, and the links that lead nowhere, below a folder as `videos_below` does.

    Names that begin with a dot are none of the user's: macOS's "._x.avi", Jupyter's copies, partials.
    """
    seen: set[str] = set()
    found = []
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a link to a folder above it
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(place, name) for name in files if not name.startswith(".")]
    return sorted(found)


def has_name_of_video(path: Path) -> bool:
    """Tell whether a file is called as videos are."""
    return path.suffix.lower() in SUFFIXES


def _listed(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield the videos of a list; a name that begins with "#" is one, as in HMDB51."""
    names = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if not names:
        raise SettingsError(f"{path} names no video: write one path a line")
    outside = [Path(name).expanduser() for name in names]
    outside = [own for own in outside if own.is_absolute() or ".." in own.parts]
    short = _shortest(outside)
    for name in names:
        beside, own = path.parent / name, Path(name).expanduser()
        there = os.path.exists(beside)  # Path's own raises where a name is too long
        # Results are written under the name: it must not lead out of their folder.
        yield short.get(own, name), beside if there else own


def _shortest(paths: Sequence[Path]) -> dict[Path, str]:
    """Return of each path the last parts that tell it from the others."""
    names: dict[Path, str] = {}
    for count in range(1, max((len(p.parts) for p in paths), default=0) + 1):
        ends = Counter(p.parts[-count:] for p in set(paths))
        for path in paths:
            end = [part for part in path.parts[-count:] if part not in ("..", path.anchor)]
            if path not in names and ends[path.parts[-count:]] == 1:
                names[path] = "/".join(end)
    return names
