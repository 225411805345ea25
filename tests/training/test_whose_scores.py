"""A run's scores are of its own weights, test list and clips, or are named otherwise."""

import csv
import dataclasses
import os
import shutil

import pytest

from r21d_lib import checkpoints
from r21d_lib.data import csv_lists
from r21d_lib.errors import CheckpointError, SettingsError
from r21d_lib.evaluation.scores import Scores
from r21d_lib.suite.statistics import Study
from r21d_lib.training import budget, recipes
from r21d_lib.training.run import evaluate, kept_scores, train_recipe
from r21d_lib.training.run_folder import RunFolder

TINY = ["epochs=2", "batch_size=2", "width=2", "clip_len=4", "resize=16,20", "crop=16", "num_clips=2"]


@pytest.fixture
def two_splits(tiny_dataset, tmp_path):
    """Return a data set whose second split tests on videos that the first one trains on."""
    rows = [
        (name, name.split("/")[0], "2" if "_3" in name else "1", "2" if "_0" in name else "1")
        for name in tiny_dataset.names
    ]
    with open(tmp_path / "list.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("video", "class", "split1", "split2"), *rows])
    csv_lists.make_folder([tmp_path / "list.csv"], tmp_path / "data", videos=tiny_dataset.root)
    return tmp_path / "data"


@pytest.fixture
def asked(two_splits, build):
    """Return what reads a small recipe of that data set."""
    return lambda *changes: recipes.read("small_scratch", [f"data={two_splits}", *TINY, *changes])


@pytest.fixture
def run(asked):
    return train_recipe(asked(), progress=False)[0]


def test_a_run_is_not_scored_on_videos_that_it_learnt_from(run, two_splits):
    whole = evaluate(str(run.path))
    assert whole.file == run.scores_file(1)
    for change in ({"split": 2}, {"split": 2, "data": str(two_splits)}):
        with pytest.raises(
            SettingsError, match=r"was trained on 2 of the 2 videos .*leave out --split"
        ):
            evaluate(str(run.path), **change)
    with pytest.raises(SettingsError, match="was trained on 2 of the 2"):
        evaluate(str(run.weights), split=2)
    with pytest.raises(SettingsError, match="was trained on 2 of the 2"):
        kept_scores(str(run.path), 2)
    assert not run.scores_file(2).exists()


def test_scores_of_other_weights_and_clips_have_their_own_file(run):
    own = evaluate(str(run.path)).file.read_bytes()
    shutil.copyfile(run.weights, run.path / "best.safetensors")
    best = run.path / "best.safetensors"
    names = {
        evaluate(str(run.path), num_clips=1).file.name,
        evaluate(str(run.path), crops=3, dense_step=2).file.name,
        evaluate(str(best)).file.name,
    }
    assert names == {
        "scores_split1_1clips.npz",
        "scores_split1_step2_3crops.npz",
        "scores_split1_best.npz",
    }
    assert run.scores_file(1).read_bytes() == own
    assert evaluate(str(run.path), num_clips=2).file == run.scores_file(1)
    assert kept_scores(str(run.path)).probabilities.shape[1] == 2


def test_scores_of_earlier_weights_are_not_kept(run):
    evaluate(str(run.path))
    seen = run.scores(1)
    assert seen is not None
    dataclasses.replace(seen, probabilities=0 * seen.probabilities).save(run.scores_file(1))
    assert not kept_scores(str(run.path)).probabilities.any()
    later = run.scores_file(1).stat().st_mtime_ns + 10**9
    os.utime(run.weights, ns=(later, later))  # as after a further epoch
    assert run.scores(1) is None
    assert kept_scores(str(run.path)).probabilities.any()


@pytest.mark.parametrize("change", ["split=2", "learning_rate=0.5", "batch_size=4", "weight_decay=0.5"])
def test_minutes_change_the_schedule_of_a_begun_run_and_nothing_else(run, asked, monkeypatch, change):
    monkeypatch.setattr(budget, "measure_speed", lambda *_: pytest.fail("it is begun"))
    with pytest.raises(SettingsError, match=f"holds a run with {change.split('=')[0]}"):
        train_recipe(asked(change), run=run.path, minutes=5, progress=False)
    again, _ = train_recipe(asked("epochs=9"), run=run.path, minutes=5, progress=False)
    assert len(again.metrics()) == 2


def test_a_run_of_minutes_goes_on_in_its_first_epoch(asked, tmp_path, monkeypatch):
    speeds = iter((1.0, 1.1))
    monkeypatch.setattr(budget, "measure_speed", lambda *_: next(speeds))

    def stop(*_):
        raise KeyboardInterrupt

    wanted = asked("epochs=30", "clips_per_epoch=100")
    monkeypatch.setattr(RunFolder, "write_epoch", stop)
    with pytest.raises(KeyboardInterrupt):
        train_recipe(wanted, run=tmp_path / "run", minutes=1, progress=False)
    monkeypatch.undo()
    folder = RunFolder(tmp_path / "run")
    assert folder.is_begun
    assert not folder.weights.exists()
    begun = folder.recipe().training
    assert begun.epochs == 1
    monkeypatch.setattr(budget, "measure_speed", lambda *_: 1.1)
    monkeypatch.setenv("R21D_BUILD", str(tmp_path / "build"))
    train_recipe(wanted, run=tmp_path / "run", minutes=1, progress=False)
    assert folder.recipe().training == begun
    assert len(folder.metrics()) == 1


@pytest.mark.parametrize("change", ["depth=18", "width=64", "network=r3d"])
def test_a_checkpoint_of_another_network_is_refused_before_decoding(run, asked, build, change):
    recipe = asked(f"checkpoint={run.weights}", change, "resize=18,22")
    held = {"depth=18": "depth=10", "width=64": "width=2", "network=r3d": "network=r2plus1d"}[change]
    with pytest.raises(CheckpointError, match=f"give {held}, or checkpoint=none"):
        train_recipe(recipe, progress=False)
    assert not list(build.rglob("18x22*")), "nothing is decoded before"
    assert checkpoints.load(run.weights)[0].settings == asked().build(2).settings


def test_a_study_is_of_finished_runs_of_one_kind(asked, tmp_path):
    def finished(name, *changes):
        folder, _ = train_recipe(asked(*changes), run=tmp_path / name, progress=False)
        evaluate(str(folder.path))
        return folder.path

    first = finished("first", "network=r3d")
    assert Study.collect([first, finished("same", "seed=1")], unit="films").networks
    for change in ("width=4", "num_clips=3", "batch_size=4", "quality=90"):
        other = finished(change.replace("=", "_"), change)
        with pytest.raises(Exception, match="has other settings than"):
            Study.collect([first, other], unit="films")
    metrics = (first / "metrics.csv").read_text().splitlines()
    (first / "metrics.csv").write_text("\n".join(metrics[:-1]) + "\n")
    with pytest.raises(Exception, match="is not the folder of a finished run"):
        Study.collect([first], unit="films")


def test_where_clips_start_is_part_of_what_scores_depend_on(run, asked):
    from r21d_lib.evaluation.protocol import score_once

    recipe = asked()
    network, _ = checkpoints.load(run.weights)
    videos = recipe.videos("test")

    def scored(start):
        starts = tuple((start,) for _ in videos.videos.names)
        listed = dataclasses.replace(videos.videos, starts=starts)
        moved = dataclasses.replace(videos, videos=listed)
        file = run.path / "moved.npz"
        return score_once(file, network, moved, recipe.clips, num_clips=2, progress=False)

    early, late = scored(0), scored(7)
    assert (early.probabilities != late.probabilities).any()
    assert early.views == "clips where the list says, their centre square"
    assert Scores.load(run.path / "moved.npz").origin == late.origin
