"""A split by group of videos that lie in a folder for each class, for data without lists."""

import os
import random
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Literal

from r21d_lib.data import find
from r21d_lib.data.lists import Part, composed, group_of
from r21d_lib.errors import DatasetError, few

TEST_SHARE = 0.3  # of each class, as in HMDB51
_Named = Part | Literal["validation"]
PARTS: dict[str, _Named] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
}


@dataclass(frozen=True)
class Found:
    """What `read` found in a folder of class folders.

    Attributes:
        rows: path, class, part and group of each video.
        left_out: what else is there, a line a kind.
    """

    rows: tuple[tuple[Path, str, Part, str], ...]
    left_out: tuple[str, ...]


def read(folder: Path) -> Found:
    """Return the videos of a folder of class folders, split by group where it has no parts of its own.

    Where all top folders are called as parts are (`PARTS`) and hold class folders, they are the parts,
    and likewise where all folders in the class folders are. Validation videos test where there are no
    others, as in Kinetics, and else are left out: to train on them, or to choose by them, would be
    another split.

    Else videos are split here: those cut from one film or of one person resemble each other, so a group
    trains or tests as a whole. Of each class about `TEST_SHARE` of the videos test.

    Args:
        folder: holds <class>/<video> or <class>/<group>/<video>, or these in folders of parts. A
            video's group is that folder's name, whatever the class: who walks in one and runs in
            another is one person. Groups that only happen to be called alike, such as "1", stay
            together for nothing, and no video leaks. Without such a folder it is what the video's
            name says (`lists.group_of`), or the video itself.

    Raises:
        DatasetError: if there is no class folder with a video in it, or folders of parts lie
            beside others.
    """
    files = [(path, path.relative_to(folder).parts) for path in find.files_below(folder)]
    videos = [
        (path, parts) for path, parts in files if find.has_name_of_video(path) and os.path.isfile(path)
    ]
    level, part_of = _level_of_parts(folder, [parts for _, parts in videos])
    depth = 1 if level is None else 2
    found = [(path, parts) for path, parts in videos if len(parts) > depth]
    if not found:
        raise DatasetError(f"{folder} holds no class folder with videos: give FOLDER/CLASS/VIDEO")
    left_out = list(_left_out(folder, files, {parts[:depth] for _, parts in found}))
    unused = [
        "/".join(parts) for _, parts in found if level is not None and part_of[parts[level]] is None
    ]
    if unused:
        what = "validation videos were left out, as there are test videos"
        left_out.append(f"{folder}: {len(unused):,} {what}: {few(unused)}")
    return Found(tuple(_split(found, level, part_of)), tuple(left_out))


def _level_of_parts(
    folder: Path, videos: Sequence[tuple[str, ...]]
) -> tuple[int | None, dict[str, Part | None]]:
    """Return which folders from the top are parts, if any, and what each is for; None for neither."""
    tops, seconds = ({parts[level] for parts in videos if len(parts) > level + 1} for level in (0, 1))
    in_tops, in_seconds = (
        {n: PARTS[n.casefold()] for n in names if n.casefold() in PARTS} for names in (tops, seconds)
    )
    shallow = {parts[0] for parts in videos if len(parts) == 2}
    if in_seconds.keys() == seconds and not shallow and _is_split(in_seconds):
        return 1, _without_validation(in_seconds)
    if not in_tops or not seconds:
        return None, {}
    if others := sorted(tops - in_tops.keys()):
        if _is_split(in_tops) and not in_tops.keys() & shallow:
            raise DatasetError(
                f"{folder} holds the parts {few(sorted(in_tops))} beside {few(others)}: give a "
                "folder of parts, or one of classes"
            )
        return None, {}
    return 0, _without_validation(in_tops)


def _is_split(named: Mapping[str, _Named]) -> bool:
    """Tell whether some train and others do not: one such name alone may be a class."""
    return "train" in named.values() and len(set(named.values())) > 1


def _without_validation(named: Mapping[str, _Named]) -> dict[str, Part | None]:
    validation: Part | None = None if "test" in named.values() else "test"
    return {name: validation if part == "validation" else part for name, part in named.items()}


