"""The commands that make and check data sets: default names, ~, options that do not fit, odd names."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from r21d_lib.cli import data as commands
from r21d_lib.cli import from_home
from r21d_lib.cli.main import app
from r21d_lib.data import action_figures, catalog, doctor, hmdb51
from r21d_lib.data.action_figures import generation, sheets
from r21d_lib.data.hmdb51 import archives
from r21d_lib.errors import DatasetError
from r21d_lib.suite import pictures


def class_folders(folder, *classes):
    for name in classes:
        (folder / name).mkdir(parents=True)
        for take in range(4):
            (folder / name / f"{take}.avi").write_bytes(f"{folder}{name}{take}".encode())
    return folder


@pytest.fixture
def built(tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "BUILD", tmp_path / "build")
    monkeypatch.setattr(catalog, "BUILD", tmp_path / "build")
    return tmp_path / "build" / "data"


def test_folders_that_differ_behind_a_dot_have_names_of_their_own(r21d, tmp_path, built):
    for year, classes in ((2023, ("walk", "run")), (2024, ("jump", "sit"))):
        done = r21d("prepare", "listed", class_folders(tmp_path / f"clips.{year}", *classes))
        assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in built.iterdir()) == ["clips.2023", "clips.2024"]


def test_a_data_set_that_takes_anothers_place_says_so(r21d, tmp_path, built):
    one = class_folders(tmp_path / "a/clips", "walk", "run")
    for source, said in (
        (one, ""),
        (one, ""),  # the same again
        (class_folders(tmp_path / "b/clips", "jump", "sit"), "held 8 videos of run, walk before"),
        (class_folders(tmp_path / "c/clips", "jump", "sit"), "held 8 videos of jump, sit before"),
    ):
        done = r21d("prepare", "listed", source)
        assert done.returncode == 0, done.stderr
        assert (said in done.stderr and "replaced: " in done.stderr) if said else not done.stderr


def test_the_usual_number_of_clips_is_the_catalogues(r21d, monkeypatch):
    asked = {}
    monkeypatch.setattr(
        action_figures,
        "generate",
        lambda root, **how: asked.update({root.name: how["clips_per_class"]}),
    )
    for options in ((), ("--source",), ("--films",)):
        assert r21d("figures", *options).returncode == 0
    assert asked == {name: clips for name, (_, clips) in catalog.FIGURES.items()}
    said = " ".join(r21d("figures", "--help", COLUMNS="300").stdout.split())
    assert "100, 200 with --source, or 60 films" in said


def test_no_clips_are_refused(r21d, tmp_path):
    done = r21d("figures", tmp_path / "f", "--clips", "0")
    assert done.returncode == 2
    assert "0 clips a class are too few" in done.stderr
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("doctor", "mine", "--workers", "-1"),
        ("prepare", "hmdb51", "x", "--workers", "0"),
        ("fetch", "hmdb51", "--workers", "-1"),
        ("figures", "--workers", "-1"),
    ],
)
def test_less_than_one_worker_is_refused_before_anything(r21d, arguments):
    done = r21d(*arguments)
    assert done.returncode == 2
    assert "--workers" in done.stderr
    assert "Traceback" not in done.stderr


def test_home_is_found_behind_the_sign_of_equality(r21d, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    class_folders(tmp_path / "home/clips", "walk", "run")
    done = r21d("prepare", "listed", "~/clips", "--to=~/made", HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "home/made/classes.txt").is_file()
    assert not (tmp_path / "~").exists()
    packed = class_folders(tmp_path / "home/hmdb", "golf")
    done = r21d("prepare", "hmdb51", packed, "--to=~/h", HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "home/h/golf").iterdir())) == 4


def test_every_command_takes_home_for_its_places(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    given = {"place": Path("~/a"), "places": [Path("~/b"), Path("c")], "name": "~", "none": None}
    seen = from_home(lambda **its: its)(**given)
    places = [tmp_path / "b", Path("c")]
    assert seen == {"place": tmp_path / "a", "places": places, "name": "~", "none": None}
    groups = (app, *(group.typer_instance for group in app.registered_groups))
    every = [command.callback for group in groups for command in group.registered_commands]
    assert len(every) > 15
    assert all(hasattr(command, "__wrapped__") for command in every)


def test_weights_are_found_at_home(tmp_path, monkeypatch):
    from r21d_lib import checkpoints
    from r21d_lib.errors import CheckpointError

    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "folder").mkdir()
    with pytest.raises(CheckpointError, match=f"{tmp_path}/folder is a folder"):
        checkpoints.load("~/folder")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("prepare hmdb51 x --name foo --videos /no --test t.csv", "--videos, --name, --test"),
        ("prepare hmdb51 x --labels l --skip-missing", "--labels, --skip-missing"),
        ("prepare listed x --workers 2", "--workers"),
        ("fetch --classes golf --to f --from no --workers 3", "--from, --classes, --to, --workers"),
        ("fetch --decode", "--decode"),
    ],
)
def test_options_of_another_form_are_named(r21d, arguments, named):
    done = r21d(*arguments.split())
    assert done.returncode == 2
    assert f"does not use {named}: leave that out" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("classes", ["", "golf,,wave", " "])
def test_no_class_is_not_all_classes(r21d, tmp_path, monkeypatch, classes):
    monkeypatch.setattr(hmdb51, "fetch", lambda *_, **__: pytest.fail("it fetches"))
    done = r21d("fetch", "hmdb51", "--classes", classes, "--to", tmp_path / "f")
    assert done.returncode == 2
    assert "has a place without a name" in done.stderr


def test_a_file_name_of_another_encoding_is_named(r21d, tmp_path, built):
    source = class_folders(tmp_path / "clips", "walk", "run")
    try:
        os.rename(source / "walk/0.avi", os.fsencode(source / "walk") + b"/caf\xe9.avi")
    except OSError:
        pytest.skip("this disk takes names in UTF-8 alone")
    done = r21d("prepare", "listed", source)
    assert done.returncode == 2
    assert "walk/caf" in done.stderr
    assert "is not a name in UTF-8" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(built.iterdir())


def test_what_macos_leaves_beside_lists_is_no_list(r21d, tmp_path):
    source = tmp_path / "s"
    source.mkdir()
    for split in (1, 2, 3):
        (source / f"golf_test_split{split}.txt").write_text("a.avi 1 \nb.avi 2 \n")
        (source / f"._golf_test_split{split}.txt").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X\xb0\xff")
    done = r21d("splits", source, "--name", "m", "--to", tmp_path / "o")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "o/m/classes.txt").read_text() == "golf\n"


def test_what_macos_leaves_beside_clips_is_no_clip(tmp_path):
    (tmp_path / "golf").mkdir()
    (tmp_path / "golf/._a.avi").write_bytes(b"Mac OS X")
    found = [finding.text for finding in hmdb51.examine(tmp_path, progress=False)]
    assert not [text for text in found if "._a.avi" in text]


@pytest.fixture
def own_figures(tmp_path):
    """Return a folder as `r21d figures FOLDER --seed 7 --clips 20` leaves it, but for the pictures."""
    root = tmp_path / "figures"
    root.mkdir()
    request = {"name": "action_figures_target", "version": 3, "clips_per_class": 20, "seed": 7}
    (root / "dataset.json").write_text(json.dumps(request) + "\n")
    for clip in generation._plan("target", 20, 7):
        path = root / "videos" / clip.action / clip.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(clip.name.encode())
    action_figures.generate(root, clips_per_class=20, seed=7, progress=False)
    return root


def test_figures_in_a_folder_of_ones_own_are_a_data_set(r21d, own_figures):
    opened = catalog.open_videos(str(own_figures), split=2, part="test")
    assert len(opened) == 12 * 6
    done = r21d("doctor", own_figures, "--no-decode")
    assert done.returncode == 0, done.stdout
    assert "nothing is wrong" in done.stdout
    (own_figures / "splits/walk_test_split3.txt").write_text("not a list\n")
    done = r21d("doctor", own_figures, "--no-decode")
    assert done.returncode == 1
    assert "walk_test_split3.txt, line 1" in done.stdout


def test_a_changed_list_is_not_put_back(own_figures):
    file = own_figures / "splits/walk_test_split1.txt"
    own = file.read_text().replace(" 2 ", " 0 ", 1)
    file.write_text(own)
    with pytest.raises(DatasetError, match=r"walk_test_split1\.txt was changed: delete it"):
        action_figures.generate(own_figures, clips_per_class=20, seed=7, progress=False)
    assert file.read_text() == own
    assert len(catalog.open_videos(str(own_figures), split=1, part="test")) == 12 * 6 - 1
    file.unlink()
    action_figures.generate(own_figures, clips_per_class=20, seed=7, progress=False)
    assert file.is_file()


class Bar:
    """In place of tqdm's: says what was gone over."""

    shown: list

    def __init__(self, things=(), *, total=None, disable=False, delay=0, **_):
        assert delay == 2
        self.things, self.n, self.disable = things, 0, disable
        self.total = total if total is not None or not hasattr(things, "__len__") else len(things)

    def __iter__(self):
        for thing in self.things:
            yield thing
            self.n += 1
        if not self.disable:
            self.shown.append(self.n)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.shown.append(self.total)

    def update(self, more):
        self.n += more


