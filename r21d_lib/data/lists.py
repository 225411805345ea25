"""Lists of labelled videos: HMDB51's official split files, this project's own form, and checks.

The project's form is a folder `<dataset>/` with `classes.txt`, one name a line in the order of the
labels, and `split<k>.csv` with the columns `video` ("class/name.avi") and `subset` (train or test).
"""

import csv
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from r21d_lib.errors import DatasetError, SettingsError
from r21d_lib.files import DATA_SPLITS, check_name, only_writer, read_text, whole_file

Part = Literal["train", "test"]
SPLITS = (1, 2, 3)
OFFICIAL_CODES: dict[str, Part | None] = {"1": "train", "2": "test", "0": None}
# What names say of where a video was cut from: HMDB51 writes <source>_<class>_<six codes>_<number>,
# UCF101 v_<class>_g<source>_c<number>.
_HMDB51 = re.compile(r"(.+)_[fhlu]_[nc]m_np\d+_(?:fr|ba|le|ri)_(?:goo|med|bad)_\d+\.\w+")
_UCF101 = re.compile(r"v_(\w+_g\d+)_c\d+\.\w+")


@dataclass(frozen=True)
class VideoList:
    """Labelled videos below one folder.

    Attributes:
        name: what a message calls the list, such as "hmdb51 split 1 test".
        classes: class names; the position is the label.
        root: the folder that holds a folder for each class.
        names: "class/video.avi", relative to `root`.
        labels: positions in `classes`, one a video.
        starts: the first frames of each video's test clips, where the list gives them.
        groups: what each video was cut from: a film, a person. Videos of one group resemble each
            other, so intervals draw groups and not videos. () takes `group_of` each name.

    Raises:
        DatasetError: if there are groups, and not one for each video.
    """

    name: str
    classes: tuple[str, ...]
    root: Path
    names: tuple[str, ...]
    labels: tuple[int, ...]
    starts: tuple[tuple[int, ...], ...] | None = None
    groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", groups_of(self.names, self.groups))

    def __len__(self) -> int:
        return len(self.names)

    def path(self, index: int) -> Path:
        """Return the file of a video."""
        return self.root / self.names[index]

    def subset(self, indices: Sequence[int]) -> "VideoList":
        """Return the list of some of the videos, with all that is known of each."""
        return replace(
            self,
            names=tuple(self.names[i] for i in indices),
            labels=tuple(self.labels[i] for i in indices),
            starts=None if self.starts is None else tuple(self.starts[i] for i in indices),
            groups=tuple(self.groups[i] for i in indices),
        )


def group_of(name: str) -> str:
    """Return what the video "class/file" was cut from, as far as its name says so.

    The source in HMDB51's names, also ActionFigures' person ("figure_012"), and "Class_g01" in
    UCF101's; for other names the video itself.
    """
    label, _, file = composed(name).rpartition("/")
    if match := _HMDB51.fullmatch(file):
        return match[1].removesuffix(f"_{label}")
    if match := _UCF101.fullmatch(file):
        return match[1]
    return name


def composed(text: str) -> str:
    """Return a class's or a group's name in Unicode's composed form: one name, one text.

    An accent can be part of its letter or follow it, as macOS writes the names of files, and both look
    the same.
    """
    return unicodedata.normalize("NFC", text)


def groups_of(names: tuple[str, ...], groups: tuple[str, ...]) -> tuple[str, ...]:
    """Return the groups of videos: those given, or where none are, what the names say.

    Raises:
        DatasetError: if there is not one for each video.
    """
    if not groups:
        return tuple(map(group_of, names))
    if len(groups) != len(names):
        raise DatasetError(
            f"{len(groups)} groups do not fit {len(names)} videos: give each video one, or none at all"
        )
    return groups


def load(
    root: str | Path, *, dataset: str, split: int, part: Part, lists: Path | None = None
) -> VideoList:
    """Return the train or test videos of a split, found below `root`.

    Args:
        root: the folder that holds a folder for each class.
        dataset: the data set's name.
        split: 1, 2 or 3.
        part: "train" or "test".
        lists: the folder of its lists; None takes data_splits/<dataset>.

    Raises:
        SettingsError: if the split or part does not exist.
        DatasetError: if the folder is missing, a class folder is missing or holds no clip, or a
            listed video is absent.
    """
    if split not in SPLITS or part not in ("train", "test"):
        raise SettingsError(f"there is no split {split} {part}: choose 1, 2 or 3, train or test")
    classes, parts = read_split(lists or DATA_SPLITS / dataset, split)
    names = tuple(name for name, its_part in parts.items() if its_part == part)
    if not names:
        raise DatasetError(
            f"{dataset} split {split} lists no {part} video: write it with `r21d splits`"
        )
    labels = {name: label for label, name in enumerate(classes)}
    videos = VideoList(
        f"{dataset} split {split} {part}",
        classes,
        Path(root),
        names,
        tuple(labels[name.split("/")[0]] for name in names),
    )
    check_files(videos)
    return videos


