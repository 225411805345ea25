"""Your own videos: a data set out of any CSV list, also of the form that VMZ used for Kinetics.

The data set is a folder: videos/<class>/ with links to the files, classes.txt, split<k>.csv in this
project's form, starts.csv where a list says where test clips start, and groups.csv where it says what
each video was cut from.
"""

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from r21d_lib.data import lists as listed
from r21d_lib.data.lists import OFFICIAL_CODES, SPLITS, Part, VideoList
from r21d_lib.errors import DatasetError
from r21d_lib.files import whole_file, whole_folder

_VIDEO_COLUMNS = ("video", "org_video")
_CLASS_COLUMNS = ("label_name", "class", "label")
_STARTS, _GROUPS = "starts.csv", "groups.csv"


@dataclass
class _Video:
    """One video of a list: class as written, part in each split, group, where its clips start."""

    label: str
    place: str
    parts: dict[int, Part | None] = field(default_factory=dict)
    group: str = ""
    starts: list[int] = field(default_factory=list)


def make_folder(
    lists: Sequence[Path],
    to: Path,
    *,
    videos: Path,
    test: Sequence[Path] = (),
    labels: Sequence[str] | None = None,
) -> dict[int, Counter[Part]]:
    """Make a data set out of CSV lists, whole or not at all.

    A list has a header and a row a video: the column `video` or `org_video` (below `videos`, or
    absolute), and its class in `label_name`, `class` or `label`. Which part it is in is said by
    columns `split1` to `split3` (1 trains, 2 tests, 0 neither), by a column `subset` (train or test),
    or by the list itself: those in `lists` train and those in `test` test. `start_frm` in a list for
    testing says where a clip starts, one row a clip; `group` says what a video was cut from, where its
    name does not (`lists.group_of`); `video_id` is not needed.

    Args:
        lists: files of rows.
        to: the folder to make; one that a former call made, and that holds nothing else, is replaced.
        videos: the folder that relative names start from.
        test: further lists, whose videos are for testing.
        labels: class names in the order of the labels; needed where classes are numbers.

    Returns:
        How many videos train and test in each split.

    Raises:
        DatasetError: naming the file and line that is wrong.
        SettingsError: if `to` holds anything that no former call put there.
    """
    rows: dict[str, _Video] = {}
    for file in lists:
        _read(file, "train", rows)
    for file in test:
        _read(file, "test", rows)
    classes = tuple(labels or sorted({video.label for video in rows.values()}))
    for video in rows.values():
        if not labels and video.label.isdecimal():
            raise DatasetError(
                f"{video.place}: class {video.label} is a number: give the names in a file "
                "with --labels"
            )
    splits = _splits(rows)
    names = _names(rows, classes, videos)

    try:
        with whole_folder(to) as fresh:
            counts = _write(fresh, classes, rows, names, splits)
    except OSError as error:
        raise DatasetError(f"{to} cannot be written ({error}): choose another folder") from error
    return counts


def _write(
    folder: Path,
    classes: tuple[str, ...],
    rows: Mapping[str, _Video],
    names: Mapping[str, Path],
    splits: Mapping[int, Mapping[str, Part]],
) -> dict[int, Counter[Part]]:
    """Write links, lists, starts and groups; return how many videos each part of a split has."""
    for name, source in names.items():
        link = folder / "videos" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(source)
    of_name = dict(zip(rows, names, strict=True))
    counts = {}
    for split, parts in splits.items():
        renamed = {of_name[video]: part for video, part in parts.items()}
        listed.write_split(folder, split, classes, renamed)
        counts[split] = Counter(parts.values())
    starts = {of_name[name]: video.starts for name, video in rows.items() if video.starts}
    if starts:
        rows_of_starts = ((name, start) for name, its in starts.items() for start in its)
        _write_table(folder / _STARTS, "start_frm", rows_of_starts)
    groups = [(of_name[name], video.group) for name, video in rows.items() if video.group]
    if groups:
        _write_table(folder / _GROUPS, "group", groups)
    return counts


def load(folder: Path, *, split: int, part: Part) -> VideoList:
    """Return the train or test videos of a split of a folder that `make_folder` made.

    Raises:
        DatasetError: if a file of it is missing or wrong.
    """
    videos = listed.load(folder / "videos", dataset=folder.name, split=split, part=part, lists=folder)
    if (folder / _GROUPS).is_file():
        groups = {row["video"]: row["group"] for row in _read_table(folder / _GROUPS)}
        its = zip(videos.names, videos.groups, strict=True)
        videos = replace(videos, groups=tuple(groups.get(name, group) for name, group in its))
    if part == "train" or not (folder / _STARTS).is_file():
        return videos
    starts = defaultdict(list)
    for row in _read_table(folder / _STARTS):
        starts[row["video"]].append(int(row["start_frm"]))
    return replace(videos, starts=tuple(tuple(starts[name]) for name in videos.names))


