"""Recipes: all are whole, faithful where they claim to be, changed by key=value, cut to a budget."""

import dataclasses
import json

import pytest

from r21d_lib.errors import SettingsError
from r21d_lib.models.networks import NETWORK_NAMES
from r21d_lib.training import TrainingSettings, budget, recipes, run


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_is_whole(name):
    recipe = recipes.read(name)
    assert recipe.description
    assert recipe.network in NETWORK_NAMES
    again = recipes.Recipe.from_dict(json.loads(json.dumps(recipe.to_dict())))
    assert again == recipe


def test_the_finetuning_is_vmzs():
    """finetune_hmdb51.sh: 8 GPUs x 4 clips, 8 x 0.0002, 8 epochs of 40,000 clips, /10 every 2."""
    recipe = recipes.read("hmdb51_finetune")
    training = recipe.training
    assert (recipe.network, recipe.depth, recipe.clips.clip_len) == ("r2plus1d", 34, 32)
    assert training.epochs * training.clips_per_epoch == 320_000
    assert training.steps_per_epoch(3570) == 1250
    assert training.steps_per_epoch(3570, processes=8) < training.steps_per_epoch(3570)
    on_eight = dataclasses.replace(training, batch_size=4)
    assert on_eight.batch_scale(processes=8) * on_eight.learning_rate == pytest.approx(8 * 0.0002)
    assert on_eight.batch_scale(processes=1) * on_eight.learning_rate == pytest.approx(0.0002)
    rates = [training.learning_rate_at(epoch) for epoch in (0, 1.9, 2, 4, 6, 7.9)]
    assert rates == pytest.approx([1.6e-3, 1.6e-3, 1.6e-4, 1.6e-5, 1.6e-6, 1.6e-6])
    assert (training.weight_decay, training.momentum) == (0.005, 0.9)


def test_the_papers_schedule_counts_from_the_end_of_warm_up():
    training = recipes.read("sports1m_scratch").training
    rates = [training.learning_rate_at(epoch) for epoch in (5, 10, 19, 20, 30, 44)]
    assert rates == pytest.approx([5e-3, 1e-2, 1e-2, 1e-3, 1e-4, 1e-5])


def test_values_are_changed_by_name():
    recipe = recipes.read(
        "hmdb51_finetune",
        ["epochs=3", "clips.resize=64,80", "crop = 56", "checkpoint=none", "compile=true"],
    )
    assert recipe.training.epochs == 3
    assert recipe.clips.resize == (64, 80)
    assert recipe.clips.crop == 56
    assert recipe.checkpoint is None
    assert recipe.training.compile is True
    assert recipe.depth == 34


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("epoch=3", "has no field 'epoch': did you mean epochs"),
        ("epochs=three", r"training\.epochs: input should be a valid integer"),
        ("resize=64", r"clips\.resize: input should be a valid tuple"),
        ("optimizer=lion", r"training\.optimizer: input should be 'sgd' or 'adamw'"),
        ("epochs=0", "epochs must be 1 or more"),
        ("crop=500", "does not fit into frames"),
        ("=3", "has no field ''"),
    ],
)
def test_changes_that_make_no_sense(change, message):
    with pytest.raises(SettingsError, match=message) as caught:
        recipes.read("hmdb51_finetune", [change])
    assert "\n" not in str(caught.value)


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text((recipes.FOLDER / "small_scratch.toml").read_text() + "seed = 7\n")
    assert recipes.read(path).training.seed == 7
    assert recipes.read(path).name == "mine"
    path.write_text("network = 3 = 4")
    with pytest.raises(SettingsError, match=r"mine\.toml cannot be read as a recipe"):
        recipes.read(path)


WHOLE = TrainingSettings(epochs=8, warmup_epochs=2, schedule="step", step_epochs=4)


def test_a_budget_that_is_enough_changes_nothing():
    assert budget.fit_budget(WHOLE, 800, 100) == WHOLE


def test_fewer_epochs_keep_the_shape_of_the_schedule():
    fitted = budget.fit_budget(WHOLE, 450, 100)
    assert (fitted.epochs, fitted.warmup_epochs, fitted.step_epochs) == (4, 1.0, 2.0)
    assert fitted.learning_rate_at(3.9) == WHOLE.learning_rate_at(7.9)


def test_less_than_an_epoch_is_one_of_fewer_clips():
    fitted = budget.fit_budget(WHOLE, 40, 100)
    assert (fitted.epochs, fitted.clips_per_epoch) == (1, 40)


def test_minutes_are_measured_said_and_kept(build, tiny_data, tmp_path, monkeypatch, capsys):
    changes = [f"data={tiny_data}", "network=r3d", "width=4", "batch_size=2"]
    recipe = recipes.read("small_scratch", [*changes, "clips_per_epoch=1000", "epochs=5"])
    folder, _ = run.train_recipe(recipe, run=tmp_path / "run", minutes=0.05)
    said = capsys.readouterr().out
    assert "clips a second: the recipe's 5 epochs of 1,000 clips take" in said
    kept = folder.recipe()
    assert kept.training.epochs <= 5
    assert kept.training != recipe.training
    # Going on does not measure again, which would give another schedule.
    monkeypatch.setattr(budget, "measure_speed", lambda *_, **__: pytest.fail("measured again"))
    run.train_recipe(recipe, run=tmp_path / "run", minutes=0.05)
    assert "goes on as it was begun" in capsys.readouterr().out
    with pytest.raises(SettingsError, match=r"holds a run with .*network"):
        run.train_recipe(dataclasses.replace(kept, network="r2d"), run=tmp_path / "run")
    assert folder.recipe() == kept
