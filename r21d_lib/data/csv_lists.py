"""Your own videos: a data set out of any CSV list, also of the form that VMZ used for Kinetics.

The data set is a folder: videos/<class>/ with links to the files, classes.txt, split<k>.csv in this
project's form, starts.csv where a list says where test clips start, and groups.csv where it says what
each video was cut from.
"""

import csv
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm.auto import tqdm

from r21d_lib.data import class_folders, class_names, list_rows, ucf101
from r21d_lib.data import lists as listed
from r21d_lib.data.list_rows import START, Row
from r21d_lib.data.lists import Part, VideoList
from r21d_lib.errors import DatasetError, few
from r21d_lib.files import whole_file, whole_folder

if TYPE_CHECKING:
    import pandas as pd

_BREAKS = ("Cc", "Zl", "Zp")  # Unicode's kinds of what ends a line, or steers a terminal
_STARTS, _GROUPS = "starts.csv", "groups.csv"


@dataclass(frozen=True)
class Made:
    """What `make_folder` made.

    Attributes:
        counts: how many videos of each class train and test, by split and class.
        missing: listed videos that are not there and were left out.
        alike: pairs of class names that a slip of the finger may have made of one.
        left_out: what else lies in folders of class folders, a line a kind.
    """

    counts: dict[int, dict[str, Counter[Part]]]
    missing: tuple[str, ...] = ()
    alike: tuple[tuple[str, str], ...] = ()
    left_out: tuple[str, ...] = ()

    def total(self, split: int) -> Counter[Part]:
        """Return how many videos of a split train and test."""
        return sum(self.counts[split].values(), Counter())

    def table(self) -> "pd.DataFrame":
        """Return a row a class, with a column for each part of each split."""
        import pandas as pd

        columns = {
            f"split {split} {part}": {name: its[part] for name, its in classes.items()}
            for split, classes in self.counts.items()
            for part in ("train", "test")
        }
        return pd.DataFrame(columns).rename_axis("class")


def make_folder(
    lists: Sequence[Path],
    to: Path,
    *,
    videos: Path,
    test: Sequence[Path] = (),
    labels: Sequence[str] | None = None,
    skip_missing: bool = False,
) -> Made:
    """Make a data set out of CSV lists or a folder of class folders, whole or not at all.

    A list has a header and a row a video: the column `video` or `org_video` (below `videos`, or
    absolute), and its class in `label_name`, `class` or `label`. Which part it is in is said by
    columns `split1` to `split3` (1 trains, 2 tests, 0 neither), by a column `subset` (train or test),
    or by the list itself: those in `lists` train and those in `test` test. `start_frm` in a list for
    testing says where a clip starts, one row a clip, and of all its videos or none; `group` says what
    a video was cut from, where its name does not (`lists.group_of`); `video_id` is not needed. A folder
    of class folders has parts or is split by groups, see `class_folders.read`; a folder of UCF101's
    lists is read as it is.

    Args:
        lists: files of rows, or folders of class folders or of UCF101's lists.
        to: the folder to make; one that a former call made, and that holds nothing else, is replaced.
        videos: the folder that relative names start from.
        test: further lists, whose videos are for testing.
        labels: class names in the order of the labels; needed where classes are numbers.
        skip_missing: leaves out listed videos that are not there.

    Raises:
        DatasetError: naming the file and line that is wrong.
        SettingsError: if `to` holds anything that no former call put there.
    """
    rows: dict[str, Row] = {}
    left_out: list[str] = []
    for file in lists:
        if ucf101.is_folder_of_lists(file):
            labels = labels or ucf101.classes(file)
            for name, (label, parts, place) in ucf101.rows(file).items():
                list_rows.add(rows, name, Row(label, place, parts))
        elif file.is_dir():
            found = class_folders.read(file)
            left_out += found.left_out
            for path, label, part, group in found.rows:
                list_rows.add(rows, str(path.absolute()), Row(label, str(path), {1: part}, group))
        else:
            list_rows.read(file, "train", rows)
    for file in test:
        list_rows.read(file, "test", rows)
    classes = tuple(map(listed.composed, labels or sorted({video.label for video in rows.values()})))
    for video in rows.values():
        if not labels and video.label.isdecimal():
            raise DatasetError(
                f"{video.place}: class {video.label} is a number: give the names in a file "
                "with --labels"
            )
    sources = {name: _source(name, videos) for name in tqdm(rows, "look for", unit="video", delay=2)}
    missing = tuple(name for name, source in sources.items() if not os.path.isfile(source))
    if missing and not skip_missing:
        first = Path(os.path.abspath(videos / missing[0]))
        raise DatasetError(
            f"{rows[missing[0]].place}: there is no video {first} ({len(missing):,} of {len(rows):,} "
            "listed are not there): check --videos, or leave them out with --skip-missing"
        )
    for name in missing:
        del rows[name]
    splits = _splits(rows)
    names = _names(rows, classes, sources)
    _check_classes(classes, rows, splits)
    _check_starts(rows, splits)

    try:
        with whole_folder(to) as fresh:
            counts = _write(fresh, classes, rows, names, splits)
    except OSError as error:
        raise DatasetError(f"{to} cannot be written ({error}): choose another folder") from error
    return Made(counts, missing, class_names.alike(classes), tuple(left_out))


