"""Two streams: the average of two networks' scores of the same videos, and what it gains by class.

The paper averages the scores of a network of RGB and of one of optical flow (section 4.4).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from r21d_lib.errors import DatasetError
from r21d_lib.evaluation.intervals import difference_interval
from r21d_lib.evaluation.scores import Scores

ALL = "all"  # the row of `gains` that is of all classes together


def average(first: Scores, second: Scores) -> Scores:
    """Return the mean of two networks' probabilities, clip by clip.

    Of clips every so many frames, flow may have one less of a video, as it has a frame less: for the
    clip that it lacks its score of the video stands, so that the result's is the mean of both.

    Args:
        first: whose order of videos the result has.
        second: of the same videos and classes, with as many clips a video, or with clips every so many
            frames as well.

    Raises:
        DatasetError: naming what the two do not have in common.
    """
    if first.classes != second.classes:
        raise DatasetError("the two have scores of other classes: average runs of one data set")
    place = {name: position for position, name in enumerate(second.names)}
    missing = [name for name in first.names if name not in place]
    if missing or len(first.names) != len(second.names):
        odd = missing or sorted(set(second.names) - set(first.names))
        raise DatasetError(
            f"the two have scores of other videos ({len(first.names)} and {len(second.names)}), such "
            f"as {odd[0]}: average runs of one split"
        )
    order = [place[name] for name in first.names]
    if not np.array_equal(first.labels, second.labels[order]):
        raise DatasetError("the two have other labels for the same videos: evaluate both again")
    ours, theirs = first.probabilities, second.probabilities[order]
    if theirs.shape != ours.shape and not (first.views and first.views == second.views):
        raise DatasetError(
            f"the two have {ours.shape[1]} and {theirs.shape[1]} clips a video: evaluate both with the "
            "same --clips or --dense-step"
        )
    clips = max(ours.shape[1], theirs.shape[1])
    ours, theirs = _with_room(ours, clips), _with_room(theirs, clips)
    here, there = (~np.isnan(of_one).all(2) for of_one in (ours, theirs))
    ours[there & ~here] = first.video_probabilities[np.nonzero(there & ~here)[0]]
    theirs[here & ~there] = second.video_probabilities[order][np.nonzero(here & ~there)[0]]
    mean = (ours + theirs) / 2
    return replace(first, probabilities=mean, origin="")


def _with_room(probabilities: np.ndarray, clips: int) -> np.ndarray:
    """Return (videos, `clips`, classes) float32, NaN for the clips that a video does not have."""
    more = clips - probabilities.shape[1]
    room = np.pad(probabilities, ((0, 0), (0, more), (0, 0)), constant_values=np.nan)
    return room.astype(np.float32)


def gains(before: Sequence[Scores], after: Sequence[Scores]) -> pd.DataFrame:
    """Return what video@1 gains from one way of scoring to another, by class, over runs and groups.

    Args:
        before: the scores of one run, or of several seeds, of the same videos in the same order.
        after: as many, each of the run at its place in `before`.

    Returns:
        A row a class and, last, one of `ALL`; columns class, videos, before, after, gain, low and
        high (fractions; the gain's 95% interval over groups and, of several runs, over runs), groups.

    Raises:
        DatasetError: if they are not of the same videos in the same order.
    """
    one = before[0]
    if len(before) != len(after) or any(its.names != one.names for its in (*before, *after)):
        raise DatasetError("gains are of as many runs before as after, all of the same videos in order")
    groups, group_of = np.unique(one.groups, return_inverse=True)

    def hits(scores: Scores, chosen: np.ndarray) -> np.ndarray:
        right = scores.video_probabilities.argmax(1) == scores.labels
        return np.bincount(group_of[chosen], right[chosen], len(groups))

    rows = []
    for label, name in [*enumerate(one.classes), (-1, ALL)]:
        chosen = one.labels == label if label >= 0 else np.ones(len(one.names), bool)
        counts = np.bincount(group_of[chosen], minlength=len(groups))
        there = counts > 0
        was, became = (
            np.array([hits(scores, chosen)[there] for scores in runs]) for runs in (before, after)
        )
        total = int(counts.sum())
        interval = difference_interval(became - was, counts[there])
        rows.append(
            {
                "class": name,
                "videos": total,
                "before": float(was.mean(0).sum()) / max(total, 1),
                "after": float(became.mean(0).sum()) / max(total, 1),
                "gain": float((became - was).mean(0).sum()) / max(total, 1),
                **interval._asdict(),
            }
        )
    return pd.DataFrame(rows)
