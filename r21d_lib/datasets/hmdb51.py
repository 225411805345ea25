"""HMDB51: 6,766 clips of 51 actions; each official split trains on 70 and tests on 30 a class."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from r21d_lib.datasets import listed
from r21d_lib.errors import DatasetError

NUM_CLASSES = 51
CLIPS_PER_CLASS: dict[listed.Part, int] = {"train": 70, "test": 30}


def load(root: str | Path, *, split: int = 1, part: listed.Part) -> listed.VideoList:
    """Return the 3,570 training or 1,530 test videos of a split.

    Args:
        root: the folder that holds the 51 class folders of .avi files.
        split: 1, 2 or 3.
        part: "train" or "test".

    Raises:
        SettingsError, DatasetError: as `listed.load`.
    """
    return listed.load(root, dataset="hmdb51", split=split, part=part)


def check_counts(classes: tuple[str, ...], parts: Mapping[str, listed.Part], split: int) -> None:
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
