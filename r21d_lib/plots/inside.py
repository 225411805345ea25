"""Figures of what is inside a network: kernels, attention, feature maps."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from r21d_lib.errors import SettingsError
from r21d_lib.plots.style import (
    BOTH,
    CHOSEN,
    DARK,
    PLAIN,
    SPACE,
    TIME,
    TURNS,
    WRONG,
    Figure,
    draw_legend,
    evenly,
    open_axes,
    plain,
    run_style,
)

_CLASS_COLOURS = (SPACE, TIME, BOTH, TURNS, WRONG, DARK)
_CLASS_MARKERS = ("o", "s", "^")


def kernel_images(kernels: np.ndarray, *, columns: int = 16, title: str = "") -> Figure:
    """Show spatial kernels as small pictures, mid-grey where a weight is 0.

    Args:
        kernels: (N, channels, h, w), each shown by its own scale: three channels as colours, one in
            grey, two (of optical flow) in grey beside each other, x and y.
        columns: kernels in a row.
        title: above them.

    Raises:
        SettingsError: if the kernels have other channels.
    """
    pictures = [_as_picture(kernel) for kernel in kernels]
    rows = -(-len(kernels) // columns)
    title = _with_channels(title, kernels)
    height, width = pictures[0].shape[:2]
    figure = Figure(
        10,
        10 / columns * rows * height / width + (0.4 if title else 0.1),
        about="Kernels as small pictures",
    )
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for ax, picture in zip(axes.flat[: len(pictures)], pictures, strict=True):
        ax.imshow(picture)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def kernel_films(kernels: np.ndarray, *, title: str = "") -> Figure:
    """Show 3D kernels as columns of pictures, the earliest frame on top.

    Args:
        kernels: (N, channels, t, h, w), each shown by its own scale over all of its frames, the
            channels as in `kernel_images`.
        title: above them.

    Raises:
        SettingsError: if the kernels have other channels than three, two or one.
    """
    films = [_as_picture(kernel) for kernel in kernels]
    count, frames = len(kernels), kernels.shape[2]
    title = _with_channels(title, kernels)
    height, width = films[0].shape[1:3]
    figure = Figure(
        10,
        10 / count * frames * height / width + (0.4 if title else 0.1),
        about="Kernels as small films, a column a kernel, a row a frame",
    )
    axes = figure.subplots(frames, count, squeeze=False)
    for column, film in enumerate(films):
        for frame, picture in enumerate(film):
            axes[frame, column].imshow(picture)
            axes[frame, column].set(xticks=[], yticks=[])
    for frame, label in enumerate(("before", "now", "after") if frames == 3 else ()):
        axes[frame, 0].set_ylabel(label, fontsize=9)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def temporal_kernels(kernels: np.ndarray, kinds: pd.DataFrame) -> Figure:
    """Draw the twelve strongest temporal kernels of each kind as curves over three frames.

    A kernel and its negative have one kind, and are drawn alike: the largest weight is made positive.

    Args:
        kernels: (N, 3).
        kinds: from `inspection.sort_temporal_kernels`, a row a kernel. Those of no kind, all zeros, are
            counted above the panels.
    """
    names = ("blur", "derivative", "delay", "present")
    figure = Figure(10, 2.7, about="Temporal kernels as lines of three weights, a panel a kind")
    for ax, name in zip(figure.subplots(1, len(names), sharey=True), names, strict=True):
        of_kind = kinds[kinds["kind"] == name].nlargest(12, "strength")
        for index in of_kind.index:
            curve = kernels[index] / np.linalg.norm(kernels[index])
            curve = curve * np.sign(curve[np.abs(curve).argmax()])
            ax.plot((-1, 0, 1), curve, color=TIME, alpha=0.6, linewidth=1.2)
        ax.axhline(0, color="black", linewidth=0.6)
        share = (kinds["kind"] == name).mean()
        ax.set(title=f"{name}: {100 * share:.0f}%", ylim=(-1.1, 1.1))
        ax.set_xticks((-1, 0, 1), ["before", "now", "after"])
        open_axes(ax)
    figure.axes[0].set_ylabel("weight, norm 1,\nlargest positive")
    none = ~kinds["kind"].isin(names)
    if none.any():
        figure.suptitle(f"all zeros: {none.sum()} of {len(kinds)} kernels", fontsize=11)
    return figure


def attention(frames: np.ndarray, maps: Mapping[str, np.ndarray]) -> Figure:
    """Show a clip and, in a row a network, where and when it speaks for the class.

    Args:
        frames: (T, H, W, 3) uint8.
        maps: a row's name to (T, H, W), 0 to 1, from `inspection.grad_cam`.
    """
    picked = evenly(len(frames), 8)
    height, width = frames.shape[1:3]
    rows = 1 + len(maps)
    figure = Figure(
        11,
        rows * (9.6 / len(picked) * height / width + 0.05) + 0.3,
        photographs=True,
        about="Frames of a clip, and below them where each network looks, bright on them",
    )
    figure.set_layout_engine("constrained", h_pad=0.015, w_pad=0.015, hspace=0, wspace=0)
    axes = figure.subplots(rows, len(picked), squeeze=False)
    heat = matplotlib.colormaps["inferno"]
    for column, index in enumerate(picked):
        axes[0, column].imshow(frames[index])
        axes[0, column].set_title(f"frame {index}", fontsize=9)
        for row, weights in enumerate(maps.values(), start=1):
            grey = np.repeat(frames[index].mean(-1, keepdims=True), 3, -1) / 255
            weight = weights[index][..., None]
            mixed = (1 - 0.75 * weight) * grey + 0.75 * weight * heat(weights[index])[..., :3]
            axes[row, column].imshow(mixed.clip(0, 1))
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
    for ax, name in zip(axes[:, 0], ("the clip", *maps), strict=True):
        ax.set_ylabel(name, rotation=0, ha="right", va="center")
    return figure


def feature_map(points: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> Figure:
    """Draw a dot a video in a plane, by class, with each class's name at its middle.

    Args:
        points: (videos, 2).
        labels: (videos,) int64.
        classes: names.
    """
    figure = Figure(8, 5.6, about="Videos as points in a plane, coloured by class")
    ax = figure.subplots()
    for label, name in enumerate(classes):
        own = points[labels == label]
        if not len(own):
            continue
        colour = _CLASS_COLOURS[label % len(_CLASS_COLOURS)]
        marker = _CLASS_MARKERS[label // len(_CLASS_COLOURS) % len(_CLASS_MARKERS)]
        ax.scatter(own[:, 0], own[:, 1], s=20, color=colour, marker=marker, alpha=0.6, linewidth=0)
        _halo(ax, np.median(own, 0), plain(name), colour)
    ax.set(xlabel="first principal direction", ylabel="second principal direction")
    ax.set(xticks=[], yticks=[])
    open_axes(ax)
    return figure


def low_rank(errors: Mapping[str, np.ndarray], rank: int, kernels: np.ndarray) -> Figure:
    """Draw what is lost of kernels when their matrix keeps a rank, and one kernel before and after.

    Args:
        errors: a kind of kernel to (ranks + 1,) shares of its squared weights lost at rank 0, 1, ...
        rank: the one that is marked.
        kernels: (2, t, h, w), one kernel and what is left of it, shown by the scale of the first.
    """
    figure = Figure(
        10,
        3.4,
        about="Squared weights lost against the rank that is kept, and a kernel with and without loss",
    )
    panels = figure.add_gridspec(2, 1 + kernels.shape[1], width_ratios=[5, *[1] * kernels.shape[1]])
    ax = figure.add_subplot(panels[:, 0])
    colours = (DARK, TIME, SPACE, CHOSEN)
    lines = []
    for number, lost in enumerate(errors.values()):
        colour, _, kind = run_style(number, colours)
        lines += ax.plot(lost, color=colour, lw=2, linestyle=kind)
        ax.plot(rank, lost[rank], "o", color=colour, clip_on=False)
    ax.axvline(rank, color=PLAIN, lw=1, zorder=0)
    ax.set(xlabel="rank that is kept (midplanes M)", ylabel="share of the weights' square lost")
    ax.set(xlim=(0, None), ylim=(0, 1))
    draw_legend(ax, lines, list(errors))
    open_axes(ax)
    largest = np.abs(kernels[0]).max()
    for row, (kernel, title) in enumerate(zip(kernels, ("the kernel", f"rank {rank}"), strict=True)):
        for frame, picture in enumerate(kernel):
            small = figure.add_subplot(panels[row, 1 + frame])
            small.imshow(picture, cmap="gray", vmin=-largest, vmax=largest)
            small.set(xticks=[], yticks=[], title=f"frame {frame + 1}" if row == 0 else "")
            if frame == 0:
                small.set_ylabel(title)
    return figure


def histogram(values: Mapping[str, np.ndarray], *, label: str) -> Figure:
    """Compare distributions of numbers from 0 to 1, an outline a name.

    Args:
        values: a name to numbers. Where some are below 0 or above 1, the axis is longer.
        label: of the axis.

    Raises:
        SettingsError: if a number is not finite.
    """
    for name, numbers in values.items():
        if lost := int((~np.isfinite(numbers)).sum()):
            raise SettingsError(
                f"{lost} of the {len(numbers)} numbers of {name!r} are not finite and have no place "
                "in a histogram: leave them out and say so"
            )
    figure = Figure(8, 3.2, about="Histograms, one laid over the other")
    ax = figure.subplots()
    colours = (BOTH, PLAIN, CHOSEN)
    low = min(0.0, *(float(np.min(numbers)) for numbers in values.values()))
    high = max(1.0, *(float(np.max(numbers)) for numbers in values.values()))
    areas = []
    for number, numbers in enumerate(values.values()):
        heights, edges = np.histogram(numbers, bins=40, range=(low, high), density=True)
        if number < len(colours):
            areas.append(ax.stairs(heights, edges, fill=True, color=colours[number], alpha=0.5))
        else:  # there is no other colour, and more areas on each other would hide each other
            colour, _, line = run_style(number - len(colours), colours)
            areas.append(ax.stairs(heights, edges, color=colour, linestyle=line, linewidth=1.5))
    ax.set(xlabel=label, ylabel="density", xlim=(low, high), ylim=(0, None))
    draw_legend(ax, areas, list(values))
    open_axes(ax)
    return figure


def _as_picture(kernel: np.ndarray) -> np.ndarray:
    """Turn (channels, ..., h, w) weights into (..., h, w', 3) colours, 0 mid-grey, the largest full.

    Three channels are red, green and blue; one is grey; of two each is grey, the second at the right of
    the first behind a white gap.
    """
    shown = 0.5 + 0.5 * kernel / max(np.abs(kernel).max(), 1e-12)
    if len(kernel) == 2:
        gap = np.ones_like(shown[0, ..., : max(1, shown.shape[-1] // 5)])
        shown = np.concatenate([shown[0], gap, shown[1]], axis=-1)[None]
    if len(shown) == 1:
        shown = np.repeat(shown, 3, axis=0)
    if len(shown) != 3:
        raise SettingsError(
            f"kernels over 3, 2 or 1 channels can be drawn, and these span {len(kernel)}: choose some"
        )
    return np.moveaxis(shown, 0, -1)


def _with_channels(title: str, kernels: np.ndarray) -> str:
    """Return a title that says, of kernels over optical flow, which picture is which."""
    where = "x at the left, y at the right" if kernels.shape[1] == 2 else ""
    return ", ".join(filter(None, (title, where)))


def _halo(ax: Axes, place: np.ndarray, text: str, colour: str) -> None:
    """Write text that stays readable on dots."""
    box = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1}
    ax.text(
        place[0], place[1], text, color=colour, fontweight="bold", ha="center", va="center", bbox=box
    )
