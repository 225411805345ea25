"""Figures of trainings and of what they come to: curves, and accuracies of whole runs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from r21d_lib.plots.style import (
    CHOSEN,
    KIND_COLOURS,
    PLAIN,
    RUN_COLOURS,
    SPACE,
    TIME,
    TURNS,
    Figure,
    draw_intervals,
    draw_legend,
    open_axes,
    plain,
    run_style,
)


def training_curves(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw loss and accuracy against the epoch, a colour a run.

    Args:
        histories: a run's name to its table with the columns epoch, loss, train_accuracy and, where
            videos were held out, validation_accuracy (drawn dashed).
    """
    figure = Figure(10, 3.6, about="Loss and accuracy against the epoch, a line a run")
    left, right = figure.subplots(1, 2)
    held_out = any("validation_accuracy" in history for history in histories.values())
    for number, history in enumerate(histories.values()):
        colour, marker, _ = run_style(number)  # dashes say which videos
        style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 4}
        left.plot(history["epoch"], history["loss"], **style)
        right.plot(history["epoch"], history["train_accuracy"], **style)
        if "validation_accuracy" in history:
            right.plot(
                history["epoch"],
                history["validation_accuracy"],
                linestyle="--",
                **style,
            )
    left.set(xlabel="epoch", ylabel="cross entropy", title="loss on training clips")
    left.set_ylim(bottom=0)
    title = "accuracy" if held_out else "accuracy on training clips"
    right.set(xlabel="epoch", ylabel="fraction of clips right", title=title, ylim=(0, 1.03))
    for ax in (left, right):
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(alpha=0.3)
        open_axes(ax)
    draw_legend(left, left.lines, [plain(name) for name in histories])
    if held_out:
        lines = [Line2D([], [], color="black", linestyle=style) for style in ("-", "--")]
        right.legend(lines, ["training clips", "held-out videos"])
    return figure


def seed_curves(
    losses: Mapping[str, np.ndarray], kinds: Mapping[str, str], *, guessing: float
) -> Figure:
    """Draw training losses of several seeds: a thin line a seed and a thick one for their mean.

    Args:
        losses: a network's name to (seeds, points) losses, evenly spaced in training.
        kinds: a network's name to "2d", "3d" or "2+1d", which gives the colour.
        guessing: the loss of a network that knows nothing, drawn dotted.
    """
    figure = Figure(8, 3.6, about="Loss against the epoch, a thin line a seed")
    ax = figure.subplots()
    for name, curves in losses.items():
        steps, colour = np.arange(1, curves.shape[1] + 1), KIND_COLOURS[kinds[name]]
        for curve in curves:
            ax.plot(steps, curve, color=colour, linewidth=0.8, alpha=0.5)
        ax.plot(steps, curves.mean(0), color=colour, linewidth=2.2, label=name)
    ax.axhline(guessing, color="black", linestyle=":", linewidth=1.2, label="guessing")
    ax.set(xlabel="epoch", ylabel="cross entropy on training clips")
    ax.set_ylim(bottom=0)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(alpha=0.3)
    ax.legend()
    open_axes(ax)
    return figure


def accuracy_bars(
    results: Mapping[str, tuple[float, float, float, int]],
    *,
    xlabel: str = "video@1",
    unit: str = "groups",
) -> Figure:
    """Compare runs: name to (accuracy, low, high) as fractions and groups; the first is on top.

    Args:
        results: the number of groups is that of `evaluation.Interval`.
        xlabel: names the accuracy.
        unit: what a group is, in the plural.
    """
    figure = Figure(8.5, 0.9 + 0.42 * len(results), about="Bars of video@1 with 95% intervals")
    ax = figure.subplots()
    names, values = list(results)[::-1], np.array(list(results.values()))[::-1]
    ax.barh(names, values[:, 0], color=PLAIN, height=0.6)
    draw_intervals(ax, *values[:, :3].T)
    for y, (accuracy, _, high, groups) in enumerate(values):
        ax.text(high + 0.015, y, f"{accuracy:.3f} ({groups:.0f})", va="center")
    ax.set(xlim=(0, 1.18), xlabel=f"{xlabel}, with its 95% interval (over so many {unit})")
    ax.set_xticks(np.linspace(0, 1, 6))
    open_axes(ax)
    return figure


