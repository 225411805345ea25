"""Findings: sentences that say what the numbers say, either way, and texts that hold them."""

import json
import shutil

import pandas as pd
import pytest
from planted_studies import planted, write_study

from r21d_lib.errors import DatasetError
from r21d_lib.models.kinds import NETWORK_NAMES
from r21d_lib.suite import findings, ledger, tables
from r21d_lib.suite.repository import BENCHMARKS
from r21d_lib.training import recipes


@pytest.fixture
def studies(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "_BENCHMARKS", tmp_path)
    for file in ("real_videos.json", "real_videos_ucf6.json"):
        write_study(
            tmp_path / file,
            planted(dict.fromkeys(("r2d", "fr2d", "r3d", "r2plus1d"), 0.3), seeds=3, unit="films"),
            shipped=list(planted({"r2plus1d": 0.3}, seeds=3).runs),
            both=list(planted({"r2plus1d": 0.8}, seeds=3, draw=1).runs),
        )

    def race(**rates):
        study = planted(dict.fromkeys(NETWORK_NAMES, 0.5) | rates)
        write_study(tmp_path / "race.json", study)
        return study

    return race


def test_a_pair_is_said_as_it_is(studies):
    ahead = findings.of_pair(studies(r2plus1d=0.9), "r2plus1d", "r3d")
    assert ahead.startswith("R(2+1)D is ahead of R3D: +")
    assert "(8 seeds, 30 people); the paper prints +3.0 with 8 frames and +3.8 with 16 frames" in ahead
    behind = findings.of_pair(studies(r2plus1d=0.1), "r2plus1d", "r3d")
    assert behind.startswith("R(2+1)D is behind R3D: -")
    assert findings.of_pair(studies(), "r2plus1d", "r3d").startswith(
        "R(2+1)D cannot be told from R3D: "
    )


def test_the_counts_of_verdicts_add_up(studies):
    studies(fr2d=0.9)
    pairs = ledger.of_pairs()
    rows = pairs[(pairs["measured_on"] == ledger.RACE) & (pairs["frames"] == 16)]
    counts = rows["verdict"].value_counts()
    text = findings.of_pairs(rows)
    assert "of 66 pairs" in text
    assert f"{counts['within noise']} are within noise and {counts['opposite']} are opposite" in text
    assert "8 seeds, 30 people" in text
    opposites = findings.of_opposites(rows)
    assert "f-R2D above R(2+1)D" in opposites
    assert "f-R2D above R2D" not in opposites  # as printed
    assert findings.of_opposites(rows[rows["verdict"] == "within noise"]).startswith("No pair")


def test_the_order_is_said_as_it_is(studies):
    studies()
    order = ledger.of_order()
    rows = order[order["measured_on"] == ledger.RACE]
    assert "is not excluded" in findings.of_order(rows.assign(low=-0.1, high=0.4))
    assert "more pairs stand as printed" in findings.of_order(rows.assign(low=0.1, high=0.4))
    assert "other way round" in findings.of_order(rows.assign(low=-0.4, high=-0.1))


def test_training_leads_are_counted(studies):
    studies(r2plus1d=0.7, fr2d=0.9)
    text = findings.of_training(ledger.of_figure_3())
    assert "R(2+1)D is ahead of R3D" in text
    assert "Of all 11 others it is ahead of 10, behind 1." in text


def test_standings_name_the_best_and_count_first_layers(studies):
    study = studies(r2plus1d=0.9, r3d=0.1, mc2=0.1, mc3=0.1, mc4=0.1, mc5=0.1)
    text = findings.of_standings(study)
    assert text.startswith("Highest stand R(2+1)D 0.89")
    assert "Of the 30 pairs" in text
    assert "stands higher in 30." in text


def test_compute_that_decides_and_that_does_not():
    points = pd.DataFrame({"compute": [1.0, 2.0, 3.0], "mean": [0.1, 0.2, 0.3]})
    assert "+1.00 over the 3 networks" in findings.of_compute(points)
    assert "-1.00" in findings.of_compute(points.assign(mean=[0.3, 0.2, 0.1]))


