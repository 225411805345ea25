"""Recipes: all are whole, faithful where they claim to be, changed by key=value, cut to a budget."""

import dataclasses
import json
import re

import pytest

from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.errors import SettingsError
from r21d_lib.models.kinds import NETWORK_NAMES
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


def test_the_other_finetunings_are_vmzs():
    """finetune_ucf101.sh: 8 x 0.0001, 8 epochs of 100,000 clips; of flow, hmdb51's with 32 fields."""
    ucf = recipes.read("ucf101_finetune")
    hmdb, flow = recipes.read("hmdb51_finetune"), recipes.read("hmdb51_finetune_flow")
    assert (ucf.dataset, ucf.training.clips_per_epoch) == ("UCF101", 100_000)
    assert ucf.training.learning_rate == pytest.approx(8 * 0.0001)
    same = dict(clips_per_epoch=40_000, learning_rate=0.0016)
    assert dataclasses.replace(ucf.training, **same) == hmdb.training == flow.training
    assert (flow.clips.modality, flow.clips.clip_len, flow.quality) == ("flow", 32, None)
    assert flow.build(51).settings.in_channels == 2


def test_an_older_recipe_is_of_rgb():
    """The values of a run folder that was written before there was flow."""
    values = recipes.read("figures_race").to_dict()
    assert "modality" not in values["clips"]
    recipe = recipes.Recipe.from_dict(json.loads(json.dumps(values)))
    assert recipe.clips.modality == "rgb"
    flow = recipes.read("figures_flow")
    race = recipes.read("figures_race")
    assert flow.training == race.training
    # A stride of 3 at 30 frames a second shows the moments that a rate of 10 keeps.
    assert (flow.clips.fps, flow.clips.stride, race.clips.stride) == (10, 1, 3)
    assert recipes.read("figures_flow", ["network=r3d"]).training.learning_rate == 0.002


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
        ("epochs=0", "epochs must be from 1 to"),
        ("epochs=1000000000000", "epochs must be from 1 to"),
        ("learning_rate=nan", "learning_rate must be from 0 to"),
        ("momentum=-1", "momentum must be from 0 to 1"),
        ("workers=1000000", "workers must be from 0 to"),
        ("seed=-1", "seed must be from 0 to"),
        ("clip_len=1000000000", "clip_len must be from 1 to"),
        ("resize=1000000,1000000", "a height and a width up to"),
        ("crop=500", "does not fit into frames"),
        ("=3", "has no field ''"),
    ],
)
def test_changes_that_make_no_sense(change, message):
    with pytest.raises(SettingsError, match=message) as caught:
        recipes.read("hmdb51_finetune", [change])
    assert "\n" not in str(caught.value)


FIELDS = [field.name for field in dataclasses.fields(recipes.Recipe)]
FIELDS = [name for name in FIELDS if name not in ("name", "description", "clips", "training")]
FIELDS += [f.name for kind in (ClipSettings, TrainingSettings) for f in dataclasses.fields(kind)]


@pytest.mark.parametrize("name", FIELDS)
def test_no_field_takes_an_empty_value(name):
    with pytest.raises(SettingsError, match=name):
        recipes.read("figures_finetune", [f"{name}="])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("network=r4d", "no network is called 'r4d': did you mean 'r3d'?"),
        ("depth=11", "depth 11 is not available"),
        ("width=0", "width must be from 1"),
        ("split=4", "split must be from 1 to 3, got 4"),
        ("num_clips=0", "num_clips must be from 1"),
        ("quality=200", "quality must be from 1 to 100, got 200"),
    ],
)
def test_what_no_run_could_be_is_refused_before_it_begins(change, message):
    with pytest.raises(SettingsError, match=re.escape(message)):
        recipes.read("figures_finetune", [change])


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text((recipes.FOLDER / "small_scratch.toml").read_text() + "seed = 7\n")
    assert recipes.read(path).training.seed == 7
    assert recipes.read(path).name == "mine"
    for content in (b"network = 3 = 4", b"\xff\xfe", b"training = 3", b"learning_rates = 1"):
        path.write_bytes(content)
        with pytest.raises(SettingsError, match=r"mine\.toml cannot be read as a recipe"):
            recipes.read(path, ["epochs=3"])


WHOLE = TrainingSettings(epochs=8, warmup_epochs=2, schedule="step", step_epochs=4)


def test_a_file_may_give_single_networks_a_rate_of_their_own(tmp_path):
    file = tmp_path / "mine.toml"
    text = (recipes.FOLDER / "figures_race.toml").read_text().split("[learning_rates]")[0]
    file.write_text(f"{text}\n[learning_rates]\nr3d = 0.007\n")
    assert recipes.read(file, ["network=r3d"]).training.learning_rate == 0.007
    assert recipes.read(file, ["network=mc2"]).training.learning_rate == 0.002
    assert recipes.read(file, ["network=r3d", "learning_rate=0.1"]).training.learning_rate == 0.1


def test_a_budget_that_is_enough_changes_nothing():
    assert budget.fit_budget(WHOLE, 800, 100) == WHOLE


def test_fewer_epochs_keep_the_shape_of_the_schedule():
    fitted = budget.fit_budget(WHOLE, 450, 100)
    assert (fitted.epochs, fitted.warmup_epochs, fitted.step_epochs) == (4, 1.0, 2.0)
    assert fitted.learning_rate_at(3.9) == WHOLE.learning_rate_at(7.9)


def test_less_than_an_epoch_is_one_of_fewer_clips():
    fitted = budget.fit_budget(WHOLE, 40, 100)
    assert (fitted.epochs, fitted.clips_per_epoch) == (1, 40)


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf")])
def test_minutes_that_are_none_are_refused(minutes, tmp_path):
    with pytest.raises(SettingsError, match="minutes must be above 0"):
        run.train_recipe(recipes.read("small_scratch"), run=tmp_path / "run", minutes=minutes)
    assert not (tmp_path / "run").exists()


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
