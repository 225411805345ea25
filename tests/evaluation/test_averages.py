"""Two streams: scores averaged video by video, and what that gains, over groups."""

import dataclasses

import numpy as np
import pytest

from r21d_lib.errors import DatasetError
from r21d_lib.evaluation import Scores, average, gains, video_accuracy

CLASSES = ("sit", "stand", "turn")


def scores(right, clips=4, seed=0):
    """Scores of 12 videos of 3 people a class, of which those of `right` are right."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), 12)
    names = tuple(f"{CLASSES[k]}/person_{n % 12}.avi" for n, k in enumerate(labels))
    logits = rng.normal(0, 0.1, (36, clips, 3))
    said = np.where(right, labels, (labels + 1) % 3)
    logits[np.arange(36), :, said] += 2
    probabilities = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
    groups = tuple(f"person_{n % 12}" for n in range(36))
    return Scores(names, labels, CLASSES, probabilities.astype(np.float16), groups=groups)


def test_the_average_is_of_the_probabilities_of_each_video():
    one, other = scores(np.ones(36, bool)), scores(np.arange(36) % 2 == 0, seed=1)
    order = np.random.default_rng(0).permutation(36)
    shuffled = dataclasses.replace(
        other,
        names=tuple(other.names[k] for k in order),
        labels=other.labels[order],
        probabilities=other.probabilities[order],
        groups=tuple(other.groups[k] for k in order),
    )
    both = average(one, shuffled)
    expected = (one.probabilities.astype(float) + other.probabilities.astype(float)) / 2
    np.testing.assert_allclose(both.probabilities, expected, atol=1e-6)
    assert both.names == one.names
    assert both.groups == one.groups


def dense(counts, seed=0, room=None, views="a clip every 8 frames"):
    """Scores of so many clips of each of some videos, as --dense-step gives them."""
    rng = np.random.default_rng(seed)
    kept = np.full((len(counts), room or max(counts), 3), np.nan, np.float16)
    for video, count in enumerate(counts):
        kept[video, :count] = rng.dirichlet(np.ones(3), count)
    names = tuple(f"sit/person_{n}.avi" for n in range(len(counts)))
    return Scores(names, np.zeros(len(counts), np.int64), CLASSES, kept, views=views)


@pytest.mark.parametrize("room", [None, 5])
def test_a_video_of_which_one_has_a_clip_less_counts_both_alike(room):
    one, other = dense((3, 2, 4, 1)), dense((2, 3, 4, 1), seed=1, room=room)
    expected = (one.video_probabilities + other.video_probabilities) / 2
    for both, clips in ((average(one, other), (3, 3, 4, 1)), (average(other, one), (3, 3, 4, 1))):
        np.testing.assert_allclose(both.video_probabilities, expected, atol=1e-6)
        assert both.clip_exists.sum(1).tolist() == list(clips)
        for video, clip in ((0, 0), (1, 1), (2, 3), (3, 0)):  # that both have: clip by clip
            pair = [s.probabilities[video, clip].astype(np.float32) for s in (one, other)]
            np.testing.assert_array_equal(both.probabilities[video, clip], sum(pair) / 2)


def test_other_numbers_of_clips_are_averaged_only_where_both_are_every_so_many_frames():
    one, other = dense((3, 3)), dense((2, 2), seed=1)
    expected = (one.video_probabilities + other.video_probabilities) / 2
    np.testing.assert_allclose(average(one, other).video_probabilities, expected, atol=1e-6)
    for views in ((one.views, ""), ("", ""), (one.views, "a clip every 4 frames")):
        unlike = [dataclasses.replace(its, views=v) for its, v in zip((one, other), views, strict=True)]
        with pytest.raises(DatasetError, match=r"3 and 2 clips a video: .* --clips or --dense-step"):
            average(*unlike)


def test_sure_answers_outvote_unsure_ones():
    """Two networks that err on different videos: where one errs, the other is surer."""
    half = np.arange(36) % 2 == 0
    one, other = scores(half), scores(~half, seed=1)
    sure = {"rgb": one, "flow": other}
    for name, right in (("rgb", half), ("flow", ~half)):
        pale = sure[name].probabilities.astype(np.float32)
        pale[~right] = 0.4 * pale[~right] + 0.6 / 3
        sure[name] = dataclasses.replace(sure[name], probabilities=pale)
    assert video_accuracy(one) == video_accuracy(other) == pytest.approx(0.5)
    assert video_accuracy(average(sure["rgb"], sure["flow"])) == 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ("sit", "stand", "fall")}, "scores of other classes"),
        ({"names": tuple(f"sit/x{n}.avi" for n in range(36))}, r"other videos .* such as sit/person_0"),
        ({"labels": np.zeros(36, np.int64)}, "other labels"),
        ({"probabilities": np.full((36, 2, 3), 1 / 3)}, "4 and 2 clips a video"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    one = scores(np.ones(36, bool))
    with pytest.raises(DatasetError, match=message):
        average(one, dataclasses.replace(one, **change))


def test_gains_count_videos_by_class_and_over_all():
    before = scores(np.arange(36) >= 6)  # six of the first class are wrong
    after = scores(np.arange(36) >= 3)
    table = gains([before], [after]).set_index("class")
    assert list(table.index) == [*CLASSES, "all"]
    assert table.loc["sit", ["before", "after", "gain"]].tolist() == pytest.approx([0.5, 0.75, 0.25])
    assert table.loc["all", "gain"] == pytest.approx(3 / 36)
    assert table.loc["sit", "low"] < 0.25 < table.loc["sit", "high"]
    assert table.loc["all", "groups"] == 12
    assert table.loc["stand", "gain"] == 0
    assert (table["videos"] == [12, 12, 12, 36]).all()


def test_gains_of_several_seeds_are_their_mean():
    before = [scores(np.arange(36) >= n) for n in (6, 4)]
    after = [scores(np.arange(36) >= n) for n in (2, 0)]
    assert gains(before, after).set_index("class").loc["all", "gain"] == pytest.approx(4 / 36)
    with pytest.raises(DatasetError, match="as many runs before as after"):
        gains(before, after[:1])
