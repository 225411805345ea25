"""Clip length: people's hits, differences either way, and the benchmark at its smallest."""

import dataclasses
import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from r21d_lib import plots
from r21d_lib.evaluation.scores import Scores, clip_accuracy, video_accuracy
from r21d_lib.suite import clip_length, findings, ledger
from r21d_lib.suite.clip_length import NORMS, PARTS, PLAIN, ClipLengths

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
PEOPLE = {f"figure_{k:03d}": 12 for k in range(18)}
WAYS = [
    ("8", 8, PLAIN),
    ("8", 32, PLAIN),
    ("8", 32, NORMS),
    ("8", 32, PARTS),
    ("32", 32, PLAIN),
    ("8, then 8", 8, PLAIN),
    ("8, then 8", 32, PLAIN),
    ("8, then 32", 32, PLAIN),
]


def planted(rates, *, seeds=3):
    """Return a study in which a way is right with a given probability, 0.5 where none is given."""
    rng, rows, trained = np.random.default_rng(0), [], []
    for seed in range(seeds):
        for way in WAYS:
            videos = {
                str(clips): rng.binomial(12, min(rates.get(way, 0.5) + 0.02 * clips, 1), 18).tolist()
                for clips in clip_length.CLIPS
            }
            named = dict(zip(("training", "frames", "how"), way, strict=True))
            clips = rng.binomial(240, rates.get(way, 0.5), 18).tolist()
            rows.append({**named, "seed": seed, "videos": videos, "clips": clips, "clips_a_video": 20})
        for number, training in enumerate(clip_length.TRAININGS):
            trained.append({"training": training, "seed": seed, "clip_units": 1000.0 * (1 + number)})
    compute = {8: 3.0, 16: 6.0, 32: 12.0}
    return ClipLengths(rows, PEOPLE, compute, trained, {"commit": "abc1234"}, "clip_length.json")


@pytest.fixture
def scores():
    rng = np.random.default_rng(1)
    names = tuple(f"walk/{k}.avi" for k in range(12))
    probabilities = rng.dirichlet((1, 1, 1), (12, 20)).astype(np.float16)
    people = tuple(f"person {k // 4}" for k in range(12))
    labels = rng.integers(0, 3, 12)
    return Scores(names, labels, ("a", "b", "walk"), probabilities, groups=people)


def test_fewer_clips_are_spread_evenly_and_one_is_the_middle_one():
    assert clip_length.evenly_chosen(20, 1) == [10]
    assert clip_length.evenly_chosen(20, 2) == [0, 19]
    assert clip_length.evenly_chosen(20, 20) == list(range(20))
    ten = clip_length.evenly_chosen(20, 10)
    assert (ten[0], ten[-1]) == (0, 19)
    assert set(np.diff(ten)) <= {2, 3}


def test_hits_are_those_of_the_scores(scores):
    found = clip_length.measured(scores, (1, 20))
    assert set(found["videos"]) == {"1", "20"}
    assert sum(found["videos"]["20"]) == round(12 * video_accuracy(scores))
    assert sum(found["clips"]) == round(240 * clip_accuracy(scores))
    middle = scores.probabilities[:, 10].argmax(1) == scores.labels
    assert found["videos"]["1"] == [int(middle[4 * k : 4 * k + 4].sum()) for k in range(3)]


def test_a_difference_is_found_and_told_from_noise():
    study = planted({("32", 32, PLAIN): 0.75})
    lead = study.lead(("32", 32), ("8", 8))
    assert 0.15 < lead["mean"] < 0.35
    assert lead["low"] > 0
    back = study.lead(("8", 8), ("32", 32))
    assert back["mean"] == pytest.approx(-lead["mean"])
    same = study.lead(("8", 32), ("8", 8))
    assert same["low"] < 0 < same["high"]
    clips = study.accuracy(("8", 8), None)
    assert clips["mean"] == pytest.approx(0.5, abs=0.03)
    with pytest.raises(KeyError, match="16 frames tested on 64"):
        study.accuracy(("16", 64))


def test_tables_hold_every_test_and_its_price():
    study = planted({})
    table = study.table()
    assert [tuple(row) for row in table[["training", "frames", "how"]].to_numpy()] == WAYS
    assert set(table[table["frames"] == 32]["compute"]) == {120.0}
    by_clips = study.by_clips()
    assert len(by_clips[(by_clips["training"] == "32")]) == len(clip_length.CLIPS)
    assert study.training_cost()["8"] == 1000
    assert isinstance(plots.clip_lengths(table, unit="people").picture(), bytes)
    assert isinstance(plots.accuracy_by_clips(by_clips).picture(), bytes)