def _left_out(
    folder: Path, files: Sequence[tuple[Path, tuple[str, ...]]], classes: Collection[tuple[str, ...]]
) -> Iterator[str]:
    """Yield a line for each kind of what is there and in no class: none is passed over in silence."""
    loose, dead, others = list[str](), list[str](), list[str]()
    depth = max(map(len, classes))
    for path, parts in files:
        name = "/".join(parts)
        if not find.has_name_of_video(path):
            if len(parts) > depth:  # beside the class folders lie texts and lists
                others.append(name)
        elif not os.path.isfile(path):
            dead.append(name)
        elif len(parts) <= depth:
            loose.append(name)
    used = {parts[:count] for parts in classes for count in (1, depth)}
    tops = {parts[0] for parts in classes} if depth == 2 else set()
    folders: list[tuple[str, ...]] = [(name,) for name in _folders_in(folder)]
    folders += [(top, name) for top in sorted(tops) for name in _folders_in(folder / top)]
    empty = ["/".join(parts) for parts in folders if parts not in used]
    for names, what in (
        (empty, "folders hold no video and are no classes"),
        (loose, "videos lie in no class folder and were left out"),
        (dead, "videos are links that lead nowhere, or no files, and were left out"),
        (others, "files are not called as videos are and were left out"),
    ):
        if names:
            yield f"{folder}: {len(names):,} {what}: {few(names)}"


def _folders_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _split(
    found: Sequence[tuple[Path, tuple[str, ...]]],
    level: int | None,
    part_of: Mapping[str, Part | None],
) -> Iterator[tuple[Path, str, Part, str]]:
    """Yield path, class, part and group of each video."""
    groups: dict[str, list[tuple[Path, str]]] = defaultdict(list)
    places = [
        (path, parts, parts if level is None else parts[:level] + parts[level + 1 :])
        for path, parts in found
    ]
    depth = _depth_of_groups([below[1:-1] for _, _, below in places])
    for path, parts, below in places:
        label, group = composed(below[0]), _group(parts, below, depth)
        if level is None:
            groups[group].append((path, label))
        elif (part := part_of[parts[level]]) is not None:
            yield path, label, part, group
    parts_of = _draw_test(groups)
    for group, its_videos in groups.items():
        yield from ((path, label, parts_of[group], group) for path, label in its_videos)


def _depth_of_groups(folders: Iterable[tuple[str, ...]]) -> int:
    """Return how many folders below the classes all videos lie in, such as "clips", before a group's.

    What lies deeper than a group, such as days of a person, is of the group.
    """
    given = [its for its in folders if its]
    levels = [set(names) for names in zip(*given, strict=False)]
    return sum(1 for _ in takewhile(lambda names: len(names) == 1, levels[:-1]))


def _group(parts: tuple[str, ...], below: tuple[str, ...], depth: int) -> str:
    """Return what a video was cut from: its folder below its class, what its name says, or itself."""
    if len(below) > 2:
        return composed(below[1 + depth])
    name = "/".join(below)
    group = group_of(name)
    return "/".join(parts) if group == name else group  # both parts may have a walk/1.avi


def _draw_test(groups: Mapping[str, Sequence[tuple[Path, str]]]) -> dict[str, Part]:
    """Return the part of each group; drawn, and the same each time."""
    videos = Counter(label for its_videos in groups.values() for _, label in its_videos)
    left, tested = Counter(videos), Counter[str]()
    order = sorted(groups)
    random.Random(0).shuffle(order)
    parts_of: dict[str, Part] = {}
    for group in order:
        its = Counter(label for _, label in groups[group])
        wanted = sum(
            count if tested[label] + count / 2 <= TEST_SHARE * videos[label] else -count
            for label, count in its.items()
        )
        trains_none = any(left[label] <= count for label, count in its.items())
        if wanted > 0 and not trains_none:
            tested, left, parts_of[group] = tested + its, left - its, "test"
        else:
            parts_of[group] = "train"
    if "test" not in parts_of.values():  # large groups that are of many classes
        counts = {group: Counter(label for _, label in groups[group]) for group in order}
        spare = [g for g in order if all(count < videos[label] for label, count in counts[g].items())]
        for group in sorted(spare, key=lambda group: counts[group].total())[:1]:
            parts_of[group] = "test"
    return parts_of
