"""HMDB51's lists: 51 actions; each of three splits trains on 70 clips a class and tests on 30."""

import csv
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from r21d_lib.data import lists
from r21d_lib.errors import DatasetError
from r21d_lib.files import BUILD, DATA_SPLITS

NUM_CLASSES = 51
NUM_CLIPS = 6766
FOLDER = DATA_SPLITS / "hmdb51"
CLIPS_PER_CLASS: dict[lists.Part, int] = {"train": 70, "test": 30}


def load(root: str | Path, *, split: int = 1, part: lists.Part) -> lists.VideoList:
    """Return the 3,570 training or 1,530 test videos of a split.

    Args:
        root: the folder that holds the 51 class folders of .avi files.
        split: 1, 2 or 3.
        part: "train" or "test".

    Raises:
        SettingsError, DatasetError: as `listed.load`, and if the list is not the official one's size.
    """
    if split in lists.SPLITS:
        check_counts(*lists.read_split(FOLDER, split), split)
    return lists.load(root, dataset="hmdb51", split=split, part=part)


def check_counts(classes: tuple[str, ...], parts: Mapping[str, lists.Part], split: int) -> None:
    """Check that a split has HMDB51's 51 classes with 70 training and 30 test videos each.

    Raises:
        DatasetError: naming the first count that is wrong.
    """
    if len(classes) != NUM_CLASSES:
        raise DatasetError(f"split {split} has {len(classes)} classes, HMDB51 has {NUM_CLASSES}")
    counts = Counter((video.split("/")[0], part) for video, part in parts.items())
    for name in classes:
        for part, expected in CLIPS_PER_CLASS.items():
            if counts[name, part] != expected:
                raise DatasetError(
                    f"split {split} has {counts[name, part]} {part} videos of {name}, "
                    f"HMDB51 has {expected}: the list is incomplete"
                )


def default_folder() -> Path:
    """Return where HMDB51's class folders are: $R21D_HMDB51, or build/data/hmdb51."""
    named = os.environ.get("R21D_HMDB51")
    return Path(named).expanduser() if named else BUILD / "data" / "hmdb51"


def known_names(splits: Iterable[int] = lists.SPLITS) -> dict[str, int | None]:
    """Return every clip that one of the splits names, with its frames where known.

    The lengths (frames.csv) are other projects' counts, right to within a few frames.
    """
    names: dict[str, int | None] = {}
    for split in splits:
        names.update(dict.fromkeys(lists.read_split(FOLDER, split)[1]))
    with open(FOLDER / "frames.csv", encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            if row["video"] in names:
                names[row["video"]] = int(row["frames"])
    return names
