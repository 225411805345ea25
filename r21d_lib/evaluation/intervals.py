"""Intervals of accuracies and of their differences: what other people, films or seeds could have given.

Videos of one group (one person, one film) resemble each other, so groups are drawn and never single
videos: BCa bootstrap intervals (Efron, "Better bootstrap confidence intervals", 1987) where there is
something to draw, Wilson's where not.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

_DRAWS = 4999
_ENTRIES = 2**22  # of an array that is made at once
# Of fewer groups a bootstrap knows too little of their spread, and gives intervals that are too narrow.
_FEW_GROUPS = 8
# Of more groups BCa's jackknife takes long, and its correction, of order 1/n, is too small to see.
_MANY_GROUPS = 5000


class Interval(NamedTuple):
    """A 95% interval, with the number of groups that it rests on.

    Attributes:
        low: its lower end, a fraction.
        high: its upper end.
        groups: how many people, films or single videos it was found from.
    """

    low: float
    high: float
    groups: int


def wilson_interval(correct: float, total: int, z: float = 1.959964) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion, at 95% by default.

    Unlike accuracy +- 2 standard errors it stays inside [0, 1] and has a width at 0 and at 1,
    which matters with 30 test videos a class. No videos give (0, 1): nothing is known.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    if total == 0:
        return 0.0, 1.0
    p = correct / total
    centre = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z * ((p * (1 - p) + z * z / (4 * total)) / total) ** 0.5 / (1 + z * z / total)
    return max(0.0, centre - half), min(1.0, centre + half)


def accuracy_interval(right: np.ndarray, videos: np.ndarray) -> Interval:
    """Return the 95% interval of an accuracy, over groups, and over runs where there are several.

    Where each group has one video and there is one run, the count is binomial and Wilson's interval
    holds as it is. Where a bootstrap has nothing to draw (few groups, or all of them alike) Wilson's is
    taken with the number of groups in place of the number of videos, as if a group were one video.

    Args:
        right: (groups,) or (runs, groups): how many videos of the group were right.
        videos: (groups,) int: how many there are.
    """
    right = np.atleast_2d(np.asarray(right, float))
    videos = np.asarray(videos)
    if len(right) > 1 or (videos > 1).any():
        drawn = _drawn(right, videos)
        if drawn is not None:
            return drawn
    count = len(videos)
    mean = float(right.mean(0).sum() / max(videos.sum(), 1))
    return Interval(*wilson_interval(mean * count, count), count)


def difference_interval(difference: np.ndarray, videos: np.ndarray) -> Interval:
    """Return the 95% interval of a difference of two accuracies, over groups and runs.

    Runs (seeds) and groups are drawn independently of each other, each with replacement, and a pair of
    networks keeps its seed and its groups. This pigeonhole bootstrap errs to the wide side (Owen,
    "The pigeonhole bootstrap", 2007).

    Args:
        difference: (groups,) or (runs, groups): right answers of one network less those of the other.
        videos: (groups,) int: how many videos the group has.

    Returns:
        Fractions from -1 to 1. Where a bootstrap has nothing to draw, Wilson's interval with the number
        of groups, of the difference moved into [0, 1]: no variable in there varies more than a coin.
    """
    difference = np.atleast_2d(np.asarray(difference, float))
    videos = np.asarray(videos)
    drawn = _drawn(difference, videos)
    if drawn is not None:
        return drawn
    count = len(videos)
    moved = (1 + float(difference.mean(0).sum() / max(videos.sum(), 1))) / 2
    low, high = wilson_interval(moved * count, count)
    return Interval(2 * low - 1, 2 * high - 1, count)


def bootstrap(
    sizes: Sequence[int], statistic: Callable[..., np.ndarray], *, method: str = "BCa"
) -> tuple[float, float] | None:
    """Return a 95% bootstrap interval of a statistic of independent samples; None if it does not vary.

    Args:
        sizes: how many members each sample has; samples of one member are not drawn from.
        statistic: from an array (draws, size) for each sample, how often each member was drawn, to
            (draws,) values.
        method: "BCa", which of very many members is "percentile".
    """
    from scipy import stats

    drawn_from = [position for position, size in enumerate(sizes) if size > 1]
    if not drawn_from:
        return None

    def of_members(*members: np.ndarray, axis: int = -1) -> np.ndarray:
        shape = members[0].shape[:-1]  # of draws; scipy's jackknife leaves one member out
        weights = [np.ones((int(np.prod(shape)), size)) for size in sizes]
        for position, drawn in zip(drawn_from, members, strict=True):
            weights[position] = _counts(drawn.reshape(-1, drawn.shape[-1]), sizes[position])
        return statistic(*weights).reshape(shape)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that nothing varies, which is looked at below
        found = stats.bootstrap(
            [np.arange(sizes[position]) for position in drawn_from],
            of_members,
            n_resamples=_DRAWS,
            batch=max(_ENTRIES // max(sizes), 1),
            vectorized=True,
            method=method if max(sizes) <= _MANY_GROUPS else "percentile",
            rng=np.random.default_rng(0),
        ).confidence_interval
    low, high = float(found.low), float(found.high)
    return (low, high) if low < high else None  # also where one is NaN


def _counts(drawn: np.ndarray, size: int) -> np.ndarray:
    """Return how often each of `size` members stands in each row of (draws, members)."""
    rows = np.arange(len(drawn))[:, None] * size
    return np.bincount((drawn + rows).ravel(), minlength=len(drawn) * size).reshape(-1, size)


def _drawn(values: np.ndarray, videos: np.ndarray) -> Interval | None:
    """Return the interval of the mean of (runs, groups) sums, both drawn; None if that says nothing."""
    if len(videos) < _FEW_GROUPS:
        return None

    def mean(runs: np.ndarray, groups: np.ndarray) -> np.ndarray:
        sums = ((runs @ values) * groups).sum(1)
        return sums / (runs.sum(1) * (groups @ videos))

    found = bootstrap(values.shape, mean)
    return None if found is None else Interval(*found, len(videos))
