"""Figures of trainings and evaluations: curves, accuracies, confusion."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from r21d_lib.plots.style import (
    BOTH,
    CHOSEN,
    DARK,
    KIND_COLOURS,
    PLAIN,
    SPACE,
    TIME,
    TURNS,
    WRONG,
    Figure,
    draw_intervals,
    open_axes,
)

# For the lines of runs, whose number is not known beforehand.
_RUN_STYLES = ((DARK, "o"), (WRONG, "s"), (BOTH, "^"), (TIME, "D"), (SPACE, "v"), (TURNS, "P"))
_FEW_CLASSES = 20


def training_curves(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw loss and accuracy against the epoch, a colour a run.

    Args:
        histories: a run's name to its table with the columns epoch, loss, train_accuracy and, where
            videos were held out, validation_accuracy (drawn dashed).
    """
    figure = Figure(10, 3.6)
    left, right = figure.subplots(1, 2)
    held_out = any("validation_accuracy" in history for history in histories.values())
    for index, (name, history) in enumerate(histories.items()):
        colour, marker = _RUN_STYLES[index % len(_RUN_STYLES)]
        style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 4}
        left.plot(history["epoch"], history["loss"], label=name, **style)
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
    left.legend()
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
    figure = Figure(8, 3.6)
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


def per_class_accuracy(
    table: pd.DataFrame,
    *,
    sort: str = "accuracy",
    highlight: str | None = None,
    measure: str = "video@1",
) -> Figure:
    """Draw the accuracy of each class as a bar with its 95% interval, and what it was found from.

    Args:
        table: from `evaluation.per_class`, or `per_class_counts`.
        sort: "accuracy" puts the best class on top, "class" orders by name.
        highlight: a class whose bar and name stand out.
        measure: what the accuracy is called on the axis.
    """
    ascending = sort != "class"  # the first row is drawn at the bottom
    rows = table.sort_values([sort, "class"], ascending=[ascending, False])
    figure = Figure(8.5, 0.9 + (0.27 if len(rows) <= _FEW_CLASSES else 0.2) * len(rows))
    ax = figure.subplots()
    colours = [CHOSEN if name == highlight else PLAIN for name in rows["class"]]
    ax.barh(rows["class"], rows["accuracy"], color=colours, height=0.72)
    draw_intervals(ax, rows["accuracy"], rows["low"], rows["high"])
    size = 10 if len(rows) <= _FEW_CLASSES else 9
    for tick, name in zip(ax.get_yticklabels(), rows["class"], strict=True):
        tick.set(fontsize=size, fontweight="bold" if name == highlight else "normal")
    counts = rows[["correct", "videos", "groups"]].itertuples(index=False)
    for y, (correct, total, groups) in enumerate(counts):
        ax.text(1.02, y, f"{correct} of {total} ({groups})", va="center", fontsize=size - 1)
    mean = rows["correct"].sum() / max(rows["videos"].sum(), 1)
    ax.axvline(mean, color="black", linestyle=":", linewidth=1.2)
    ax.set(
        xlim=(0, 1.2),
        ylim=(-0.7, len(rows) - 0.3),
        xlabel=f"{measure} of the class (dotted: all together, {mean:.3f}), with its 95% interval\n"
        "and how many are right (of how many people, films or single videos)",
    )
    ax.set_xticks(np.linspace(0, 1, 6))
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
    figure = Figure(8.5, 0.9 + 0.42 * len(results))
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


