"""Figures that compare the paper's networks: errors, standings, accuracy against compute, verdicts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from r21d_lib.models.networks import GROUPS, PAPER_NAMES
from r21d_lib.plots.style import (
    CHOSEN,
    DARK,
    KIND_COLOURS,
    PLAIN,
    RIGHT,
    SPACE,
    TIME,
    WRONG,
    Figure,
    open_axes,
)

_MIXED = "#6F6F6F"
_CHANGE_STYLES = ((DARK, "o"), (TIME, "<"), (SPACE, "X"), (WRONG, "s"))
VERDICT_COLOURS = {"reproduced": RIGHT, "within noise": PLAIN, "differs": WRONG}


def kind_colour(paper_name: str) -> str:
    """Return a network's colour by the paper's name: blue 2D, green 3D, wine (2+1)D, grey mixed."""
    kinds = {PAPER_NAMES[name]: set(groups) for name, groups in GROUPS.items()}[paper_name]
    return KIND_COLOURS[next(iter(kinds))] if len(kinds) == 1 else _MIXED


def error_curves(runs: Sequence[Mapping[str, Any]], networks: Sequence[str]) -> Figure:
    """Draw training and test error of clips against the epoch, after the paper's figure 3.

    Args:
        runs: what `races.Finish.to_dict` gives; a line is the mean over seeds, its shade their range.
        networks: which of them, by the names of `build_network`, at most four.
    """
    figure = Figure(10, 3.9)
    panels = figure.subplots(1, 2, sharey=True)
    curves = {"training clips": "train_accuracy", "test clips": "test_accuracy"}
    for ax, (title, key) in zip(panels, curves.items(), strict=True):
        for name, marker in zip(networks, ("o", "s", "^", "D"), strict=False):
            errors = 1 - np.array([run[key] for run in runs if run["network"] == name])
            epochs, colour = np.arange(1, errors.shape[1] + 1), kind_colour(PAPER_NAMES[name])
            label = PAPER_NAMES[name]
            ax.plot(epochs, errors.mean(0), color=colour, marker=marker, markersize=4, label=label)
            ax.fill_between(epochs, errors.min(0), errors.max(0), color=colour, alpha=0.15, lw=0)
        ax.set(title=f"error on {title}", xlabel="epoch", ylim=(0, 1))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(alpha=0.3)
        open_axes(ax)
    panels[0].set_ylabel("fraction of clips wrong")
    panels[0].legend()
    return figure


def standings(table: pd.DataFrame, runs: Sequence[Mapping[str, Any]], *, guessing: float) -> Figure:
    """Draw each network's video@1: its mean with the 95% interval over seeds, and every seed.

    Args:
        table: from `races.standings`.
        runs: that it was made of.
        guessing: what a network that knows nothing reaches, drawn dotted.
    """
    figure = Figure(9, 0.9 + 0.34 * len(table))
    ax = figure.subplots()
    codes = {paper: name for name, paper in PAPER_NAMES.items()}
    for row, (paper, values) in enumerate(table.iterrows()):
        colour = kind_colour(str(paper))
        single = [run["video@1"] for run in runs if run["network"] == codes[str(paper)]]
        ax.scatter(single, [row] * len(single), s=16, facecolor="white", edgecolor=colour, zorder=2)
        if values["seeds"] > 1:
            low, high = max(values["low"], 0), min(values["high"], 1)
            ax.hlines(row, low, high, color=colour, linewidth=6, alpha=0.3)
        ax.scatter(values["mean"], row, s=60, color=colour, zorder=3)
        ax.text(1.01, row, f"{values['mean']:.3f}", va="center", fontsize=9)
    ax.axvline(guessing, color="black", linestyle=":", linewidth=1.2)
    ax.text(guessing + 0.005, -0.75, "guessing", fontsize=8, va="center")
    ax.set_yticks(range(len(table)), [str(name) for name in table.index])
    ax.invert_yaxis()
    label = "video@1; open: each seed, filled: their mean"
    several = bool((table["seeds"] > 1).any())
    ax.set(xlim=(0, 1.07), xlabel=f"{label}, band: its 95% interval" if several else label)
    ax.set_xticks(np.linspace(0, 1, 6))
    ax.grid(axis="x", alpha=0.3)
    open_axes(ax)
    return figure


def accuracy_and_compute(table: pd.DataFrame) -> Figure:
    """Set video@1 against the multiply-adds of a clip, after the paper's figure 4.

    Args:
        table: a row a network (the paper's name), columns compute [10^6], mean, low and high.
    """
    figure = Figure(8, 4.6)
    ax = figure.subplots()
    for paper, row in table.iterrows():
        colour = kind_colour(str(paper))
        if np.isfinite(row["low"]):
            ax.vlines(row["compute"], row["low"], row["high"], color=colour, alpha=0.4, linewidth=2)
        ax.scatter(row["compute"], row["mean"], color=colour, s=50, zorder=2)
        ax.annotate(
            str(paper), (row["compute"], row["mean"]), (6, 3), textcoords="offset points", fontsize=9
        )
    ax.set(xlabel="multiply-adds for one clip [10⁶]", ylabel="video@1")
    ax.margins(x=0.09)
    ax.grid(alpha=0.3)
    open_axes(ax)
    return figure


def accuracy_against_compute(points: pd.DataFrame, kinds: Mapping[str, str]) -> Figure:
    """Set accuracy against multiply-adds; the clip lengths of one network are joined by a line.

    Args:
        points: a row a network and clip length, with the columns network, frames, GFLOPs, accuracy
            (percent).
        kinds: the network to "2d", "3d", "2+1d" or "mixed", which gives the colour.
    """
    figure = Figure(10, 5.6)
    ax = figure.subplots()
    for name, rows in points.groupby("network", sort=False):
        colour = KIND_COLOURS.get(kinds[str(name)], PLAIN)
        ax.plot(rows["GFLOPs"], rows["accuracy"], color=colour, alpha=0.5, zorder=1)
        for _, row in rows.iterrows():
            filled = colour if row["frames"] == points["frames"].max() else "white"
            ax.scatter(row["GFLOPs"], row["accuracy"], s=50, color=filled, edgecolor=colour, zorder=2)
    _label_points(ax, points[points["frames"] == points["frames"].max()])
    shortest, longest = points["frames"].min(), points["frames"].max()
    ax.set(
        xlabel=f"multiply-adds for one clip [10⁹]; open: {shortest} frames, filled: {longest} frames",
        ylabel="published video@1 on Kinetics-400 [%]",
    )
    ax.grid(alpha=0.3)
    open_axes(ax)
    return figure


def time_changes(table: pd.DataFrame, *, guessing: float) -> Figure:
    """Compare what is left of video@1 when the clips' time is changed.

    Args:
        table: a row a network, a column a change, the first unchanged; fractions.
        guessing: drawn dotted.
    """
    figure = Figure(9, 1.3 + 0.5 * len(table))
    ax = figure.subplots()
    rows = np.arange(len(table))
    ax.hlines(rows, table.min(axis=1), table.max(axis=1), color=PLAIN, linewidth=1.5, zorder=1)
    # One above the other, for a network without time gives several of them the same place.
    offsets = np.linspace(-0.2, 0.2, table.shape[1])
    for column, offset, style in zip(table.columns, offsets, _CHANGE_STYLES, strict=True):
        ax.scatter(
            table[column], rows + offset, color=style[0], marker=style[1], s=60, label=column, zorder=2
        )
    ax.axvline(guessing, color="black", linestyle=":", linewidth=1.2, label="guessing")
    ax.set_yticks(rows, [str(name) for name in table.index])
    ax.set(xlim=(0, 1.02), ylim=(len(table) - 0.4, -0.6), xlabel="video@1")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=5, frameon=False)
    ax.grid(axis="x", alpha=0.3)
    open_axes(ax)
    return figure


def class_table(table: pd.DataFrame, *, label: str = "video@1") -> Figure:
    """Draw fractions as a coloured table: a row a class, a column a network or a change."""
    figure = Figure(2.6 + 0.95 * table.shape[1], 1.0 + 0.3 * len(table))
    ax = figure.subplots()
    image = ax.imshow(table.to_numpy(float), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(table.to_numpy(float)):
        colour = "white" if value > 0.55 else "black"
        ax.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=9)
    ax.set_xticks(range(table.shape[1]), [str(name) for name in table.columns])
    ax.set_yticks(range(len(table)), [str(name) for name in table.index])
    ax.tick_params(length=0)
    ax.xaxis.tick_top()
    figure.colorbar(image, label=label, shrink=0.7)
    return figure


def claims(table: pd.DataFrame) -> Figure:
    """Draw each conclusion's difference with its interval, in points of accuracy.

    Args:
        table: from `ledger.of_claims`.
    """
    figure = Figure(10.5, 1.0 + 0.42 * len(table))
    ax = figure.subplots()
    for row, claim in enumerate(table.to_dict("records")):
        low, high = (float(end) for end in claim["interval"].split(" to "))
        colour = VERDICT_COLOURS[claim["verdict"]]
        ax.hlines(row, low, high, color=colour, linewidth=2.5)
        ax.scatter(float(claim["ours"]), row, color=colour, s=50, zorder=2)
    ax.axvline(0, color="black", linewidth=1)
    names = [f"{c['what']}\n{c['measured_on']}" for c in table.to_dict("records")]
    ax.set_yticks(range(len(table)), names, fontsize=9)
    ax.invert_yaxis()
    ax.set(xlabel="difference [points], with its 95% interval over seeds")
    for verdict, colour in VERDICT_COLOURS.items():
        ax.plot([], [], color=colour, marker="o", label=verdict)
    ax.legend(loc="lower center", bbox_to_anchor=(0.3, 1.0), ncols=3, frameon=False)
    ax.grid(axis="x", alpha=0.3)
    open_axes(ax)
    return figure


def verdicts(numbers: pd.DataFrame, conclusions: pd.DataFrame) -> Figure:
    """Count the verdicts of both tables of the ledger, a bar a verdict."""
    counts = pd.concat([numbers["verdict"], conclusions["verdict"]]).value_counts()
    order = [*VERDICT_COLOURS, *sorted(set(counts.index) - set(VERDICT_COLOURS))]
    figure = Figure(8, 0.8 + 0.36 * len(order))
    ax = figure.subplots()
    of_numbers = [int((numbers["verdict"] == verdict).sum()) for verdict in order]
    of_claims = [int((conclusions["verdict"] == verdict).sum()) for verdict in order]
    ax.barh(order, of_numbers, color=CHOSEN, height=0.65, label="printed numbers")
    ax.barh(order, of_claims, left=of_numbers, color=TIME, height=0.65, label="conclusions")
    for row, total in enumerate(map(sum, zip(of_numbers, of_claims, strict=True))):
        ax.text(total + 0.5, row, str(total), va="center")
    ax.invert_yaxis()
    ax.set(xlabel="how many")
    ax.legend(loc="lower right")
    open_axes(ax)
    return figure


def _label_points(ax: Axes, points: pd.DataFrame) -> None:
    """Write the networks' names above their points, on the crowded right side in a column."""
    edge = float(points["GFLOPs"].max())
    height = np.inf
    for _, row in points.sort_values("accuracy", ascending=False).iterrows():
        x, y = float(row["GFLOPs"]), float(row["accuracy"])
        if x < 0.8 * edge:
            ax.annotate(
                row["network"], (x, y), (0, 7), textcoords="offset points", ha="center", fontsize=9
            )
            continue
        height = min(y, height - 0.45)
        ax.annotate(
            row["network"],
            (x, y),
            (edge + 2.5, height),
            va="center",
            fontsize=9,
            arrowprops={"arrowstyle": "-", "color": PLAIN, "linewidth": 0.7, "shrinkB": 5},
        )
    ax.set_xlim(right=edge + 6)
