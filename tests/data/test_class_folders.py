"""A folder of class folders: what is a class, a part or a group in it, and what is left out is said."""

import os
import unicodedata
from pathlib import Path

import pytest

from r21d_lib.data import class_folders, csv_lists, find
from r21d_lib.errors import DatasetError


@pytest.fixture
def put(tmp_path):
    """Return a function that makes files below a folder; nobody reads them."""

    def make(*names: str) -> Path:
        for name in names:
            path = tmp_path / "clips" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
        return tmp_path / "clips"

    return make


TWO_CLASSES = [f"{label}/{take}.avi" for label in ("run", "walk") for take in range(4)]


def test_what_is_in_no_class_is_said(put, tmp_path, r21d):
    root = put(*TWO_CLASSES, "loose.avi", "jump/1.amv", "jump/2.amv", "list.csv", "walk/._1.avi")
    (root / "sit").mkdir()
    (root / "sit" / "1.avi").symlink_to("/nowhere.avi")
    (root / "walk" / "gone.avi").symlink_to("/nowhere.avi")
    os.mkfifo(root / "walk" / "pipe.avi")
    (root / "stand").mkdir()
    done = r21d("prepare", "listed", root, "--to", tmp_path / "mine")
    assert done.returncode == 0
    assert "6 training and 2 test videos" in done.stdout
    assert done.stderr.splitlines() == [
        f"{root}: 3 folders hold no video and are no classes: jump, sit, stand",
        f"{root}: 1 videos lie in no class folder and were left out: loose.avi",
        f"{root}: 3 videos are links that lead nowhere, or no files, and were left out: "
        "sit/1.avi, walk/gone.avi, walk/pipe.avi",
        f"{root}: 2 files are not called as videos are and were left out: jump/1.amv, jump/2.amv",
    ]


def test_nothing_is_said_where_nothing_is_left_out(put, tmp_path):
    root = put(*TWO_CLASSES, "README.md", "walk/.DS_Store", ".git/config")
    assert class_folders.read(root).left_out == ()


def test_a_link_that_leads_nowhere_is_no_video_passed_over(put):
    root = put("a.avi", "notes.txt")
    (root / "b.avi").symlink_to("/nowhere.avi")
    os.mkfifo(root / "c.avi")  # would be waited for
    assert list(find.find([str(root)])) == ["a.avi", "b.avi"]


def loaded(folder):
    """Return the names of the training and the test videos, and the groups of both."""
    train, test = (csv_lists.load(folder, split=1, part=part) for part in ("train", "test"))
    return set(train.names), set(test.names), train.groups, test.groups


def videos_of(part, *takes):
    return [f"{part}/{label}/{take}.avi" for label in ("run", "walk") for take in takes]


@pytest.mark.parametrize(
    ("train", "test"), [("train", "test"), ("Train", "Test"), ("training", "testing"), ("train", "val")]
)
@pytest.mark.parametrize("above", [True, False], ids=["part/class", "class/part"])
def test_folders_of_parts_are_the_parts(put, tmp_path, train, test, above):
    names = [*videos_of(train, 1, 2), *videos_of(test, 3, 4)]  # of one size: nothing tells them apart
    if not above:
        names = ["/".join((label, part, file)) for part, label, file in (n.split("/") for n in names)]
    made = csv_lists.make_folder([put(*names)], tmp_path / "mine", videos=tmp_path)
    assert made.left_out == ()
    assert loaded(tmp_path / "mine")[:2] == (
        {"run/1.avi", "run/2.avi", "walk/1.avi", "walk/2.avi"},
        {"run/3.avi", "run/4.avi", "walk/3.avi", "walk/4.avi"},
    )


def test_validation_videos_are_left_out_where_there_are_test_videos_and_it_is_said(put, tmp_path):
    root = put(*videos_of("train", 1), *videos_of("test", 2), *videos_of("valid", 3), "test/loose.avi")
    (root / "test" / "jump").mkdir()
    made = csv_lists.make_folder([root], tmp_path / "mine", videos=tmp_path)
    assert made.left_out == (
        f"{root}: 1 folders hold no video and are no classes: test/jump",
        f"{root}: 1 videos lie in no class folder and were left out: test/loose.avi",
        f"{root}: 2 validation videos were left out, as there are test videos: "
        "valid/run/3.avi, valid/walk/3.avi",
    )
    assert dict(made.total(1)) == {"train": 2, "test": 2}


