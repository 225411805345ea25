"""What is said of the changed networks: the sign that the runs have, also where there is none."""

import copy
import dataclasses
import json
import runpy

import pytest
from planted_studies import planted

from r21d_lib.errors import DatasetError, SettingsError
from r21d_lib.models.ablations import ABLATIONS
from r21d_lib.suite import ledger, reasons
from r21d_lib.suite.repository import BENCHMARKS
from r21d_lib.suite.results import read_results


@pytest.mark.parametrize(
    ("rate", "said"),
    [(0.95, "is ahead of R3D"), (0.5, "is behind R3D"), (0.8, "cannot be told from R3D")],
)
def test_the_sentence_follows_the_runs(rate, said):
    study = planted({"r3d": 0.8, "r3d_more_relus": rate})
    text = reasons.of_ablations(study)
    assert text.startswith(f"**{ABLATIONS['r3d_more_relus'].label}** asks ")
    assert said in text
    assert "8 seeds, 30" in text or "seeds" in text


def test_a_single_seed_is_said_to_be_one():
    text = reasons.of_ablations(planted({"r3d": 0.8, "r3d_more_relus": 0.9}, seeds=1))
    assert "(1 seed, 30 people: how far another seed would move it" in text
    assert "nan" not in text


def test_only_networks_that_ran_are_told_of():
    text = reasons.of_ablations(planted({"r2plus1d": 0.9, "r2plus1d_linear": 0.9}))
    assert text.count("**") == 2


def verdict(**rates):
    """Return the verdict of a study in which R3D is at 0.7 and R(2+1)D at 0.9."""
    five = {"r3d": 0.7, "r2plus1d": 0.9, "r2plus1d_linear": 0.9}
    five |= {"r3d_factorized_stem": 0.9, "r2plus1d_3d_stem": 0.7}
    return reasons.of_reasons(planted({**five, **rates}))


def test_the_verdict_follows_the_runs():
    said = verdict()
    assert "more ReLUs, does not show" in said
    assert "optimisation, shows" in said
    assert "It is the first layer that counts" in said
    assert "behind a 3D stem, factorizing all other layers is not seen to help" in said
    assert "the other layers helps as well" in verdict(r2plus1d_3d_stem=0.85)
    assert "all other layers does harm" in verdict(r2plus1d_3d_stem=0.5)
    said = verdict(r2plus1d_linear=0.7)
    assert "more ReLUs, holds" in said
    assert "optimisation, does not show" in said
    assert "more ReLUs, does not hold" in verdict(r2plus1d_linear=0.97)
    assert "not the first layer alone" in verdict(r3d_factorized_stem=0.7, r2plus1d_3d_stem=0.9)
    assert "is not settled" in verdict(r2plus1d_3d_stem=0.9)
    assert "norms ease it is not known" in verdict()
    assert "norms are part of what eases it" in verdict(r2plus1d_no_norm=0.6)
    assert "norms are not seen to matter" in verdict(r2plus1d_no_norm=0.9)


def test_there_is_no_verdict_without_the_runs_that_it_rests_on():
    study = planted({"r3d": 0.7, "r2plus1d": 0.9, "r2plus1d_linear": 0.9})
    assert reasons.of_reasons(study) == ""
    text = reasons.of_ablations(study)
    assert "Which reason" not in text
    assert f"Not run yet: {ABLATIONS['r3d_factorized_stem'].label}" in text


def test_a_rate_at_which_runs_do_not_start_is_said():
    study = planted({"r3d": 0.8, "r3d_more_relus": 0.5}, seeds=2)
    for run in study.runs:
        run["train_accuracy"] = [0.1, 0.9, 0.9, 0.9]
    text = reasons.of_ablations(study)
    assert "2 of its 2 runs were at chance after a quarter of the epochs" in text
    for run in study.runs:
        run["train_accuracy"][0] = 0.8
    assert "at chance" not in reasons.of_ablations(study)


def test_the_race_goes_on_with_the_recipes_that_the_recorded_runs_followed():
    race = runpy.run_path(str(BENCHMARKS / "race.py"))
    followed = read_results(BENCHMARKS / "results" / "ablations.json")["recipes"]
    assert followed
    for name, recipe in followed.items():
        assert race["followed"](race["entry"](name, 3)) == recipe
    race["entry"].__globals__["RATES"] = BENCHMARKS / "results" / "rates.json"
    with pytest.raises(DatasetError, match="no rate of r2plus1d_linear"):
        race["entry"]("r2plus1d_linear", 0)


