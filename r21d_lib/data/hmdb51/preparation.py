"""HMDB51's class folders out of what people have: archives in archives, or folders of either.

A class is made in a hidden folder and renamed when it is whole, so that an interrupted preparation
goes on with the classes that are missing.
"""

import os
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tqdm.auto import tqdm

from r21d_lib.data import lists
from r21d_lib.data.hmdb51 import archives
from r21d_lib.data.hmdb51.official import FOLDER
from r21d_lib.errors import DatasetError

_HIDDEN = ".unfinished"


def prepare_files(
    source: str | Path, to: str | Path, *, workers: int | None = None, progress: bool = True
) -> list[str]:
    """Bring HMDB51 into the form <to>/<class>/<name>.avi.

    Args:
        source: hmdb51_org.rar (an archive of 51 archives), a .zip of such content, a folder of class
            archives, or a folder of class folders; files in folders are linked where possible.
        to: the folder to fill; class folders that it holds are left as they are.
        workers: classes at a time; None takes one a core.
        progress: shows a bar when it takes more than two seconds.

    Returns:
        The classes that were made, sorted; without those that were there.

    Raises:
        DatasetError: if the source holds no class of HMDB51, or an archive is damaged, hostile, or
            needs a program that is not there. Classes that were finished stay.
    """
    source, to = Path(source).expanduser(), Path(to).expanduser()
    if not source.exists():
        raise DatasetError(
            f"no HMDB51 at {source}: give hmdb51_org.rar, or a folder of its class archives or folders"
        )
    if source.is_dir() and to.resolve().is_relative_to(source.resolve()):
        raise DatasetError(f"{to} lies in its own source {source}: choose another folder with --to")
    hidden = to / _HIDDEN
    shutil.rmtree(hidden, ignore_errors=True)  # of an interrupted preparation
    try:
        hidden.mkdir(parents=True)
        if source.is_file():
            if not archives.is_archive(source):
                raise DatasetError(f"{source} is neither a folder nor a .rar or .zip archive")
            archives.extract(source, hidden / "all")
            source = hidden / "all"
        sources = _class_sources(source)
        if not sources:
            raise DatasetError(
                f"{source} holds none of HMDB51's classes, neither as folders nor as archives: give "
                "hmdb51_org.rar or the folder with brush_hair, cartwheel, ..."
            )
        todo = {name: place for name, place in sources.items() if not (to / name).is_dir()}
        _make_all(todo, to, hidden, workers, progress)
        return sorted(todo)
    except OSError as error:
        raise DatasetError(
            f"{to} cannot be filled ({error}): free space or choose another folder"
        ) from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _class_sources(source: Path) -> dict[str, Path]:
    """Return where each class is: its folder or its archive, at the top or one folder below."""
    classes = lists.read_split(FOLDER, 1)[0]
    found: dict[str, Path] = {}
    for folder in (source, *sorted(p for p in source.iterdir() if p.is_dir())):
        for name in classes:
            places = (folder / name, *(folder / f"{name}{suffix}" for suffix in archives.SUFFIXES))
            for place in places:
                if place.is_dir() or archives.is_archive(place):
                    found.setdefault(name, place)
    return found


def _make_all(
    todo: dict[str, Path], to: Path, hidden: Path, workers: int | None, progress: bool
) -> None:
    """Make the classes, several at a time: other programs and the disk do the work."""
    make = partial(_make, to=to, hidden=hidden)
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        made = pool.map(make, todo, todo.values())
        for _ in tqdm(
            made, total=len(todo), desc="unpack", unit="class", disable=not progress, delay=2
        ):
            pass


def _make(name: str, place: Path, to: Path, hidden: Path) -> None:
    """Make one class folder of a folder or an archive."""
    if not place.is_dir():
        archives.extract(place, hidden / f"{name} unpacked")
        place = hidden / f"{name} unpacked"
    fresh = hidden / name
    fresh.mkdir()
    clips = _clips(place)
    if not clips:
        raise DatasetError(f"{place} holds no .avi file: unpack or copy the class {name} again")
    for clip in clips:
        if (fresh / clip.name).exists():
            raise DatasetError(f"{place} holds {clip.name} twice: delete one of them")
        try:
            os.link(clip, fresh / clip.name)
        except OSError:  # another disk
            shutil.copy2(clip, fresh / clip.name)
    os.replace(fresh, to / name)


def _clips(folder: Path) -> Iterable[Path]:
    """Return the .avi files below a folder, without those that macOS leaves beside every file."""
    return sorted(p for p in folder.rglob("*.avi") if p.is_file() and not p.name.startswith("._"))
