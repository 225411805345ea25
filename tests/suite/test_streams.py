"""The study of two streams: read from kept scores, said in sentences, set beside the paper's gains."""

import json

import numpy as np
import pytest

from r21d_lib.errors import DatasetError
from r21d_lib.evaluation import Scores
from r21d_lib.suite import ledger, streams
from r21d_lib.suite.streams import TwoStreams

CLASSES = ("sit", "stand", "turn")
PEOPLE = 20


def planted(right, *, sure):
    """Scores of each class by each person; the wrong ones are pale, the right ones `sure`."""
    labels = np.repeat(np.arange(3), PEOPLE)
    probabilities = np.full((3 * PEOPLE, 2, 3), 0.3, np.float16)
    said = np.where(right, labels, (labels + 1) % 3)
    probabilities[np.arange(3 * PEOPLE), :, said] = np.where(right, sure, 0.4)[:, None]
    names = tuple(f"{CLASSES[k]}/{n % PEOPLE}.avi" for n, k in enumerate(labels))
    groups = tuple(f"person {n % PEOPLE}" for n in range(3 * PEOPLE))
    return Scores(names, labels, CLASSES, probabilities, groups=groups)


@pytest.fixture
def folder(tmp_path):
    """Two seeds: RGB errs on most of `sit`, flow on half of the rest; each is sure where right."""
    place = tmp_path / "two_streams"
    place.mkdir()
    number = np.arange(3 * PEOPLE)
    for seed in (0, 1):
        planted((number >= PEOPLE) | (number % 5 == 0), sure=0.9).save(
            place / f"r2plus1d_rgb_seed{seed}.npz"
        )
        wrong = (number >= PEOPLE) & (number % 2 == 0)
        planted(~wrong, sure=0.9).save(place / f"r2plus1d_flow_seed{seed}.npz")
    planted(number >= 0, sure=0.9).save(place / "r3d_rgb_seed0.npz")  # its flow is not there yet
    beside = {"provenance": {"commit": "abc1234"}}
    (tmp_path / "two_streams.json").write_text(json.dumps(beside))
    return place


def test_pairs_of_kept_scores_make_the_study(folder):
    study = TwoStreams.load(folder)
    assert study.seeds == {"r2plus1d": (0, 1)}
    assert study.provenance["commit"] == "abc1234"
    table = study.standings()
    assert list(table.index) == ["R(2+1)D, RGB", "R(2+1)D, flow", "R(2+1)D, RGB + flow"]
    assert table["mean"].tolist() == pytest.approx([44 / 60, 2 / 3, 1.0])
    assert table["groups"].tolist() == [PEOPLE] * 3
    assert study.ceiling("r2plus1d") == 1.0
    gain = study.gain("r2plus1d").set_index("class")
    assert gain["gain"].tolist() == pytest.approx([0.8, 0.0, 0.0, 16 / 60])
    told = study.to_dict()
    assert told["video@1"]["R(2+1)D, RGB + flow"]["mean"] == 1.0
    assert set(told["gain"]["r2plus1d"]) == {"both over rgb", "both over flow", "rgb over flow"}
    json.dumps(told)


def test_its_sentences_say_what_is_above_what(folder):
    said = TwoStreams.load(folder).sentences("r2plus1d").splitlines()
    assert said[0].startswith("- **flow** cannot be told from **RGB**: -6.7 points")
    assert said[1].startswith("- **RGB + flow** is ahead of **RGB**: +26.7 points of video@1 [")
    assert "(2 seeds, 20 people). Most is gained on sit (+80), least on stand (+0)." in said[1]
    assert said[3] == "- At least one of the two streams is right on 100.0% of the videos."


def test_without_a_pair_it_says_how_to_make_one(tmp_path):
    with pytest.raises(DatasetError, match=r"python benchmarks/two_streams\.py"):
        TwoStreams.load(tmp_path)


def test_the_printed_gains_stand_beside_ours(folder, monkeypatch):
    study = TwoStreams.load(folder)
    monkeypatch.setattr(streams.TwoStreams, "load", classmethod(lambda cls: study))
    table = ledger.of_streams()
    assert len(table) == 22
    hmdb51 = table[(table["data"] == "HMDB51") & (table["network"] == "R(2+1)D-34")]
    assert hmdb51["printed"].tolist() == [3.5, 6.1, 1.9, 4.2]
    assert set(table["source"]) == {"benchmarks/results/two_streams.json (abc1234)"}
    kinetics = table[(table["where"] == "table 5") & (table["pretrained"] == "nothing")]
    assert kinetics.set_index("gain")["printed"].to_dict() == {
        "flow over RGB": -4.5,
        "RGB + flow over RGB": 1.9,
    }
    judged = kinetics.set_index("gain")["verdict"].to_dict()
    assert judged == {
        "flow over RGB": "within noise",
        "RGB + flow over RGB": "same direction, other size",
    }
