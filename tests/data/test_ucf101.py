"""UCF101's official lists, as they come: three splits by group, classes in their own order."""

import pytest

from r21d_lib.data import csv_lists, ucf101, video
from r21d_lib.errors import DatasetError

CLASSES = ("JumpingJack", "JumpRope")  # in classInd.txt so, and the other way round by their bytes


@pytest.fixture
def lists(tmp_path):
    """Three splits of two classes with groups 1 to 6, of which two test in each."""
    folder = tmp_path / "ucfTrainTestlist"
    folder.mkdir()
    (folder / "classInd.txt").write_text("1 JumpingJack\r\n2 JumpRope\r\n")
    for split in (1, 2, 3):
        lines = {"train": [], "test": []}
        for number, name in enumerate(CLASSES, start=1):
            for group in range(1, 7):
                tests = (group - 1) // 2 + 1 == split
                line = f"{name}/v_{name}_g{group:02}_c01.avi"
                lines["test" if tests else "train"].append(line if tests else f"{line} {number}")
        for part, its in lines.items():
            (folder / f"{part}list0{split}.txt").write_text("\n".join(its) + "\n")
    return folder


@pytest.fixture
def videos(tmp_path, make_frames):
    for name in CLASSES:
        for group in range(1, 7):
            file = tmp_path / "UCF-101" / name / f"v_{name}_g{group:02}_c01.avi"
            video.write(file, make_frames(4))
    return tmp_path / "UCF-101"


def test_prepare_listed_takes_the_folder_of_official_lists(lists, videos, tmp_path, r21d, build):
    done = r21d("prepare", "listed", lists, "--videos", videos, "--name", "ucf101")
    assert done.returncode == 0, done.stderr
    folder = build / "data" / "ucf101"
    assert (folder / "classes.txt").read_text().split() == list(CLASSES)
    for split in (1, 2, 3):
        train, test = (csv_lists.load(folder, split=split, part=part) for part in ("train", "test"))
        assert (len(train), len(test)) == (8, 4)
        assert train.classes == CLASSES
        assert not set(train.groups) & set(test.groups)
        tested = {f"{name}_g{2 * split - k:02}" for name in CLASSES for k in (0, 1)}
        assert set(test.groups) == tested


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("classInd.txt", "1 JumpingJack\n3 JumpRope\n", "line 2: expected '2 ClassName'"),
        ("classInd.txt", "1 JumpRope\n2 JumpRope\n", "names 'JumpRope' twice"),
        ("trainlist02.txt", "JumpRope/v_a.avi 1\n", "JumpRope has the number 2 .* and 1 here"),
        ("testlist01.txt", "YoYo/v_a.avi\n", "line 1: expected Class/video.avi of a class"),
        ("testlist03.txt", "JumpRope/v_a.avi\nJumpRope/v_a.avi\n", "is in split 3 twice"),
    ],
)
def test_a_wrong_line_is_named(lists, file, text, message):
    (lists / file).write_text(text)
    with pytest.raises(DatasetError, match=message):
        ucf101.rows(lists)


def test_half_a_split_is_refused(lists):
    (lists / "testlist02.txt").unlink()
    with pytest.raises(DatasetError, match=r"no list .*testlist02\.txt"):
        ucf101.rows(lists)
    for file in lists.glob("t*list0*.txt"):
        file.unlink()
    with pytest.raises(DatasetError, match=r"holds no trainlist01\.txt"):
        ucf101.rows(lists)


@pytest.mark.parametrize("first", ["rows", "folder"])
@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("JumpRope", "is of class 'Jump.*', and of 'Jump.*' in"),
        ("JumpingJack", "is listed twice, before"),
    ],
)
def test_no_list_overrides_another(lists, videos, tmp_path, first, label, message):
    mine = tmp_path / "mine.csv"
    mine.write_text(f"video,label,subset\nJumpingJack/v_JumpingJack_g01_c01.avi,{label},test\n")
    both = [mine, lists] if first == "rows" else [lists, mine]
    with pytest.raises(DatasetError, match=message):
        csv_lists.make_folder(both, tmp_path / "made", videos=videos)
    with pytest.raises(DatasetError, match=r"is listed twice, before in .*line 1"):
        csv_lists.make_folder([lists, lists], tmp_path / "made", videos=videos)
    with pytest.raises(DatasetError, match="is listed twice, before in"):
        csv_lists.make_folder([videos, videos], tmp_path / "made", videos=videos)
    assert not (tmp_path / "made").exists()