def budgets(runs: pd.DataFrame) -> Figure:
    """Draw video@1 against the length of training, a line a start, with 95% intervals.

    Args:
        runs: a row a training, with the columns start, epochs, video@1, low, high and people.
    """
    figure = Figure(8.5, 3.8)
    ax = figure.subplots()
    by_start = runs.groupby("start", sort=False)
    for (start, rows), (colour, marker) in zip(by_start, _RUN_STYLES, strict=False):
        value = rows["video@1"]
        errors = np.maximum([value - rows["low"], rows["high"] - value], 0)
        style: dict[str, Any] = {"color": colour, "marker": marker, "capsize": 3}
        ax.errorbar(rows["epochs"], value, yerr=errors, label=f"from {start}", **style)
    ax.set(xscale="log", ylim=(0, 1.02), ylabel=f"video@1 (95%: {runs['people'].iloc[0]} people)")
    ticks = sorted(set(runs["epochs"]))
    ax.set_xticks(ticks, [str(tick) for tick in ticks])
    ax.minorticks_off()
    ax.set_xlabel("epochs of a whole training, each with a schedule of its own")
    ax.grid(alpha=0.3)
    ax.legend(loc="lower right")
    open_axes(ax)
    return figure


def named_values(values: Mapping[str, float], *, label: str) -> Figure:
    """Draw one number a name as a dot on a line of its own, the first on top.

    Args:
        values: by name.
        label: of the numbers, with their unit.
    """
    figure = Figure(8.5, 0.9 + 0.28 * len(values))
    ax = figure.subplots()
    numbers = np.array(list(values.values()))
    ax.hlines(range(len(values)), numbers.min() - 1, numbers, color=PLAIN, linewidth=1)
    ax.scatter(numbers, range(len(values)), color=CHOSEN, zorder=2)
    for row, value in enumerate(numbers):
        ax.annotate(
            f"{value:.1f}", (value, row), xytext=(7, 0), textcoords="offset points", va="center"
        )
    ax.set_yticks(range(len(values)), list(values))
    ax.invert_yaxis()
    ax.set(xlabel=label, xlim=(numbers.min() - 1, numbers.max() + 1))
    open_axes(ax)
    return figure


def running_values(runs: Mapping[str, Sequence[float]], *, truth: float) -> Figure:
    """Draw how running statistics move from batch to batch, and the value that they estimate.

    Args:
        runs: a name to one value after each batch.
        truth: the value that all estimate, drawn dotted.
    """
    figure = Figure(9, 3.2)
    ax = figure.subplots()
    for (name, values), (colour, _) in zip(runs.items(), reversed(_RUN_STYLES[:2]), strict=False):
        ax.plot(range(1, len(values) + 1), values, color=colour, linewidth=1.2, label=name)
    ax.axhline(truth, color="black", linestyle=":", linewidth=1.2, label="true mean")
    ax.set(xlabel="batch", ylabel="running mean")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, 1.2), ncols=3, frameon=False)
    ax.grid(alpha=0.3)
    open_axes(ax)
    return figure


def confusion_matrix(counts: np.ndarray, classes: Sequence[str]) -> Figure:
    """Draw (classes, classes) counts, a row a true class, coloured by the share of its row.

    The counts are written into the cells where there are 20 classes at most.
    """
    few = len(classes) <= _FEW_CLASSES
    side = 1.6 + 0.42 * len(classes) if few else 1.8 + 0.17 * len(classes)
    figure = Figure(side + 0.8, side)
    ax = figure.subplots()
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    image = ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    ax.set_xticks(range(len(classes)), classes, rotation=90, fontsize=10 if few else 8)
    ax.set_yticks(range(len(classes)), classes, fontsize=10 if few else 8)
    if few:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                colour = "white" if share[row, column] > 0.5 else "black"
                ax.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=9)
    else:  # without numbers the eye needs help to find the class of a cell
        ax.set_xticks(np.arange(len(classes)) - 0.5, minor=True)
        ax.set_yticks(np.arange(len(classes)) - 0.5, minor=True)
        ax.grid(which="minor", color="#E4E4E4", linewidth=0.4)
        ax.tick_params(which="minor", length=0)
    ax.set(xlabel="predicted class", ylabel="true class")
    figure.colorbar(image, label="share of the true class", shrink=0.6)
    return figure
