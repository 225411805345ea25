"""Comparing numbers: to the digit in the same arithmetic, by draws elsewhere; nothing goes missing."""

import copy
import json

import numpy as np
import pytest

from r21d_lib.suite import comparison

VALUES = {"accuracy": {"a": 0.9, "b": 0.5}, "videos": 360, "name": "x", "seconds": 12.0}
RECORDED = {
    "values": VALUES,
    "provenance": {"fingerprint": "here", "seed": 0, "instruction_set": "AVX2"},
    "made_by": "now",
    "trained": ["accuracy.*"],
    "machine": ["seconds"],
    "draws": [
        {"seed": 1, "fingerprint": "here", "values": {"accuracy.a": 0.92, "accuracy.b": 0.5}},
        {"seed": 2, "fingerprint": "here", "values": {"accuracy.a": 0.91, "accuracy.b": 0.5}},
        {"seed": 3, "fingerprint": "there", "values": {"accuracy.a": 0.93, "accuracy.b": 0.5}},
    ],
}


def measured(fingerprint="here", **changes):
    values = {**VALUES, "seconds": 99.0, **changes}
    origin = {"fingerprint": fingerprint, "seed": 0, "instruction_set": "AVX2"}
    return {"values": values, "provenance": origin}


@pytest.mark.parametrize("fingerprint", ["here", "there", None])
def test_a_run_that_found_the_same_agrees(fingerprint):
    found = comparison.compare(RECORDED, measured(fingerprint))
    assert found.drifts == ()
    assert found.compared == 4  # what depends on the machine is left out
    assert found.how == ("every digit" if fingerprint == "here" else "statistical, 4 draws")


def test_the_same_arithmetic_must_give_the_same_digits():
    (line,) = comparison.compare(RECORDED, measured(accuracy={"a": 0.9001, "b": 0.5})).drifts
    assert line == "accuracy.a: recorded 0.9, measured 0.9001"
    assert not comparison.compare(RECORDED, measured(accuracy={"a": 0.9 + 1e-8, "b": 0.5})).drifts


def test_another_arithmetic_is_compared_by_draws():
    """Student's t for three degrees of freedom is 12.92 at 99.95%: 0.915 +- 12.92 * 0.0129 * 1.118."""
    low, high = comparison.prediction_intervals(RECORDED)["accuracy.a"]
    assert (low, high) == pytest.approx((0.7285, 1.1015), abs=5e-4)
    assert not comparison.compare(RECORDED, measured("there", accuracy={"a": 0.73, "b": 0.5})).drifts
    (line,) = comparison.compare(RECORDED, measured("there", accuracy={"a": 0.72, "b": 0.5})).drifts
    assert line.startswith("accuracy.a: measured 0.72, outside of [0.7285, 1.1")
    assert "99.9% of runs" in line


def test_draws_that_agree_by_chance_borrow_the_spread_of_their_family():
    intervals = comparison.prediction_intervals(RECORDED)
    low, high = intervals["accuracy.b"]
    assert low < 0.45 < 0.55 < high
    alone = {**RECORDED, "trained": ["accuracy.a", "accuracy.b"]}
    assert comparison.prediction_intervals(alone)["accuracy.b"] == (0.5, 0.5)
    assert comparison.prediction_intervals(alone)["accuracy.a"] == intervals["accuracy.a"]


def test_the_interval_holds_999_of_1000_further_runs():
    random = np.random.default_rng(0)
    outside = 0
    for _ in range(4000):
        runs = random.normal(0.7, 0.03, 7)
        draws = [{"values": {"x": float(value)}} for value in runs[1:6]]
        recorded = {"values": {"x": float(runs[0])}, "trained": ["x"], "draws": draws}
        low, high = comparison.prediction_intervals(recorded)["x"]
        outside += not low <= runs[6] <= high
    assert 0 <= outside <= 12  # 4 are expected


