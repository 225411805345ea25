"""Studies: made of run folders, standings and differences over seeds and people, verdicts, order."""

import itertools
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from planted_studies import GROUPS, planted
from scipy import stats

from r21d_lib.errors import DatasetError, SettingsError
from r21d_lib.evaluation.scores import Scores
from r21d_lib.models.kinds import NETWORK_NAMES, PAPER_NAMES
from r21d_lib.suite import statistics
from r21d_lib.suite.repository import REPOSITORY
from r21d_lib.suite.statistics import Study, verdict
from r21d_lib.training import recipes


def test_standings_are_means_over_seeds_with_people_counted():
    study = planted({"r3d": 0.5, "r2plus1d": 0.9})
    table = study.standings()
    assert list(table.index) == ["R3D", "R(2+1)D"]
    row = table.loc["R3D"]
    assert row["mean"] == pytest.approx(0.5, abs=0.05)
    assert row["low"] < row["mean"] < row["high"]
    assert (row["seeds"], row["groups"]) == (8, 30)


def test_another_measure_has_students_interval_over_seeds():
    runs = [
        {"network": "r3d", "seed": s, "clip@1": value} for s, value in enumerate((0.4, 0.5, 0.6))
    ] + [{"network": "mc3", "seed": 0, "clip@1": 0.7}]
    table = Study(runs, GROUPS, "people").standings("clip@1")
    # The standard deviation is 0.1, t of two degrees of freedom 4.303.
    assert table.loc["R3D", "high"] - 0.5 == pytest.approx(4.303 * 0.1 / 3**0.5, abs=1e-4)
    assert np.isnan(table.loc["MC3", "low"])
    assert table.loc["R3D", "groups"] == 0


def test_a_lead_is_taken_seed_by_seed_and_person_by_person():
    """Seeds and people move both networks alike, and their difference not at all."""
    rng = np.random.default_rng(2)
    base = rng.integers(2, 9, (8, 1)) + rng.integers(-2, 2, (1, 30))
    runs = [
        {"network": name, "seed": seed, "hits": base[seed] + more + (seed % 2), "video@1": 0.0}
        for name, more in (("r3d", 0), ("r2plus1d", 3))
        for seed in range(8)
    ]
    for run in runs:
        if run["network"] == "r2plus1d":
            run["hits"] = run["hits"] - (np.arange(30) % 2)
    found = Study(runs, GROUPS, "people").lead("r2plus1d", "r3d")
    assert found["mean"] == pytest.approx(2.5 / 12)
    assert 0.18 < found["low"] < found["mean"] < found["high"] < 0.24
    assert (found["seeds"], found["groups"]) == (8, 30)


def test_only_common_seeds_are_compared():
    study = planted({"r3d": 0.5, "r2plus1d": 0.9})
    some = [run for run in study.runs if (run["network"], run["seed"]) != ("r3d", 1)]
    assert Study(some, GROUPS, "people").lead("r2plus1d", "r3d")["seeds"] == 7
    with pytest.raises(SettingsError, match="no seed was run with all of mc3, r3d"):
        study.lead("r3d", "mc3")


@pytest.mark.parametrize(
    ("printed", "low", "high", "expected"),
    [
        (3.0, 1.0, 5.0, statistics.SAME),
        (3.0, 20.0, 40.0, statistics.OTHER_SIZE),
        (3.0, 0.5, 2.0, statistics.OTHER_SIZE),
        (3.0, -1.0, 5.0, statistics.NOISE),
        (3.0, -5.0, -1.0, statistics.OPPOSITE),
        (0.0, 1.0, 5.0, statistics.UNORDERED),
    ],
)
def test_verdicts(printed, low, high, expected):
    assert verdict(printed, low, high) == expected


