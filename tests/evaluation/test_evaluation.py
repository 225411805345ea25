"""The protocol's numbers on scores made by hand, intervals against a table, and the scores file."""

import dataclasses

import numpy as np
import pytest
import torch

from r21d_lib import evaluation
from r21d_lib.data import hmdb51, lists
from r21d_lib.data.cache import prepare
from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.data.clips import dense_starts, three_crops, to_network
from r21d_lib.data.hmdb51 import official
from r21d_lib.errors import DatasetError, SettingsError
from r21d_lib.evaluation.protocol import score_videos
from r21d_lib.evaluation.scores import Scores, with_clips
from r21d_lib.models.networks import build_network

CLIPS = ClipSettings(clip_len=4, stride=2, resize=(24, 32), crop=24)


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


def test_of_equal_scores_the_first_class_is_the_better_one():
    # A sure network rounds all but one class to the same 0: where the others rank is not chance.
    sure = np.zeros((6, 1, 6), np.float16)
    sure[:, :, 0] = 1
    names = tuple(f"x/{label}" for label in range(6))
    scores = Scores(names, np.arange(6), tuple("abcdef"), sure)
    ranks = [evaluation.video_accuracy(scores, top=top) for top in range(1, 8)]
    assert ranks == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1, 1])


def test_confusion_has_true_classes_in_rows(scores):
    assert evaluation.confusion(scores).tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 0]]


def test_per_class(scores):
    table = evaluation.per_class(scores).set_index("class")
    assert table["correct"].tolist() == [1, 1, 0]
    assert table["mistaken_for"].tolist() == ["", "", "a"]
    assert (table["low"] <= table["accuracy"]).all()
    assert (table["accuracy"] <= table["high"]).all()
    assert table["groups"].tolist() == [1, 1, 1]


def test_per_class_counts_people():
    names = (*tuple(f"a/{k}" for k in range(40)), "b/0")
    probabilities = np.zeros((41, 1, 3), np.float16)
    probabilities[:40, 0, 0] = 1
    probabilities[10:20, 0] = (0, 1, 0)
    probabilities[40, 0, 1] = 1
    people = (*tuple(f"person {k // 4}" for k in range(40)), "person 0")
    scores = Scores(names, np.array([0] * 40 + [1]), ("a", "b", "c"), probabilities, groups=people)
    table = evaluation.per_class(scores).set_index("class")
    assert table["groups"].tolist() == [10, 1, 0]
    low, high = evaluation.wilson_interval(30, 40)
    assert table.loc["a", "high"] - table.loc["a", "low"] > 1.5 * (high - low)
    assert table.loc["a", "mistaken_for"] == "b"
    assert evaluation.video_interval(scores).groups == 10


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
    assert again.groups == scores.groups


def test_scores_keep_the_groups_of_their_list(network, videos, tmp_path):
    listed = dataclasses.replace(videos.videos, groups=tuple("aabbccdd"))
    grouped = dataclasses.replace(videos, videos=listed)
    evaluation.score_once(tmp_path / "s.npz", network, grouped, CLIPS, num_clips=1)
    assert Scores.load(tmp_path / "s.npz").groups == tuple("aabbccdd")
    # Another list of the same videos: the scores stay, the groups are the list's.
    again = evaluation.score_once(tmp_path / "s.npz", network, videos, CLIPS, num_clips=1)
    assert again.groups == videos.videos.names


def test_groups_are_taken_from_the_names_where_none_are_given(scores):
    names = ("run/Film_run_f_nm_np1_fr_med_0.avi", "run/v_run_g07_c01.avi", "a/own.mp4")
    scores = dataclasses.replace(scores, names=names, groups=())
    assert scores.groups == ("Film", "run_g07", "a/own.mp4")


