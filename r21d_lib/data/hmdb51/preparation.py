"""HMDB51's class folders out of what people have: archives in archives, or folders of either.

A class is made in a hidden folder and renamed when it is whole, so that an interrupted preparation
goes on with the classes that are missing.
"""

import os
import shutil
from collections import defaultdict
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tqdm.auto import tqdm

from r21d_lib.data import lists
from r21d_lib.data.hmdb51 import archives
from r21d_lib.data.hmdb51.official import FOLDER, known_names
from r21d_lib.errors import DatasetError
from r21d_lib.files import only_writer

_HIDDEN = ".unfinished"


def prepare_files(
    source: str | Path,
    to: str | Path,
    *,
    classes: Collection[str] | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> list[str]:
    """Bring HMDB51 into the form <to>/<class>/<name>.avi.

    Args:
        source: hmdb51_org.rar (an archive of 51 archives), a .zip or .tar of such content, .tar or
            .parquet shards, or a folder of any of these or of class folders; files are linked where
            possible.
        to: the folder to fill; class folders that it holds stay, and get what they lack of folders.
        classes: those to take; None takes all.
        workers: classes at a time; None takes one a core.
        progress: shows a bar when it takes more than two seconds.

    Returns:
        The classes that were made or added to, sorted; without those that were there whole.

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
    with only_writer(to):
        return _fill(source, to, classes, workers, progress)


def _fill(
    source: Path, to: Path, classes: Collection[str] | None, workers: int | None, progress: bool
) -> list[str]:
    """Do what `prepare_files` says, with nobody else at it."""
    given, hidden = source, to / _HIDDEN
    shutil.rmtree(hidden, ignore_errors=True)  # of an interrupted preparation
    try:
        hidden.mkdir(parents=True)
        if source.is_file():
            if not archives.is_archive(source):
                raise DatasetError(
                    f"{source} is neither a folder nor an archive ({', '.join(archives.SUFFIXES)})"
                )
            archives.extract(source, hidden / "all", progress=progress)
            source = hidden / "all"
        sources = _class_sources(source, hidden, progress)
        if not sources:
            raise DatasetError(
                f"{source} holds none of HMDB51's classes, neither as folders nor as archives: give "
                "hmdb51_org.rar or the folder with brush_hair, cartwheel, ..."
            )
        todo = {
            name: places
            for name, places in sources.items()
            if (classes is None or name in classes) and _adds(places, to / name)
        }
        _make_all(todo, to, hidden, workers, progress)
        return sorted(todo)
    except OSError as error:
        # A copy's error names both files where either may be at fault.
        file = Path(str(error.filename or ""))
        if error.filename2 is None and file.is_relative_to(given):
            raise DatasetError(
                f"{file} cannot be read ({error.strerror}): check its rights, or copy it again"
            ) from error
        raise DatasetError(
            f"{to} cannot be filled ({error}): free space or choose another folder"
        ) from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _adds(places: list[Path], folder: Path) -> bool:
    """Tell whether a class's sources hold what its folder lacks; an archive holds a whole class."""
    if not folder.is_dir():
        return True
    there = {clip.name for clip in _clips(folder)}
    return any(clip.name not in there for place in places if place.is_dir() for clip in _clips(place))


def _class_sources(source: Path, hidden: Path, progress: bool) -> dict[str, list[Path]]:
    """Return where each class is: its folders, or its archive, at the top or some folders below.

    Some libraries lay a class out in several folders (train/CLASS, test/CLASS, other/CLASS), others in
    shards, archives that are named otherwise: these are unpacked. A clip that lies in no class's folder
    is known by its name, which the lists give.
    """
    classes = set(lists.read_split(FOLDER, 1)[0])
    folders: dict[str, list[Path]] = defaultdict(list)
    packed: dict[str, list[Path]] = {}
    shards, loose = list[Path](), list[Path]()
    waiting, seen = [source], set[Path]()
    while waiting:
        folder = waiting.pop(0)
        if folder.resolve() in seen:  # a link to a folder above it
            continue
        seen.add(folder.resolve())
        for path in sorted(folder.iterdir()):
            stem = _stem(path)
            if path.name.startswith(".") or path == hidden:
                continue
            if path.is_dir() and path.name in classes:
                folders[path.name].append(path)
            elif path.is_dir():
                waiting.append(path)
            elif archives.is_archive(path) and stem in classes:
                packed.setdefault(stem, [path])
            elif archives.is_archive(path):
                shards.append(path)
            elif path.suffix == ".avi":
                loose.append(path)
    found = {**packed, **folders}
    if not found:
        for number, shard in enumerate(shards):
            archives.extract(shard, hidden / "shards" / f"{number}", progress=progress)
        if shards:
            return _class_sources(hidden / "shards", hidden, progress)
        found = _by_name(loose, hidden / "by name")
    return found


def _stem(path: Path) -> str:
    suffix = next((s for s in archives.SUFFIXES if path.name.lower().endswith(s)), "")
    return path.name[: len(path.name) - len(suffix)]


def _by_name(clips: list[Path], to: Path) -> dict[str, list[Path]]:
    """Sort clips without class folders by the lists' names, in links."""
    class_of = {name.rpartition("/")[2]: name.rpartition("/")[0] for name in known_names()}
    found: dict[str, list[Path]] = {}
    for clip in clips:
        label = class_of.get(clip.name)
        if label is not None:
            (to / label).mkdir(parents=True, exist_ok=True)
            _link(clip, to / label / clip.name)
            found[label] = [to / label]
    return found


def _make_all(
    todo: dict[str, list[Path]], to: Path, hidden: Path, workers: int | None, progress: bool
) -> None:
    """Make the classes, several at a time: other programs and the disk do the work."""
    make = partial(_make, to=to, hidden=hidden)
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        made = pool.map(make, todo, todo.values())
        for _ in tqdm(
            made, total=len(todo), desc="unpack", unit="class", disable=not progress, delay=2
        ):
            pass


def _make(name: str, places: list[Path], to: Path, hidden: Path) -> None:
    """Make one class folder of folders or an archive, or add to one that is there what it lacks."""
    if not places[0].is_dir():
        archives.extract(places[0], hidden / f"{name} unpacked")
        places = [hidden / f"{name} unpacked"]
    fresh = hidden / name
    fresh.mkdir()
    clips = [clip for place in places for clip in _clips(place)]
    if not clips:
        raise DatasetError(f"{places[0]} holds no .avi file: unpack or copy the class {name} again")
    for clip in clips:
        if (fresh / clip.name).exists():
            raise DatasetError(
                f"{clip.parent} holds {clip.name}, as another folder: delete one of them"
            )
        _link(clip, fresh / clip.name)
    if not (to / name).is_dir():
        os.replace(fresh, to / name)
        return
    there = {clip.name for clip in _clips(to / name)}
    for clip in fresh.iterdir():
        if clip.name not in there:
            os.replace(clip, to / name / clip.name)


def _link(clip: Path, to: Path) -> None:
    """Link a clip's own file, not a link to it: one relative to its folder would lead nowhere."""
    try:
        os.link(os.path.realpath(clip), to)
    except OSError:  # another disk
        shutil.copy2(clip, to)


def _clips(folder: Path) -> list[Path]:
    """Return the .avi files below a folder, without those that macOS leaves beside every file."""
    return sorted(p for p in folder.rglob("*.avi") if p.is_file() and not p.name.startswith("._"))