def test_runs_at_a_rate_that_was_given_up_are_run_again_and_others_kept(tmp_path):
    race = runpy.run_path(str(BENCHMARKS / "race.py"))
    content = read_results(BENCHMARKS / "results" / "ablations.json")
    file, now = tmp_path / "ablations.json", copy.deepcopy(content["recipes"])
    given_up, *others = now
    now[given_up]["training"]["learning_rate"] /= 2
    file.write_text(json.dumps(content))
    kept = race["recorded"](file, now)
    assert set(kept.networks) == set(others)
    assert given_up not in kept.rates
    assert len(kept.runs) == sum(run["network"] != given_up for run in content["runs"])
    now[given_up]["training"]["epochs"] += 1
    assert race["recorded"](file, now) is None


def test_rates_at_which_a_run_was_at_chance_are_given_up(tmp_path, monkeypatch):
    rates = runpy.run_path(str(BENCHMARKS / "rates.py"))
    study = planted({"r3d": 0.8, "r3d_more_relus": 0.5})
    curves = {"r3d": [0.2, 0.6, 0.7, 0.8], "r3d_more_relus": [0.5, 0.6, 0.7, 0.8]}
    six = dict.fromkeys("abcdef", 0.8)  # classes: chance is 0.17
    runs = [{**run, "train_accuracy": curves[run["network"]], "per_class": six} for run in study.runs]
    of_all = dict.fromkeys(study.networks, 0.004)
    race = dataclasses.replace(study, runs=runs, rates=of_all)
    (tmp_path / "race.json").write_text(json.dumps(race.to_dict()))
    file = tmp_path / "rates.json"
    file.write_text(json.dumps({"given_up": []}))
    monkeypatch.setattr(rates["findings"], "fill", lambda: None)
    asked = ["--check", str(tmp_path / "race.json"), "--to", str(file)]
    monkeypatch.setattr("sys.argv", ["rates.py", *asked])
    rates["main"]()
    once = read_results(file)["given_up"]
    assert {(run["network"], run["rate"]) for run in once} == {("r3d", 0.004)}
    rates["main"]()
    assert read_results(file)["given_up"] == once


def test_trials_of_rates_are_added_to_those_that_are_recorded(tmp_path, monkeypatch):
    rates = runpy.run_path(str(BENCHMARKS / "rates.py"))
    file, made = tmp_path / "rates.json", []
    file.write_bytes((BENCHMARKS / "results" / "rates_ablations.json").read_bytes())
    before = read_results(file)

    class Here:
        def __init__(self, *_, **__): ...
        def __enter__(self):
            return self

        def __exit__(self, *_): ...
        def map(self, one, *pairs):
            made.extend(zip(*pairs, strict=True))
            return [
                {"network": name, "rate": rate, "video@1": 0.5, "train_accuracy": 0.5}
                for name, rate in zip(*pairs, strict=True)
            ]

    monkeypatch.setitem(rates["main"].__globals__, "ProcessPoolExecutor", Here)
    monkeypatch.setitem(rates["main"].__globals__, "hold_out", lambda recipe: None)
    asked = ["--networks", "r2plus1d_linear", "--grid", "0.002", "0.03", "--to", str(file)]
    monkeypatch.setattr("sys.argv", ["rates.py", *asked])
    rates["main"]()
    assert made == [("r2plus1d_linear", 0.03)]
    after = read_results(file)
    assert after["trials"][:-1] == before["trials"]
    assert after["trials"][-1]["rate"] == 0.03
    changed = {
        name for name in after["made_by"] if after["made_by"][name] != before["made_by"].get(name)
    }
    assert changed == {"r2plus1d_linear"}
    monkeypatch.setattr("sys.argv", ["rates.py", *asked, "--set", "epochs=2"])
    with pytest.raises(SettingsError, match="another recipe"):
        rates["main"]()


def test_the_study_sets_each_changed_network_beside_its_base_with_the_same_seeds():
    study = ledger.ablations()
    changed = [name for name in study.networks if name in ABLATIONS]
    assert changed
    for name in changed:
        assert set(study.seeds(name)) <= set(study.seeds(ABLATIONS[name].base))
