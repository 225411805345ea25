"""Drawings of networks: the convolutions of their groups, what they make of a clip, what they cost."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.patches import Rectangle

from r21d_lib.plots.style import _KIND_LABELS, KIND_COLOURS, PLAIN, Figure, open_axes

if TYPE_CHECKING:
    from r21d_lib.models.counting import Stage


def network_groups(groups: Mapping[str, Sequence[str]], parameters: Mapping[str, int]) -> Figure:
# A changed kind of `ablations`: the paper's kind that it is drawn as, and what is changed.
_CHANGED = {
    "2+1d linear": ("2+1d", "no middle ReLU"),
    "2+1d no norm": ("2+1d", "no middle norm"),
    "1+2d": ("2+1d", "time first"),
    "2+1d half": ("2+1d", "half M"),
    "2+1d double": ("2+1d", "double M"),
    "3d 1x1x1": ("3d", "more ReLUs"),
}
# Each group has its own, so that networks with and without pool1 agree.
_SHADES = {
    "conv1": "#D7E3EE",
    "pool1": "#E6D9B8",
    "conv2_x": "#B5C9DB",
    "conv3_x": "#8DA9C4",
    "conv4_x": "#5D84A8",
    "conv5_x": "#34618C",
    "fc": "#1F3B5B",
}
_MOST_LINES = 64  # frames of a clip that are told apart in a box

    """Draw which convolution each of the five groups of each network uses (after figure 1).

    Args:
        groups: the paper's name to five of "2d", "3d", "2+1d".
        parameters: the paper's name to the number of parameters.
    """
    figure = Figure(
        9,
        0.7 + 0.38 * len(groups),
        about="The kind of convolution in each of five groups, a row a network",
    )
    ax = figure.subplots()
    for row, (name, kinds) in enumerate(groups.items()):
        for column, kind in enumerate(kinds):
            box = Rectangle((column + 0.03, row - 0.42), 0.94, 0.84, color=KIND_COLOURS[kind])
            ax.add_patch(box)
            ax.text(
                column + 0.5, row, _KIND_LABELS[kind], ha="center", va="center_baseline", color="white"
            )
        ax.text(-0.1, row, name, ha="right", va="center_baseline", fontweight="bold")
        ax.text(6.0, row, f"{parameters[name]:,}", ha="right", va="center_baseline")
    for column, name in enumerate(("conv1", "conv2_x", "conv3_x", "conv4_x", "conv5_x")):
        ax.text(column + 0.5, -0.75, name, ha="center", va="center_baseline")
    ax.text(6.0, -0.75, "parameters", ha="right", va="center_baseline")
    ax.set(xlim=(-0.8, 6.05), ylim=(len(groups) - 0.4, -1.1))
    ax.axis("off")
    return figure


def network_costs(table: pd.DataFrame, kinds: Mapping[str, str]) -> Figure:
    """Set parameters, multiply-adds and published accuracy of the networks side by side.

    Args:
        table: a row a network (the paper's name is the index) with the columns parameters, GFLOPs
            and accuracy (percent).
        kinds: the name to "2d", "3d", "2+1d" or "mixed", which gives the colour.
    """
    figure = Figure(10, 0.9 + 0.3 * len(table), about="Three columns of bars, a row a network")
    axes = figure.subplots(1, 3, sharey=True)
    colours = [KIND_COLOURS.get(kinds[name], PLAIN) for name in table.index]
    rows = np.arange(len(table))
    for ax, column, scale in ((axes[0], "parameters", 1e-6), (axes[1], "GFLOPs", 1.0)):
        values = table[column].to_numpy() * scale
        ax.barh(rows, values, color=colours, height=0.7)
        for row, value in enumerate(values):
            ax.text(value + 0.01 * values.max(), row, f"{value:.1f}", va="center", fontsize=9)
        ax.set_xlim(0, 1.18 * values.max())
    accuracy = table["accuracy"].to_numpy()
    axes[2].scatter(accuracy, rows, color=colours, s=55)
    for row, value in enumerate(accuracy):
        axes[2].text(value + 0.25, row, f"{value:.1f}", va="center", fontsize=9)
    axes[2].set_xlim(accuracy.min() - 0.7, accuracy.max() + 1.2)
    axes[2].grid(axis="x", alpha=0.3)
    axes[0].set_yticks(rows, table.index)
    axes[0].invert_yaxis()
    labels = ("parameters [millions]", "multiply-adds [10⁹]", "published video@1 [%]")
    for ax, label in zip(axes, labels, strict=True):
        ax.set_xlabel(label)
        open_axes(ax)
    return figure


def network_flow(stages: "Sequence[Stage]", kinds: Sequence[str], *, title: str = "") -> Figure:
    """Draw what the groups of a network make of a clip, after the paper's table 1.

    A box is as wide as its output has frames and as high as it has pixels; the colour is the kind of
    convolution, and the lines below say what one value of the output is computed from.

    Args:
        stages: from `counting.count_stages`.
        kinds: "2d", "3d" or "2+1d" of each of the five groups.
        title: above the drawing.
    """
    groups = [stage for stage in stages if stage.name.startswith("conv")]
    figure = Figure(
        11,
        3.6,
        about="A network's groups as boxes, each as wide as it has frames and as high as it has pixels",
    )
    ax = figure.subplots()
    frames, pixels = groups[0].shape[1], groups[0].shape[2]
    for column, (stage, kind) in enumerate(zip(groups, kinds, strict=True)):
        channels, t, h, _ = stage.shape
        width, height = max(0.06, 0.8 * t / frames), max(0.12, 2.0 * h / pixels)
        box = Rectangle((column - width / 2, 1.0 - height / 2), width, height, color=KIND_COLOURS[kind])
        ax.add_patch(box)
        ax.text(column, 2.3, f"{stage.name}, {_KIND_LABELS[kind]}", ha="center", fontweight="bold")
        lines = (
            f"{channels} × {t} × {h} × {h}",
            f"{stage.parameters / 1e6:.2f} M parameters",
            f"{stage.multiply_adds / 1e9:.2f} G multiply-adds",
            f"sees {_extent(stage.sees_frames, frames)} of {stage.sees_pixels} px",
        )
        for line, text in enumerate(lines):
            ax.text(column, -0.35 - 0.33 * line, text, ha="center", fontsize=10)
    ax.set(xlim=(-0.55, len(groups) - 0.45), ylim=(-1.6, 2.75))
    ax.axis("off")
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


def _extent(sees: int, frames: int) -> str:
    return "all frames" if sees >= 2 * frames else f"{sees} frame{'s' if sees > 1 else ''}"


def stage_costs(networks: "Mapping[str, Sequence[Stage]]") -> Figure:
    """Show where networks keep their parameters and where they spend their multiply-adds, by group.

    Args:
        networks: a name to its stages.
    """
    figure = Figure(
        11,
        0.9 + 0.5 * len(networks),
        about="Parameters and multiply-adds of networks, stacked by group",
    )
    axes = figure.subplots(1, 2, sharey=True)
    rows = np.arange(len(networks))
    labels = ("parameters [millions]", "multiply-adds [10⁹]")
    by_name = [{stage.name: stage for stage in stages} for stages in networks.values()]
    names = _in_order([list(stages) for stages in by_name])
    for ax, cost, unit, label in zip(
        axes, ("parameters", "multiply_adds"), (1e6, 1e9), labels, strict=True
    ):
        left = np.zeros(len(networks))
        for name in names:
            # 0 of a group that a network does not have
            values = np.array([getattr(stages.get(name), cost, 0) / unit for stages in by_name])
            shade = _SHADES.get(name, PLAIN)
            ax.barh(rows, values, left=left, color=shade, label=name, height=0.7)
            left += values
        for row, total in enumerate(left):
            ax.text(total + 0.01 * left.max(), row, f"{total:.1f}", va="center", fontsize=9)
        ax.set(xlabel=label, xlim=(0, 1.12 * left.max()))
        open_axes(ax)
    axes[0].set_yticks(rows, list(networks))
    axes[0].invert_yaxis()
    axes[1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    return figure


def _in_order(lists: Sequence[Sequence[str]]) -> list[str]:
    """Merge lists of names into one that keeps the order of each, as far as they agree."""
    merged: list[str] = []
    for names in lists:
        place = 0
        for name in names:
            if name not in merged:
                merged.insert(place, name)
            place = merged.index(name) + 1
    return merged
