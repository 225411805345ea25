"""The statistics of a study: standings, every difference of two networks, and whose order it is.

Intervals are over seeds and groups (people, films) together: `evaluation.intervals` says how.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from r21d_lib.errors import DatasetError, SettingsError
from r21d_lib.evaluation.intervals import (
    Interval,
    accuracy_interval,
    bootstrap,
    difference_interval,
)
from r21d_lib.evaluation.scores import hits_by_group
from r21d_lib.models import counting
from r21d_lib.models.settings import LABELS
from r21d_lib.suite import results
from r21d_lib.training.recipes import Recipe
from r21d_lib.training.run import reached, read_history
from r21d_lib.training.run_folder import RunFolder

# How a difference here relates to the printed one. The last is of a pair that was printed as equal.
SAME, OTHER_SIZE = "same direction and size", "same direction, other size"
NOISE, OPPOSITE, UNORDERED = "within noise", "opposite", "no order printed"
_AT_CHANCE = 1.5  # times what guessing gives


def compute(recipe: Recipe, num_classes: int) -> float:
    """Return the multiply-adds of the recipe's network for one clip, in units of 10^6."""
    settings = recipe.build(num_classes).settings
    clips = recipe.clips
    return counting.count_multiply_adds(settings, frames=clips.clip_len, crop=clips.crop) / 1e6


