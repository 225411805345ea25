"""The race: networks trained alike, alone or beside each other with the same numbers, and compared."""

import dataclasses

import numpy as np
import pytest

from r21d_lib.errors import SettingsError
from r21d_lib.files import BUILD
from r21d_lib.suite import statistics
from r21d_lib.training import many, recipes

TINY = ["epochs=2", "clips_per_epoch=64", "width=4", "clip_len=4", "resize=16,20", "crop=16"]


@pytest.fixture(scope="module")
def entries():
    """Two short entries on ActionFigures, which is drawn and decoded where it is not yet."""
    names = ("fr2d", "rmc3")
    return [recipes.read("figures_race", [*TINY, "num_clips=2", f"network={n}"]) for n in names]


def test_the_folder_says_what_was_run():
    recipe = recipes.read("figures_race", ["network=mc3", "seed=4"])
    assert many.folder_of(recipe) == BUILD / "runs" / "figures_race" / "mc3_16_epochs_seed4"


def test_a_race_starts_from_random_weights():
    with pytest.raises(SettingsError, match="starts from random weights"):
        many.run(recipes.read("figures_finetune"))


def test_entries_side_by_side_give_the_numbers_of_each_alone(entries):
    finished = []
    both = many.run_all(entries, jobs=2, resume=False, on_finish=finished.append)
    assert [finish.network for finish in both] == ["fr2d", "rmc3"]
    assert {finish.network for finish in finished} == {"fr2d", "rmc3"}
    for finish in both:
        assert list(finish.history["epoch"]) == [1, 2]
        assert finish.history["test_accuracy"].between(0, 1).all()
        assert finish.scores.probabilities.shape[1:] == (2, 12)
        numbers = finish.to_dict()
        assert numbers["video@1"] == pytest.approx(
            np.mean(list(numbers["per_class"].values())), abs=1e-3
        )
    (again,) = many.run_all(entries[:1], jobs=2, resume=False)
    np.testing.assert_array_equal(again.scores.probabilities, both[0].scores.probabilities)
    # A finished one is not run again: it is read.
    scores = many.folder_of(entries[1]) / "scores.npz"
    before = scores.stat().st_mtime_ns
    many.run_all(entries[1:], jobs=1)
    assert scores.stat().st_mtime_ns == before


def test_compute_counts_the_recipes_own_network():
    recipe = recipes.read("figures_race")
    single = statistics.compute(recipe, 12)
    double = statistics.compute(dataclasses.replace(recipe, width=32), 12)
    assert 3 < double / single < 4.1
