"""The package without its repository: a wheel, installed alone, works where it is run."""

import os
import subprocess
import sys

import pytest
from hub_server import with_hmdb51

from r21d_lib import Card, ClipSettings, build_network, checkpoints
from r21d_lib.checkpoints import unnamed
from r21d_lib.suite.repository import REPOSITORY


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Build the wheel and install it into a folder of its own, without what it depends on."""
    folder = tmp_path_factory.mktemp("wheel")
    uv = [sys.executable, "-m", "uv", "-q"]
    subprocess.run([*uv, "build", "--wheel", "-o", folder, str(REPOSITORY)], check=True)
    (wheel,) = folder.glob("*.whl")
    site = folder / "site"
    subprocess.run([*uv, "pip", "install", "--no-deps", "--target", site, str(wheel)], check=True)
    return site


@pytest.fixture
def run(installed, tmp_path):
    """Return what runs a command line of Python in an empty folder, with the installed package."""
    more = {"PYTHONPATH": str(installed), "HOME": str(tmp_path / "home")}
    own = {name: value for name, value in os.environ.items() if not name.startswith("R21D_")}

    def python(*arguments, timeout=300):
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=tmp_path,
            env={**own, **more},
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )

    return python


def test_it_writes_below_the_folder_where_it_is_run(run, tmp_path, installed):
    said = run("-c", "from r21d_lib import files; print(files.BUILD, files.DATA_SPLITS, sep='\\n')")
    build, splits = said.stdout.split()
    assert build == str(tmp_path / "build")
    assert splits == str(installed / "r21d_lib" / "data_splits")


def test_it_carries_hmdb51s_lists(run, tmp_path):
    said = run("-m", "r21d_lib", "doctor", "hmdb51", tmp_path)
    assert "split 1 has 0 of its 3,570 train clips" in said.stdout + said.stderr


def test_what_needs_the_repository_says_so_in_one_line(run):
    done = run("-m", "r21d_lib", "reproduce", "05_checkpoints")
    assert done.returncode == 2
    assert "clone the repository" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_package_that_is_missing_is_named_with_the_extra_that_brings_it(run, tmp_path):
    (tmp_path / "onnx.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'onnx'\", name='onnx')"
    )
    code = """
import sys
sys.path.insert(0, ".")
sys.argv = ["r21d", "export", "figures", "--to", "n.onnx"]
from r21d_lib.cli.main import main
main()
"""
    done = run("-c", code)
    assert done.returncode == 2
    assert "pip install 'r21d-lib[export]'" in done.stderr


def test_a_network_predicts(run, tmp_path):
    code = """
from r21d_lib import Recognizer
from r21d_lib.data import action_figures
frames = action_figures.render("source", "golf", 3, 0, seed=1)
print(Recognizer("figures").predict(frames).top(1)[0].label)
"""
    done = run("-c", code)
    assert done.stdout.split() == ["golf"], done.stderr


# The recipe of HMDB51 but for size: small pictures, few clips.
SMALL = ["clip_len=8", "resize=24,32", "crop=24", "workers=0", "epochs=1", "clips_per_epoch=512"]


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_from_an_empty_folder_to_a_finetuned_network_in_three_commands(hub, run, tmp_path):
    """All clips that HMDB51's lists name, a film a class, and a network that somebody published."""
    with_hmdb51(hub, tmp_path)
    network = build_network("r2plus1d", 10, num_classes=4, width=4)
    card = Card(network.settings, ClipSettings(clip_len=8), unnamed(4))
    checkpoints.save(tmp_path / "model.safetensors", network, card)
    hub.repos["models/lab/kinetics"]["model.safetensors"] = (
        tmp_path / "model.safetensors"
    ).read_bytes()
    for path in tmp_path.iterdir():
        path.unlink()

    def r21d(*arguments):
        done = run("-m", "r21d_lib", *arguments, timeout=1500)
        assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
        return done.stdout

    said = r21d("fetch", "hmdb51")
    assert "51 classes with 6,371 clips were made" in said
    assert "holds all of the three splits" in said
    held = ("checkpoint=hf://lab/kinetics", "depth=10", "width=4")
    said = r21d("train", "hmdb51_finetune", *held, *SMALL)
    (folder,) = (tmp_path / "build" / "runs").iterdir()
    assert folder.name in said
    said = r21d("evaluate", folder.name, "--clips", "2")
    assert "split 1, 1,530 videos" in said
    assert "95% interval of video@1" in said
    assert hub.asked("GET", "/store/datasets/") == 6371