def test_files_that_are_no_scores(tmp_path):
    with pytest.raises(DatasetError, match="evaluate a checkpoint first"):
        Scores.load(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("text")
    with pytest.raises(DatasetError, match="not a scores file"):
        Scores.load(tmp_path / "text.npz")


def test_shapes_must_fit(scores):
    with pytest.raises(DatasetError, match="do not fit"):
        Scores(scores.names[:2], scores.labels, scores.classes, scores.probabilities)


@pytest.fixture(scope="module")
def videos(tiny_dataset, tmp_path_factory):
    return prepare(tiny_dataset, tmp_path_factory.mktemp("cache"), size=(24, 32))


@pytest.fixture(scope="module")
def network():
    return build_network("r2plus1d", 10, num_classes=2, width=4, seed=0).eval()


def test_ten_uniform_centre_crops_are_the_default(network, videos):
    """The paper's protocol, once more by hand."""
    scores = score_videos(network, videos, CLIPS, progress=False)
    assert scores.probabilities.shape == (8, 10, 2)
    frames = torch.from_numpy(videos.frames(3))  # 19 of them, a clip spans 7
    starts = [i * 12 // 9 for i in range(10)]
    clips = torch.stack([frames[s : s + 7 : 2] for s in starts])
    with torch.inference_mode():
        expected = network(to_network(clips, CLIPS)).softmax(1).numpy()
    np.testing.assert_allclose(scores.probabilities[3], expected, atol=1e-3)


def test_the_batch_changes_no_score(network, videos):
    one, other = (
        score_videos(network, videos, CLIPS, batch_size=size, progress=False) for size in (3, 80)
    )
    np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-3)


def test_nothing_is_scored_twice_and_changes_are_noticed(network, videos, tmp_path):
    file = tmp_path / "scores.npz"
    first = evaluation.score_once(file, network, videos, CLIPS, num_clips=2)
    written = file.stat().st_mtime_ns
    again = evaluation.score_once(file, network, videos, CLIPS, num_clips=2)
    assert file.stat().st_mtime_ns == written
    assert np.array_equal(first.probabilities, again.probabilities)
    assert np.array_equal(
        first.probabilities, score_videos(network, videos, CLIPS, num_clips=2).probabilities
    )
    with torch.no_grad():
        network.fc.weight[0, 0] += 1
    changed = evaluation.score_once(file, network, videos, CLIPS, num_clips=2)
    assert not np.array_equal(first.probabilities, changed.probabilities)
    assert evaluation.score_once(file, network, videos, CLIPS, num_clips=3).probabilities.shape[1] == 3


def test_dense_clips_are_more_in_a_long_video(network, videos):
    scores = score_videos(network, videos, CLIPS, dense_step=2, progress=False)
    expected = [len(dense_starts(frames, 7, 2)) for frames in [16, 17, 18, 19] * 2]
    assert scores.clip_exists.sum(1).tolist() == expected == [5, 6, 6, 7] * 2
    assert np.isfinite(scores.video_probabilities).all()
    right = [
        (scores.probabilities[v, :n].argmax(1) == scores.labels[v]) for v, n in enumerate(expected)
    ]
    assert evaluation.clip_accuracy(scores) == pytest.approx(np.concatenate(right).mean())


def test_a_ragged_file_comes_back(network, videos, tmp_path):
    scores = score_videos(network, videos, CLIPS, dense_step=3, progress=False)
    scores.save(tmp_path / "scores.npz")
    again = Scores.load(tmp_path / "scores.npz")
    np.testing.assert_array_equal(again.probabilities, scores.probabilities)


@pytest.mark.parametrize("shape", [(24, 32), (32, 24)])
def test_three_crops_are_both_ends_and_the_middle(shape):
    clips = torch.arange(2 * 24 * 32).view(1, 2, *shape, 1).expand(-1, -1, -1, -1, 3)
    squares = three_crops(clips, 24)
    assert squares.shape == (3, 2, 24, 24, 3)
    along = 3 if shape == (24, 32) else 2
    for square, start in zip(squares, (0, 4, 8), strict=True):
        assert torch.equal(square, clips.narrow(along, start, 24)[0])


def test_three_crops_are_averaged(network, videos):
    narrow = dataclasses.replace(CLIPS, crop=16)
    scores = score_videos(network, videos, narrow, num_clips=2, crops=3, progress=False)
    assert scores.probabilities.shape == (8, 2, 2)
    first = torch.from_numpy(videos.frames(0))[:7:2][None]
    with torch.inference_mode():
        squares = to_network(three_crops(first, 16), narrow)
        expected = network(squares).softmax(1).mean(0).numpy()
    np.testing.assert_allclose(scores.probabilities[0, 0], expected, atol=1e-3)


@pytest.mark.parametrize("values", [dict(crops=2), dict(dense_step=0)])
def test_views_that_make_no_sense(network, videos, values):
    with pytest.raises(SettingsError):
        score_videos(network, videos, CLIPS, progress=False, **values)


def test_a_network_of_other_classes_is_refused(videos):
    with pytest.raises(DatasetError, match="scores 5 classes and tiny has 2"):
        score_videos(build_network("r3d", 10, num_classes=5, width=4), videos, CLIPS)


def test_scores_that_are_no_numbers_are_refused(videos):
    network = build_network("r3d", 10, num_classes=2, width=4)
    torch.nn.init.constant_(network.fc.bias, float("nan"))
    with pytest.raises(DatasetError, match=r"8 of 8 videos have no finite score, first left/"):
        score_videos(network, videos, CLIPS, progress=False)


def test_mean_of_splits(scores):
    better = dataclasses.replace(scores, labels=np.array([0, 1, 0]))
    table = evaluation.mean_of_splits({1: scores, 2: better})
    assert list(table.index) == ["split 1", "split 2", "mean"]
    assert table["video@1"].tolist() == pytest.approx([2 / 3, 1.0, 5 / 6])
    assert table["videos"].tolist() == [3, 3, 6]
    assert table["groups"].tolist() == [3, 3, 3]  # the same videos in both
    low, high = evaluation.wilson_interval(2.5, 3)
    assert table.loc["mean", ["low", "high"]].tolist() == pytest.approx([low, high])


def test_a_list_of_another_size_is_not_scored_as_hmdb51(tmp_path, monkeypatch):
    """1,530 videos, or none."""
    classes, parts = lists.read_split(official.FOLDER, 2)
    lists.write_split(tmp_path, 2, classes, dict(list(parts.items())[:-1]))
    monkeypatch.setattr(official, "FOLDER", tmp_path)
    with pytest.raises(DatasetError, match="29 test videos of wave, HMDB51 has 30"):
        hmdb51.load(tmp_path, split=2, part="test")


def test_what_was_said_of_each_video_agrees_with_the_accuracies():
    random = np.random.default_rng(0)
    scores = Scores(
        tuple(f"a/film{i // 2}_a_f_cm_np1_fr_goo_{i}.avi" for i in range(20)),
        random.integers(0, 3, 20),
        ("a", "b", "c"),
        random.dirichlet(np.ones(3), (20, 4)).astype(np.float16),
    )
    table = evaluation.per_video(scores)
    assert table["right"].mean() == pytest.approx(evaluation.video_accuracy(scores))
    assert (table["said"] == table["class"]).equals(table["right"])
    assert table.groupby("class")["right"].mean().to_dict() == pytest.approx(
        {row["class"]: row["accuracy"] for _, row in evaluation.per_class(scores).iterrows()}
    )
    assert tuple(table["group"]) == scores.groups


def test_fewer_clips_are_spread_over_those_that_there_are():
    rng = np.random.default_rng(0)
    kept = rng.random((6, 10, 3)).astype(np.float16)
    kept[4, 4:] = kept[5, 1:] = np.nan  # of short videos there are four clips, and one
    scores = Scores(tuple("abcdef"), np.zeros(6, np.int64), ("x", "y", "z"), kept)
    assert np.array_equal(with_clips(scores, 10).probabilities, kept, equal_nan=True)
    one = with_clips(scores, 1).probabilities
    assert np.array_equal(one[:4, 0], kept[:4, 4])
    assert np.array_equal(one[4, 0], kept[4, 2])
    assert np.array_equal(one[5, 0], kept[5, 0])
    for count in range(1, 11):
        fewer = with_clips(scores, count)
        assert fewer.clip_exists.sum(1).tolist() == [count] * 4 + [min(count, 4), 1]
        for video in range(6):
            its = fewer.probabilities[video, fewer.clip_exists[video]].tolist()
            places = [kept[video].tolist().index(clip) for clip in its]
            assert places == sorted(set(places))
    with pytest.raises(SettingsError, match="there are 10 clips a video: choose 1 to 10, not 11"):
        with_clips(scores, 11)


@pytest.mark.parametrize("total", [*range(1, 26), 40, 100])
def test_as_many_clips_are_kept_as_were_asked_for(total):
    kept = np.full((1, total, 2), 0.5, np.float16)
    kept[0, :, 0] = np.arange(total)
    scores = Scores(("a",), np.zeros(1, np.int64), ("x", "y"), kept)
    for count in range(1, total + 1):
        places = with_clips(scores, count).probabilities[0, :, 0].tolist()
        assert len(places) == count
        assert places == sorted(set(places))
