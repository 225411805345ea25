"""The numbers that explorers of a static page draw; static/site/explorers.js draws them.

Each function returns plain values for JSON, computed by the library: nothing is computed in a page.
"""

import itertools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

from r21d_lib import plots
from r21d_lib.evaluation.scores import per_class, video_accuracy, video_interval, with_clips
from r21d_lib.plots.race import printed_order
from r21d_lib.suite import ledger
from r21d_lib.training.scored import ScoredList

# The cell of a notebook whose picture an explorer takes the place of, by what its code draws.
CELLS = {
    "square": re.compile(r"\bplots\.response_frame\("),
    "midplanes": re.compile(r"\bplots\.factorized_block\b"),
    "clips": re.compile(r"\bclips_used="),
    "pairs": re.compile(r"\bplots\.pairs\("),
}
_CHOICES: dict[str, tuple[str, Sequence[Any]]] = {
    "n_in": ("channels in", (16, 32, 64, 128, 256, 512)),
    "n_out": ("channels out", (16, 32, 64, 128, 256, 512)),
    "t": ("t", (1, 3, 5)),
    "d": ("d", (1, 3, 5)),
    "stride": ("stride", (1, 2)),
    "rule": ("rule", plots.MIDDLE_RULES),
}
_START = {"n_in": 64, "n_out": 64, "t": 3, "d": 3, "stride": 1, "rule": plots.MIDDLE_RULES[0]}


def square() -> dict[str, Any]:
    """Return notebook 02's moving square and what its two steps, edges and motion, answer to it.

    rows: direction to step to (frames, height, width) whole numbers; colours: from the most negative
    to the most positive.
    """
    import matplotlib
    from matplotlib.colors import to_hex

    right = torch.zeros(1, 1, 8, 12, 12)
    for frame in range(8):
        right[..., frame, 4:7, frame + 1 : frame + 4] = 1
    change = torch.tensor([-1.0, 0.0, 1.0])
    rows = {}
    for direction, clip in (("to the right", right), ("to the left", right.flip(2))):
        edges = F.conv3d(clip, change.view(1, 1, 1, 1, 3), padding=(0, 0, 1))
        motion = F.conv3d(edges, change.view(1, 1, 3, 1, 1), padding=(1, 0, 0))
        maps = {"the clip": clip, "2D: edges": edges, "(2+1)D: motion": motion}
        rows[direction] = {name: found[0, 0].int().tolist() for name, found in maps.items()}
    palette = matplotlib.colormaps["PuOr_r"](np.linspace(0, 1, 21))
    return {"rows": rows, "colours": [to_hex(colour) for colour in palette]}


def midplanes() -> dict[str, Any]:
    """Return M, weights and multiply-adds of a block for every choice of its sizes.

    choices: in the order in which blocks counts, the last changing first; a block is M twice, then
    weights of 3D (two parts) and (2+1)D (four), and multiply-adds [10^6] in the same order.
    """
    blocks = []
    for values in itertools.product(*(options for _, options in _CHOICES.values())):
        costs = plots.block_costs(**dict(zip(_CHOICES, values, strict=True)))
        row = list(costs.middles)
        for counts, unit in ((costs.weights, 1), (costs.work, 10**6)):
            row += [round(number / unit) for number in (*counts["3D"][::2], *counts["(2+1)D"])]
        blocks.append(row)
    choices = {
        name: {"label": label, "options": list(options), "start": _START[name]}
        for name, (label, options) in _CHOICES.items()
    }
    return {"choices": choices, "blocks": blocks}


def pairs() -> dict[str, Any]:
    """Return every difference of two networks beside the printed one, study by study."""
    studies = {}
    for (where, frames), table in ledger.of_pairs().groupby(["measured_on", "frames"], sort=False):
        names = printed_order(table)
        place = {name: number for number, name in enumerate(names)}
        cells = {}
        for row in table.to_dict("records"):
            first, second = sorted((row["ahead"], row["behind"]), key=place.__getitem__)
            text = (
                f"{row['ahead']} against {row['behind']}: {row['ours']:+.1f} points here "
                f"[{row['low']:+.1f}, {row['high']:+.1f}], printed {row['printed']:+.1f}: "
                f"{row['verdict']}."
            )
            ours = row["ours"] if first == row["ahead"] else -row["ours"]
            cell = {"ours": round(ours, 1), "verdict": row["verdict"], "text": text}
            cells[f"{first}|{second}"] = cell
        one = table.iloc[0]
        note = (
            "Points of video@1 by which the row is ahead of the column, in table 2's order "
            f"({frames} frames). {where}, {one['seeds']} seeds, {one['groups']} {one['unit']}."
        )
        title = f"{where}, against {frames} frames"
        studies[title] = {"networks": names, "cells": cells, "note": note}
    # The suite's own study first, with the frames that its text speaks of.
    order = sorted(studies, key=lambda title: (not title.startswith(ledger.RACE), "16" not in title))
    return {"studies": {title: studies[title] for title in order}, "colours": plots.VERDICT_COLOURS}


def of_scores(scored: ScoredList) -> dict[str, Any]:
    """Return what a scores file says with 1, 2, ... clips a video.

    total: (video@1, low, high, groups) for each number of clips; classes: for each, a row a class:
    (right, videos, low, high, groups); said: for each, the best class of each video; names (of
    classes), labels and videos.
    """
    scores = scored.scores
    total, classes, said = [], [], []
    for count in tqdm(range(1, scores.probabilities.shape[1] + 1), desc="clips", delay=2):
        kept = with_clips(scores, count)
        total.append([round(value, 4) for value in (video_accuracy(kept), *video_interval(kept))])
        table = per_class(kept)
        columns = table[["correct", "videos", "low", "high", "groups"]]
        classes.append([[round(float(value), 4) for value in row] for row in columns.to_numpy()])
        said.append(kept.video_probabilities.argmax(1).tolist())
    return {
        "title": scored.title,
        "names": list(scores.classes),
        "labels": scores.labels.tolist(),
        "videos": list(scores.names),
        "total": total,
        "classes": classes,
        "said": said,
    }
