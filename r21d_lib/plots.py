"""Every figure of data and results: a pure function from arrays and tables to a `Figure`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from r21d_lib.diagrams import (
    BOTH,
    CHOSEN,
    DARK,
    KIND_COLOURS,
    PLAIN,
    RIGHT,
    SPACE,
    TIME,
    TURNS,
    WRONG,
    Figure,
    open_axes,
)

# For the lines of runs, whose number is not known beforehand.
_RUN_STYLES = ((DARK, "o"), (WRONG, "s"), (BOTH, "^"), (TIME, "D"), (SPACE, "v"), (TURNS, "P"))
_FEW_CLASSES = 20
Values = np.ndarray | pd.Series


def frame_strip(
    frames: np.ndarray, *, count: int = 8, title: str = "", labels: Sequence[str] | None = None
) -> Figure:
    """Show evenly spaced frames of one video in a row.

    Args:
        frames: (T, H, W, 3) uint8.
        count: how many frames; fewer are shown where the video has fewer.
        title: above the row.
        labels: a text under each frame; None writes the frames' numbers.
    """
    picked = evenly(len(frames), count)
    height, width = frames.shape[1:3]
    inches = 11 / len(picked)
    figure = Figure(11, inches * height / width + (0.65 if title else 0.4), photographs=True)
    axes = figure.subplots(1, len(picked), squeeze=False)[0]
    names = [f"frame {i}" for i in picked] if labels is None else labels
    for ax, index, name in zip(axes, picked, names, strict=True):
        _picture(ax, frames[index])
        ax.set_xlabel(name)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def clip_grid(clips: Mapping[str, np.ndarray], *, count: int = 8) -> Figure:
    """Show one row a clip: its name and evenly spaced frames of (T, H, W, 3) uint8, in time's order."""
    height, width = next(iter(clips.values())).shape[1:3]
    inches = 10 / count * height / width
    figure = Figure(11, len(clips) * (inches + 0.03) + 0.1, photographs=True)
    figure.set_layout_engine("constrained", h_pad=0.015, w_pad=0.015, hspace=0, wspace=0)
    axes = figure.subplots(len(clips), count, squeeze=False)
    for row, (name, frames) in zip(axes, clips.items(), strict=True):
        picked = evenly(len(frames), count)
        for ax in row[len(picked) :]:
            ax.axis("off")
        for ax, index in zip(row, picked, strict=False):
            _picture(ax, frames[index])
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
    return figure


def clip_starts(starts: Mapping[str, Sequence[int]], *, num_frames: int, span: int) -> Figure:
    """Draw which part of a video each of several clips covers, one panel a way of choosing.

    Args:
        starts: a title to the first frame of each clip.
        num_frames: of the video.
        span: frames that a clip covers.
    """
    rows = max(len(chosen) for chosen in starts.values())
    figure = Figure(11, 0.9 + 0.2 * rows)
    axes = figure.subplots(1, len(starts), sharey=True, squeeze=False)[0]
    for ax, (title, chosen) in zip(axes, starts.items(), strict=True):
        ax.barh(range(len(chosen)), span, left=list(chosen), height=0.7, color=CHOSEN)
        ax.set(title=title, xlabel="frame of the video", xlim=(0, num_frames))
        ax.invert_yaxis()
        open_axes(ax)
    axes[0].set_ylabel("clip")
    axes[0].set_yticks(range(rows), [str(number + 1) for number in range(rows)], fontsize=8)
    axes[0].set_ylim(rows - 0.4, -0.6)
    return figure


