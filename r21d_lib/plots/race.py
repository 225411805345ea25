"""Figures that compare the paper's networks: errors, standings, accuracy against compute, verdicts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.ticker import MaxNLocator

from r21d_lib.models.settings import ALL_GROUPS, LABELS
from r21d_lib.plots.style import (
    CHOSEN,
    DARK,
    KIND_COLOURS,
    LINES,
    PLAIN,
    RIGHT,
    SPACE,
    TIME,
    WRONG,
    Figure,
    open_axes,
)

_MIXED = "#6F6F6F"
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
_CHANGE_STYLES = ((DARK, "o"), (TIME, "<"), (SPACE, "X"), (WRONG, "s"))
# Of printed numbers, and of differences.
VERDICT_COLOURS = {
    "reproduced": RIGHT,
    "same direction and size": RIGHT,
    "same direction, other size": SPACE,
    "within noise": PLAIN,
    "no order printed": _MIXED,
    "opposite": WRONG,
    "differs": WRONG,
}


def kind_colour(paper_name: str) -> str:
    """Return a network's colour by its label: blue 2D, green 3D, wine (2+1)D, grey mixed or changed."""
    kinds = {LABELS[name]: set(groups) for name, groups in ALL_GROUPS.items()}[paper_name]
    return KIND_COLOURS.get(next(iter(kinds)), _MIXED) if len(kinds) == 1 else _MIXED


def error_curves(runs: Sequence[Mapping[str, Any]], networks: Sequence[str]) -> Figure:
    """Draw training and test error of clips against the epoch, after the paper's figure 3.

    Args:
        runs: of a `Study`, or what `Finish.to_dict` gives; a line is the mean over seeds, its shade
            their range.
        networks: which of them, by the names of `build_network`.
    """
    figure = Figure(
        10,
        3.9,
        about="Training and test error against the epoch, a line a network with its range over seeds",
    )
    panels = figure.subplots(1, 2, sharey=True)
    curves = {"training clips": "train_accuracy", "test clips": "test_accuracy"}
    for ax, (title, key) in zip(panels, curves.items(), strict=True):
        for number, name in enumerate(networks):
            # One colour a kind: the marker tells networks apart, and the line where markers end.
            laps, shape = divmod(number, len(_MARKERS))
            errors = 1 - np.array([run[key] for run in runs if run["network"] == name])
            epochs, colour = np.arange(1, errors.shape[1] + 1), kind_colour(LABELS[name])
            label = LABELS[name]
            style = f"{_MARKERS[shape]}{LINES[laps % len(LINES)]}"
            ax.plot(epochs, errors.mean(0), style, color=colour, markersize=4, label=label)
            ax.fill_between(epochs, errors.min(0), errors.max(0), color=colour, alpha=0.15, lw=0)
        ax.set(title=f"error on {title}", xlabel="epoch", ylim=(0, 1))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(alpha=0.3)
        open_axes(ax)
    panels[0].set_ylabel("fraction of clips wrong")
    panels[0].legend()
    return figure


def standings(
    table: pd.DataFrame, runs: Sequence[Mapping[str, Any]], *, guessing: float, unit: str = "groups"
) -> Figure:
    """Draw each network's video@1: its mean with the 95% interval over seeds and groups, every seed.

    Args:
        table: from `Study.standings`.
        runs: of the study.
        unit: what a group is, in the plural.
        guessing: what a network that knows nothing reaches, drawn dotted.
    """
    figure = Figure(
        9,
        0.9 + 0.34 * len(table),
        about="video@1 of networks, a row each: a circle a seed, a band for the interval of the mean",
    )
    ax = figure.subplots()
    codes = {paper: name for name, paper in LABELS.items()}
    for row, (paper, values) in enumerate(table.iterrows()):
        colour = kind_colour(str(paper))
        single = [run["video@1"] for run in runs if run["network"] == codes[str(paper)]]
        ax.scatter(single, [row] * len(single), s=16, facecolor="white", edgecolor=colour, zorder=2)
        ax.hlines(row, values["low"], values["high"], color=colour, linewidth=6, alpha=0.3)
        ax.scatter(values["mean"], row, s=60, color=colour, zorder=3)
        ax.text(1.01, row, f"{values['mean']:.3f}", va="center", fontsize=9)
    ax.axvline(guessing, color="black", linestyle=":", linewidth=1.2)
    ax.text(guessing + 0.005, -0.75, "guessing", fontsize=8, va="center")
    ax.set_yticks(range(len(table)), [str(name) for name in table.index])
    ax.invert_yaxis()
    counted = f"over {_counts(table['seeds'])} seeds and {_counts(table['groups'])} {unit}"
    label = f"video@1; open: each seed, filled: their mean, band: its 95% interval {counted}"
    ax.set(xlim=(0, 1.07), xlabel=label)
    ax.set_xticks(np.linspace(0, 1, 6))
    ax.grid(axis="x", alpha=0.3)
    open_axes(ax)
    return figure