def test_every_pair_is_compared_whatever_it_says():
    printed = {name: 50.0 + k for k, name in enumerate(NETWORK_NAMES)}
    rates = dict.fromkeys(NETWORK_NAMES, 0.5) | {"r2plus1d": 0.9, "r2d": 0.52, "mc2": 0.8}
    study = planted(rates)
    table = study.pairs(printed)
    assert len(table) == 66
    assert len({frozenset(pair) for pair in zip(table["ahead"], table["behind"], strict=True)}) == 66
    assert (table["printed"] > 0).all()
    found = table.set_index(["ahead", "behind"])["verdict"]
    assert found["R(2+1)D", "R3D"] == statistics.OTHER_SIZE
    assert found["MC3", "MC2"] == statistics.OPPOSITE
    # Printed the other way round, all but noise and sizes turns over.
    turned = study.pairs({name: -value for name, value in printed.items()})
    turned = turned.set_index(["ahead", "behind"])
    assert turned.loc[("R3D", "R(2+1)D"), "verdict"] == statistics.OPPOSITE
    assert turned.loc[("R3D", "R(2+1)D"), "high"] == pytest.approx(
        -table.set_index(["ahead", "behind"]).loc[("R(2+1)D", "R3D"), "low"]
    )


def test_a_size_that_is_found_again():
    study = planted({"r3d": 0.60, "r2plus1d": 0.70})
    (row,) = study.pairs({"r3d": 54.0, "r2plus1d": 64.0}).to_dict("records")
    assert row["verdict"] == statistics.SAME
    assert row["low"] < 10 < row["high"]


def test_the_order_is_kendalls_tau_b():
    rates = {name: 0.3 + 0.05 * k for k, name in enumerate(NETWORK_NAMES)}
    study = planted(rates)
    printed = dict(zip(NETWORK_NAMES, (5, 3, 3, 8, 1, 9, 2, 7, 7, 4, 6, 10), strict=True))
    means = [study.standings().loc[PAPER_NAMES[name], "mean"] for name in NETWORK_NAMES]
    expected = stats.kendalltau(list(printed.values()), means).statistic
    found = study.order(printed)
    assert found["tau"] == pytest.approx(expected)
    assert found["low"] <= found["tau"] <= found["high"]
    assert (found["networks"], found["seeds"], found["groups"]) == (12, 8, 30)
    same = study.order(rates)
    assert same["tau"] == 1.0


def test_an_order_of_chance_is_not_told_from_none():
    printed = {name: float(k) for k, name in enumerate(NETWORK_NAMES)}
    rates = dict.fromkeys(NETWORK_NAMES, 0.5)
    found = [planted(rates, seeds=4, draw=draw).order(printed) for draw in range(20)]
    assert sum(order["low"] <= 0 <= order["high"] for order in found) >= 18


def test_an_order_that_is_there_is_held():
    rates = {name: 0.3 + 0.03 * k for k, name in enumerate(NETWORK_NAMES)}
    found = [planted(rates, seeds=4, draw=draw).order(rates) for draw in range(20)]
    assert sum(order["high"] == 1 for order in found) >= 18
    assert all(order["low"] > 0.5 for order in found)