def single_frame(frames: np.ndarray, frame: int, *, title: str = "") -> Figure:
    """Show frame number `frame` of a (T, H, W, 3) uint8 video."""
    height, width = frames.shape[1:3]
    figure = Figure(4.5, 4.5 * height / width + 0.4, photographs=True)
    ax = figure.subplots()
    _picture(ax, frames[frame])
    ax.set_title(f"{title}, frame {frame} of {len(frames)}".lstrip(", "), fontsize=10)
    return figure


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
        training = f"{name}, training" if held_out else name
        right.plot(history["epoch"], history["train_accuracy"], label=training, **style)
        if "validation_accuracy" in history:
            right.plot(
                history["epoch"],
                history["validation_accuracy"],
                label=f"{name}, held out",
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
        ax.legend()
        open_axes(ax)
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
    """Draw the accuracy of each class as a bar with its 95% Wilson interval.

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
    _intervals(ax, rows["accuracy"], rows["low"], rows["high"])
    size = 10 if len(rows) <= _FEW_CLASSES else 9
    for tick, name in zip(ax.get_yticklabels(), rows["class"], strict=True):
        tick.set(fontsize=size, fontweight="bold" if name == highlight else "normal")
    for y, (correct, total) in enumerate(zip(rows["correct"], rows["videos"], strict=True)):
        ax.text(1.02, y, f"{correct} of {total}", va="center", fontsize=size - 1)
    mean = rows["correct"].sum() / max(rows["videos"].sum(), 1)
    ax.axvline(mean, color="black", linestyle=":", linewidth=1.2)
    ax.set(
        xlim=(0, 1.14),
        ylim=(-0.7, len(rows) - 0.3),
        xlabel=f"{measure} of the class, with its 95% interval (dotted: all together, {mean:.3f})",
    )
    ax.set_xticks(np.linspace(0, 1, 6))
    open_axes(ax)
    return figure


def accuracy_bars(
    results: Mapping[str, tuple[float, float, float]], *, xlabel: str = "video@1"
) -> Figure:
    """Compare runs: name to (accuracy, low, high) as fractions; the first is on top."""
    figure = Figure(8.5, 0.9 + 0.42 * len(results))
    ax = figure.subplots()
    names, values = list(results)[::-1], np.array(list(results.values()))[::-1]
    ax.barh(names, values[:, 0], color=PLAIN, height=0.6)
    _intervals(ax, *values.T)
    for y, (accuracy, _, high) in enumerate(values):
        ax.text(high + 0.015, y, f"{accuracy:.3f}", va="center")
    ax.set(xlim=(0, 1.12), xlabel=f"{xlabel}, with its 95% interval")
    ax.set_xticks(np.linspace(0, 1, 6))
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


def video_scores(
    probabilities: np.ndarray, classes: Sequence[str], label: int, *, top: int = 5, title: str = ""
) -> Figure:
    """Show what each clip of one video says, and their mean, which is the video's score.

    Args:
        probabilities: (clips, classes).
        classes: class names.
        label: the true class; it is shown even if it is not among the best.
        top: how many classes to show.
        title: above the figure.
    """
    scores = probabilities.astype(np.float32)
    mean = scores.mean(0)
    order = list(np.argsort(-mean, kind="stable")[: min(top, len(classes))])
    if label not in order:
        order[-1] = label
    figure = Figure(10, (1.35 if title else 1.1) + 0.34 * len(order))
    left, right = figure.subplots(1, 2, width_ratios=(3, 2), sharey=True)
    left.imshow(scores[:, order].T, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, index in enumerate(order):
        for clip, score in enumerate(scores[:, index]):
            colour = "white" if score > 0.5 else "black"
            text = f"{score:.2f}" if score >= 0.005 else "0"
            left.text(clip, row, text, ha="center", va="center", fontsize=8, color=colour)
    left.set_xticks(range(len(scores)))
    left.set_yticks(range(len(order)), [classes[i] for i in order])
    for tick, index in zip(left.get_yticklabels(), order, strict=True):
        tick.set(
            color=RIGHT if index == label else "black",
            fontweight="bold" if index == label else "normal",
        )
    left.set(xlabel="clip, from the video's start to its end")
    best = int(mean.argmax())
    colours = [RIGHT if i == label else WRONG if i == best else PLAIN for i in order]
    right.barh(range(len(order)), mean[order], color=colours, height=0.7)
    for row, index in enumerate(order):
        right.text(mean[index] + 0.02, row, f"{mean[index]:.2f}", va="center", fontsize=9)
    right.set(xlim=(0, 1.15), xlabel="mean over the clips")
    right.set_xticks(np.linspace(0, 1, 6))
    right.tick_params(labelleft=False)
    open_axes(right)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def prediction(
    pictures: Sequence[np.ndarray],
    scores: np.ndarray,
    labels: Sequence[str],
    agreement: Sequence[float],
    *,
    seconds: tuple[float, float],
    title: str = "",
) -> Figure:
    """Show a video's frames, what its clips say over time, and their mean as bars.

    Args:
        pictures: (h, w, 3) uint8 frames of one size, in time's order.
        scores: (clips, classes) probabilities of the best classes, the best first.
        labels: names of these classes.
        agreement: of each class, the share of clips that say it.
        seconds: where the first clip starts and the last one ends.
        title: above the figure.
    """
    height, width = pictures[0].shape[:2]
    inches = min(10 / len(pictures) * height / width, 2.4)
    below = 0.75 + 0.3 * len(labels)
    figure = Figure(10, inches + below + (0.3 if title else 0), photographs=True)
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=(inches, below)).flat
    for ax, picture in zip(upper.subplots(1, len(pictures), squeeze=False)[0], pictures, strict=True):
        _picture(ax, picture)
    left, right = lower.subplots(1, 2, width_ratios=(3, 2), sharey=True)
    extent = (*seconds, len(labels) - 0.5, -0.5)
    left.imshow(
        scores.T, cmap="Blues", vmin=0, vmax=1, aspect="auto", extent=extent, interpolation="nearest"
    )
    left.set_yticks(range(len(labels)), labels)
    left.set(xlabel="time [s], darker is more probable")
    mean = scores.mean(0)
    right.barh(range(len(labels)), mean, color=[CHOSEN] + [PLAIN] * (len(labels) - 1), height=0.7)
    for row, (value, share) in enumerate(zip(mean, agreement, strict=True)):
        right.text(value + 0.02, row, f"{value:.2f}, {share:.0%} of clips", va="center", fontsize=9)
    right.set(xlim=(0, 1.5), xlabel="mean probability, and clips that say it first")
    right.set_xticks(np.linspace(0, 1, 6))
    right.tick_params(labelleft=False)
    open_axes(right)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def evenly(num_frames: int, count: int) -> np.ndarray:
    """Return the numbers of at most `count` evenly spaced frames, the first and last among them."""
    return np.linspace(0, num_frames - 1, min(count, num_frames)).round().astype(int)


def _picture(ax: Axes, frame: np.ndarray) -> None:
    ax.imshow(frame)
    ax.set_xticks([])
    ax.set_yticks([])


def _intervals(ax: Axes, value: Values, low: Values, high: Values) -> None:
    """Draw intervals as whiskers on horizontal bars."""
    centre = np.asarray(value, float)
    errors = np.maximum([centre - np.asarray(low), np.asarray(high) - centre], 0)
    ax.errorbar(centre, range(len(centre)), xerr=errors, fmt="none", ecolor="black", capsize=2.5, lw=1)