def test_videos_of_one_name_in_both_parts_are_two(put, tmp_path):
    names = [f"{part}/walk/{who}/1.avi" for part in ("train", "test") for who in ("ann", "bob")]
    root = put(*names, *videos_of("train", 1), *videos_of("test", 1))
    csv_lists.make_folder([root], tmp_path / "mine", videos=tmp_path)
    train, test, train_groups, test_groups = loaded(tmp_path / "mine")
    assert (len(train), len(test)) == (4, 4)
    assert not train & test
    shared = set(train_groups) & set(test_groups)
    assert all("ann" in group or "bob" in group for group in shared)  # so the doctor says


def test_train_and_test_may_be_classes(put):
    found = class_folders.read(put("train/1.avi", "train/2.avi", "test/1.avi", "test/2.avi"))
    assert {label for _, label, _, _ in found.rows} == {"train", "test"}
    # One folder of a part's name is no split, though one person's videos lie in it.
    found = class_folders.read(put("train/ann/3.avi", "plane/1.avi", "plane/2.avi"))
    assert {label for _, label, _, _ in found.rows} == {"train", "test", "plane"}


def test_parts_beside_other_folders_are_refused(put, tmp_path):
    root = put(*videos_of("train", 1), *videos_of("test", 2), "demo/walk/1.avi")
    with pytest.raises(DatasetError, match="holds the parts test, train beside demo: give a folder of"):
        csv_lists.make_folder([root], tmp_path / "mine", videos=tmp_path)
    assert not (tmp_path / "mine").exists()


def test_a_part_alone_is_no_split(put, tmp_path):
    root = put(*videos_of("train", 1, 2))
    with pytest.raises(DatasetError, match=r"no test video: give .* folders train and test, or"):
        csv_lists.make_folder([root], tmp_path / "mine", videos=tmp_path)


@pytest.mark.parametrize(
    "pattern",
    ["{label}/{who}/{take}.avi", "{label}/clips/{who}/{take}.avi", "{label}/{who}/day {take}/1.avi"],
    ids=["person", "below a folder of all", "days of a person"],
)
def test_a_person_trains_or_tests_in_all_classes(put, pattern):
    people = [f"person {number}" for number in range(6)]
    found = class_folders.read(
        put(
            *(
                pattern.format(label=label, who=who, take=take)
                for label in ("run", "walk")
                for who in people
                for take in range(2)
            )
        )
    )
    assert {group for *_, group in found.rows} == set(people)
    parts = {(group, part) for _, _, part, group in found.rows}
    assert len(parts) == len(people)
    assert sum(part == "test" for _, part in parts) == 2
    assert {label for _, label, part, _ in found.rows if part == "test"} == {"run", "walk"}


def test_large_groups_of_several_classes_still_make_a_split(put):
    names = [f"run/1/{take}.avi" for take in range(3)] + ["walk/1/0.avi"]
    names += [f"run/2/{take}.avi" for take in range(7)]
    found = class_folders.read(put(*names))
    assert {group for _, _, part, group in found.rows if part == "test"} == {"2"}


def test_a_name_is_one_however_its_accents_are_written(put, tmp_path):
    one, two = (unicodedata.normalize(form, "dança") for form in ("NFC", "NFD"))
    who, them = (unicodedata.normalize(form, "josé") for form in ("NFC", "NFD"))
    names = [f"{one}/{who}/a.avi", f"{two}/{them}/b.avi", f"walk/{them}/c.avi"]
    names += [f"{label}/{number}/{label}.avi" for label in (one, two, "walk") for number in range(4)]
    root = put(*names)
    csv_lists.make_folder([root], tmp_path / "mine", videos=tmp_path)
    train, test, train_groups, test_groups = loaded(tmp_path / "mine")
    assert {name.split("/")[0] for name in train | test} == {one, "walk"}
    assert len(train | test) == len(names)
    assert not set(train_groups) & set(test_groups)
    assert who in {*train_groups, *test_groups}
    # The names of files stay as they are on the disk.
    assert {f"{one}/{one}.avi", f"{one}/{two}.avi"} <= train | test