def write_run(folder, network, seed, *, epochs=2, people=4, names=None):
    """A finished run's folder, as training leaves it."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], people)
    names = names or tuple(
        f"{c}/figure_{k:03d}_{c}_f_nm_np1_fr_med_0.avi" for c in "ab" for k in range(people)
    )
    probabilities = rng.dirichlet([1, 1], (2 * people, 3)).astype(np.float16)
    scores = Scores(names, labels, ("a", "b"), probabilities)
    scores.save(folder / "scores_split1.npz")
    rows = {"epoch": [1, 2], "loss": [2.0, 1.0], "train_accuracy": [0.1, 0.5]}
    rows |= {"validation_accuracy": [0.1, 0.4], "seconds": [30.0, 30.0]}
    history = pd.DataFrame(rows).iloc[[*range(2), *[1] * (epochs - 2)]]
    history.to_csv(folder / "metrics.csv", index=False)
    rate = 0.002 if network == "r3d" else 0.004
    changes = [f"network={network}", f"epochs={epochs}", f"seed={seed}", f"learning_rate={rate}"]
    recipe = recipes.read("figures_race", changes)
    (folder / "recipe.json").write_text(json.dumps({"recipe": recipe.to_dict()}))
    return scores


def test_a_study_is_collected_from_finished_runs(tmp_path):
    kept = {}
    for network, seed in itertools.product(("r2plus1d", "r3d"), (1, 0)):
        kept[network, seed] = write_run(tmp_path / f"{network}{seed}", network, seed)
    study = Study.collect(sorted(tmp_path.iterdir()), unit="people")
    assert [(run["network"], run["seed"]) for run in study.runs] == [
        ("r3d", 0), ("r2plus1d", 0), ("r3d", 1), ("r2plus1d", 1),
    ]  # fmt: skip
    assert study.groups == {f"figure_{k:03d}": 2 for k in range(4)}
    assert study.rates == {"r3d": 0.002, "r2plus1d": 0.004}
    run = study.runs[0]
    best = kept["r3d", 0].video_probabilities.argmax(1)
    right = (best == kept["r3d", 0].labels).reshape(2, 4).sum(0)
    assert run["hits"] == right.tolist()
    assert run["video@1"] == pytest.approx(sum(run["hits"]) / 8)
    assert run["test_accuracy"] == [0.1, 0.4]
    assert run["minutes"] == 1.0
    file = tmp_path / "study.json"
    file.write_text(json.dumps(study.to_dict()))
    assert Study.load(file).standings().equals(study.standings())


def test_runs_that_do_not_belong_together(tmp_path):
    write_run(tmp_path / "a", "r3d", 0)
    write_run(tmp_path / "longer", "r3d", 1, epochs=3)
    with pytest.raises(DatasetError, match=r"longer has other settings than .*a: collect"):
        Study.collect([tmp_path / "a", tmp_path / "longer"], unit="people")
    write_run(tmp_path / "others", "r3d", 1, people=5)
    with pytest.raises(DatasetError, match="others has other test videos"):
        Study.collect([tmp_path / "a", tmp_path / "others"], unit="people")
    write_run(tmp_path / "b", "r3d", 0)
    with pytest.raises(DatasetError, match="same network and seed"):
        Study.collect([tmp_path / "a", tmp_path / "b"], unit="people")
    (tmp_path / "b" / "scores_split1.npz").unlink()
    with pytest.raises(DatasetError, match="b is not the folder of a finished run"):
        Study.collect([tmp_path / "b"], unit="people")
    with pytest.raises(DatasetError, match="no finished run"):
        Study.collect([], unit="people")


def test_a_file_of_before_is_refused_in_one_line(tmp_path):
    file = tmp_path / "race.json"
    file.write_text(json.dumps({"runs": [], "recipe": {}, "provenance": {}}))
    with pytest.raises(DatasetError, match=r"older form, .* python benchmarks/race\.py") as caught:
        Study.load(file)
    assert "\n" not in str(caught.value)


@pytest.mark.thorough
def test_the_race_is_gathered_without_training(tmp_path):
    for network, seed in itertools.product(("r3d", "r2plus1d"), range(2)):
        write_run(tmp_path / "runs" / f"{network}{seed}", network, seed)
    (tmp_path / "runs" / "begun").mkdir()
    (tmp_path / "runs" / "begun" / "metrics.csv").write_text("epoch\n")
    to = tmp_path / "race.json"
    assert "1 of 5 runs below" in collect(tmp_path / "runs", to)
    study = Study.load(to)
    assert len(study.runs) == 4
    assert study.provenance["collected"]
    assert study.lead("r2plus1d", "r3d")["groups"] == 4
    # Runs of another machine are added to those recorded, as long as they followed the same recipes.
    write_run(tmp_path / "more" / "r3d2", "r3d", 2)
    collect(tmp_path / "more", to)
    again = Study.load(to)
    assert again.seeds("r3d") == [0, 1, 2]
    assert again.seeds("r2plus1d") == [0, 1]
    assert [run for run in again.runs if run["seed"] < 2] == list(study.runs)
    write_run(tmp_path / "others" / "r3d3", "r3d", 3, epochs=3)
    collect(tmp_path / "others", to)
    assert Study.load(to).seeds("r3d") == [3]


def collect(folder, to):
    script = REPOSITORY / "benchmarks" / "race.py"
    done = subprocess.run(
        [sys.executable, str(script), "--collect", str(folder), "--to", str(to)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