def test_a_number_that_was_changed_by_hand_is_written_anew(studies, tmp_path):
    shutil.copy(BENCHMARKS / "results" / "budget.json", tmp_path)
    studies(r2plus1d=0.9)
    changed = ("r2plus1d_linear", "r3d_factorized_stem", "r2plus1d_3d_stem")
    write_study(tmp_path / "ablations.json", planted(dict.fromkeys(changed, 0.8)))
    file = tmp_path / "README.md"
    for name in findings.BLOCKS:
        file.write_text(f"before\n<!-- findings: {name} -->\n<!-- end -->\nafter\n")
        findings.fill({file: ""})
        text = file.read_text()
        assert text.startswith("before\n")
        assert text.endswith("\nafter\n")
        assert findings.filled(text) == text
        if name in ("race", "race_table", "ablation_table", "real_videos", "real_videos_ucf"):
            assert "30 people" in text or "30 films" in text
        digit = next(k for k, c in enumerate(text) if c.isdigit())
        wrong = text[:digit] + str((int(text[digit]) + 1) % 10) + text[digit + 1 :]
        assert findings.filled(wrong) == text
    with pytest.raises(DatasetError, match="no findings 'weather'"):
        findings.filled("<!-- findings: weather -->\n<!-- end -->")


def test_the_repositorys_texts_say_what_its_numbers_say():
    for file, language in findings.FILES.items():
        text = file.read_text()
        assert findings.filled(text, language) == text, (
            f"{file.name}: run python benchmarks/race.py --collect"
        )
        assert "<!-- findings: " in text


def test_starts_on_real_videos_are_set_beside_random_weights(studies):
    studies()
    text = findings.real_videos()
    assert "| R(2+1)D | the shipped checkpoint | " in text
    assert "**the shipped checkpoint** cannot be told from R(2+1)D with random weights" in text
    above = next(line for line in text.splitlines() if "averaged** is ahead of" in line)
    assert above.endswith("(3 seeds, 30 films).")
    gain = float(above.partition("RGB: ")[2].partition(" points")[0])
    assert gain == pytest.approx(50, abs=4)


def test_the_spread_counts_each_network_by_itself(tmp_path, monkeypatch):
    draws = [
        {"network": name, "video@1": value, "train_accuracy_at_quarter": quarter}
        for name, value, quarter in [
            ("r3d", 0.5, 0.3),
            ("r3d", 0.7, 0.2),
            ("fr2d", 0.8, 0.4),
            ("fr2d", 0.8, 0.5),
        ]
    ]
    (tmp_path / "results").mkdir()
    for file, epochs, its in (("spread", 24, draws), ("spread_longer", 48, draws[1:2])):
        content = {"draws": its, "recipe": {"training": {"epochs": epochs}}}
        (tmp_path / "results" / f"{file}.json").write_text(json.dumps(content))
    monkeypatch.setattr(tables, "BENCHMARKS", tmp_path)
    lines = tables.spread().splitlines()
    assert lines[2] == "| R3D | 24 | 2 | 0.600 | 0.141 | 0.500 | 0.700 | 0.200 |"
    assert lines[3] == "| f-R2D | 24 | 2 | 0.800 | 0.000 | 0.800 | 0.800 | 0.400 |"
    assert lines[4] == "| R3D | 48 | 1 | 0.700 | nan | 0.700 | 0.700 | 0.200 |"


def test_longer_training_is_set_beside_the_network_that_is_ahead():
    columns = ["network", "epochs", "draws", "mean", "sd"]
    rows = [("r2plus1d", 24, 5, 0.9, 0.01), ("r3d", 48, 3, 0.85, 0.02), ("r3d", 24, 4, 0.7, 0.06)]
    said = findings.of_longer_training(pd.DataFrame(rows, columns=columns))
    assert said == (
        "Over seeds and roundings: with 24 epochs R3D has 0.700 (4 draws, sd 0.060) and R(2+1)D 0.900 "
        "(5 draws, sd 0.010); with 48 R3D has 0.850 (3 draws, sd 0.020). More epochs for R3D alone "
        "change its distance from 20.0 to 5.0 points."
    )


def test_the_race_takes_the_rates_that_the_trials_found_best():
    content = json.loads((BENCHMARKS / "results" / "rates.json").read_text())
    trials = pd.DataFrame(content["trials"])
    assert set(trials["network"]) == set(NETWORK_NAMES)
    given_up = {(run["network"], run["rate"]) for run in content["given_up"]}
    for name, its in trials.groupby("network"):
        best = its.loc[its["video@1"].idxmax(), "rate"]
        assert its["rate"].min() < best < its["rate"].max()
        while (name, best) in given_up:
            best = best / 2
        assert recipes.read("figures_race", [f"network={name}"]).training.learning_rate == best
