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
    plain,
)

# For the lines of runs, whose number is not known beforehand.
_RUN_STYLES = ((DARK, "o"), (WRONG, "s"), (BOTH, "^"), (TIME, "D"), (SPACE, "v"), (TURNS, "P"))
_FEW_CLASSES = 20
_MOST_BARS = 200  # of classes: 10,000 pixels
_MOST_CELLS = 400  # in a row of a confusion matrix
_MOST_NAMES = 60  # beside it: all of HMDB51's 51 classes
_LARGEST_MATRIX = 10.2  # inches


def training_curves(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw loss and accuracy against the epoch, a colour a run.

    Args:
        histories: a run's name to its table with the columns epoch, loss, train_accuracy and, where
            videos were held out, validation_accuracy (drawn dashed).
    """
    figure = Figure(10, 3.6, about="Loss and accuracy against the epoch, a line a run")
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


def per_class_accuracy(
    table: pd.DataFrame,
    *,
    sort: str = "accuracy",
    highlight: str | None = None,
    measure: str = "video@1",
) -> Figure:
    """Draw the accuracy of each class as a bar with its 95% interval, and what it was found from.

    Of more than 200 classes, the first and the last 100 are drawn.

    Args:
        table: from `evaluation.per_class`, or `per_class_counts`.
        sort: "accuracy" puts the best class on top, "class" orders by name.
        highlight: a class whose bar and name stand out.
        measure: what the accuracy is called on the axis.
    """
    ascending = sort != "class"  # the first row is drawn at the bottom
    rows = table.sort_values([sort, "class"], ascending=[ascending, False])
    mean = rows["correct"].sum() / max(rows["videos"].sum(), 1)
    if len(rows) > _MOST_BARS:
        rows = pd.concat([rows[: _MOST_BARS // 2], rows[-_MOST_BARS // 2 :]])
    figure = Figure(
        8.5,
        0.9 + (0.27 if len(rows) <= _FEW_CLASSES else 0.2) * len(rows),
        about="A bar a class with the interval of its accuracy",
    )
    ax = figure.subplots()
    colours = [CHOSEN if name == highlight else PLAIN for name in rows["class"]]
    ax.barh(range(len(rows)), rows["accuracy"], color=colours, height=0.72)
    ax.set_yticks(range(len(rows)), [plain(name) for name in rows["class"]])
    draw_intervals(ax, rows["accuracy"], rows["low"], rows["high"])
    size = 10 if len(rows) <= _FEW_CLASSES else 9
    for tick, name in zip(ax.get_yticklabels(), rows["class"], strict=True):
        tick.set(fontsize=size, fontweight="bold" if name == highlight else "normal")
    counts = rows[["correct", "videos", "groups"]].itertuples(index=False)
    for y, (correct, total, groups) in enumerate(counts):
        ax.text(1.02, y, f"{correct} of {total} ({groups})", va="center", fontsize=size - 1)
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


def classes_of_runs(
    tables: Mapping[str, pd.DataFrame], *, sort: str = "accuracy", highlight: str | None = None
) -> Figure:
    """Set the accuracy of each class by several runs side by side, each with its 95% interval.

    Args:
        tables: a run's name to its table from `evaluation.per_class`; the first one gives the order.
        sort: as for `per_class_accuracy`.
        highlight: a class whose name stands out.
    """
    first = next(iter(tables.values()))
    ascending = sort != "class"
    names = first.sort_values([sort, "class"], ascending=[ascending, False])["class"].tolist()
    names = names[-_MOST_BARS:]
    size = (6.4, 1.0 + (0.27 if len(names) <= _FEW_CLASSES else 0.2) * len(names))
    figure = Figure(*size, about="Accuracy of each class by each run, as dots with intervals")
    ax = figure.subplots()
    for number, (run, table) in enumerate(tables.items()):
        rows = table.set_index("class").loc[names]
        shift = 0.16 * (number - (len(tables) - 1) / 2)
        colour, marker = _RUN_STYLES[number % len(_RUN_STYLES)]
        errors = np.maximum([rows["accuracy"] - rows["low"], rows["high"] - rows["accuracy"]], 0)
        at = np.arange(len(names)) - 2 * shift
        style: dict[str, Any] = {"color": colour, "fmt": marker, "capsize": 2, "markersize": 5}
        mean = rows["correct"].sum() / max(rows["videos"].sum(), 1)
        label = f"{plain(run)}: {mean:.3f}"
        ax.errorbar(rows["accuracy"], at, xerr=errors, label=label, linewidth=1, **style)
        if not number:
            for y, (right, videos) in enumerate(zip(rows["correct"], rows["videos"], strict=True)):
                ax.text(1.03, y, f"{right} of {videos}", va="center", fontsize=8)
    ax.set_yticks(range(len(names)), [plain(name) for name in names], fontsize=9)
    for tick, name in zip(ax.get_yticklabels(), names, strict=True):
        tick.set_fontweight("bold" if name == highlight else "normal")
    ax.set(xlim=(-0.02, 1.22), ylim=(-0.7, len(names) - 0.3), xlabel="video@1 with its 95% interval")
    ax.set_xticks(np.linspace(0, 1, 6))
    ax.grid(axis="x", alpha=0.3)
    ax.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), frameon=False, fontsize=9)
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
    figure = Figure(8.5, 0.9 + 0.28 * len(values), about="Bars with their values")
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
    figure = Figure(9, 3.2, about="A running mean against the batch, a line a momentum")
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

    The counts are written into the cells where there are 20 classes at most. Of more than 400, a cell
    is the largest share of several neighbours. Of more than 60, some are named.
    """
    few = len(classes) <= _FEW_CLASSES
    share = (counts / np.maximum(counts.sum(1, keepdims=True), 1)).astype(np.float32)
    step = -(-len(classes) // _MOST_CELLS)
    if step > 1:
        starts = np.arange(0, len(classes), step)
        share = np.maximum.reduceat(np.maximum.reduceat(share, starts, 0), starts, 1)
    names = [plain(name) for name in classes[::step]]
    cell = 0.42 if few else min(0.17, _LARGEST_MATRIX / len(names))  # inches
    side = 1.7 + cell * len(names)
    figure = Figure(
        side + 0.8, side, about="A confusion matrix: true classes in rows, answers in columns"
    )
    ax = figure.subplots()
    image = ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    named = range(0, len(names), -(-len(names) // _MOST_NAMES))
    ax.set_xticks(named, [names[i] for i in named], rotation=90, fontsize=10 if few else 8)
    ax.set_yticks(named, [names[i] for i in named], fontsize=10 if few else 8)
    if few:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                colour = "white" if share[row, column] > 0.5 else "black"
                ax.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=9)
    elif len(names) <= _MOST_NAMES:  # without numbers the eye needs help to find the class of a cell
        ax.set_xticks(np.arange(len(names)) - 0.5, minor=True)
        ax.set_yticks(np.arange(len(names)) - 0.5, minor=True)
        ax.grid(which="minor", color="#E4E4E4", linewidth=0.4)
        ax.tick_params(which="minor", length=0)
    ax.set(xlabel="predicted class", ylabel="true class")
    figure.colorbar(image, label="share of the true class", shrink=0.6)
    return figure
