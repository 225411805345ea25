"""Figures of classes: how many of each are right, by one run or several, and what is taken for what."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from r21d_lib.plots.style import (
    CHOSEN,
    PLAIN,
    Figure,
    draw_intervals,
    draw_legend,
    open_axes,
    plain,
    run_style,
)

_FEW_CLASSES = 20
_MOST_BARS = 200  # of classes: 10,000 pixels
_MOST_NAMES = 60  # beside a confusion matrix: all of HMDB51's 51 classes
_LARGEST_MATRIX = 10.2  # inches, of cells that are larger than a pixel
_CELLS_AT_ONCE = 10**6  # of a confusion matrix
_MOST_PIXELS = 2000  # each way: TensorBoard makes a dozen copies of a picture
_PIXEL = 0.0103  # inches, with a little that the layout may take


def per_class_accuracy(
    table: pd.DataFrame,
    *,
    sort: str = "accuracy",
    highlight: str | None = None,
    measure: str = "video@1",
) -> Figure:
    """Draw the accuracy of each class as a bar with its 95% interval, and what it was found from.

    Classes without videos are left out. Of more than 200, the first and the last 100 are drawn. The
    axis says so.

    Args:
        table: from `evaluation.per_class`, or `per_class_counts`.
        sort: "accuracy" puts the best class on top, "class" orders by name.
        highlight: a class whose bar and name stand out.
        measure: what the accuracy is called on the axis.
    """
    mean = table["correct"].sum() / max(table["videos"].sum(), 1)
    rows, left_out = _chosen(table, table["class"][table["videos"] > 0], sort)
    height = _height(len(rows), left_out)
    figure = Figure(8.5, height, about="A bar a class with the interval of its accuracy")
    ax = figure.subplots()
    colours = [CHOSEN if name == highlight else PLAIN for name in rows["class"]]
    ax.barh(range(len(rows)), rows["accuracy"], color=colours, height=0.72)
    draw_intervals(ax, rows["accuracy"], rows["low"], rows["high"])
    size = 10 if len(rows) <= _FEW_CLASSES else 9
    _name_rows(ax, rows["class"].tolist(), highlight, size)
    counts = rows[["correct", "videos", "groups"]].itertuples(index=False)
    for y, (correct, total, groups) in enumerate(counts):
        ax.text(1.02, y, f"{correct} of {total} ({groups})", va="center", fontsize=size - 1)
    ax.axvline(mean, color="black", linestyle=":", linewidth=1.2)
    ax.set(
        xlim=(0, 1.2),
        ylim=(-0.7, len(rows) - 0.3),
        xlabel=f"{measure} of the class (dotted: all together, {mean:.3f}), with its 95% interval\n"
        f"and how many are right (of how many people, films or single videos){left_out}",
    )
    ax.set_xticks(np.linspace(0, 1, 6))
    open_axes(ax)
    return figure


def classes_of_runs(
    tables: Mapping[str, pd.DataFrame], *, sort: str = "accuracy", highlight: str | None = None
) -> Figure:
    """Set the accuracy of each class by several runs side by side, each with its 95% interval.

    Which classes are drawn is as for `per_class_accuracy`. Beside a class is what the first run has
    right of it, of how many videos (and groups); then the others, who name their number of videos where
    it is another.

    Args:
        tables: a run's name to its table from `evaluation.per_class`; the first one gives the order.
        sort: as for `per_class_accuracy`.
        highlight: a class whose name stands out.
    """
    first, *others = tables.values()
    having = pd.concat([table["class"][table["videos"] > 0] for table in tables.values()])
    chosen, left_out = _chosen(first, having, sort)
    names = chosen["class"].tolist()
    of_runs = [table.set_index("class").loc[names] for table in (first, *others)]
    # Further runs need higher rows for their dots, and a wider picture for their counts.
    height = _height(len(names), left_out, runs=len(tables)) + 0.2 * len(tables) + 0.15
    width = 7.4 + 0.35 * max(len(tables) - 2, 0)
    figure = Figure(width, height, about="Accuracy of each class by each run, as dots with intervals")
    ax = figure.subplots()
    apart = min(0.32, 0.8 / len(tables))  # all dots of a class nearer to its line than to the next
    dots, labels = [], []
    for number, (run, rows) in enumerate(zip(tables, of_runs, strict=True)):
        errors = np.maximum([rows["accuracy"] - rows["low"], rows["high"] - rows["accuracy"]], 0)
        at = np.arange(len(names)) - apart * (number - (len(tables) - 1) / 2)
        colour, marker, _ = run_style(number)
        style: dict[str, Any] = {"color": colour, "fmt": marker, "capsize": 2, "markersize": 5}
        dots.append(ax.errorbar(rows["accuracy"], at, xerr=errors, linewidth=1, **style))
        mean = tables[run]["correct"].sum() / max(tables[run]["videos"].sum(), 1)
        labels.append(f"{plain(run)}: {mean:.3f}")
    for y, of_class in enumerate(zip(*(rows.to_dict("records") for rows in of_runs), strict=True)):
        ax.text(1.03, y, _counts(of_class), va="center", fontsize=8)
    _name_rows(ax, names, highlight, 9)
    beside = "\nand how many are right (of how many groups)"
    if others:
        beside += ", then each other run's"
    ax.set(xlim=(-0.02, 1.22), ylim=(-0.7, len(names) - 0.3))
    ax.set_xlabel(f"video@1 with its 95% interval{beside}{left_out}", fontsize=9)
    ax.set_xticks(np.linspace(0, 1, 6))
    ax.grid(axis="x", alpha=0.3)
    where: dict[str, Any] = {
        "loc": "lower left",
        "bbox_to_anchor": (-0.02, 1.0),
        "frameon": False,
        "fontsize": 9,
    }
    draw_legend(ax, dots, labels, **where)
    open_axes(ax)
    return figure


def _counts(rows: Sequence[dict[Any, Any]]) -> str:
    """Write how many videos of a class each run has right."""
    first, *others = rows
    written = [f"{first['correct']} of {first['videos']} ({first['groups']})"]
    for row in others:
        known = row["videos"] == first["videos"]
        written.append(f"{row['correct']}" if known else f"{row['correct']} of {row['videos']}")
    return " | ".join(written)


def _chosen(table: pd.DataFrame, having: pd.Series, sort: str) -> tuple[pd.DataFrame, str]:
    """Return the rows of the classes to draw, from the bottom up, and lines that say what is left out.

    Args:
        table: gives the order.
        having: the classes that have videos.
        sort: as for `per_class_accuracy`.
    """
    rows = table[table["class"].isin(having)]
    # The first row is drawn at the bottom; a class of which this table has no videos is no best one.
    rising = sort != "class"
    rows = rows.sort_values(
        [sort, "class"], ascending=[rising, False], na_position="first" if rising else "last"
    )
    total, notes = len(table), []
    if len(rows) < total:
        notes.append(f"{total - len(rows)} of {total} classes have no videos: left out")
    if len(rows) > _MOST_BARS:
        half = _MOST_BARS // 2
        ends = ("best", "worst") if rising else ("first", "last")
        notes.insert(
            0, f"{_MOST_BARS} of {total} classes: the {half} {ends[0]} and the {half} {ends[1]}"
        )
        rows = pd.concat([rows[:half], rows[-half:]])
    return rows, "".join(f"\n{note}" for note in notes)


def _height(classes: int, left_out: str, runs: int = 1) -> float:
    """Return the height [inches] of a picture of so many classes and runs."""
    row = max(0.27 if classes <= _FEW_CLASSES else 0.2, 0.09 * runs)
    return 0.9 + row * classes + 0.17 * left_out.count("\n")


def _name_rows(ax: Axes, names: Sequence[str], highlight: str | None, size: float) -> None:
    """Write the classes' names beside their rows."""
    ax.set_yticks(range(len(names)), [plain(name) for name in names], fontsize=size)
    for tick, name in zip(ax.get_yticklabels(), names, strict=True):
        tick.set_fontweight("bold" if name == highlight else "normal")


