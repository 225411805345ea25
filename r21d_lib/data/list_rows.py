"""Rows of CSV lists as people and programs write them: a video, its class, part, group and start."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from r21d_lib.data.lists import OFFICIAL_CODES, SPLITS, Part, composed
from r21d_lib.errors import DatasetError
from r21d_lib.files import read_text

_VIDEO_COLUMNS = ("video", "org_video")
_CLASS_COLUMNS = ("label_name", "class", "label")
START = "start_frm"


@dataclass
class Row:
    """One video of a list: class as written, part in each split, group, where its clips start."""

    label: str
    place: str
    parts: dict[int, Part | None] = field(default_factory=dict)
    group: str = ""
    starts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.label, self.group = composed(self.label), composed(self.group)


def add(rows: dict[str, Row], name: str, row: Row) -> None:
    """Add what a list says of a video, or a further clip of it that another row tests.

    Raises:
        DatasetError: if another row says something else of the video, or the same once more.
    """
    before = rows.setdefault(name, row)
    if before is row:
        return
    if before.label != row.label:
        raise DatasetError(
            f"{row.place}: {name} is of class {row.label!r}, and of {before.label!r} in "
            f"{before.place}: a video has one class, so cut it into one file an action"
        )
    if not (row.starts and before.starts and before.parts == row.parts):
        raise DatasetError(f"{row.place}: {name} is listed twice, before in {before.place}")
    if before.group != row.group:
        raise DatasetError(
            f"{row.place}: {name} is in group {row.group!r}, before in {before.group!r}: give it one"
        )
    before.starts += row.starts


def read(file: Path, part: Part, rows: dict[str, Row]) -> None:
    """Add the rows of a list."""
    columns, table = _table(file)
    video_column, class_column = (
        _first(names, columns, file) for names in (_VIDEO_COLUMNS, _CLASS_COLUMNS)
    )
    for line, row in table:
        name, label, place = row[video_column], row[class_column], f"{file}, line {line}"
        if not name or not label:
            raise DatasetError(f"{place}: expected a video and its class, got {name!r}, {label!r}")
        start = row.get(START)
        if start and not start.isdecimal():
            raise DatasetError(f"{place}: start_frm must be a frame's number, got {start!r}")
        parts = _parts(row, part, place)
        # In training every clip starts at random.
        starts = [int(start)] if start and "test" in parts.values() else []
        add(rows, name, Row(label, place, parts, row.get("group") or "", starts))


def _table(file: Path) -> tuple[list[str], Iterator[tuple[int, dict[str, str]]]]:
    """Return the columns of a list, and the line and the cells of each row, without blanks around them.

    Spreadsheets write commas, semicolons or tabs, in UTF-8 with or without its mark, or in UTF-16.

    Raises:
        DatasetError: if the file is not there, is in another encoding, or has an open quote.
    """
    text = read_text(file)
    header = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text), delimiter=max(",;\t", key=header.count), strict=True)

    def lines() -> Iterator[list[str]]:
        try:
            for cells in reader:
                yield [cell.strip() for cell in cells]
        except csv.Error as error:
            raise DatasetError(
                f"{file}, line {reader.line_num}: {error}: is a quote left open?"
            ) from error

    cells_of = lines()
    columns = [column.lower() for column in next(cells_of, [])]
    empty = [""] * len(columns)
    rows = (
        (reader.line_num, dict(zip(columns, [*cells, *empty], strict=False)))
        for cells in cells_of
        if any(cells)
    )
    return columns, rows


def _first(names: Sequence[str], columns: Iterable[str], file: Path) -> str:
    there = [name for name in names if name in columns]
    if not there:
        raise DatasetError(
            f"{file} has no column {' or '.join(names)}, but {', '.join(columns)}: its first line must "
            "name the columns"
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
    if "subset" in row:
        subset = row["subset"].lower()
        if subset not in ("train", "test"):
            raise DatasetError(f"{place}: subset must be train or test, got {row['subset']!r}")
        return {1: "train" if subset == "train" else "test"}
    return {1: part}
