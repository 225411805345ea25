"""Studies whose truth is known: each network is right with a probability that is given."""

import json
from pathlib import Path

import numpy as np

from r21d_lib.suite.statistics import Study

GROUPS = {f"group {k}": 12 for k in range(30)}


def planted(rates, *, seeds=8, unit="people", draw=0):
    """Return a study of these networks, with `seeds` runs each of 12 videos of 30 groups."""
    rng = np.random.default_rng(draw)
    runs = []
    for seed in range(seeds):
        for name, rate in rates.items():
            hits = rng.binomial(12, np.clip(rate, 0, 1), len(GROUPS))
            accuracy = float(hits.sum() / 360)
            runs.append(
                {
                    "network": name,
                    "seed": seed,
                    "hits": hits.tolist(),
                    "video@1": accuracy,
                    "clip@1": accuracy,
                    "minutes": 1.0,
                    "per_class": {"sit": accuracy, "stand": accuracy},
                    "train_accuracy": [0.1, accuracy],
                    "test_accuracy": [0.1, accuracy],
                }
            )
    return Study(runs, GROUPS, unit, {"commit": "abc1234"}, dict.fromkeys(rates, 0.002))


def write_study(file: Path, study: Study, **more) -> None:
    """Write a study as the benchmarks do."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({**study.to_dict(), **more}), encoding="utf-8")