def confusion_matrix(counts: np.ndarray, classes: Sequence[str]) -> Figure:
    """Draw (classes, classes) counts, a row a true class, coloured by the share of its row.

    The counts are written into the cells where there are 20 classes at most. Of more than 60, some are
    named. Every cell is drawn, of a thousand classes and more as one pixel; of more than two thousand a
    pixel is the mean of several, which the picture says.
    """
    few = len(classes) <= _FEW_CLASSES
    totals = np.maximum(counts.sum(1, keepdims=True), 1)
    share = np.divide(counts, totals, dtype=np.float32, casting="same_kind")
    names = [plain(name) for name in classes]
    cell = 0.42 if few else max(min(0.17, _LARGEST_MATRIX / len(names)), _PIXEL)  # inches
    matrix = min(cell * len(names), _MOST_PIXELS * _PIXEL)
    side = 1.7 + matrix
    bar = 0.8 + 0.08 * max(side - 1.7 - _LARGEST_MATRIX, 0)  # of colours, as high as the matrix allows
    figure = Figure(
        side + bar, side, about="A confusion matrix: true classes in rows, answers in columns"
    )
    ax = figure.subplots()
    # Of many classes a cell is a few pixels or one: it is not blended with its neighbours. Where a
    # pixel is several cells, none of them is left out.
    blended = len(names) > _MOST_PIXELS
    smooth = None if len(names) <= _MOST_NAMES or blended else "nearest"
    # In strips, as matplotlib takes ten times the memory of what it draws at once.
    band = max(_CELLS_AT_ONCE // len(names), 1)
    for first in range(0, len(names), band):
        rows = share[first : first + band]
        edges = (-0.5, len(names) - 0.5, first + len(rows) - 0.5, first - 0.5)
        image = ax.imshow(rows, cmap="Blues", vmin=0, vmax=1, interpolation=smooth, extent=edges)
    ax.set(xlim=(-0.5, len(names) - 0.5), ylim=(len(names) - 0.5, -0.5))
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
    means = f", a pixel the mean of {len(names) / _MOST_PIXELS:.1f} rows and columns" if blended else ""
    ax.set(xlabel=f"predicted class{means}", ylabel="true class")
    figure.colorbar(image, label="share of the true class", shrink=0.6)
    return figure
