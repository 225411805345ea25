"""What `make lab` opens: copies that may be changed, with what their texts lead to."""

import os
import subprocess
import sys

import nbformat
import pytest

from r21d_lib import checkpoints
from r21d_lib.errors import CheckpointError, SettingsError
from r21d_lib.suite import copies, languages
from r21d_lib.suite.repository import REPOSITORY
from r21d_lib.suite.runner import NOTEBOOKS


@pytest.fixture
def repository(tmp_path):
    root = tmp_path / "repository"
    for name in ("notebooks", "docs", "figures", ".git"):
        (root / name).mkdir(parents=True)
    (root / "notebooks" / "00.ipynb").write_text("first")
    (root / "notebooks" / "setup.py").write_text("")
    (root / "docs" / "student.md").write_text("[start](../notebooks/00.ipynb)")
    (root / "README.md").write_text("[students](docs/student.md)")
    return root


def test_a_readers_copy_stays_until_its_original_changes(repository, tmp_path):
    to = tmp_path / "lab"
    folder = copies.write_working_copies(repository, to)
    copy, original = folder / "00.ipynb", repository / "notebooks" / "00.ipynb"
    copy.write_text("mine")
    copies.write_working_copies(repository, to)
    assert copy.read_text() == "mine"
    assert original.read_text() == "first"
    original.write_text("second")
    os.utime(original, (copy.stat().st_mtime + 5,) * 2)
    copies.write_working_copies(repository, to)
    assert copy.read_text() == "second"
    assert (folder / "00.earlier.ipynb").read_text() == "mine"


@pytest.mark.parametrize("name", ["notebooks/00.ipynb", "docs/student.md"])
def test_each_changed_copy_is_kept_and_no_other(repository, tmp_path, name):
    original, copy = repository / name, tmp_path / "lab" / name
    for text, mine in (("1", None), ("2", "a"), ("3", "b"), ("4", None), ("5", "c"), ("6", None)):
        original.write_text(text)
        copies.write_working_copies(repository, tmp_path / "lab")
        assert copy.read_text() == text
        if mine is not None:
            copy.write_text(mine)
    kept = {path.name: path.read_text() for path in copy.parent.glob("*.earlier*")}
    stem, suffix = copy.stem, copy.suffix
    names = (f"{stem}.earlier{suffix}", f"{stem}.earlier-2{suffix}", f"{stem}.earlier-3{suffix}")
    assert kept == dict(zip(names, "abc", strict=True))


def test_what_a_reader_put_in_the_place_of_a_link_stays(repository, tmp_path):
    copies.write_working_copies(repository, tmp_path / "lab")
    (tmp_path / "lab" / "README.md").unlink()
    (tmp_path / "lab" / "README.md").write_text("mine")
    copies.write_working_copies(repository, tmp_path / "lab")
    assert (tmp_path / "lab" / "README.md").read_text() == "mine"


def test_what_the_texts_lead_to_stands_beside_the_copies(repository, tmp_path):
    folder = copies.write_working_copies(repository, tmp_path / "lab")
    assert (folder / "../README.md").read_text() == (repository / "README.md").read_text()
    assert (folder / "../docs/student.md").is_file()
    assert (folder / "setup.py").resolve() == repository / "notebooks" / "setup.py"
    assert (folder / "../figures").is_dir()
    assert not (tmp_path / "lab" / ".git").exists()


def test_copies_may_be_in_portuguese_and_have_the_same_code(tmp_path):
    folder = copies.write_working_copies(REPOSITORY, tmp_path / "lab", "pt-BR")
    for name in NOTEBOOKS:
        english = nbformat.read(REPOSITORY / "notebooks" / f"{name}.ipynb", as_version=4)
        copy = nbformat.read(folder / f"{name}.ipynb", as_version=4)
        texts = languages.read_catalogue(name, "pt-BR")
        assert copy.cells[0].source == texts[languages.key(english.cells[0].source)]
        code = [[c.source for c in nb.cells if c.cell_type == "code"] for nb in (english, copy)]
        assert code[0] == code[1]
        assert copies.solutions(copy) == copies.solutions(english)
    with pytest.raises(SettingsError, match="no texts in the language 'fr': choose pt-BR"):
        copies.write_working_copies(REPOSITORY, tmp_path / "other", "fr")


def test_lab_opens_at_the_root_of_the_repository(build, monkeypatch):
    from r21d_lib.cli import main

    started = []
    monkeypatch.setattr(main.os, "execve", lambda program, command, _: started.append(command))
    main.lab(["--no-browser"])
    ((*_, root, first, option),) = started
    assert root == f"--ServerApp.root_dir={build / 'lab'}", "build lies outside of the repository here"
    assert first == str(build / "lab" / "notebooks" / f"{next(iter(NOTEBOOKS))}.ipynb")
    assert option == "--no-browser"
    monkeypatch.setattr("r21d_lib.files.BUILD", REPOSITORY / "build")
    monkeypatch.setattr(copies, "write_working_copies", lambda root, to, language: to / "notebooks")
    main.lab(None)
    assert f"--ServerApp.root_dir={REPOSITORY}" in started[1]


def test_evaluating_what_was_not_trained_says_what_to_run(tmp_path):
    with pytest.raises(CheckpointError, match=r"train it first. Of the notebooks, run 06 first for 07"):
        checkpoints.load(tmp_path / "runs" / "figures_finetune_split1" / "last.safetensors")


def test_a_video_of_any_kind_becomes_one_that_browsers_play(tmp_path, make_frames):
    from r21d_lib.data import video

    video.write(tmp_path / "film.avi", make_frames(20))
    command = [sys.executable, "-m", "r21d_lib", "webm", tmp_path / "film.avi", "--to", tmp_path]
    subprocess.run(command, check=True, capture_output=True)
    assert video.decode(tmp_path / "film.webm").shape == (20, 48, 64, 3)
