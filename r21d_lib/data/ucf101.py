"""UCF101's official lists: classInd.txt, trainlist01.txt, testlist01.txt and so on, as they come.

The three splits are by group: videos of one source, `g01` to `g25` in the names, are all in one part.
"""

from collections.abc import Iterator
from pathlib import Path

from r21d_lib.data.lists import SPLITS, Part
from r21d_lib.errors import DatasetError
from r21d_lib.files import read_text

_CLASSES = "classInd.txt"


def is_folder_of_lists(folder: Path) -> bool:
    """Tell whether a folder holds UCF101's official lists."""
    return (folder / _CLASSES).is_file()


def classes(folder: Path) -> tuple[str, ...]:
    """Return the class names in the order of classInd.txt, whose lines are "1 ApplyEyeMakeup".

    Raises:
        DatasetError: naming the line that is wrong.
    """
    names: list[str] = []
    for place, line in _lines(folder / _CLASSES):
        number, _, name = line.partition(" ")
        if number != str(len(names) + 1) or not name.strip():
            raise DatasetError(f"{place}: expected '{len(names) + 1} ClassName', got {line!r}")
        names.append(name.strip())
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DatasetError(f"{folder / _CLASSES} names {twice!r} twice: a class has one number")
    return tuple(names)


def rows(folder: Path) -> dict[str, tuple[str, dict[int, Part | None], str]]:
    """Read all train and test lists of a folder.

    A line is "Class/v_Class_g01_c01.avi", followed in the lists for training by the class's number.

    Args:
        folder: holds classInd.txt and a trainlist0k.txt and testlist0k.txt for one split k or more.

    Returns:
        A video's name to its class, its part in each split, and the first line that lists it.

    Raises:
        DatasetError: if a list is missing, or naming the line that is wrong.
    """
    names = classes(folder)
    found: dict[str, tuple[str, dict[int, Part | None], str]] = {}
    for split in SPLITS:
        files: dict[Part, Path] = {
            "train": folder / f"trainlist0{split}.txt",
            "test": folder / f"testlist0{split}.txt",
        }
        if not any(file.is_file() for file in files.values()):
            continue
        for part, file in files.items():
            for place, line in _lines(file):
                video, _, number = line.partition(" ")
                label = video.partition("/")[0]
                if label not in names or "/" not in video:
                    raise DatasetError(
                        f"{place}: expected Class/video.avi of a class in {_CLASSES}, got {line!r}"
                    )
                if number.strip() not in ("", str(names.index(label) + 1)):
                    raise DatasetError(
                        f"{place}: {label} has the number {names.index(label) + 1} in {_CLASSES}, "
                        f"and {number.strip()} here: mend the list"
                    )
                _, parts, before = found.setdefault(video, (label, {}, place))
                if split in parts:
                    raise DatasetError(f"{place}: {video} is in split {split} twice, see {before}")
                parts[split] = part
    if not found:
        raise DatasetError(f"{folder} holds no trainlist01.txt: give the folder of all official lists")
    return found


def _lines(file: Path) -> Iterator[tuple[str, str]]:
    """Yield the place and the text of each line that has any."""
    if not file.is_file():
        raise DatasetError(f"no list {file}: give the folder of all official lists")
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        if line.strip():
            yield f"{file}, line {number}", line.strip()