def _write(
    folder: Path,
    classes: tuple[str, ...],
    rows: Mapping[str, Row],
    names: Mapping[str, Path],
    splits: Mapping[int, Mapping[str, Part]],
) -> dict[int, dict[str, Counter[Part]]]:
    """Write links, lists, starts and groups; return how many videos of a class each part has."""
    for name, source in tqdm(names.items(), "link", unit="video", delay=2):
        link = folder / "videos" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(source)
    of_name = dict(zip(rows, names, strict=True))
    counts: dict[int, dict[str, Counter[Part]]] = {}
    for split, parts in splits.items():
        renamed = {of_name[video]: part for video, part in parts.items()}
        listed.write_split(folder, split, classes, renamed)
        counts[split] = {name: Counter[Part]() for name in classes}
        for name, part in parts.items():
            counts[split][_class_name(rows[name], classes)][part] += 1
    starts = {of_name[name]: video.starts for name, video in rows.items() if video.starts}
    if starts:
        rows_of_starts = ((name, start) for name, its in starts.items() for start in its)
        _write_table(folder / _STARTS, START, rows_of_starts)
    groups = [(name, group) for name, group in _groups(rows, names).items() if group]
    if groups:
        _write_table(folder / _GROUPS, "group", groups)
    return counts


def _groups(rows: Mapping[str, Row], names: Mapping[str, Path]) -> dict[str, str]:
    """Return the group of each name, "" where a list gives none and the name itself tells it.

    A name that got its folder's in front, as another video had it, tells it no more.
    """
    groups: dict[str, str] = {}
    for (name, source), row in zip(names.items(), rows.values(), strict=True):
        own = f"{name.partition('/')[0]}/{source.name}"
        hidden = name != own and listed.group_of(own) != own
        groups[name] = row.group or (listed.group_of(own) if hidden else "")
    return groups


def load(folder: Path, *, split: int, part: Part) -> VideoList:
    """Return the train or test videos of a split of a folder that `make_folder` made.

    Raises:
        DatasetError: if a file of it is missing or wrong, or says of some test videos alone where their
            clips start.
    """
    videos = listed.load(folder / "videos", dataset=folder.name, split=split, part=part, lists=folder)
    if (folder / _GROUPS).is_file():
        groups = dict(_read_table(folder / _GROUPS, "group"))
        its = zip(videos.names, videos.groups, strict=True)
        videos = replace(videos, groups=tuple(groups.get(name, group) for name, group in its))
    if part == "train" or not (folder / _STARTS).is_file():
        return videos
    starts = defaultdict(list)
    for name, start in _read_table(folder / _STARTS, START):
        starts[name].append(int(start))
    without = [name for name in videos.names if name not in starts]
    if len(without) == len(videos):  # those of another split have some
        return videos
    if without:
        raise DatasetError(
            f"{folder / _STARTS} says where clips of some test videos of split {split} start, and not "
            f"of {few(without)}: give all of them a {START} in your list, or none, and make the data "
            "set again with `r21d prepare listed`"
        )
    return replace(videos, starts=tuple(tuple(starts[name]) for name in videos.names))


def _splits(rows: Mapping[str, Row]) -> dict[int, dict[str, Part]]:
    """Return the videos of each split, after checking that both parts have some."""
    splits: dict[int, dict[str, Part]] = {}
    for name, video in rows.items():
        for split, part in video.parts.items():
            if part is not None:
                splits.setdefault(split, {})[name] = part
    for split, parts in splits.items():
        for part in ("train", "test"):
            if part not in parts.values():
                raise DatasetError(
                    f"split {split} has no {part} video: give columns split1..3 or subset, folders "
                    "train and test, or a list of test videos with --test"
                )
    if not splits:
        raise DatasetError("the lists name no video: give at least one row")
    return dict(sorted(splits.items()))