@dataclass(frozen=True)
class Study:
    """Networks trained alike with several seeds, and what each got right of each group.

    Attributes:
        runs: a dictionary a run: network, seed, hits (how many videos of each group were right, in the
            order of `groups`), video@1, clip@1, per_class, minutes, and the curves loss, train_accuracy
            and test_accuracy with a value an epoch.
        groups: a group's name to the number of its test videos.
        unit: what a group is, in the plural: people, films.
        provenance: where the runs were made.
        rates: a network to its learning rate.
        file: where it was read from, "" if it was not.
    """

    runs: Sequence[Mapping[str, Any]]
    groups: Mapping[str, int]
    unit: str
    provenance: Mapping[str, Any] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    file: str = ""

    @classmethod
    def load(cls, path: Path, runs: str = "runs") -> "Study":
        """Read what `Study.to_dict` wrote.

        Args:
            path: the file, such as benchmarks/results/race.json.
            runs: the key of the runs.

        Raises:
            DatasetError: if it is missing, damaged, or of the form before groups were kept.
        """
        content = results.read_results(path)
        if "groups" not in content:
            raise DatasetError(
                f"{path} is of an older form, without the hits of each group: make it again by "
                f"python benchmarks/{path.stem}.py, or give that --collect and the folder of its runs"
            )
        return cls(
            content[runs],
            content["groups"],
            content["unit"],
            content["provenance"],
            content["rates"],
            path.name,
        )

    @classmethod
    def collect(cls, folders: Iterable[Path], *, unit: str) -> "Study":
        """Make a study of the folders of finished runs: their recipes, metrics.csv and scores.

        Raises:
            DatasetError: if a folder is not that of a scored run, or their runs do not belong together:
                other test videos, other settings than network, seed and rate, or a seed twice.
        """
        read = [_read_run(folder) for folder in folders]
        if not read:
            raise DatasetError("there is no finished run to collect: give the folder that holds them")
        first, rates = read[0], {run.row["network"]: run.rate for run in read}
        seen: dict[tuple[str, int], Path] = {}
        for run in read:
            key = (run.row["network"], run.row["seed"])
            if key in seen:
                raise DatasetError(
                    f"{seen[key]} and {run.folder} hold the same network and seed: give one"
                )
            seen[key] = run.folder
            for kind, here, there in (
                ("test videos", run.groups, first.groups),
                ("settings", run.settings, first.settings),
                ("rates", run.rate, rates[run.row["network"]]),
            ):
                if here != there:
                    raise DatasetError(
                        f"{run.folder} has other {kind} than the runs beside it, such as "
                        f"{first.folder}: collect the runs of one study"
                    )
        order = list(LABELS)
        read.sort(key=lambda run: (run.row["seed"], order.index(run.row["network"])))
        return cls([run.row for run in read], first.groups, unit, rates=rates)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain values, for JSON."""
        return {
            "unit": self.unit,
            "groups": dict(self.groups),
            "rates": dict(self.rates),
            "runs": list(self.runs),
            "provenance": dict(self.provenance),
        }

    @property
    def networks(self) -> list[str]:
        """The networks that ran, in the paper's order, by the names of `build_network`."""
        return [name for name in LABELS if any(run["network"] == name for run in self.runs)]

    @property
    def videos(self) -> np.ndarray:
        """(groups,) int: how many test videos each group has."""
        return np.array(list(self.groups.values()))

    def seeds(self, *networks: str) -> list[int]:
        """Return the seeds that all of these networks ran with.

        Raises:
            SettingsError: if there are none.
        """
        its = [{run["seed"] for run in self.runs if run["network"] == name} for name in networks]
        common = set.intersection(*its)
        if not common:
            raise SettingsError(f"no seed was run with all of {', '.join(sorted(networks))}")
        return sorted(common)

    def values(self, network: str, seeds: Sequence[int], measure: str) -> np.ndarray:
        """Return a number of each run: (seeds,), or (seeds, groups) hits where the measure is "hits".

        Of a curve the last value counts.
        """
        of = {run["seed"]: run[measure] for run in self.runs if run["network"] == network}
        if measure == "hits":
            return np.array([of[seed] for seed in seeds])
        return np.array([of[s] if isinstance(of[s], int | float) else of[s][-1] for s in seeds], float)

    def standings(self, measure: str = "video@1") -> pd.DataFrame:
        """Return each network's mean over its seeds with its 95% interval, in the paper's order.

        Args:
            measure: "video@1", whose interval is over seeds and groups; or another number of the runs,
                whose interval is Student's over seeds alone.

        Returns:
            Rows by the paper's name; columns seeds, groups, mean, low, high.
        """
        rows = {}
        for name in self.networks:
            seeds = self.seeds(name)
            if measure == "video@1":
                hits = self.values(name, seeds, "hits")
                interval = accuracy_interval(hits, self.videos)
                mean = float(hits.mean(0).sum() / self.videos.sum())
            else:
                values = self.values(name, seeds, measure)
                interval, mean = _students(values), float(values.mean())
            rows[LABELS[name]] = {"seeds": len(seeds), "mean": mean, **interval._asdict()}
        table = pd.DataFrame(rows).T.astype({"seeds": int, "groups": int})
        return table[["seeds", "groups", "mean", "low", "high"]]

    def lead(self, ahead: str, behind: str, measure: str = "video@1") -> dict[str, float]:
        """Return by how much one network is ahead of another, with its 95% interval.

        Networks with the same seed saw the same clips in the same order, so the difference is taken
        seed by seed, and group by group.

        Args:
            ahead: the network whose number comes first.
            behind: the one that it is compared with.
            measure: as for `standings`.

        Returns:
            mean, low, high, groups (0 where groups were not drawn) and seeds.
        """
        seeds = self.seeds(ahead, behind)
        key = "hits" if measure == "video@1" else measure
        difference = self.values(ahead, seeds, key) - self.values(behind, seeds, key)
        if key == "hits":
            mean = float(difference.mean(0).sum() / self.videos.sum())
            interval = difference_interval(difference, self.videos)
        else:
            mean, interval = float(difference.mean()), _students(difference)
        return {"mean": mean, **interval._asdict(), "seeds": len(seeds)}

    @cached_property
    def leads(self) -> dict[tuple[str, str], dict[str, float]]:
        """What `lead` gives for every pair, each once, in the paper's order."""
        return {pair: self.lead(*pair) for pair in itertools.combinations(self.networks, 2)}

    def pairs(self, printed: Mapping[str, float]) -> pd.DataFrame:
        """Compare every pair of networks with what the paper prints, none left out.

        Args:
            printed: a network to its printed accuracy in percent.

        Returns:
            A row a pair: ahead and behind (the paper's names, the one that the paper puts first ahead),
            printed, ours, low, high (points of accuracy), seeds, groups and verdict.
        """
        rows = []
        for (one, other), found in self.leads.items():
            if one not in printed or other not in printed:
                continue
            points = printed[one] - printed[other]
            turned = points < 0
            ahead, behind = (other, one) if turned else (one, other)
            mean, low, high = (100 * found[key] for key in ("mean", "low", "high"))
            if turned:
                mean, low, high = -mean, -high, -low
            printed_points = round(abs(points), 1)
            rows.append(
                {
                    "ahead": LABELS[ahead],
                    "behind": LABELS[behind],
                    "printed": printed_points,
                    "ours": mean,
                    "low": low,
                    "high": high,
                    "seeds": found["seeds"],
                    "groups": found["groups"],
                    "verdict": verdict(printed_points, low, high),
                }
            )
        return pd.DataFrame(rows)

    def order(self, printed: Mapping[str, float]) -> dict[str, float]:
        """Return Kendall's tau-b between the printed order of the networks and ours.

        1: every pair stands as printed; 0: as many pairs as not; -1: every pair the other way round.

        Drawing again blurs an order and so pulls tau towards 0. The interval is therefore that of the
        draws together with its mirror image about tau: of planted orders it held the true tau in 98% of
        cases and more, BCa's in 75% where there was no order at all. Where networks that are too
        close to be told apart stand exactly as printed, a true tau of 1 is held in two of three.

        Args:
            printed: a network to its printed accuracy in percent.

        Returns:
            tau, low and high (95%, over seeds and groups), networks, seeds and groups.
        """
        names = [name for name in self.networks if name in printed]
        seeds = self.seeds(*names)
        hits = np.array([self.values(name, seeds, "hits") for name in names], float)
        first, second = np.triu_indices(len(names), 1)
        of_paper = np.array([printed[name] for name in names])
        paper = np.sign((of_paper[first] - of_paper[second]).round(6))

        def tau(runs: np.ndarray, groups: np.ndarray) -> np.ndarray:
            means = np.stack([((runs @ one) * groups).sum(1) for one in hits], 1)
            ours = np.sign((means[:, first] - means[:, second]).round(6))
            untied = np.sqrt(np.abs(ours).sum(1) * np.abs(paper).sum())
            return (ours @ paper) / np.maximum(untied, 1)

        # Whole weights, so that equal hits are tied exactly.
        value = float(tau(np.ones((1, len(seeds))), np.ones((1, len(self.groups))))[0])
        drawn = bootstrap((len(seeds), len(self.groups)), tau, method="percentile") or (value, value)
        low = max(-1.0, min(drawn[0], 2 * value - drawn[1]))
        high = min(1.0, max(drawn[1], 2 * value - drawn[0]))
        counts = {"networks": len(names), "seeds": len(seeds), "groups": len(self.groups)}
        return {"tau": value, "low": low, "high": high, **counts}


