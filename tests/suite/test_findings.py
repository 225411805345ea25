"""Findings: sentences that say what the numbers say, either way, and texts that hold them."""

import shutil

import pandas as pd
import pytest
from planted_studies import planted, write_study

from r21d_lib.errors import DatasetError
from r21d_lib.models.networks import NETWORK_NAMES
from r21d_lib.suite import findings, ledger
from r21d_lib.suite.repository import BENCHMARKS


@pytest.fixture
def studies(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "_BENCHMARKS", tmp_path)
    write_study(
        tmp_path / "real_videos.json",
        planted(dict.fromkeys(("r2d", "fr2d", "r3d", "r2plus1d"), 0.3), seeds=3, unit="films"),
        pretrained=list(planted({"r2plus1d": 0.3}, seeds=3).runs),
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
    assert "8 seeds and 30 people" in text
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
    file = tmp_path / "README.md"
    for name in findings.BLOCKS:
        file.write_text(f"before\n<!-- findings: {name} -->\n<!-- end -->\nafter\n")
        findings.fill((file,))
        text = file.read_text()
        assert text.startswith("before\n")
        assert text.endswith("\nafter\n")
        assert findings.filled(text) == text
        if name in ("race", "race_table", "real_videos"):
            assert "30 people" in text or "30 films" in text
        digit = next(k for k, c in enumerate(text) if c.isdigit())
        wrong = text[:digit] + str((int(text[digit]) + 1) % 10) + text[digit + 1 :]
        assert findings.filled(wrong) == text
    with pytest.raises(DatasetError, match="no findings 'weather'"):
        findings.filled("<!-- findings: weather -->\n<!-- end -->")


def test_the_repositorys_texts_say_what_its_numbers_say():
    for file in findings.FILES:
        text = file.read_text()
        assert findings.filled(text) == text, f"{file.name}: run python benchmarks/race.py --collect"
        assert "<!-- findings: " in text
