"""Every figure of the notebooks: a function from arrays and tables to a matplotlib Figure.

Two colours mean the same in all of them: blue is space, orange is time; green is both at once (3D).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

from r21d_lib.files import whole_file

# Okabe and Ito's palette, distinguishable with any colour vision.
SPACE, TIME, BOTH, GREY, WRONG = "#0072B2", "#E69F00", "#009E73", "#999999", "#D55E00"
Values = np.ndarray | pd.Series
_KIND_COLOURS = {"2d": SPACE, "3d": BOTH, "2+1d": TIME}


def frame_strip(frames: np.ndarray, *, count: int = 8, title: str = "") -> Figure:
    """Show `count` evenly spaced frames of a (T, H, W, 3) uint8 video in a row, with their numbers."""
    return clip_grid({title: frames}, count=count)


def clip_grid(clips: Mapping[str, np.ndarray], *, count: int = 8) -> Figure:
    """Show one row a clip: its name and `count` evenly spaced frames of (T, H, W, 3) uint8."""
    height, width = next(iter(clips.values())).shape[1:3]
    figure = Figure(figsize=(11, len(clips) * 11 / count * height / width + 0.3), layout="constrained")
    axes = figure.subplots(len(clips), count, squeeze=False)
    for row, (name, frames) in zip(axes, clips.items(), strict=True):
        picked = np.linspace(0, len(frames) - 1, count).round().astype(int)
        for ax, index in zip(row, picked, strict=True):
            ax.imshow(frames[index])
            ax.set_xticks([])
            ax.set_yticks([])
            if len(clips) == 1:
                ax.set_xlabel(f"frame {index}", fontsize=8)
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=10)
    return figure


def training_curves(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw loss and clip accuracy on the training videos against the epoch, a line a run."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for colour, (name, history) in zip(
        (SPACE, TIME, BOTH, WRONG, GREY), histories.items(), strict=False
    ):
        left.plot(history["epoch"], history["loss"], "o-", color=colour, label=name, markersize=4)
        right.plot(
            history["epoch"], history["train_accuracy"], "o-", color=colour, label=name, markersize=4
        )
        if "validation_accuracy" in history:
            right.plot(
                history["epoch"],
                history["validation_accuracy"],
                "s--",
                color=colour,
                label=f"{name}, held out",
                markersize=4,
            )
    left.set(xlabel="epoch", ylabel="cross entropy", title="Loss on training clips")
    right.set(
        xlabel="epoch", ylabel="fraction right", title="Accuracy on training clips", ylim=(0, 1.02)
    )
    for ax in (left, right):
        ax.grid(alpha=0.3)
        ax.legend(fontsize=9)
    return figure


def per_class_accuracy(table: pd.DataFrame, *, sort: str = "accuracy", highlight: str = "") -> Figure:
    """Draw video@1 of each class as a bar with its 95% Wilson interval.

    Args:
        table: from `evaluation.per_class`.
        sort: the column to order by, "accuracy" or "class".
        highlight: a class whose bar stands out.
    """
    rows = table.sort_values(sort, ascending=sort != "class")
    figure = Figure(figsize=(8, 0.9 + 0.26 * len(rows)), layout="constrained")
    ax = figure.subplots()
    colours = [TIME if name == highlight else SPACE for name in rows["class"]]
    ax.barh(rows["class"], rows["accuracy"], color=colours, height=0.7)
    _intervals(ax, rows["accuracy"], rows["low"], rows["high"])
    for y, (correct, total) in enumerate(zip(rows["correct"], rows["videos"], strict=True)):
        ax.text(1.02, y, f"{correct} / {total}", va="center", fontsize=8)
    mean = rows["correct"].sum() / rows["videos"].sum()
    ax.axvline(mean, color=GREY, linestyle=":", linewidth=1.5)
    ax.set(
        xlim=(0, 1.12),
        xlabel=f"video top-1 (dotted: all videos, {mean:.3f}; whiskers: 95% Wilson interval)",
    )
    ax.set_xticks(np.linspace(0, 1, 6))
    return figure


def accuracy_bars(
    results: Mapping[str, tuple[float, float, float]], *, xlabel: str = "video top-1"
) -> Figure:
    """Compare runs: name to (accuracy, low, high) as fractions."""
    figure = Figure(figsize=(8, 0.8 + 0.42 * len(results)), layout="constrained")
    ax = figure.subplots()
    names, values = list(results)[::-1], np.array(list(results.values()))[::-1]
    ax.barh(names, values[:, 0], color=SPACE, height=0.6)
    _intervals(ax, *values.T)
    for y, (accuracy, _, high) in enumerate(values):
        ax.text(high + 0.015, y, f"{accuracy:.3f}", va="center", fontsize=9)
    ax.set(xlim=(0, 1.12), xlabel=f"{xlabel} (whiskers: 95% Wilson interval)")
    return figure


def confusion_matrix(counts: np.ndarray, classes: Sequence[str]) -> Figure:
    """Draw (classes, classes) counts, a row a true class, coloured by the share of its row."""
    size = 2.6 + 0.36 * len(classes) if len(classes) <= 20 else 10.0
    figure = Figure(figsize=(size, size), layout="constrained")
    ax = figure.subplots()
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    small = len(classes) <= 20
    ax.set_xticks(range(len(classes)), classes, rotation=90, fontsize=9 if small else 6)
    ax.set_yticks(range(len(classes)), classes, fontsize=9 if small else 6)
    if small:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                colour = "white" if share[row, column] > 0.5 else "black"
                ax.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=8)
    ax.set(xlabel="predicted class", ylabel="true class")
    return figure


def video_scores(
    probabilities: np.ndarray, classes: Sequence[str], label: int, *, top: int = 5, title: str = ""
) -> Figure:
    """Show what each clip of one video says, and their mean.

    Args:
        probabilities: (clips, classes).
        classes: class names.
        label: the true class; its row is named in green.
        top: how many classes to show.
        title: above the figure.
    """
    mean = probabilities.astype(np.float32).mean(0)
    order = np.argsort(-mean)[: min(top, len(classes))]
    figure = Figure(figsize=(9, 0.9 + 0.34 * len(order)), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2), sharey=True)
    left.imshow(
        probabilities[:, order].T.astype(np.float32), cmap="Blues", vmin=0, vmax=1, aspect="auto"
    )
    left.set_xticks(range(len(probabilities)))
    left.set_yticks(range(len(order)), [classes[i] for i in order])
    for tick, index in zip(left.get_yticklabels(), order, strict=True):
        tick.set_color(BOTH if index == label else "black")
        tick.set_fontweight("bold" if index == label else "normal")
    left.set(xlabel="clip", title=title)
    right.barh(range(len(order)), mean[order], color=[BOTH if i == label else GREY for i in order])
    right.set(xlim=(0, 1), xlabel="mean over the clips")
    return figure


def kernels() -> Figure:
    """Draw the kernels of 2D, 3D and (2+1)D convolution, t = d = 3 (after the paper's figure 2)."""
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    axes = figure.subplots(1, 4)
    pictures = (
        ("2D: 1 x d x d", (1, 3), SPACE),
        ("3D: t x d x d", (3, 3), BOTH),
        ("(2+1)D, step 1: 1 x d x d", (1, 3), SPACE),
        ("step 2: t x 1 x 1", (3, 1), TIME),
    )
    for ax, (title, (t, d), colour) in zip(axes, pictures, strict=True):
        _draw_block(ax, t, d, colour)
        ax.set_title(title, fontsize=11)
        ax.set_aspect("equal")
        ax.axis("off")
        ax.set(xlim=(-2.3, 4.4), ylim=(-1.6, 4.6))
    axes[0].text(1.0, -1.3, "frames do not mix", ha="center", fontsize=9)
    axes[1].text(1.0, -1.3, "space and time at once", ha="center", fontsize=9)
    axes[2].text(1.0, -1.3, "space, into M channels", ha="center", fontsize=9)
    axes[3].text(1.0, -1.3, "BN, ReLU, then time", ha="center", fontsize=9)
    return figure


def network_groups(groups: Mapping[str, Sequence[str]], parameters: Mapping[str, int]) -> Figure:
    """Draw which convolution each of the five groups of each network uses (after figure 1).

    Args:
        groups: the paper's name to five of "2d", "3d", "2+1d".
        parameters: the paper's name to the number of parameters.
    """
    figure = Figure(figsize=(9, 0.9 + 0.34 * len(groups)), layout="constrained")
    ax = figure.subplots()
    for row, (name, kinds) in enumerate(groups.items()):
        for column, kind in enumerate(kinds):
            ax.add_patch(Rectangle((column, -row - 0.8), 0.94, 0.7, color=_KIND_COLOURS[kind]))
            ax.text(column + 0.47, -row - 0.45, kind.upper(), ha="center", va="center", color="white")
        ax.text(-0.1, -row - 0.45, name, ha="right", va="center")
        ax.text(5.1, -row - 0.45, f"{parameters[name] / 1e6:.1f} M", va="center")
    for column, name in enumerate(("conv1", "conv2_x", "conv3_x", "conv4_x", "conv5_x")):
        ax.text(column + 0.47, 0.15, name, ha="center")
    ax.text(5.1, 0.15, "parameters")
    ax.set(xlim=(-1.2, 6.2), ylim=(-len(groups), 0.6))
    ax.axis("off")
    return figure


def impulse_responses(responses: Mapping[str, np.ndarray]) -> Figure:
    """Show where an impulse goes: name to (T, H, W) magnitudes, one row each, a column a frame."""
    num_frames = len(next(iter(responses.values())))
    figure = Figure(figsize=(1.5 * num_frames, 1.6 * len(responses)), layout="constrained")
    axes = figure.subplots(len(responses), num_frames, squeeze=False)
    for row, (name, response) in zip(axes, responses.items(), strict=True):
        for t, ax in enumerate(row):
            ax.imshow(response[t], cmap="magma", vmin=0, vmax=max(response.max(), 1e-9))
            ax.set_xticks([])
            ax.set_yticks([])
            ax.set_title(f"frame {t}", fontsize=8)
        row[0].set_ylabel(name)
    return figure


def write_figures(folder: Path) -> list[Path]:
    """Write the figures that need no data: factorization.png and networks.png; return their paths."""
    import torch

    from r21d_lib.networks import GROUPS, PAPER_NAMES, build_network

    with torch.device("meta"):
        nets = {PAPER_NAMES[name]: build_network(name, 18, clip_len=8) for name in GROUPS}
    parameters = {name: sum(p.numel() for p in net.parameters()) for name, net in nets.items()}
    groups = {PAPER_NAMES[name]: kinds for name, kinds in GROUPS.items()}
    figures = {"factorization.png": kernels(), "networks.png": network_groups(groups, parameters)}
    for name, figure in figures.items():
        with whole_file(folder / name) as partial:
            figure.savefig(partial, dpi=110)
    return [folder / name for name in figures]


def _draw_block(ax: Axes, t: int, d: int, colour: str) -> None:
    """Draw a t x d x d block of cells in a slanted projection: frames recede to the upper right."""
    for frame in reversed(range(t)):
        x0, y0 = 0.75 * frame - 0.4, 0.55 * frame
        if d == 1:
            x0, y0 = x0 + 1, y0 + 1
        for i in range(d):
            for j in range(d):
                corner = (x0 + i, y0 + j)
                ax.add_patch(Rectangle(corner, 1, 1, facecolor=colour, edgecolor="white", alpha=0.9))
        top = [(x0, y0 + d), (x0 + d, y0 + d), (x0 + d + 0.3, y0 + d + 0.22), (x0 + 0.3, y0 + d + 0.22)]
        side = [
            (x0 + d, y0),
            (x0 + d, y0 + d),
            (x0 + d + 0.3, y0 + d + 0.22),
            (x0 + d + 0.3, y0 + 0.22),
        ]
        for face in (top, side):
            ax.add_patch(Polygon(face, facecolor=colour, edgecolor="white", alpha=0.55))


def _intervals(ax: Axes, value: Values, low: Values, high: Values) -> None:
    centre = np.asarray(value, float)
    errors = np.maximum([centre - np.asarray(low), np.asarray(high) - centre], 0)
    ax.errorbar(centre, range(len(centre)), xerr=errors, fmt="none", ecolor="black", capsize=3, lw=1)