def check_files(videos: VideoList) -> None:
    """Compare a list with its folder.

    Raises:
        DatasetError: naming the first class folder or video that is missing, and how many are.
    """
    if not videos.root.is_dir():
        raise DatasetError(f"no folder {videos.root}: it should hold the videos of {videos.name}")
    for name in videos.classes:
        folder = videos.root / name
        if not folder.is_dir() or not any(p.is_file() for p in folder.iterdir()):
            raise DatasetError(
                f"{folder} holds no clip: put the videos of class {name!r} there, "
                f"or correct the folder of {videos.name}"
            )
    absent = [name for name in videos.names if not (videos.root / name).is_file()]
    if absent:
        raise DatasetError(
            f"{videos.root / absent[0]} is listed in {videos.name} and absent "
            f"({len(absent)} of {len(videos)} videos are): add the files or correct the list"
        )


def read_split(folder: Path, split: int) -> tuple[tuple[str, ...], dict[str, Part]]:
    """Read classes.txt and one split in this project's form.

    Returns:
        The class names, and "class/video.avi" to "train" or "test".

    Raises:
        DatasetError: naming the file and line that is wrong.
    """
    lists = (folder / "classes.txt", folder / f"split{split}.csv")
    for file in lists:
        if not file.is_file():
            raise DatasetError(f"no list {file}: write it with `r21d splits`")
    classes = tuple(line for line in lists[0].read_text().splitlines() if line)
    parts: dict[str, Part] = {}
    for line, row in read_rows(lists[1]):
        video, subset = row.get("video") or "", row.get("subset")
        if subset not in ("train", "test") or video.split("/")[0] not in classes:
            raise DatasetError(
                f"{lists[1]}, line {line}: expected class/video.avi and train or test, "
                f"got {video!r} and {subset!r}"
            )
        _check_new(video, parts, f"{lists[1]}, line {line}")
        parts[video] = "train" if subset == "train" else "test"
    return classes, parts