def at_quarter(run: Mapping[str, Any]) -> float:
    """Return a run's training accuracy after a quarter of its epochs; NaN if they were too few."""
    curve = run["train_accuracy"]
    return float(curve[len(curve) // 4 - 1]) if len(curve) > 3 else float("nan")


def is_late(run: Mapping[str, Any]) -> bool:
    """Tell whether a run was still at chance after a quarter of its epochs: its rate is too high."""
    return at_quarter(run) < _AT_CHANCE / len(run["per_class"])


def verdict(printed: float, low: float, high: float) -> str:
    """Judge our interval of a difference by the printed one, which is not negative."""
    if printed == 0:
        return UNORDERED
    if low <= 0 <= high:
        return NOISE
    if high < 0:
        return OPPOSITE
    return SAME if low <= printed <= high else OTHER_SIZE


def _students(values: np.ndarray) -> Interval:
    """Return Student's 95% interval of the mean over seeds; NaN for a single one."""
    from scipy import stats

    if len(values) < 2:
        return Interval(float("nan"), float("nan"), 0)
    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return Interval(float(values.mean()) - half, float(values.mean()) + half, 0)


@dataclass(frozen=True)
class _Run:
    folder: Path
    row: dict[str, Any]
    groups: dict[str, int]
    rate: float
    settings: dict[str, Any]  # of recipe and test, all but network, seed and rate


def _read_run(folder: Path) -> _Run:
    """Read a finished run's folder."""
    run = RunFolder(folder)
    recipe = run.recipe() if run.is_begun else None
    scores = run.scores(recipe.split) if recipe else None
    if recipe is None or scores is None or len(run.metrics()) != recipe.training.epochs:
        raise DatasetError(
            f"{folder} is not the folder of a finished run: it needs recipe.json, metrics.csv of all "
            "epochs, and the scores of its last weights"
        )
    settings = {**recipe.to_dict(), **asdict(recipe.training), "views": scores.views}
    rate, seed = settings.pop("learning_rate"), settings.pop("seed")
    for name in ("name", "description", "network", "training"):
        del settings[name]
    # Runs of several seeds may each start from a run of their own seed.
    settings["checkpoint"] = recipe.checkpoint is not None
    of_groups = hits_by_group(scores)
    row = {
        "network": recipe.network,
        "seed": seed,
        "hits": of_groups["right"].tolist(),
        **reached(read_history(run), scores),
    }
    groups = {str(name): int(count) for name, count in of_groups["videos"].items()}
    return _Run(folder, row, groups, rate, settings)