def _check_classes(
    classes: Sequence[str], rows: Mapping[str, Row], splits: Mapping[int, Mapping[str, Part]]
) -> None:
    """Refuse classes that are one but for their spelling, or that nothing is trained on."""
    spelled: dict[str, str] = {}
    for name in classes:
        key = re.sub(r"[\s_-]+", " ", listed.composed(name.casefold())).strip()
        if (other := spelled.get(key)) is not None:
            if other == name:
                raise DatasetError(f"--labels names {name!r} twice: a class has one name")
            raise DatasetError(
                f"classes {other!r} and {name!r} differ by blanks, marks and capitals alone: write one"
            )
        spelled[key] = name
    if len(classes) < 2:
        raise DatasetError(f"the lists name one class, {classes[0]!r}: a network needs two")
    for split, parts in splits.items():
        trained = {_class_name(rows[name], classes) for name, part in parts.items() if part == "train"}
        if missing := [name for name in classes if name not in trained]:
            raise DatasetError(
                f"no video of {few(missing)} trains in split {split}: give one, or leave the class out"
            )


def _check_starts(rows: Mapping[str, Row], splits: Mapping[int, Mapping[str, Part]]) -> None:
    """Refuse a test list that says of some videos alone where clips start: which are the others' clips?

    Evenly spaced ones beside them would make one accuracy of two protocols.
    """
    for split, parts in splits.items():
        tests = {name: rows[name].starts for name, part in parts.items() if part == "test"}
        without = [name for name, starts in tests.items() if not starts]
        if without and len(without) < len(tests):
            raise DatasetError(
                f"{rows[without[0]].place}: {without[0]} has no {START}, as {len(without):,} of "
                f"{len(tests):,} test videos of split {split}: give all of them one, or none"
            )


def _source(listed_name: str, root: Path) -> Path:
    """Return where a listed video should be: a link under its own name, Windows' marks read.

    A list and a disk may write one accent in two ways, see `lists.composed`.
    """
    source = Path(os.path.abspath(root / listed_name))
    spellings = [listed_name, listed_name.replace("\\", "/")]
    if not listed_name.isascii():
        spellings += [unicodedata.normalize(form, spellings[1]) for form in ("NFC", "NFD")]
    for spelling in dict.fromkeys(spellings):
        other = Path(os.path.abspath(root / spelling))
        if os.path.isfile(other):  # where Path.is_file raises at a long name
            return other
    return source


def _names(
    rows: Mapping[str, Row], classes: Sequence[str], sources: Mapping[str, Path]
) -> dict[str, Path]:
    """Return "class/file" for each video, and where the file is."""
    names: dict[str, Path] = {}
    places: dict[tuple[int, int], str] = {}  # of files, whatever they are called
    for listed_name, video in rows.items():
        source = sources[listed_name]
        status = source.stat()
        before = places.setdefault((status.st_dev, status.st_ino), video.place)
        if before != video.place:
            raise DatasetError(f"{video.place}: it is the file of {before}, too: list it once")
        label = _class_name(video, classes)
        flat = f"{label}/{source.name}"
        for count in range(2, len(source.parts)):
            if flat in names:  # another folder's file of the same name
                flat = f"{label}/{'__'.join(source.parts[-count:])}"
        if flat in names:
            raise DatasetError(f"{video.place}: class {label} has two videos {flat}: rename one")
        names[flat] = source
    return names


def _class_name(video: Row, classes: Sequence[str]) -> str:
    """Return the class of a row, whose label is a name or a number."""
    if video.label in classes:
        name = video.label
    elif video.label.isdecimal() and int(video.label) < len(classes):
        name = classes[int(video.label)]
    else:
        raise DatasetError(f"{video.place}: no class {video.label!r} in the file of --labels")
    if "/" in name or name.startswith(".") or any(unicodedata.category(c) in _BREAKS for c in name):
        raise DatasetError(f"{video.place}: {name!r} cannot be a folder's name: rename the class")
    return name


def _write_table(file: Path, column: str, rows: Iterable[tuple[str, int | str]]) -> None:
    with whole_file(file) as partial, open(partial, "w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(("video", column))
        writer.writerows(rows)


def _read_table(file: Path, column: str) -> Iterator[tuple[str, str]]:
    for line, row in listed.read_rows(file):
        name, value = row.get("video"), row.get(column)
        if not name or not value or (column == START and not value.isdecimal()):
            raise DatasetError(
                f"{file}, line {line}: expected video and {column}, got {name!r} and {value!r}: make "
                "the data set again with `r21d prepare listed`"
            )
        yield name, value