def test_table_3_stands_beside_the_same_tests(monkeypatch, tmp_path):
    study = planted({("8", 32, PLAIN): 0.3})
    file = tmp_path / "clip_length.json"
    file.write_text(json.dumps(dataclasses.asdict(study)))
    monkeypatch.setattr(clip_length.ClipLengths.load.__func__, "__defaults__", (file,))
    table = ledger.of_clip_length().set_index("what")
    assert table["printed"].tolist() == [64.8, 59.0, 69.4, 68.0]
    assert table["printed_than_first"].tolist() == [0.0, -5.8, 4.6, 3.2]
    assert table["than_first"].isna().tolist() == [True, False, False, False]
    longer = table.loc["R(2+1)D-18, trained on 8, tested on 32 frames"]
    assert longer["than_first_high"] < 0
    assert longer["source"] == "benchmarks/results/clip_length.json (abc1234)"
    text = clip_length.sentences(study, ledger.of_clip_length())
    assert "the paper prints -5.8" in text
    assert "within noise" in text
    assert "(3 seeds, 18 people, 216 test films)" in text


def test_the_recorded_study_and_its_kept_scores_agree():
    study = ClipLengths.load()
    for frames in (8, 32):
        scores = clip_length.kept_scores(frames)
        found = clip_length.measured(scores, clip_length.CLIPS)
        (row,) = (
            row
            for row in study.rows
            if (row["training"], row["frames"], row["how"], row["seed"])
            == (str(frames), frames, PLAIN, 0)
        )
        assert {key: row[key] for key in found} == found
        assert sorted(set(scores.groups)) == list(study.groups)
    assert findings.BLOCKS["clip_length"]()


def test_what_the_films_are_for():
    """One clip and one film differ clearly, and more clips of a film help."""
    study = ClipLengths.load()
    ten, one = study.accuracy(("8", 8), 10), study.accuracy(("8", 8), None)
    assert ten["low"] > one["mean"]
    assert study.lead(("8", 8), ("8", 8), (10, 1))["low"] > 0


def test_a_film_is_drawn_with_what_its_clips_say():
    frames = np.zeros((40, 12, 16, 3), np.uint8)
    said = np.random.default_rng(0).dirichlet((1, 1, 1), 20)
    figure = plots.film_scores(
        frames, np.linspace(4, 36, 20), said, (10, 25), classes=("a", "b", "c"), true=1
    )
    labels = [text.get_text() for text in figure.axes[-1].get_legend().get_texts()]
    assert f"film: b {said[:, 1].mean():.2f}" in labels
    assert isinstance(figure.picture(), bytes)


def test_a_clip_that_a_film_does_not_have_is_left_out():
    said = np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [np.nan] * 3])
    figure = plots.film_scores(
        np.zeros((20, 12, 16, 3), np.uint8),
        np.array([3, 9, 12]),
        said,
        (3, 9),
        classes=tuple("abc"),
        true=0,
    )
    *_, film = [text.get_text() for text in figure.axes[-1].get_legend().get_texts()]
    assert film == "film: a 0.65"


@pytest.mark.parametrize("classes", [1, 2])
def test_a_film_of_few_classes_is_drawn(classes):
    said = np.full((2, classes), 1 / classes)
    figure = plots.film_scores(
        np.zeros((20, 12, 16, 3), np.uint8), np.array([3, 9]), said, (3, 9), classes=tuple("ab"), true=0
    )
    names = [text.get_text() for text in figure.axes[-1].get_legend().get_texts()]
    assert [name for name in names if name.startswith("each")] == ["each clip: a", "each clip: b"][
        :classes
    ]


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("clip_length")


def test_parts_are_consecutive_frames(benchmark):
    import torch

    clips = torch.arange(2 * 32).view(2, 32, 1, 1, 1)
    parts = benchmark.in_parts(clips, 0)
    assert parts.shape == (8, 8, 1, 1, 1)
    assert parts.flatten().tolist() == list(range(64))


@pytest.mark.slow
def test_the_benchmark_runs_and_does_no_seed_twice(benchmark, build, tiny_data, tmp_path):
    tiny = ["epochs=1", "batch_size=2", "width=4", "fps=none", "resize=16,20", "crop=16"]
    changes, to = [*tiny, f"data={tiny_data}"], tmp_path / "clip_length.json"
    made = benchmark.run(1, 1, to, changes)
    assert {row["training"] for row in made["rows"]} == set(clip_length.TRAININGS)
    study = ClipLengths.load(to)
    assert study.lead(("8", 32, PARTS), ("8", 8))["low"] <= 1
    cost = study.training_cost()
    assert cost["32"] == 4 * cost["8"]
    assert cost["8, then 32"] == cost["8"] + cost["32"]  # one epoch each
    assert (to.with_suffix("") / "8.npz").is_file()
    before = to.stat().st_mtime_ns
    assert benchmark.run(1, 1, to, changes)["rows"] == made["rows"]
    assert to.stat().st_mtime_ns == before
