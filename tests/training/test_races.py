"""The race: networks trained alike, alone or beside each other with the same numbers, and compared."""

import dataclasses

import numpy as np
import pytest

from r21d_lib.errors import CheckpointError, SettingsError
from r21d_lib.suite import statistics
from r21d_lib.training import recipes
from r21d_lib.training.run import run_many
from r21d_lib.training.run_folder import RUNS, RunFolder

TINY = ["epochs=2", "batch_size=2", "width=4", "clip_len=4", "resize=16,20", "crop=16", "num_clips=2"]


@pytest.fixture
def entries(build, tiny_data):
    """Two short entries on the tiny data set."""
    changes = [*TINY, f"data={tiny_data}"]
    return [recipes.read("figures_race", [*changes, f"network={name}"]) for name in ("fr2d", "rmc3")]


def test_the_folder_says_what_was_run():
    recipe = recipes.read("figures_race", ["network=mc3", "seed=4", "epochs=16"])
    name = "figures_race_action_figures_mc3_16epochs_split1_seed4"
    assert RunFolder.of(recipe).path == RUNS / name


def test_two_runs_never_share_a_folder():
    recipe = recipes.read("figures_race")
    with pytest.raises(SettingsError, match="two of the recipes have one folder"):
        run_many([recipe, recipe])


@pytest.mark.thorough
def test_entries_side_by_side_give_the_numbers_of_each_alone(entries, build):
    finished = []
    both = run_many(entries, jobs=2, resume=False, test_curve=True, on_finish=finished.append)
    assert [finish.recipe.network for finish in both] == ["fr2d", "rmc3"]
    assert {finish.recipe.network for finish in finished} == {"fr2d", "rmc3"}
    for finish in both:
        assert list(finish.history["epoch"]) == [1, 2]
        assert finish.history["test_accuracy"].between(0, 1).all()
        assert finish.scores.probabilities.shape[1:] == (2, 2)
        numbers = finish.to_dict()
        assert numbers["video@1"] == pytest.approx(
            np.mean(list(numbers["per_class"].values())), abs=1e-3
        )
    assert RunFolder.of(entries[0]).path.is_relative_to(build)
    (again,) = run_many(entries[:1], jobs=2, resume=False, test_curve=True)
    np.testing.assert_array_equal(again.scores.probabilities, both[0].scores.probabilities)
    # A finished one is not run again: it is read.
    scores = RunFolder.of(entries[1]).scores_file(1)
    before = scores.stat().st_mtime_ns
    run_many(entries[1:], jobs=1, test_curve=True)
    assert scores.stat().st_mtime_ns == before


def test_a_run_that_fails_does_not_stop_the_others(entries, capsys):
    missing = dataclasses.replace(entries[0], checkpoint="no/such.safetensors")
    finished = []
    with pytest.raises(CheckpointError, match=r"no/such\.safetensors"):
        run_many([missing, entries[1]], jobs=1, on_finish=finished.append)
    assert [finish.recipe.network for finish in finished] == ["rmc3"]
    assert f"{RunFolder.of(missing).path.name} failed, others go on" in capsys.readouterr().out


def test_an_interruption_waits_for_no_run(entries):
    long = dataclasses.replace(entries[1].training, epochs=100_000)

    def interrupt(_finish):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_many(
            [entries[0], dataclasses.replace(entries[1], training=long)],
            jobs=1,
            on_finish=interrupt,
        )


def test_compute_counts_the_recipes_own_network():
    recipe = recipes.read("figures_race")
    single = statistics.compute(recipe, 12)
    double = statistics.compute(dataclasses.replace(recipe, width=32), 12)
    assert 3 < double / single < 4.1
