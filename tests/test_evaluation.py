"""The protocol's numbers on scores made by hand, intervals against a table, and the scores file."""

import numpy as np
import pytest

from r21d_lib import evaluation
from r21d_lib.errors import DatasetError
from r21d_lib.evaluation import Scores


@pytest.fixture
def scores():
    # Three videos of two clips, three classes. Video 0: one clip wrong, mean right. Video 1: right.
    # Video 2: one clip right, mean wrong.
    probabilities = np.array(
        [
            [[0.9, 0.05, 0.05], [0.4, 0.5, 0.1]],
            [[0.1, 0.8, 0.1], [0.2, 0.6, 0.2]],
            [[0.3, 0.3, 0.4], [0.8, 0.1, 0.1]],
        ],
        np.float16,
    )
    return Scores(("a/0", "b/1", "c/2"), np.array([0, 1, 2]), ("a", "b", "c"), probabilities)


def test_clip_and_video_accuracy_differ(scores):
    assert evaluation.clip_accuracy(scores) == pytest.approx(4 / 6)
    assert evaluation.video_accuracy(scores) == pytest.approx(2 / 3)
    assert evaluation.video_accuracy(scores, top=2) == pytest.approx(1.0)
    assert evaluation.summary(scores)["video@5"] == 1.0  # of three classes


def test_confusion_has_true_classes_in_rows(scores):
    assert evaluation.confusion(scores).tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 0]]


def test_per_class(scores):
    table = evaluation.per_class(scores).set_index("class")
    assert table["correct"].tolist() == [1, 1, 0]
    assert table["mistaken_for"].tolist() == ["", "", "a"]
    assert (table["low"] <= table["accuracy"]).all()
    assert (table["accuracy"] <= table["high"]).all()


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (28, 30, 0.7868, 0.9815), (50, 100, 0.4038, 0.5962)],
)
def test_wilson_interval(correct, total, low, high):
    assert evaluation.wilson_interval(correct, total) == pytest.approx((low, high), abs=2e-4)


def test_no_videos_say_nothing():
    assert evaluation.wilson_interval(0, 0) == (0.0, 1.0)


def test_the_file_gives_the_same_numbers(scores, tmp_path):
    scores.save(tmp_path / "scores.npz")
    again = Scores.load(tmp_path / "scores.npz")
    assert again.probabilities.dtype == np.float16
    assert evaluation.summary(again) == evaluation.summary(scores)
    assert again.names == scores.names


def test_files_that_are_no_scores(tmp_path):
    with pytest.raises(DatasetError, match="evaluate a checkpoint first"):
        Scores.load(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("text")
    with pytest.raises(DatasetError, match="not a scores file"):
        Scores.load(tmp_path / "text.npz")


def test_shapes_must_fit(scores):
    with pytest.raises(DatasetError, match="do not fit"):
        Scores(scores.names[:2], scores.labels, scores.classes, scores.probabilities)
