"""Intervals: of planted cases that are known by hand, and how often they hold the truth."""

import numpy as np
import pytest

from r21d_lib.evaluation import intervals
from r21d_lib.evaluation.intervals import accuracy_interval, difference_interval, wilson_interval


def test_groups_of_one_video_are_wilsons():
    right = np.array([1] * 28 + [0] * 2)
    found = accuracy_interval(right, np.ones(30, int))
    assert found == (*wilson_interval(28, 30), 30)


def test_videos_of_one_group_count_once():
    """Ten people, each right in all of their 36 videos or in none: ten draws of a coin, not 360."""
    right, videos = np.array([36] * 8 + [0] * 2), np.full(10, 36)
    low, high, groups = accuracy_interval(right, videos)
    assert groups == 10
    narrow = wilson_interval(8 * 36, 360)
    assert high - low > 4 * (narrow[1] - narrow[0])
    assert low == pytest.approx(wilson_interval(8, 10)[0], abs=0.1)


def test_it_is_the_bootstrap_of_the_mean():
    """Many groups of one size: mean +- 1.96 standard errors over groups."""
    right = np.random.default_rng(1).binomial(10, 0.6, 400)
    low, high, _ = accuracy_interval(right, np.full(400, 10))
    share = right / 10
    half = 1.96 * share.std() / 20
    assert (low, high) == pytest.approx((share.mean() - half, share.mean() + half), abs=0.003)


@pytest.mark.parametrize("hit", [0, 12])
def test_where_all_are_alike_wilson_counts_the_groups(hit):
    found = accuracy_interval(np.full(30, hit), np.full(30, 12))
    assert found == (*wilson_interval(30 * hit / 12, 30), 30)


def test_few_groups_are_not_drawn_from():
    found = accuracy_interval(np.array([90, 60, 30]), np.full(3, 100))
    assert found == (*wilson_interval(1.8, 3), 3)
    assert accuracy_interval(np.array([], int), np.array([], int)) == (0.0, 1.0, 0)


def test_large_groups_weigh_more():
    right = np.array([100, 0] * 10)
    videos = np.array([100, 10] * 10)
    low, high, _ = accuracy_interval(right, videos)
    assert low < 1000 / 1100 < high
    assert low > 0.7


def _coverage(truth, draw, interval):
    rng, times = np.random.default_rng(0), 60
    return np.mean(
        [low <= truth <= high for low, high, _ in (interval(draw(rng)) for _ in range(times))]
    )


def test_nineteen_of_twenty_intervals_hold_the_truth():
    """People differ: their accuracies are drawn around 0.7, and ten videos each around theirs."""

    def draw(rng):
        return rng.binomial(10, rng.beta(7, 3, 30))

    def of_videos(right):
        return (*wilson_interval(right.sum(), 300), 300)

    def over_people(right):
        return accuracy_interval(right, np.full(30, 10))

    assert _coverage(0.7, draw, over_people) >= 0.87
    assert _coverage(0.7, draw, of_videos) < 0.9


def test_a_difference_is_drawn_over_seeds_too():
    """No person matters, one seed in two does: the interval is as wide as the seeds say."""
    videos = np.full(30, 12)
    seeds = np.array([0, 6] * 4)[:, None] * np.ones((1, 30))
    low, high, groups = difference_interval(seeds, videos)
    assert groups == 30
    # Mean 0.25, standard error 0.25 / sqrt(8).
    assert (low, high) == pytest.approx((0.25 - 0.173, 0.25 + 0.173), abs=0.04)
    people = np.ones((8, 1)) * np.array([0, 6] * 15)
    low, high, _ = difference_interval(people, videos)
    assert (low, high) == pytest.approx((0.25 - 0.0895, 0.25 + 0.0895), abs=0.02)


def test_no_difference_at_all_is_still_not_certain():
    low, high, _ = difference_interval(np.zeros((8, 30)), np.full(30, 12))
    assert low < -0.1
    assert high > 0.1


def test_differences_without_a_cause_cover_zero():
    def draw(rng):
        return rng.binomial(12, 0.6, (5, 20)) - rng.binomial(12, 0.6, (5, 20))

    held = _coverage(0.0, draw, lambda d: difference_interval(d, np.full(20, 12)))
    assert held >= 0.9


def test_many_groups_take_little_memory_and_time():
    right = np.random.default_rng(0).binomial(3, 0.5, 6000)
    low, high, groups = accuracy_interval(right, np.full(6000, 3))
    assert groups == 6000
    assert high - low == pytest.approx(2 * 1.96 * 0.5 / 18000**0.5, rel=0.1)


def test_a_statistic_that_does_not_vary_has_no_interval():
    assert intervals.bootstrap([5], lambda weights: np.ones(len(weights))) is None
    assert intervals.bootstrap([1], lambda weights: weights.sum(1)) is None