@pytest.fixture
def bars(monkeypatch):
    monkeypatch.setattr(Bar, "shown", [], raising=False)
    for module in (archives, doctor, pictures, sheets):
        monkeypatch.setattr(module, "tqdm", Bar)
    return Bar.shown


def test_one_archive_has_a_bar_of_its_files(tmp_path, bars):
    with zipfile.ZipFile(tmp_path / "hmdb.zip", "w") as packed:
        for take in range(5):
            packed.writestr(f"golf/{take}.avi", b"video")
    hmdb51.prepare_files(tmp_path / "hmdb.zip", tmp_path / "o")
    assert bars == [5]
    hmdb51.prepare_files(tmp_path / "hmdb.zip", tmp_path / "quiet", progress=False)
    assert bars == [5]


def test_a_program_that_unpacks_is_watched(tmp_path, bars):
    tool = archives._Tool(
        "sh",
        (),
        str.splitlines,
        lambda _, to: ["sh", "-c", f"touch '{to}/a'; sleep 1.5; touch '{to}/b'"],
    )
    (tmp_path / "to").mkdir()
    seen = []

    def bar(**options):
        seen.append(Bar(delay=2, **options))
        return seen[-1]

    archives._extract_with(tool, Path("x.rar"), 2, tmp_path / "to", bar)
    assert (seen[0].n, seen[0].total) == (1, 2)


def test_the_doctor_and_the_sheets_have_bars(own_figures, bars):
    doctor.examine(str(own_figures), decode=False)
    assert bars == [72, 72, 72]
    bars.clear()
    doctor.examine(str(own_figures), decode=False, progress=False)
    assert bars == []


def test_drawing_has_bars(tmp_path, bars, monkeypatch):
    monkeypatch.setattr(sheets, "render", lambda *_, **__: np.zeros((8, 4, 4, 3), np.uint8))
    action_figures.write_contact_sheets(tmp_path)
    assert bars == [12, 14]
