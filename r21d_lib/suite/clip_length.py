"""Clip length (paper, section 4.3): accuracy against frames a clip and clips a film, from scores alone.

benchmarks/clip_length.py makes the runs; notebook 07b, the findings and the ledger read them here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from r21d_lib.evaluation.intervals import accuracy_interval, difference_interval
from r21d_lib.evaluation.scores import Scores
from r21d_lib.suite import results
from r21d_lib.suite.repository import BENCHMARKS
from r21d_lib.suite.wording import counted

FILE = BENCHMARKS / "results" / "clip_length.json"
KEPT = ("8", "32")  # trainings whose scores of the first seed stay beside the file, for notebook 07b
CLIPS = (1, 2, 5, 10, 20)  # a film
TABLE_CLIPS = 10  # of a film in the paper's tables
# A training to the clip lengths that it has one after the other.
TRAININGS: dict[str, tuple[int, ...]] = {
    "8": (8,),
    "16": (16,),
    "32": (32,),
    "8, then 8": (8, 8),
    "8, then 16": (8, 16),
    "8, then 32": (8, 32),
}
# Table 3 to the training and the test here that stand beside each of its rows.
TABLE_3 = {
    "R(2+1)D-18, trained on 8, tested on 8 frames": ("8", 8),
    "R(2+1)D-18, trained on 8, tested on 32 frames": ("8", 32),
    "R(2+1)D-18, trained on 32, tested on 32 frames": ("32", 32),
    "R(2+1)D-18, trained on 8, finetuned on 32, tested on 32 frames": ("8, then 32", 32),
}
# A training, the frames of the test clips, and how they were tested, PLAIN where that is not said.
Way = tuple[str, int] | tuple[str, int, str]
PLAIN, NORMS, PARTS = "plain", "norms of such clips", "in parts of 8"


def kept_scores(frames: int) -> Scores:
    """Return the scores of the network trained and tested on so many frames, twenty clips a film.

    Raises:
        DatasetError: if they are not there or damaged.
    """
    return Scores.load(FILE.with_suffix("") / f"{frames}.npz")


def evenly_chosen(total: int, clips: int) -> list[int]:
    """Return which `clips` of `total` evenly spaced clips are spread evenly; one is the middle one."""
    if clips == 1:
        return [total // 2]
    return [round(k * (total - 1) / (clips - 1)) for k in range(clips)]


def with_clips(scores: Scores, clips: int) -> Scores:
    """Return the scores of fewer clips a video, those of `evenly_chosen`."""
    kept = scores.probabilities[:, evenly_chosen(scores.probabilities.shape[1], clips)]
    return Scores(scores.names, scores.labels, scores.classes, kept, groups=scores.groups)


def measured(scores: Scores, counts: Sequence[int]) -> dict[str, Any]:
    """Return what was right of each group as plain values: films by number of clips, and single clips.

    Args:
        scores: of the test films.
        counts: numbers of clips a film.

    Returns:
        "videos": a count to the right films of each group in the order of their names; "clips": the
        right clips of each group over all clips.
    """
    order, groups = np.unique(scores.groups, return_inverse=True)

    def per_group(right: np.ndarray) -> list[int]:
        return np.bincount(groups, right, len(order)).astype(int).tolist()

    films = {}
    for count in counts:
        some = with_clips(scores, count)
        films[str(count)] = per_group(some.video_probabilities.argmax(1) == scores.labels)
    clips = (scores.probabilities.argmax(2) == scores.labels[:, None]).sum(1)
    return {"videos": films, "clips": per_group(clips), "clips_a_video": scores.probabilities.shape[1]}


@dataclass(frozen=True)
class ClipLengths:
    """The runs of benchmarks/clip_length.py.

    Attributes:
        rows: a dictionary a test: training (a key of `TRAININGS`), frames, how, seed and what
            `measured` gives.
        groups: a person to the number of test films.
        compute: frames of a clip to its multiply-adds [10^6].
        trained: a training and seed a row: clip_units (training clips, counted in clips of 8 frames),
            minutes, train_accuracy.
        provenance: where the runs were made.
        file: where they were read from.
    """

    rows: Sequence[Mapping[str, Any]]
    groups: Mapping[str, int]
    compute: Mapping[int, float]
    trained: Sequence[Mapping[str, Any]]
    provenance: Mapping[str, Any]
    file: str = ""

    @classmethod
    def load(cls, file: Path = FILE) -> "ClipLengths":
        """Read what the benchmark wrote.

        Raises:
            DatasetError: if it is missing or damaged.
        """
        content = results.read_results(file)
        compute = {int(frames): value for frames, value in content["compute"].items()}
        origin = content["provenance"]
        return cls(content["rows"], content["groups"], compute, content["trained"], origin, file.name)

    @property
    def films(self) -> np.ndarray:
        """(groups,) int: test films of each person."""
        return np.array(list(self.groups.values()))

    @property
    def seeds(self) -> int:
        """How many seeds there are."""
        return len({row["seed"] for row in self.rows})

    @property
    def counted(self) -> str:
        """Say how many seeds and people the intervals rest on."""
        return counted(self.seeds, len(self.groups), "people")

    def hits(self, way: Way, clips: int | None = TABLE_CLIPS) -> np.ndarray:
        """Return (seeds, groups): the films that are right by so many clips; None counts single clips.

        Raises:
            KeyError: if there was no such test.
        """
        training, frames, *how = way
        kind = how[0] if how else PLAIN
        its = [
            row
            for row in self.rows
            if (row["training"], row["frames"], row["how"]) == (training, frames, kind)
            and (clips is None or str(clips) in row["videos"])
        ]
        if not its:
            raise KeyError(f"{training} frames tested on {frames} ({kind}), {clips} clips")
        its.sort(key=lambda row: row["seed"])
        if clips is None:
            return np.array([np.array(row["clips"]) / row["clips_a_video"] for row in its])
        return np.array([row["videos"][str(clips)] for row in its], float)

    def accuracy(self, way: Way, clips: int | None = TABLE_CLIPS) -> dict[str, float]:
        """Return mean, low and high of an accuracy, the 95% interval over seeds and people."""
        hits = self.hits(way, clips)
        interval = accuracy_interval(hits, self.films)
        mean = float(hits.mean(0).sum() / self.films.sum())
        return {"mean": mean, "low": interval.low, "high": interval.high}

    def lead(
        self,
        one: Way,
        other: Way,
        clips: tuple[int | None, int | None] = (TABLE_CLIPS, TABLE_CLIPS),
    ) -> dict[str, float]:
        """Return mean, low and high of the difference of two accuracies, over seeds and people."""
        first, second = self.hits(one, clips[0]), self.hits(other, clips[1])
        interval = difference_interval(first - second, self.films)
        mean = float((first - second).mean(0).sum() / self.films.sum())
        return {"mean": mean, "low": interval.low, "high": interval.high}

    def table(self) -> pd.DataFrame:
        """Return a row a test: training, frames, how, seeds, clip@1, video@1, low, high, compute.

        compute is that of a film's ten clips [10^6 multiply-adds].
        """
        ways = list(dict.fromkeys((r["training"], r["frames"], r["how"]) for r in self.rows))
        table = []
        for way in ways:
            found = self.accuracy(way)
            table.append(
                {
                    "training": way[0],
                    "frames": way[1],
                    "how": way[2],
                    "seeds": len(self.hits(way)),
                    "clip@1": self.accuracy(way, None)["mean"],
                    "video@1": found["mean"],
                    "low": found["low"],
                    "high": found["high"],
                    "compute": TABLE_CLIPS * self.compute[way[1]],
                }
            )
        return pd.DataFrame(table)

    def by_clips(self) -> pd.DataFrame:
        """Return video@1 by the number of clips, where that was tested: a row a way and number.

        Columns: training, frames, clips, video@1, low, high, compute (of all clips of a film, 10^6).
        """
        rows = []
        for training, frames in dict.fromkeys(
            (r["training"], r["frames"]) for r in self.rows if str(CLIPS[-1]) in r["videos"]
        ):
            for clips in CLIPS:
                found = self.accuracy((training, frames), clips)
                rows.append(
                    {
                        "training": training,
                        "frames": frames,
                        "clips": clips,
                        "video@1": found["mean"],
                        "low": found["low"],
                        "high": found["high"],
                        "compute": clips * self.compute[frames],
                    }
                )
        return pd.DataFrame(rows)

    def training_cost(self) -> dict[str, float]:
        """Return the clips that each training saw, counted in clips of 8 frames: a mean over seeds."""
        table = pd.DataFrame(self.trained)
        return {str(k): float(v) for k, v in table.groupby("training")["clip_units"].mean().items()}


def sentences(study: ClipLengths, beside_table_3: pd.DataFrame) -> str:
    """Say what the runs found of section 4.3's three claims, and why.

    Args:
        study: the runs.
        beside_table_3: from `ledger.of_clip_length`.
    """
    rows = dict(zip(TABLE_3.values(), beside_table_3.to_dict("records"), strict=True))
    short, long, scratch, tuned = TABLE_3.values()
    before = study.accuracy(short)
    norms, parts = (study.lead((*long, how), short) for how in (NORMS, PARTS))
    lines = [
        f"**Longer clips at test time.** Trained and tested on 8 frames, R(2+1)D reaches video@1 "
        f"{before['mean']:.3f} [{before['low']:.3f}, {before['high']:.3f}]. The same weights on 32 "
        f"frames: {_points(study.lead(long, short))}; {_paper(rows[long])}. With the statistics of the "
        f"norms taken from clips of 32: {_points(norms)} against 8; with each 32 frames seen as four "
        f"clips of 8, whose softmax is averaged: {_points(parts)}.",
        f"**Longer clips in training.** Trained and tested on 32 frames: "
        f"{_points(study.lead(scratch, short))} against 8; {_paper(rows[scratch])}.",
    ]
    cost = study.training_cost()
    share = cost["8, then 32"] / cost["32"]
    lines.append(
        f"**Finetuning on long clips.** Trained on 8, then on 32: {_points(study.lead(tuned, short))} "
        f"against 8 alone; {_paper(rows[tuned])}. Against training on 32 alone, from the same start: "
        f"{_points(study.lead(tuned, scratch))}, for {100 * share:.0f}% of the training frames; "
        f"against as many more epochs on 8 frames, both tested on 32: "
        f"{_points(study.lead(tuned, ('8, then 8', 32)))}, each tested on its own length: "
        f"{_points(study.lead(tuned, ('8, then 8', 8)))}."
    )
    for way in (short, scratch):
        clips = study.accuracy(way, None)["mean"]
        ten, most = (study.lead(way, way, (more, less)) for more, less in ((10, 1), (20, 10)))
        lines.append(
            f"**Clips of {way[1]} frames.** clip@1 is {clips:.3f}. Ten clips of a film instead of its "
            f"middle one: {_points(ten)}; twenty instead of ten: {_points(most)}."
        )
    count = f"{study.counted}, {int(study.films.sum())} test films"
    lines.append(f"Points of video@1 with 95% intervals over seeds and people ({count}).")
    return "\n\n".join(lines)


def _points(lead: Mapping[str, float]) -> str:
    """Write a difference and its interval, and whether it can be told from none."""
    mean, low, high = (100 * lead[key] for key in ("mean", "low", "high"))
    noise = ", within noise" if low <= 0 <= high else ""
    return f"{mean:+.1f} points [{low:+.1f}, {high:+.1f}]{noise}"


def _paper(row: Mapping[Any, Any]) -> str:
    return f"the paper prints {row['printed_than_first']:+.1f}"
