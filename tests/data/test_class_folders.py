"""A folder of class folders: what is a class, a part or a group in it, and what is left out is said."""

import os
from pathlib import Path

import pytest

from r21d_lib.data import class_folders, find


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
