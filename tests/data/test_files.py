"""Files and folders written whole or not at all, which never take the place of what is not theirs."""

import pytest

from r21d_lib.errors import SettingsError
from r21d_lib.files import whole_file, whole_folder


def tree(folder):
    """Return what is in a folder: each file's content, each link's target."""
    return {
        path.relative_to(folder).as_posix(): path.readlink() if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def make(folder, content="new"):
    with whole_folder(folder) as fresh:
        (fresh / "sub").mkdir()
        (fresh / "sub" / "file.txt").write_text(content)
        (fresh / "link").symlink_to("/nowhere")


def test_a_folder_is_made_and_made_again(tmp_path):
    for content in ("old", "new"):
        make(tmp_path / "made", content)
        assert (tmp_path / "made" / "sub" / "file.txt").read_text() == content
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


@pytest.mark.parametrize("added", [".git/HEAD", "CNAME", "sub/mine.avi"])
def test_what_was_added_stays(tmp_path, added):
    make(tmp_path / "made")
    (tmp_path / "made" / added).parent.mkdir(exist_ok=True)
    (tmp_path / "made" / added).write_text("mine")
    before = tree(tmp_path)
    with pytest.raises(SettingsError, match="which r21d did not put there"):
        make(tmp_path / "made")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("marker", [None, "[]", "{", "7", '["other.txt"]'])
def test_a_folder_of_others_stays_whatever_its_marker_says(tmp_path, marker):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.avi").write_text("mine")
    if marker is not None:
        (tmp_path / "videos" / "made_by_r21d.json").write_text(marker)
    before = tree(tmp_path)
    with pytest.raises(SettingsError, match=r"holds .*a\.avi"):
        make(tmp_path / "videos")
    assert tree(tmp_path) == before


def test_neither_a_file_nor_a_link_is_taken_for_a_folder(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for name in ("file", "link"):
        with pytest.raises(SettingsError, match="no folder that r21d made"):
            make(tmp_path / name)
    assert (tmp_path / "link").is_symlink()


def test_what_is_added_while_it_is_made_stays(tmp_path):
    def interrupted():
        with whole_folder(tmp_path / "made"):
            (tmp_path / "made" / "late.txt").write_text("mine")

    make(tmp_path / "made")
    with pytest.raises(SettingsError, match=r"holds late\.txt"):
        interrupted()
    assert (tmp_path / "made" / "late.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


@pytest.mark.parametrize("whole", [whole_file, whole_folder])
def test_an_error_leaves_what_was_there(tmp_path, whole):
    def fail():
        with whole(place) as fresh:
            (fresh / "half.txt" if whole is whole_folder else fresh).write_text("half")
            raise RuntimeError

    place = tmp_path / "made"
    if whole is whole_folder:
        make(place, "old")
    else:
        place.write_text("old")
    before = tree(tmp_path)
    with pytest.raises(RuntimeError):
        fail()
    assert tree(tmp_path) == before
