"""Two commands that write into one folder at a time: both end right, or one is refused in one line."""

import csv
import multiprocessing
import os
import time

import pytest

from r21d_lib import files
from r21d_lib.cli import publish
from r21d_lib.data import action_figures, csv_lists
from r21d_lib.data.hmdb51 import preparation
from r21d_lib.errors import R21DError, SettingsError
from r21d_lib.files import only_writer, whole_file, whole_folder
from r21d_lib.publish import site
from r21d_lib.suite import copies, pictures, repository
from r21d_lib.training import recipes
from r21d_lib.training.run import train_recipe

CLIPS = [f"{name}_{number}.avi" for name in ("golf", "wave") for number in range(40)]


def prepare_listed(source, to):
    csv_lists.make_folder([source / "list.csv"], to, videos=source)


def prepare_hmdb51(source, to):
    preparation.prepare_files(source, to, progress=False)


def draw_figures(_source, to):
    action_figures.generate(to, clips_per_class=20, workers=1, progress=False)


def copy_notebooks(_source, to):
    copies.write_working_copies(repository.REPOSITORY, to)


def draw_pictures(_source, to):
    publish.draw(to)


def build_site(_source, to):
    notebook = repository.NOTEBOOK_FOLDER / "05_checkpoints.ipynb"
    site.build(to, notebooks=[notebook], reference=False)


@pytest.fixture
def light(monkeypatch):
    """Leave out what takes long, asks npm, or computes with torch, as no forked process should."""
    monkeypatch.setattr(pictures, "write_overlay", lambda folder: folder / "overlay.png")
    monkeypatch.setattr(action_figures, "write_contact_sheets", lambda _: [])
    monkeypatch.setattr(site.web_packages, "read_files", lambda *_, **__: {"tex-svg.js": b""})
    monkeypatch.setattr(site.explorers, "pairs", lambda: {"studies": {}, "colours": {}})
    monkeypatch.setattr(site, "_write_live_page", lambda *_: None)
    monkeypatch.setattr(site, "_own_scores", list)  # not what has run on this machine


@pytest.fixture
def source(tmp_path):
    """A folder that is a list's videos and HMDB51's class folders at once."""
    folder = tmp_path / "source"
    for name in CLIPS:
        place = folder / name.split("_")[0] / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(name.encode())
    rows = [(f"{n.split('_')[0]}/{n}", n.split("_")[0], "test" if "3" in n else "train") for n in CLIPS]
    with open(folder / "list.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("video", "class", "subset"), *rows])
    return folder


def write(command, source, to, start, ends):
    start.wait()
    try:
        command(source, to)
        ends.put("")
    except R21DError as error:
        ends.put(str(error))


def content(folder):
    """What a reader sees in a folder: names, and what stands in files and behind links."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


IN_A_MOMENT = (prepare_listed, prepare_hmdb51)


@pytest.mark.thorough
@pytest.mark.usefixtures("light")
@pytest.mark.parametrize(
    "command", [*IN_A_MOMENT, draw_figures, copy_notebooks, draw_pictures, build_site]
)
def test_two_at_once_end_right_or_are_refused(source, tmp_path, command, monkeypatch):
    monkeypatch.setattr(files, "_SECONDS_TO_WAIT", 0.5)
    command(source, tmp_path / "alone")
    alone, context = content(tmp_path / "alone"), multiprocessing.get_context("fork")
    for attempt in range(8 if command in IN_A_MOMENT else 1):
        to = tmp_path / f"shared {attempt}"
        start, ends = context.Barrier(2), context.Queue()
        writers = [
            context.Process(target=write, args=(command, source, to, start, ends)) for _ in range(2)
        ]
        for writer in writers:
            writer.start()
        messages = sorted(ends.get(timeout=60) for _ in writers)
        for writer in writers:
            writer.join()
        assert messages[0] == ""
        if messages[1]:
            assert f"another r21d command is writing into {to}" in messages[1]
            assert "\n" not in messages[1]
        assert content(to) == alone
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"source", "alone", *(f"shared {n}" for n in range(attempt + 1))}


def hold(folder, held, until):
    with only_writer(folder):
        held.set()
        until.wait()


def test_a_killed_writer_holds_nothing(tmp_path):
    context = multiprocessing.get_context("fork")
    held, until = context.Event(), context.Event()
    writer = context.Process(target=hold, args=(tmp_path / "folder", held, until))
    writer.start()
    assert held.wait(30)
    writer.kill()
    writer.join()
    with only_writer(tmp_path / "folder"):
        pass
    assert not list(tmp_path.iterdir())


def test_what_killed_writers_left_goes_and_what_they_moved_comes_back(tmp_path):
    with whole_folder(tmp_path / "made") as fresh:
        (fresh / "file").write_text("old")
    (tmp_path / "made").rename(tmp_path / ".made.r21d-old")  # killed between the two renames
    (tmp_path / ".made.r21d-unfinished").mkdir()
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "made"):
        raise RuntimeError
    assert (tmp_path / "made" / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_only_partial_files_that_nobody_writes_are_deleted(tmp_path):
    left, used, own = ".a.1.partial.csv", ".b.2.partial.csv", ".partial.csv"
    for name in (left, used, own):
        (tmp_path / name).write_text("1")
    yesterday = time.time() - 86400
    for name in (left, own):
        os.utime(tmp_path / name, (yesterday, yesterday))
    with whole_file(tmp_path / "c.csv") as partial:
        partial.write_text("2")
    assert {path.name for path in tmp_path.iterdir()} == {used, own, "c.csv"}


def test_two_trainings_in_one_folder_are_refused(tmp_path, tiny_data, build, monkeypatch):
    monkeypatch.setattr(files, "_SECONDS_TO_WAIT", 0.1)
    tiny = ["epochs=1", "batch_size=2", "width=4", "clip_len=4", "resize=16,20", "crop=16"]
    recipe = recipes.read("figures_race", [*tiny, f"data={tiny_data}", "network=fr2d"])
    train_recipe(recipe, run=tmp_path / "run", progress=False)
    before = content(tmp_path / "run")
    with only_writer(tmp_path / "run"):
        for resume in (True, False):
            with pytest.raises(SettingsError, match="another r21d command is writing into"):
                train_recipe(recipe, run=tmp_path / "run", resume=resume, progress=False)
    after = content(tmp_path / "run")
    assert {name: after[name] for name in before} == before
