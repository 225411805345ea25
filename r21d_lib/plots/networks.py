"""Drawings of networks: the convolutions of their groups, what they make of a clip, what they cost."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from r21d_lib.errors import SettingsError
from r21d_lib.plots.style import _KIND_LABELS, KIND_COLOURS, PLAIN, Figure, open_axes

if TYPE_CHECKING:
    from r21d_lib.models.counting import Stage

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


def network_groups(groups: Mapping[str, Sequence[str]], parameters: Mapping[str, int]) -> Figure:
    """Draw which convolution each of the five groups of each network uses (after figure 1).

    Args:
        groups: a network's label to the kinds of its five groups, "2d", "3d", "2+1d" or a changed one.
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
            colour, label, change = _look(kind)
            ax.add_patch(Rectangle((column + 0.03, row - 0.42), 0.94, 0.84, color=colour))
            text = ax.text(column + 0.5, row, change or label, ha="center", va="center_baseline")
            text.set(color="white", fontsize=8 if change else 10)
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
            and accuracy (percent); a missing number is written as unknown.
        kinds: the name to "2d", "3d", "2+1d" or "mixed", which gives the colour.
    """
    figure = Figure(10, 0.9 + 0.3 * len(table), about="Three columns of bars, a row a network")
    axes = figure.subplots(1, 3, sharey=True)
    colours = [KIND_COLOURS.get(kinds[name], PLAIN) for name in table.index]
    rows = np.arange(len(table))
    for ax, column, scale in ((axes[0], "parameters", 1e-6), (axes[1], "GFLOPs", 1.0)):
        values = table[column].to_numpy(float) * scale
        largest = max(values[np.isfinite(values)], default=1.0)
        ax.barh(rows, values, color=colours, height=0.7)
        _write_values(ax, values, 0.01 * largest)
        ax.set_xlim(0, 1.18 * largest)
    accuracy = table["accuracy"].to_numpy(float)
    known = accuracy[np.isfinite(accuracy)]
    axes[2].scatter(accuracy, rows, color=colours, s=55)
    _write_values(axes[2], accuracy, 0.25)
    if len(known):
        axes[2].set_xlim(known.min() - 0.7, known.max() + 1.2)
    else:
        axes[2].set_xticks([])
    axes[2].grid(axis="x", alpha=0.3)
    axes[0].set_yticks(rows, table.index)
    axes[0].invert_yaxis()
    labels = ("parameters [millions]", "multiply-adds [10⁹]", "published video@1 [%]")
    for ax, label in zip(axes, labels, strict=True):
        ax.set_xlabel(label)
        open_axes(ax)
    return figure


def _write_values(ax: Axes, values: np.ndarray, gap: float) -> None:
    """Write each row's number behind its bar or point, or at the left that it is unknown."""
    for row, value in enumerate(values):
        if np.isfinite(value):
            ax.text(value + gap, row, f"{value:.1f}", va="center", fontsize=9)
        else:
            place = ax.get_yaxis_transform()
            ax.text(0.02, row, "unknown", va="center", fontsize=9, color="#606060", transform=place)


def _look(kind: str) -> tuple[str, str, str]:
    """Return the colour, the label and what is changed (or nothing) of a kind of convolution."""
    base, change = _CHANGED.get(kind, (kind, ""))
    if base not in KIND_COLOURS:
        known = ", ".join([*KIND_COLOURS, *_CHANGED])
        raise SettingsError(f"no convolution is called {kind!r}: choose one of {known}")
    return KIND_COLOURS[base], _KIND_LABELS[base], change


def network_flow(stages: "Sequence[Stage]", kinds: Sequence[str], *, title: str = "") -> Figure:
    """Draw what the groups of a network make of a clip, after the paper's table 1.

    A box is as wide as its output has frames, with a line between two frames, and as high as it has
    pixels; behind it, pale, the width of the whole clip. The colour is the kind of convolution, and the
    lines below say what one value of the output is computed from.

    Args:
        stages: from `counting.count_stages`, with the last one, fc, which sees the whole clip.
        kinds: of each of the five groups: "2d", "3d", "2+1d" or a changed one of `ablations`.
        title: above the drawing.
    """
    groups = [stage for stage in stages if stage.name.startswith("conv")]
    frames, pixels = stages[-1].sees_frames, groups[0].shape[2]  # R2D's conv1 has one frame left
    figure = Figure(
        11,
        3.8,
        about="A network's groups as boxes, each as wide as it has frames and as high as it has pixels",
    )
    ax = figure.subplots()
    for column, (stage, kind) in enumerate(zip(groups, kinds, strict=True)):
        channels, t, h, _ = stage.shape
        colour, label, change = _look(kind)
        width, height = max(0.02, 0.8 * t / frames), max(0.12, 2.0 * h / pixels)
        bottom = 1.0 - height / 2
        ax.add_patch(Rectangle((column - 0.4, bottom), 0.8, height, color="#ECECEC"))
        ax.add_patch(Rectangle((column - width / 2, bottom), width, height, color=colour))
        if frames <= _MOST_LINES:
            between = column - width / 2 + width / t * np.arange(1, t)
            ax.vlines(between, bottom, bottom + height, color="white", linewidth=0.6)
        ax.text(column, 2.3, f"{stage.name}, {label}", ha="center", fontweight="bold")
        ax.text(column, 2.1, change, ha="center", fontsize=9)
        lines = (
            f"{channels} × {t} × {h} × {h}",
            f"{stage.parameters / 1e6:.2f} M parameters",
            f"{stage.multiply_adds / 1e9:.2f} G multiply-adds",
            f"sees {_extent(stage.sees_frames, frames)} of {stage.sees_pixels} px",
        )
        for line, text in enumerate(lines):
            ax.text(column, -0.35 - 0.33 * line, text, ha="center", fontsize=10)
    one = "one frame" if frames == 1 else f"{frames} frames"
    note = f"pale: as wide as the clip, {one}"
    if frames <= _MOST_LINES:
        note += "; each stripe of colour is a frame"
    ax.text(-0.5, -1.85, note, fontsize=9, color="#606060")
    ax.set(xlim=(-0.55, len(groups) - 0.45), ylim=(-2.0, 2.75))
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