def accuracy_and_compute(table: pd.DataFrame) -> Figure:
    """Set video@1 against the multiply-adds of a clip, after the paper's figure 4.

    Args:
        table: `Study.standings` with a column compute [10^6].
    """
    figure = Figure(8, 4.6, about="Networks as points: video@1 with its interval against multiply-adds")
    ax = figure.subplots()
    for paper, row in table.iterrows():
        colour = kind_colour(str(paper))
        if np.isfinite(row["low"]):
            ax.vlines(row["compute"], row["low"], row["high"], color=colour, alpha=0.4, linewidth=2)
        ax.scatter(row["compute"], row["mean"], color=colour, s=50, zorder=2)
        ax.annotate(
            str(paper), (row["compute"], row["mean"]), (6, 3), textcoords="offset points", fontsize=9
        )
    counted = f"{_counts(table['seeds'])} seeds, {_counts(table['groups'])} groups"
    ax.set(
        xlabel="multiply-adds for one clip [10⁶]", ylabel=f"video@1 with its 95% interval ({counted})"
    )
    ax.margins(x=0.09)
    ax.grid(alpha=0.3)
    open_axes(ax)
    return figure


def accuracy_against_compute(points: pd.DataFrame, kinds: Mapping[str, str]) -> Figure:
    """Set accuracy against multiply-adds; the clip lengths of one network are joined by a line.

    The name stands at a network's longest clips. Of two lengths, as of the shortest and the longest of
    several, circles are open and filled; every length between them has a marker of its own.

    Args:
        points: a row a network and clip length, with the columns network, frames, GFLOPs, accuracy
            (percent).
        kinds: the network to "2d", "3d", "2+1d" or "mixed", which gives the colour.
    """
    figure = Figure(
        10,
        5.6,
        about="Networks as lines from short to long clips: accuracy against compute",
    )
    ax = figure.subplots()
    lengths = sorted({int(frames) for frames in points["frames"]})
    # Where the shapes end, the number itself is the marker.
    markers = {n: f"${n}$" for n in lengths} | dict(zip(lengths, _MARKERS, strict=False))
    markers[lengths[-1]] = "o"

    def mark(x: Sequence[float], y: Sequence[float], frames: int, colour: str) -> PathCollection:
        filled = colour if frames == lengths[-1] else "white"
        return ax.scatter(x, y, s=50, c=filled, edgecolor=colour, marker=markers[frames], zorder=2)

    for name, rows in points.groupby("network", sort=False):
        colour = KIND_COLOURS.get(kinds[str(name)], PLAIN)
        ax.plot(rows["GFLOPs"], rows["accuracy"], color=colour, alpha=0.5, zorder=1)
        for _, row in rows.iterrows():
            mark([row["GFLOPs"]], [row["accuracy"]], int(row["frames"]), colour)
    longest = points.sort_values("frames", kind="stable").drop_duplicates("network", keep="last")
    _label_points(ax, longest)
    said = f"filled: {lengths[-1]} frames"
    if len(lengths) == 2:
        said = f"open: {lengths[0]} frames, {said}"
    elif len(lengths) > 2:
        said = "a marker for each length of a clip"
        handles = [mark([], [], frames, DARK) for frames in lengths]
        ax.legend(handles, [f"{frames} frames" for frames in lengths], loc="lower right")
    ax.set(
        xlabel=f"multiply-adds for one clip [10⁹]; {said}",
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
    figure = Figure(
        9, 1.3 + 0.5 * len(table), about="video@1 of networks on clips whose time is changed"
    )
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
    figure = Figure(
        2.6 + 0.95 * table.shape[1],
        1.0 + 0.3 * len(table),
        about="A table of shares, a row a class, the darker the higher",
    )
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


def printed_order(table: pd.DataFrame) -> list[str]:
    """Return the networks of a table of pairs in the order that the paper prints, the best first."""
    printed: dict[str, float] = {}
    for row in table.to_dict("records"):
        for name, sign in ((row["ahead"], 1), (row["behind"], -1)):
            printed[name] = printed.get(name, 0.0) + sign * row["printed"]
    return sorted(printed, key=lambda name: -printed[name])


def pairs(table: pd.DataFrame) -> Figure:
    """Draw every difference of two networks as a square: our points, coloured by the verdict.

    Args:
        table: of one study and one number of frames, from `ledger.of_pairs`. The networks are in the
            order that the paper prints, the best first; of a row and a column the row is ahead there.
    """
    names = printed_order(table)
    place = {name: number for number, name in enumerate(names)}
    figure = Figure(
        3.2 + 0.62 * len(names),
        2.2 + 0.42 * len(names),
        about="A square for every pair of networks: our difference in points, coloured by its verdict",
    )
    ax = figure.subplots()
    for row in table.to_dict("records"):
        y, x = place[row["ahead"]], place[row["behind"]]
        sign = 1 if y < x else -1  # pairs printed as equal may lie the other way round
        colour = VERDICT_COLOURS[row["verdict"]]
        ax.scatter(max(x, y), min(x, y), s=560, marker="s", color=colour, alpha=0.45, linewidth=0)
        text = f"{sign * row['ours']:+.0f}"
        ax.text(max(x, y), min(x, y), text, ha="center", va="center", fontsize=9)
    ax.set_xticks(range(len(names)), names, rotation=45, ha="left", fontsize=9)
    ax.set_yticks(range(len(names)), names, fontsize=9)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.set(xlim=(-0.6, len(names) - 0.4), ylim=(len(names) - 0.4, -0.6))
    one = table.iloc[0]
    ax.set_xlabel(
        f"points by which the row is ahead of the column, in table 2's order ({one['frames']} frames)\n"
        f"{one['measured_on']}, {one['seeds']} seeds, {one['groups']} {one['unit']}"
    )
    there = [verdict for verdict in VERDICT_COLOURS if (table["verdict"] == verdict).any()]
    for verdict in there:
        label = f"{verdict} ({(table['verdict'] == verdict).sum()})"
        ax.plot([], [], "s", color=VERDICT_COLOURS[verdict], alpha=0.45, label=label)
    ax.legend(loc="lower left", frameon=False, fontsize=9)
    for side in ax.spines.values():
        side.set_visible(False)
    return figure


def verdicts(numbers: pd.DataFrame, compared: pd.DataFrame) -> Figure:
    """Count the verdicts of the ledger, a bar a verdict.

    Args:
        numbers: from `ledger.of_numbers`.
        compared: from `ledger.of_pairs`.
    """
    counts = {"printed numbers": numbers["verdict"].value_counts()}
    for (measured_on, frames), rows in compared.groupby(["measured_on", "frames"], sort=False):
        counts[f"pairs, {measured_on}, {frames} frames"] = rows["verdict"].value_counts()
    table = pd.DataFrame(counts).fillna(0).astype(int)
    order = [verdict for verdict in VERDICT_COLOURS if verdict in table.index]
    table = table.loc[order + sorted(set(table.index) - set(order))]
    figure = Figure(
        9,
        1.4 + 0.36 * len(table),
        about="How many printed numbers and pairs have which verdict, as stacked bars",
    )
    ax = figure.subplots()
    left = np.zeros(len(table))
    shades, hatches = (CHOSEN, DARK, TIME, SPACE, WRONG), ("", "////", "....", "xxxx")
    for number, name in enumerate(table):
        shade, hatch = shades[number % len(shades)], hatches[number // len(shades) % len(hatches)]
        bars = ax.barh(list(table.index), table[name], left=left, color=shade, height=0.65, label=name)
        for bar in bars if hatch else ():
            bar.set(hatch=hatch, edgecolor="white")
        left += table[name].to_numpy()
    for row, total in enumerate(left):
        ax.text(total + 0.5, row, f"{total:.0f}", va="center")
    ax.invert_yaxis()
    ax.set(xlabel="how many")
    if len(table.columns) <= len(shades):
        ax.legend(loc="lower right", fontsize=9)
    else:  # a longer one would cover bars
        figure.set_size_inches(9, 1.6 + 0.36 * len(table) + 0.12 * len(table.columns))
        figure.legend(loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    open_axes(ax)
    return figure


def _counts(column: pd.Series) -> str:
    """Return the one value of a column of counts, or its range."""
    low, high = int(column.min()), int(column.max())
    return str(low) if low == high else f"{low} to {high}"


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
            (1.058 * edge, height),
            va="center",
            fontsize=9,
            arrowprops={"arrowstyle": "-", "color": PLAIN, "linewidth": 0.7, "shrinkB": 5},
        )
    ax.set_xlim(right=1.138 * edge)
