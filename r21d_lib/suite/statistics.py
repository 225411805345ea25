"""The statistics of the race: standings, and leads with their intervals over seeds."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from r21d_lib.errors import SettingsError
from r21d_lib.models import counting
from r21d_lib.models.networks import PAPER_NAMES
from r21d_lib.training.recipes import Recipe

# Of Student's t: what a 95% interval of a mean of 2, 3, ... values multiplies its standard error by.
_T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


def compute(recipe: Recipe, num_classes: int) -> float:
    """Return the multiply-adds of the recipe's network for one clip, in units of 10^6."""
    settings = recipe.build(num_classes).settings
    clips = recipe.clips
    return counting.count_multiply_adds(settings, frames=clips.clip_len, crop=clips.crop) / 1e6


def standings(runs: Sequence[dict[str, Any]], measure: str = "video@1") -> pd.DataFrame:
    """Return each network's mean over its seeds with its 95% interval, in the paper's order.

    Args:
        runs: what `Finish.to_dict` gives.
        measure: a number of theirs, or the name of a curve, whose last value counts.

    Returns:
        Rows by the paper's name; columns seeds, mean, low, high. The interval is Student's t over
        seeds, NaN for a single one: it says how much another seed would move the mean, and nothing
        about other test videos.
    """
    rows = {}
    for name, paper in PAPER_NAMES.items():
        values = [_last(run[measure]) for run in runs if run["network"] == name]
        if values:
            rows[paper] = {"seeds": len(values), **_mean_interval(values)}
    return pd.DataFrame(rows).T.astype({"seeds": int})


def lead(
    runs: Sequence[dict[str, Any]],
    ahead: Sequence[str],
    behind: Sequence[str],
    measure: str = "video@1",
) -> dict[str, float]:
    """Return by how much some networks are ahead of others, with a 95% interval over seeds.

    Networks with the same seed saw the same clips in the same order, so the difference of their
    means is taken seed by seed.

    Args:
        runs: what `Finish.to_dict` gives.
        ahead: the networks whose mean comes first.
        behind: those that it is compared with.
        measure: as for `standings`.

    Returns:
        mean, low, high and seeds.
    """
    of = {(run["network"], run["seed"]): _last(run[measure]) for run in runs}
    needed = {*ahead, *behind}
    seeds = [s for s in sorted({run["seed"] for run in runs}) if all((n, s) in of for n in needed)]
    if not seeds:
        raise SettingsError(f"no seed was run with all of {', '.join(sorted(needed))}")
    means = [
        float(np.mean([of[n, s] for n in ahead]) - np.mean([of[n, s] for n in behind])) for s in seeds
    ]
    return {**_mean_interval(means), "seeds": len(seeds)}


def _last(value: float | Sequence[float]) -> float:
    return float(value) if isinstance(value, int | float) else float(value[-1])


def _mean_interval(values: Sequence[float]) -> dict[str, float]:
    mean = float(np.mean(values))
    if len(values) == 1:
        return {"mean": mean, "low": float("nan"), "high": float("nan")}
    half = _T95[len(values) - 2] * float(np.std(values, ddof=1)) / len(values) ** 0.5
    return {"mean": mean, "low": mean - half, "high": mean + half}