def read_rows(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the line and the cells, by column, of each row of a list in this project's form.

    Raises:
        DatasetError: if the file is in another encoding or no CSV, as with a name of a megabyte.
    """
    try:
        with open(file, encoding="utf-8", newline="") as lines:
            yield from enumerate(csv.DictReader(lines), start=2)
    except (csv.Error, UnicodeDecodeError) as error:
        raise DatasetError(f"{file} is no CSV list in UTF-8 ({error}): write it again") from error


def write_split(
    folder: Path, split: int, classes: tuple[str, ...], parts: Mapping[str, Part]
) -> list[Path]:
    """Write classes.txt and one split in this project's form; return the two files.

    Raises:
        DatasetError: naming the class or the video whose name UTF-8 cannot write.
    """
    for name in (*classes, *parts):
        if not _is_text(name):
            raise DatasetError(
                f"{name} is not a name in UTF-8, as another computer may have written it: rename the "
                "file or the folder"
            )
    class_file, split_file = folder / "classes.txt", folder / f"split{split}.csv"
    rows: list[tuple[str, Part]] = sorted(parts.items(), key=_train_first)
    with whole_file(class_file) as partial:
        partial.write_text("".join(f"{name}\n" for name in classes))
    with whole_file(split_file) as partial, open(partial, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("video", "subset"))
        writer.writerows(rows)
    return [class_file, split_file]


def _is_text(name: str) -> bool:
    """Tell whether a name can be written: bytes of a file's name in another encoding cannot."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _train_first(item: tuple[str, Part]) -> tuple[bool, str]:
    return item[1] == "test", item[0]


def read_official(folder: Path, split: int) -> tuple[tuple[str, ...], dict[str, Part]]:
    """Read `<class>_test_split<k>.txt` files: "name.avi 1" trains, 2 tests, 0 is not used.

    Raises:
        DatasetError: if there is no such file, or naming the file and line that is wrong.
    """
    suffix = f"_test_split{split}.txt"
    there = list(folder.iterdir()) if folder.is_dir() else []
    # By class name: by file name, climb_stairs would come before climb. Without those that begin with a
    # dot, which macOS leaves beside every file.
    files = {
        p.name.removesuffix(suffix): p
        for p in there
        if p.name.endswith(suffix) and not p.name.startswith(".")
    }
    if not files:
        raise DatasetError(f"{folder} holds no <class>{suffix}: give the folder of official lists")
    parts: dict[str, Part] = {}
    for name, file in sorted(files.items()):
        for number, line in enumerate(read_text(file).splitlines(), start=1):
            video, _, code = "\t".join(line.strip().rsplit(maxsplit=1)).rpartition("\t")
            if line.strip() and (code not in OFFICIAL_CODES or not video):
                raise DatasetError(f"{file}, line {number}: expected 'name.avi 0|1|2', got {line!r}")
            part = OFFICIAL_CODES.get(code)
            if part is not None:
                _check_new(f"{name}/{video}", parts, f"{file}, line {number}")
                parts[f"{name}/{video}"] = part
    return tuple(sorted(files)), parts


def write_official(
    folder: Path, split: int, classes: tuple[str, ...], parts: Mapping[str, Part]
) -> None:
    """Write a split as HMDB51 does: one `<class>_test_split<k>.txt` a class."""
    for name, text in official(split, classes, parts).items():
        with whole_file(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")


def official(split: int, classes: tuple[str, ...], parts: Mapping[str, Part]) -> dict[str, str]:
    """Return the names and the texts of the files that `write_official` writes."""
    codes = {part: code for code, part in OFFICIAL_CODES.items()}
    lines: dict[str, list[str]] = {name: [] for name in classes}
    for video, part in sorted(parts.items()):
        name, _, file = video.partition("/")
        if name in lines:
            lines[name].append(f"{file} {codes[part]} \n")
    return {f"{name}_test_split{split}.txt": "".join(its) for name, its in lines.items()}


def convert_splits(
    source: Path,
    to: Path,
    *,
    dataset: str,
    check: Callable[..., None] | None = None,
    force: bool = False,
) -> list[Path]:
    """Rewrite three splits in this project's form, below `to`/`dataset`; return the files.

    Args:
        source: a folder of official `<class>_test_split<k>.txt` files, or of
            `<dataset>_split<k>_<train|test>.csv` files with the columns label_name and video.
        to: usually data_splits/.
        dataset: the folder's name, such as "hmdb51".
        check: called with each split's classes, parts and number, such as `hmdb51.check_counts`.
        force: replaces lists that are there and say something else.

    Raises:
        DatasetError: if a list is missing, a video is listed twice or in both parts, the splits have
            different classes, `check` finds a fault, or other lists are there.
        SettingsError: if another process writes them, and still does after a few seconds.
    """
    check_name(dataset)
    splits = {}
    for split in SPLITS:
        csv_form = (source / f"{dataset}_split{split}_train.csv").is_file()
        classes, parts = (
            _read_csv_pair(source, dataset, split) if csv_form else read_official(source, split)
        )
        if check is not None:
            check(classes, parts, split)
        splits[split] = (classes, parts)
        if classes != splits[1][0]:
            raise DatasetError(
                f"splits 1 and {split} in {source} have different classes: mend the lists"
            )
    folder = to / dataset
    written: dict[Path, None] = {}  # ordered; classes.txt is the same file each time
    with only_writer(folder):
        for split, found in splits.items():
            if not force and _says_otherwise(folder, split, found):
                raise DatasetError(
                    f"{folder} holds another split {split}: choose another folder, or give --force"
                )
        for split, (classes, parts) in splits.items():
            written.update(dict.fromkeys(write_split(folder, split, classes, parts)))
    return list(written)


def _says_otherwise(folder: Path, split: int, found: tuple[tuple[str, ...], dict[str, Part]]) -> bool:
    """Tell whether a folder holds the lists of a split, or what is named so, with another content."""
    try:
        return read_split(folder, split) != found
    except (DatasetError, OSError, ValueError):
        return any((folder / name).exists() for name in ("classes.txt", f"split{split}.csv"))


def _read_csv_pair(source: Path, dataset: str, split: int) -> tuple[tuple[str, ...], dict[str, Part]]:
    parts: dict[str, Part] = {}
    for part in ("train", "test"):
        file = source / f"{dataset}_split{split}_{part}.csv"
        if not file.is_file():
            raise DatasetError(f"no list {file}: give the folder of all six lists")
        for line, row in read_rows(file):
            label, video = row.get("label_name"), row.get("video") or ""
            if not label or not video.startswith(f"{label}/"):
                raise DatasetError(
                    f"{file}, line {line}: expected label_name and video as class,class/name.avi, "
                    f"got {label!r} and {video!r}"
                )
            _check_new(video, parts, f"{file}, line {line}")
            parts[video] = part
    return tuple(sorted({video.split("/")[0] for video in parts})), parts


def _check_new(video: str, parts: Mapping[str, Part], place: str) -> None:
    """Check that no line names a video again: one in both parts would be trained on and tested on."""
    if video in parts:
        raise DatasetError(f"{place}: {video} is listed twice, before in {parts[video]}: drop a line")
