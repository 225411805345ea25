"""The study of two streams: kept scores of RGB and of flow, their average, and what it gains.

The scores are those that benchmarks/two_streams.py keeps; nothing is computed with a network here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from r21d_lib.errors import DatasetError
from r21d_lib.evaluation.intervals import accuracy_interval
from r21d_lib.evaluation.scores import Scores, hits_by_group
from r21d_lib.evaluation.streams import average, gains
from r21d_lib.models.settings import LABELS
from r21d_lib.suite import repository, results
from r21d_lib.suite.wording import counted, points, stands

FOLDER = repository.BENCHMARKS / "results" / "two_streams"
STREAMS = {"rgb": "RGB", "flow": "flow", "both": "RGB + flow"}
_FILE = re.compile(r"(\w+)_(rgb|flow)_seed(\d+)\.npz")


@dataclass(frozen=True)
class TwoStreams:
    """Networks of RGB and of flow, trained alike with the same seeds, and what their average says.

    Attributes:
        scores: of each network, "rgb", "flow" or "both" to the scores of each seed, in their order.
        seeds: of each network.
        provenance: where the runs were made.
    """

    scores: Mapping[str, Mapping[str, tuple[Scores, ...]]]
    seeds: Mapping[str, tuple[int, ...]]
    provenance: Mapping[str, Any]

    @classmethod
    def load(cls, folder: Path = FOLDER) -> "TwoStreams":
        """Read the kept scores of a folder, and the provenance of the JSON file beside it.

        A seed counts where both streams of a network are there.

        Raises:
            DatasetError: if there is no pair, or no JSON file beside the folder.
        """
        found = {
            (match[1], match[2], int(match[3])): file
            for file in sorted(folder.glob("*.npz"))
            if (match := _FILE.fullmatch(file.name))
        }
        seeds = {
            name: tuple(
                sorted(
                    s
                    for n, stream, s in found
                    if (n, stream) == (name, "rgb") and (n, "flow", s) in found
                )
            )
            for name in LABELS
        }
        seeds = {name: its for name, its in seeds.items() if its}
        if not seeds:
            raise DatasetError(
                f"{folder} holds no scores of both streams: python benchmarks/two_streams.py makes them"
            )
        scores: dict[str, dict[str, tuple[Scores, ...]]] = {}
        for name, its in seeds.items():
            pairs = [[Scores.load(found[name, stream, s]) for stream in ("rgb", "flow")] for s in its]
            both = tuple(average(rgb, flow) for rgb, flow in pairs)
            rgb, flow = zip(*pairs, strict=True)
            scores[name] = {"rgb": rgb, "flow": flow, "both": both}
        beside = folder.with_suffix(".json")
        return cls(scores, seeds, results.read_results(beside)["provenance"])

    def standings(self) -> pd.DataFrame:
        """Return video@1 of each network and stream: mean over its seeds, 95% over seeds and groups.

        Returns:
            Rows by network and stream, as the paper names them; columns seeds, groups, mean, low, high.
        """
        rows = {}
        for name, streams in self.scores.items():
            for stream, runs in streams.items():
                tables = [hits_by_group(scores) for scores in runs]
                hits, videos = np.array([t["right"] for t in tables]), tables[0]["videos"].to_numpy()
                interval = accuracy_interval(hits, videos)
                mean = float(hits.mean(0).sum() / videos.sum())
                rows[f"{LABELS[name]}, {STREAMS[stream]}"] = {
                    "seeds": len(runs),
                    "groups": interval.groups,
                    "mean": mean,
                    "low": interval.low,
                    "high": interval.high,
                }
        return pd.DataFrame(rows).T.astype({"seeds": int, "groups": int})

    def gain(self, network: str, over: str = "rgb", of: str = "both") -> pd.DataFrame:
        """Return what one stream, or their average, gains over another, by class: see `streams.gains`.

        Args:
            network: as `build_network` takes it.
            over: "rgb", "flow" or "both".
            of: likewise.
        """
        return gains(self.scores[network][over], self.scores[network][of])

    def ceiling(self, network: str) -> float:
        """Return the share of videos that at least one of the streams has right, over all seeds."""
        pairs = zip(self.scores[network]["rgb"], self.scores[network]["flow"], strict=True)
        either = [
            np.any([s.video_probabilities.argmax(1) == s.labels for s in pair], 0).mean()
            for pair in pairs
        ]
        return float(np.mean(either))

    def sentences(self, network: str) -> str:
        """Say in Markdown what each stream gains over another, and where the average gains most.

        Args:
            network: as `build_network` takes it.
        """
        seeds = len(self.seeds[network])
        lines = []
        for of, over in (("flow", "rgb"), ("both", "rgb"), ("both", "flow")):
            table = self.gain(network, over, of)
            whole, classes = table.iloc[-1], table.iloc[:-1]
            lead = {"mean": whole["gain"], "low": whole["low"], "high": whole["high"]}
            best, worst = (classes.loc[classes["gain"].agg(which)] for which in ("idxmax", "idxmin"))
            lines.append(
                f"- **{STREAMS[of]}** {stands(lead)} **{STREAMS[over]}**: {points(lead, 'video@1')} "
                f"({counted(seeds, whole['groups'], 'people')}). "
                f"Most is gained on {best['class']} ({100 * best['gain']:+.0f}), "
                f"least on {worst['class']} ({100 * worst['gain']:+.0f})."
            )
        either = 100 * self.ceiling(network)
        lines.append(f"- At least one of the two streams is right on {either:.1f}% of the videos.")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain values, for JSON."""
        standings = self.standings().round(4)
        return {
            "seeds": {name: list(its) for name, its in self.seeds.items()},
            "video@1": {str(name): row.to_dict() for name, row in standings.iterrows()},
            "gain": {
                name: {
                    f"{of} over {over}": self.gain(name, over, of).round(4).to_dict("records")
                    for of, over in (("both", "rgb"), ("both", "flow"), ("rgb", "flow"))
                }
                for name in self.scores
            },
            "either": {name: round(self.ceiling(name), 4) for name in self.scores},
        }
