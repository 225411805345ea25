"""A split by group of videos that lie in a folder for each class, for data without lists."""

import random
from collections import Counter, defaultdict
from pathlib import Path

from r21d_lib.data import find
from r21d_lib.data.lists import Part, group_of
from r21d_lib.errors import DatasetError

TEST_SHARE = 0.3  # of each class, as in HMDB51


def rows(folder: Path) -> list[tuple[Path, str, Part, str]]:
    """Return path, class, part and group of each video below a folder of class folders.

    Videos cut from one film or of one person resemble each other, so a group trains or tests as a
    whole. A video's group is the folder that it lies in below its class, what its name says
    (`lists.group_of`), or itself. Of each class about `TEST_SHARE` of the videos test.

    Args:
        folder: holds <class>/<video>, or <class>/<group>/<video>.

    Raises:
        DatasetError: if there is no class folder with a video in it.
    """
    found = [
        (path, path.relative_to(folder).parts)
        for path in find.videos_below(folder)
        if path.parent != folder
    ]
    if not found:
        raise DatasetError(f"{folder} holds no class folder with videos: give FOLDER/CLASS/VIDEO")
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
    return [
        (path, label, parts_of[g], g) for g, its_videos in groups.items() for path, label in its_videos
    ]