def printed_streams(printed: pd.DataFrame, fills: Mapping[str, str] | None = None) -> Figure:
    """Draw what a paper prints of RGB, of flow and of both, a panel a data set, a line a network.

    Args:
        printed: a row a network; columns where, data, network, pretrained, frames, and rgb, flow, both
            in percent.
        fills: a data set to what is written beside its last line of the first network: who fills it in.
    """
    panels = [(str(data), rows) for data, rows in printed.groupby("data", sort=False)]
    heights = [len(rows) + 0.6 for _, rows in panels]
    figure = Figure(8.5, 1.1 + 0.42 * sum(heights), about="Printed accuracies of RGB, flow and both")
    all_axes = figure.subplots(len(panels), 1, gridspec_kw={"height_ratios": heights}, squeeze=False)
    styles = {"rgb": ("RGB", SPACE, "o"), "flow": ("flow", TIME, "^"), "both": ("both", TURNS, "D")}
    for ax, (data, rows) in zip(all_axes[:, 0], panels, strict=True):
        for stream, (label, colour, marker) in styles.items():
            ax.plot(rows[stream], range(len(rows)), marker, color=colour, label=label, ms=7)
        names = [
            f"{row['network']}, {row['frames']} frames, from {row['pretrained']}"
            for row in rows.replace({"pretrained": {"nothing": "scratch"}}).to_dict("records")
        ]
        ax.set_yticks(range(len(rows)), names)
        ax.set(ylim=(len(rows) - 0.4, -0.6), title=f"{data} ({rows['where'].iloc[0]})")
        ax.grid(axis="x", alpha=0.3)
        if fills and data in fills:
            ours = np.flatnonzero(rows["network"] == printed["network"].iloc[0])[-1]
            ax.text(rows["rgb"].iloc[ours] - 0.3, ours, fills[data], ha="right", va="center")
        open_axes(ax)
    all_axes[-1, 0].set_xlabel("video@1 [%]")
    figure.legend(*all_axes[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=3)
    return figure


def budgets(runs: pd.DataFrame) -> Figure:
    """Draw video@1 against the length of training, a line a start, with 95% intervals.

    Args:
        runs: a row a training, with the columns start, epochs, video@1, low, high and people.
    """
    figure = Figure(
        8.5, 3.8, about="video@1 with intervals against the number of epochs, a line a start"
    )
    ax = figure.subplots()
    # Said once of all starts, or of each.
    people = f"95%: {_span(runs['people'])} people"
    same = runs["people"].nunique() == 1
    lines, names = [], []
    for number, (start, rows) in enumerate(runs.groupby("start", sort=False)):
        value = rows["video@1"]
        errors = np.maximum([value - rows["low"], rows["high"] - value], 0)
        colour, marker, line = run_style(number)
        style: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": line, "capsize": 3}
        lines.append(ax.errorbar(rows["epochs"], value, yerr=errors, **style))
        names.append(f"from {start}" + ("" if same else f" ({_span(rows['people'])} people)"))
    ax.set(xscale="log", ylim=(0, 1.02), ylabel=f"video@1 ({people if same else '95%'})")
    ticks = sorted(set(runs["epochs"]))
    ax.set_xticks(ticks, [str(tick) for tick in ticks])
    ax.minorticks_off()
    ax.set_xlabel("epochs of a whole training, each with a schedule of its own")
    ax.grid(alpha=0.3)
    draw_legend(ax, lines, names, loc="lower right")
    open_axes(ax)
    return figure


def _span(numbers: pd.Series) -> str:
    """Write a number that all have, or the least and the greatest."""
    least, greatest = numbers.min(), numbers.max()
    return f"{least}" if least == greatest else f"{least} to {greatest}"


def named_values(values: Mapping[str, float], *, label: str) -> Figure:
    """Draw one number a name as a dot on a line of its own, the first on top.

    Args:
        values: by name.
        label: of the numbers, with their unit.
    """
    figure = Figure(8.5, 0.9 + 0.28 * len(values), about="Dots with their values")
    ax = figure.subplots()
    numbers = np.array(list(values.values()))
    # Lines from side to side lead from a name to its dot; lines that end there would be read as bars,
    # whose lengths, from anywhere but zero, say nothing.
    ax.grid(axis="y", alpha=0.3)
    ax.set_axisbelow(True)
    ax.scatter(numbers, range(len(values)), color=CHOSEN, zorder=2)
    for row, value in enumerate(numbers):
        ax.annotate(
            f"{value:.1f}", (value, row), xytext=(7, 0), textcoords="offset points", va="center"
        )
    ax.set_yticks(range(len(values)), list(values))
    ax.set(xlabel=label, ylim=(len(values) - 0.5, -0.5), xlim=(numbers.min() - 1, numbers.max() + 1))
    open_axes(ax)
    return figure


def running_values(runs: Mapping[str, Sequence[float]], *, truth: float) -> Figure:
    """Draw how running statistics move from batch to batch, and the value that they estimate.

    Args:
        runs: a name to one value after each batch.
        truth: the value that all estimate, drawn dotted.
    """
    figure = Figure(9, 3.2, about="A running mean against the batch, a line a momentum")
    ax = figure.subplots()
    colours = (*RUN_COLOURS[1::-1], *RUN_COLOURS[2:])
    for number, values in enumerate(runs.values()):
        colour, _, line = run_style(number, colours)  # of hundreds of batches: without markers
        ax.plot(range(1, len(values) + 1), values, color=colour, linestyle=line, linewidth=1.2)
    ax.axhline(truth, color="black", linestyle=":", linewidth=1.2)
    ax.set(xlabel="batch", ylabel="running mean")
    where: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 1), "frameon": False}
    draw_legend(ax, ax.lines, [*runs, "true mean"], ncols=3, **where)
    ax.grid(alpha=0.3)
    open_axes(ax)
    return figure
