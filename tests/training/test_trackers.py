"""Numbers that go to other trackers as well, by name; the run's own files stay as they are."""

import importlib.util

import pytest

from r21d_lib import checkpoints
from r21d_lib.errors import SettingsError
from r21d_lib.plots import tensorboard
from r21d_lib.training import recipes, trackers
from r21d_lib.training.run import train_recipe
from r21d_lib.training.run_folder import RunFolder

TINY = ["epochs=2", "batch_size=4", "width=4", "clip_len=4", "resize=16,20", "crop=16", "num_clips=1"]
OTHERS = [name for name in trackers.NAMES if name != trackers.TENSORBOARD]


@pytest.fixture
def recipe(tiny_data, build):
    return recipes.read("small_scratch", [*TINY, f"data={tiny_data}"])


def kept(folder):
    """Return what a run keeps, but for seconds; a weight file's own entries come in any order."""
    run = RunFolder(folder)
    weights = checkpoints.load(run.weights)[0].state_dict()
    numbers = run.metrics().drop(columns="seconds").to_dict("list")
    return (
        run.recipe(),
        checkpoints.read_card(run.weights),
        numbers,
        {k: v.tolist() for k, v in weights.items()},
    )


@pytest.mark.parametrize("name", OTHERS)
def test_a_tracker_gets_the_numbers_or_its_package_is_named(recipe, tmp_path, name, monkeypatch):
    if importlib.util.find_spec(name) is None:
        message = f"log_with {name} needs the package {name}: python -m pip install {name}"
        with pytest.raises(SettingsError, match=message):
            train_recipe(recipe, run=tmp_path / "run", log_with=[name], progress=False)
        assert not (tmp_path / "run").exists()
        return
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    train_recipe(recipe, run=tmp_path / "plain", progress=False)
    folder, _ = train_recipe(recipe, run=tmp_path / "run", log_with=[name], progress=False)
    assert kept(folder.path) == kept(tmp_path / "plain")
    assert len(tensorboard._events(folder.path).Scalars("loss")) == 2
    written = [
        p for p in tmp_path.rglob("*") if p.is_file() and not p.is_relative_to(tmp_path / "plain")
    ]
    assert any(name in str(p.relative_to(tmp_path)) for p in written), f"{name} wrote nothing"


def test_the_usual_tracker_by_name_changes_nothing(recipe, tmp_path):
    train_recipe(recipe, run=tmp_path / "plain", progress=False)
    train_recipe(recipe, run=tmp_path / "run", log_with=["tensorboard"], progress=False)
    assert kept(tmp_path / "plain") == kept(tmp_path / "run")
    names = [sorted(p.name for p in (tmp_path / run).iterdir()) for run in ("plain", "run")]
    assert names[0] == names[1]


def test_the_command_says_what_is_known(tiny_data, build, r21d):
    done = r21d("train", "small_scratch", f"data={tiny_data}", *TINY, "--log-with", "comet")
    assert done.returncode == 2
    assert "log_with 'comet' is unknown: choose tensorboard, wandb, trackio, mlflow" in done.stderr
