"""The files of answers: nothing of what was done is lost, and what names hold stays a name."""

import csv
import dataclasses
import json
import os

import numpy as np
import pandas as pd
import pytest

from r21d_lib import checkpoints
from r21d_lib.data import video
from r21d_lib.files import UnwritableError
from r21d_lib.prediction import answers_file, overlay
from r21d_lib.prediction.answers_file import AnswersFile
from r21d_lib.prediction.prediction import Prediction
from r21d_lib.prediction.recognizer import Recognizer

LABELS = ("=cmd|'/C calc'!A0", "+1", "-2", "@SUM(A1)", "two\nlines", "plain")


def said(name):
    probabilities = np.full((2, len(LABELS)), 1 / len(LABELS), np.float32)
    return Prediction(
        name, LABELS, probabilities, np.array([0, 8]), 16, np.arange(25) / 30, np.arange(25) / 30
    )


@pytest.fixture
def films(tmp_path, make_frames):
    folder = tmp_path / "films"
    for name in "abc":
        video.write(folder / f"{name}.avi", make_frames(12))
    return folder


def test_formulas_are_texts_in_a_spreadsheet(tmp_path):
    with AnswersFile(tmp_path / "answers.csv") as file:
        file.add(tmp_path / "=HYPERLINK.avi", said("=HYPERLINK.avi"))
        file.add(tmp_path / "b.avi", None, "=1+1 is damaged")
    with open(tmp_path / "answers.csv", encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines))
    assert len(rows) == 1 + 5 + 1
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]
    assert {"'=cmd|'/C calc'!A0", "'+1", "two\\nlines"} <= {row[2] for row in rows}
    assert rows[-1][5] == "'=1+1 is damaged"


@pytest.mark.parametrize("suffix", [".json", ".csv", ".parquet"])
def test_names_that_are_no_text(tmp_path, suffix):
    name = os.fsdecode(b"Na\xefve \x1b[31m\n.avi")
    with AnswersFile(tmp_path / f"answers{suffix}") as file:
        file.add(tmp_path / name, said(name))
    if suffix == ".json":
        kept = json.loads((tmp_path / "answers.json").read_text())[0]["video"]
    elif suffix == ".csv":
        kept = pd.read_csv(tmp_path / "answers.csv")["video"][0]
    else:
        kept = pd.read_parquet(tmp_path / "answers.parquet")["video"][0]
    assert kept == r"Na\udcefve \x1b[31m\n.avi"


def stop_at(monkeypatch, name, error):
    predict = Recognizer.predict

    def stopping(self, path, **options):
        if path.name == name:
            raise error
        return predict(self, path, **options)

    monkeypatch.setattr(Recognizer, "predict", stopping)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("a bug")])
def test_what_was_said_before_a_stop_is_kept(films, tmp_path, r21d, monkeypatch, error):
    stop_at(monkeypatch, "c.avi", error)
    outputs = [f"--{kind}={tmp_path / f'answers.{kind}'}" for kind in ("json", "csv", "parquet")]
    if isinstance(error, KeyboardInterrupt):
        assert r21d("predict", films, *outputs).returncode == 130
    else:
        with pytest.raises(RuntimeError, match="a bug"):
            r21d("predict", films, *outputs)
    for read in (pd.read_json, pd.read_csv, pd.read_parquet):
        table = read(tmp_path / f"answers.{read.__name__.removeprefix('read_')}")
        assert {path.rsplit("/", 1)[1] for path in table["video"]} == {"a.avi", "b.avi"}


def test_a_killed_process_loses_half_a_minute_at_most(tmp_path, monkeypatch):
    file = AnswersFile(tmp_path / "answers.json")
    file.add(tmp_path / "a.avi", said("a.avi"))
    assert not file.path.exists()
    monkeypatch.setattr(answers_file, "_SECONDS_BETWEEN", 0.0)
    file.add(tmp_path / "b.avi", said("b.avi"))
    assert len(json.loads(file.path.read_text())) == 2


def test_an_overlay_that_fails_keeps_the_answer(films, tmp_path, r21d, monkeypatch):
    def fail(*_):
        raise UnwritableError("seen/a.mp4 cannot be written (No space left on device)")

    monkeypatch.setattr(overlay, "write", fail)
    done = r21d("predict", films, "--overlay", tmp_path / "seen", "--json", tmp_path / "answers.json")
    assert done.returncode == 1
    rows = json.loads((tmp_path / "answers.json").read_text())
    assert len(rows) == 3
    for row in rows:
        assert "No space left" in row["error"]
        assert row["top"]


def test_every_answer_says_what_the_network_can_know(films, tmp_path, r21d):
    outputs = [f"--{kind}={tmp_path / f'answers.{kind}'}" for kind in ("json", "csv")]
    done = r21d("predict", films / "a.avi", *outputs)
    said = "knows 14 drawn actions: climb, dribble"
    assert done.stderr.count(said) == 1
    assert "a real video will be named wrongly" in done.stderr
    assert json.loads((tmp_path / "answers.json").read_text())[0]["knows"].startswith(said)
    assert pd.read_csv(tmp_path / "answers.csv")["knows"].str.startswith(said).all()
    prediction = Recognizer("figures").predict(films / "a.avi", progress=False)
    assert said in prediction._repr_html_()


def test_a_card_names_the_world_of_other_networks_too():
    card = checkpoints.read_card("r2plus1d_10_figures")
    hmdb51 = dataclasses.replace(card, training={"data": "HMDB51"})
    assert hmdb51.world == (
        "knows 14 classes of HMDB51: climb, dribble, fall_floor, ...; all else is named as one of them"
    )
    assert dataclasses.replace(card, training={}).world == ""
