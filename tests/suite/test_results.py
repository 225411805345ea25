"""Comparing numbers: what agrees, what drifts, and that nothing can go missing."""

import json

import pytest

from r21d_lib.errors import DatasetError
from r21d_lib.suite import results

RECORDED = {
    "values": {"accuracy": {"a": 0.9, "b": 0.5}, "videos": 360, "name": "x", "seconds": 12.0},
    "tolerances": {"accuracy.a": {"abs": 0.05}, "accuracy.*": {"at_least": 0.4}, "seconds": None},
}


def measured(**changes):
    values = {"accuracy": {"a": 0.9, "b": 0.5}, "videos": 360, "name": "x", "seconds": 99.0}
    return {"values": {**values, **changes}}


def test_agreement():
    assert results.compare(RECORDED, measured()) == []
    assert results.compare(RECORDED, measured(accuracy={"a": 0.86, "b": 0.99})) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(accuracy={"a": 0.84, "b": 0.5}), "accuracy.a: recorded 0.9, measured 0.84"),
        (dict(accuracy={"a": 0.9, "b": 0.39}), "accuracy.b"),
        (dict(videos=359), "videos: recorded 360, measured 359"),
        (dict(name="y"), "name"),
        (dict(accuracy={"a": 0.9}), "accuracy.b is recorded and was not measured"),
        (dict(more=1), "more was measured and is not recorded"),
        (dict(accuracy={"a": float("nan"), "b": 0.5}), "accuracy.a"),
    ],
)
def test_drift(changes, message):
    (line,) = results.compare(RECORDED, measured(**changes))
    assert line.startswith(message)


def test_writing_says_where_the_numbers_come_from(tmp_path, monkeypatch):
    monkeypatch.setenv(results.RESULTS_VARIABLE, str(tmp_path))
    path = results.write_results("one", {"x": 1.5}, profile="figures", seed=3)
    content = json.loads(path.read_text())
    assert content["values"] == {"x": 1.5}
    assert content["provenance"]["seed"] == 3
    assert content["provenance"]["peak_mb"] > 50
    assert {"commit", "machine", "torch", "date"} <= content["provenance"].keys()


def test_recording_keeps_the_tolerances(tmp_path):
    new, recorded = tmp_path / "new.json", tmp_path / "recorded.json"
    new.write_text(json.dumps({"values": {"x": 2}, "provenance": {}}))
    recorded.write_text(json.dumps({"values": {"x": 1}, "tolerances": {"x": {"abs": 1}}}))
    results.record(new, recorded)
    content = json.loads(recorded.read_text())
    assert content["values"] == {"x": 2}
    assert content["tolerances"] == {"x": {"abs": 1}}


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(DatasetError, match="run the notebook first"):
        results.read_results(tmp_path / "none.json")
    (tmp_path / "half.json").write_text('{"values"')
    with pytest.raises(DatasetError, match="damaged"):
        results.read_results(tmp_path / "half.json")