def _read(file: Path, part: Part, rows: dict[str, _Video]) -> None:
    """Add the rows of a list."""
    try:
        lines = open(file, newline="", encoding="utf-8")  # noqa: SIM115 - closed below
    except OSError as error:
        raise DatasetError(f"no list {file}: check the path") from error
    with lines:
        reader = csv.DictReader(lines)
        columns = reader.fieldnames or []
        video_column = _first(_VIDEO_COLUMNS, columns, file)
        class_column = _first(_CLASS_COLUMNS, columns, file)
        for line, row in enumerate(reader, start=2):
            name, label, place = row[video_column], row[class_column], f"{file}, line {line}"
            if not name or not label:
                raise DatasetError(f"{place}: expected a video and its class, got {name!r}, {label!r}")
            start = row.get("start_frm")
            parts = _parts(row, part, place)
            if name in rows and not (start and rows[name].starts and rows[name].parts == parts):
                raise DatasetError(f"{place}: {name} is listed twice, before in {rows[name].place}")
            group = row.get("group") or ""
            video = rows.setdefault(name, _Video(label, place, parts, group))
            if video.group != group:
                raise DatasetError(
                    f"{place}: {name} is in group {group!r}, before in {video.group!r}: give it one"
                )
            if start and not start.isdecimal():
                raise DatasetError(f"{place}: start_frm must be a frame's number, got {start!r}")
            # In training every clip starts at random.
            if start and "test" in parts.values():
                video.starts.append(int(start))


def _first(names: Sequence[str], columns: Sequence[str], file: Path) -> str:
    there = [name for name in names if name in columns]
    if not there:
        raise DatasetError(
            f"{file} has no column {' or '.join(names)}: its first line must name the columns"
        )
    return there[0]


def _parts(row: Mapping[str, str], part: Part, place: str) -> dict[int, Part | None]:
    """Return a row's part in each split."""
    coded = {split: row[f"split{split}"] or "0" for split in SPLITS if f"split{split}" in row}
    wrong = [code for code in coded.values() if code not in OFFICIAL_CODES]
    if wrong:
        raise DatasetError(f"{place}: a split's code must be 0, 1 or 2, got {wrong[0]!r}")
    if coded:  # a video without a code is not used, like one with 0
        return {split: OFFICIAL_CODES[code] for split, code in coded.items()}
    subset = row.get("subset")
    if subset:
        if subset not in ("train", "test"):
            raise DatasetError(f"{place}: subset must be train or test, got {subset!r}")
        return {1: "train" if subset == "train" else "test"}
    return {1: part}


def _splits(rows: Mapping[str, _Video]) -> dict[int, dict[str, Part]]:
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
                    f"split {split} has no {part} video: give columns split1..3 or subset, or a list "
                    "of test videos with --test"
                )
    if not splits:
        raise DatasetError("the lists name no video: give at least one row")
    return dict(sorted(splits.items()))


def _names(rows: Mapping[str, _Video], classes: Sequence[str], root: Path) -> dict[str, Path]:
    """Return "class/file" for each video, and where the file is."""
    names: dict[str, Path] = {}
    places: dict[tuple[int, int], str] = {}  # of files, whatever they are called
    for listed_name, video in rows.items():
        source = (root / listed_name).resolve()
        if not source.is_file():
            raise DatasetError(f"{video.place}: there is no video {source}: check --videos")
        status = source.stat()
        before = places.setdefault((status.st_dev, status.st_ino), video.place)
        if before != video.place:
            raise DatasetError(f"{video.place}: it is the file of {before}, too: list it once")
        label = _class_name(video, classes)
        flat = f"{label}/{source.name}"
        if flat in names:  # another folder's file of the same name
            flat = f"{label}/{source.parent.name}__{source.name}"
        if flat in names:
            raise DatasetError(f"{video.place}: class {label} has two videos {flat}: rename one")
        names[flat] = source
    return names


def _class_name(video: _Video, classes: Sequence[str]) -> str:
    """Return the class of a row, whose label is a name or a number."""
    if video.label in classes:
        name = video.label
    elif video.label.isdecimal() and int(video.label) < len(classes):
        name = classes[int(video.label)]
    else:
        raise DatasetError(f"{video.place}: no class {video.label!r} in the file of --labels")
    if "/" in name or name.startswith("."):
        raise DatasetError(f"{video.place}: {name!r} cannot be a folder's name: rename the class")
    return name


def _write_table(file: Path, column: str, rows: Iterable[tuple[str, int | str]]) -> None:
    with whole_file(file) as partial, open(partial, "w", newline="") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(("video", column))
        writer.writerows(rows)


def _read_table(file: Path) -> list[dict[str, str]]:
    with open(file, newline="") as lines:
        return list(csv.DictReader(lines))