def test_without_draws_trained_numbers_are_not_judged_and_this_is_said():
    few = {**RECORDED, "draws": RECORDED["draws"][:1]}
    found = comparison.compare(few, measured("there", accuracy={"a": 0.1, "b": 0.5}))
    assert (found.how, found.compared, found.drifts) == ("no spread recorded", 2, ())
    (line,) = comparison.compare(few, measured("there", videos=359)).drifts
    assert line.startswith("videos")


@pytest.mark.parametrize("fingerprint", ["here", "there"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(videos=359), "videos: recorded 360, measured 359"),
        (dict(name="y"), "name: recorded x, measured y"),
        (dict(accuracy={"a": 0.9}), "accuracy.b is recorded and was not measured"),
        (dict(more=1), "more was measured and is not recorded"),
        (dict(accuracy={"a": float("nan"), "b": 0.5}), "accuracy.a"),
    ],
)
def test_drift_in_any_arithmetic(fingerprint, changes, message):
    (line,) = comparison.compare(RECORDED, measured(fingerprint, **changes)).drifts
    assert line.startswith(message)


def test_recording_keeps_draws_only_of_numbers_that_stayed(tmp_path):
    new, recorded = tmp_path / "new.json", tmp_path / "recorded.json"
    recorded.write_text(json.dumps(RECORDED))
    new.write_text(json.dumps(measured()))
    assert comparison.record(new, recorded, made_by="now") == 0
    content = json.loads(recorded.read_text())
    assert content["draws"] == RECORDED["draws"]
    new.write_text(json.dumps(measured(accuracy={"a": 0.95, "b": 0.5})))
    assert comparison.record(new, recorded, made_by="later") == 3
    content = json.loads(recorded.read_text())
    assert "draws" not in content
    assert content["values"]["accuracy"]["a"] == 0.95
    assert content["trained"] == ["accuracy.*"]
    assert content["machine"] == ["seconds"]


def test_a_second_arithmetic_is_compared_to_the_digit_once_it_has_run_with_the_recorded_seed(tmp_path):
    new, recorded = tmp_path / "new.json", tmp_path / "recorded.json"
    recorded.write_text(json.dumps(RECORDED))
    there = measured("there", accuracy={"a": 0.88, "b": 0.5})
    assert comparison.compare(RECORDED, there).how == "statistical, 4 draws"
    new.write_text(json.dumps(there))
    assert comparison.record(new, recorded, made_by="now") == 0
    content = json.loads(recorded.read_text())
    former = next(d for d in content["draws"] if (d["seed"], d["fingerprint"]) == (0, "here"))
    assert former["values"] == {"accuracy.a": 0.9, "accuracy.b": 0.5}
    for run in (measured(), there):
        found = comparison.compare(content, run)
        assert (found.how, found.drifts) == ("every digit", ())
    (line,) = comparison.compare(content, measured(accuracy={"a": 0.9001, "b": 0.5})).drifts
    assert line == "accuracy.a: recorded 0.9, measured 0.9001"
    changed = {**content, "made_by": "later"}  # the draw is of other code: no digit can be asked
    assert comparison.compare(changed, measured()).how == "statistical, 5 draws"


def test_a_draw_is_added_once_for_a_seed_and_an_arithmetic(tmp_path):
    new, recorded = tmp_path / "new.json", tmp_path / "recorded.json"
    recorded.write_text(json.dumps({**RECORDED, "draws": []}))
    run = copy.deepcopy(measured("there", accuracy={"a": 0.8, "b": 0.4}))
    run["provenance"] |= {"seed": 2, "instruction_set": "AVX2"}
    for a in (0.8, 0.81):
        run["values"]["accuracy"]["a"] = a
        new.write_text(json.dumps(run))
        comparison.record_draw(new, recorded, made_by="0123")
    (draw,) = json.loads(recorded.read_text())["draws"]
    assert draw["values"] == {"accuracy.a": 0.81, "accuracy.b": 0.4}  # the trained ones
    assert (draw["seed"], draw["fingerprint"], draw["made_by"]) == (2, "there", "0123")
