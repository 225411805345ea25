"""A split by group of videos that lie in a folder for each class, for data without lists."""

import os
import random
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from r21d_lib.data import find
from r21d_lib.data.lists import Part, group_of
from r21d_lib.errors import DatasetError, few

TEST_SHARE = 0.3  # of each class, as in HMDB51


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
    """Return the videos of a folder of class folders, split by group.

    Videos cut from one film or of one person resemble each other, so a group trains or tests as a
    whole. A video's group is the folder that it lies in below its class, what its name says
    (`lists.group_of`), or itself. Of each class about `TEST_SHARE` of the videos test.

    Args:
        folder: holds <class>/<video>, or <class>/<group>/<video>.

    Raises:
        DatasetError: if there is no class folder with a video in it.
    """
    files = [(path, path.relative_to(folder).parts) for path in find.files_below(folder)]
    found = [
        (path, parts)
        for path, parts in files
        if len(parts) > 1 and find.has_name_of_video(path) and os.path.isfile(path)
    ]
    if not found:
        raise DatasetError(f"{folder} holds no class folder with videos: give FOLDER/CLASS/VIDEO")
    return Found(
        tuple(_split(found)), tuple(_left_out(folder, files, {parts[0] for _, parts in found}))
    )


def _left_out(
    folder: Path, files: Sequence[tuple[Path, tuple[str, ...]]], classes: Collection[str]
) -> Iterator[str]:
    """Yield a line for each kind of what is there and in no class: none is passed over in silence."""
    loose, dead, others = list[str](), list[str](), list[str]()
    for path, parts in files:
        name = "/".join(parts)
        if not find.has_name_of_video(path):
            if len(parts) > 1:  # beside the class folders lie texts and lists
                others.append(name)
        elif not os.path.isfile(path):
            dead.append(name)
        elif len(parts) == 1:
            loose.append(name)
    folders = (path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    empty = sorted(path.name for path in folders if path.name not in classes)
    for names, what in (
        (empty, "folders hold no video and are no classes"),
        (loose, "videos lie in no class folder and were left out"),
        (dead, "videos are links that lead nowhere, or no files, and were left out"),
        (others, "files are not called as videos are and were left out"),
    ):
        if names:
            yield f"{folder}: {len(names):,} {what}: {few(names)}"


def _split(
    found: Sequence[tuple[Path, tuple[str, ...]]],
) -> Iterator[tuple[Path, str, Part, str]]:
    """Yield path, class, part and group of each video."""
    groups: dict[str, list[tuple[Path, str]]] = defaultdict(list)
    for path, parts in found:
        label = parts[0]
        group = "/".join(parts[:-1]) if len(parts) > 2 else group_of(f"{label}/{parts[-1]}")
        groups[group].append((path, label))
    videos = Counter(parts[0] for _, parts in found)
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
    for group, its_videos in groups.items():
        yield from ((path, label, parts_of[group], group) for path, label in its_videos)
