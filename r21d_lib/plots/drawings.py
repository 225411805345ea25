"""Drawings of kernels, blocks, networks and responses, made from the code's own numbers."""

from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Polygon, Rectangle
from matplotlib.ticker import MaxNLocator

from r21d_lib.models.kinds import midplanes
from r21d_lib.plots.style import _KIND_LABELS, BOTH, KIND_COLOURS, PLAIN, SPACE, TIME, Figure, open_axes

if TYPE_CHECKING:
    from r21d_lib.models.counting import Stage


def kernels() -> Figure:
    """Draw what one output value is computed from, with t = d = 3 (after the paper's figure 2).

    A clip is a row of frames seen from the side; coloured pixels are those that the kernel covers.
    """
    figure = Figure(
        10, 6.2, about="What one output value of a 2D, a 3D and a (2+1)D convolution is computed from"
    )
    axes = figure.subplots(2, 2)
    block = {(t, y, x) for t in (1, 2, 3) for y in (1, 2, 3) for x in (1, 2, 3)}
    square = {cell for cell in block if cell[0] == 2}
    line = {(t, 2, 2) for t in (1, 2, 3)}
    pictures = (
        ("2D:  1 × d × d", square, SPACE, "$d^2 N_{in} N_{out}$ weights, frames do not mix"),
        ("3D:  t × d × d", block, BOTH, "$t d^2 N_{in} N_{out}$ weights, space and time at once"),
        ("(2+1)D, first:  1 × d × d", square, SPACE, "$d^2 N_{in} M$ weights, then BN and ReLU"),
        ("(2+1)D, then:  t × 1 × 1", line, TIME, "$t M N_{out}$ weights, the same pixel in time"),
    )
    for ax, (title, covered, colour, text) in zip(axes.flat, pictures, strict=True):
        _draw_frames(ax, covered, colour)
        ax.set_title(title, fontsize=12, fontweight="bold")
        ax.text(0.5, -0.06, text, ha="center", va="top", transform=ax.transAxes, fontsize=11)
    return figure


_SIDE, _FRAMES = 56, 8  # of the input of a block [pixels], and how many
MIDDLE_RULES = ("paper, VMZ", "torchvision", "M = N_out")


class BlockCosts(NamedTuple):
    """What `block_costs` counts; weights and work have four parts: first space, first time, and second.

    Attributes:
        middles: M of the two convolutions.
        weights: "3D" and "(2+1)D" to the weights of each part; 3D has all in its space parts.
        work: the same of the multiply-adds.
    """

    middles: tuple[int, int]
    weights: dict[str, list[int]]
    work: dict[str, list[int]]


def block_costs(
    n_in: int,
    n_out: int,
    *,
    t: int = 3,
    d: int = 3,
    stride: int = 1,
    rule: str = MIDDLE_RULES[0],
) -> BlockCosts:
    """Count weights and multiply-adds of a block's two convolutions, 3D and (2+1)D, on 8 x 56 x 56.

    Args:
        n_in: channels into the first; it gives `n_out`, and the second keeps them.
        n_out: channels out.
        t: frames that a kernel spans.
        d: pixels that it spans.
        stride: of the first convolution, in time and space.
        rule: how wide the middle is. "paper, VMZ" asks `midplanes` for each convolution, "torchvision"
            for the first one only and takes its answer for both; "M = N_out" asks nobody.
    """
    first, second = midplanes(n_in, n_out, t=t, d=d), midplanes(n_out, n_out, t=t, d=d)
    middles = {
        MIDDLE_RULES[0]: (first, second),
        MIDDLE_RULES[1]: (first, first),
        MIDDLE_RULES[2]: (n_out, n_out),
    }[rule]
    weights: dict[str, list[int]] = {"3D": [], "(2+1)D": []}
    work: dict[str, list[int]] = {"3D": [], "(2+1)D": []}
    height, length = _SIDE, _FRAMES
    for channels, m, step in zip((n_in, n_out), middles, (stride, 1), strict=True):
        small, short = -(-height // step), -(-length // step)
        pair = (d * d * channels * m, t * m * n_out)
        whole = t * d * d * channels * n_out
        weights["3D"] += [whole, 0]
        weights["(2+1)D"] += pair
        # The spatial step strides in space only, so it still works on all frames.
        work["3D"] += [whole * short * small**2, 0]
        work["(2+1)D"] += [pair[0] * length * small**2, pair[1] * short * small**2]
        height, length = small, short
    return BlockCosts(middles, weights, work)


def factorized_block(
    n_in: int,
    n_out: int,
    *,
    t: int = 3,
    d: int = 3,
    stride: int = 1,
    rule: str = MIDDLE_RULES[0],
) -> Figure:
    """Compare weights and multiply-adds of a residual block's two convolutions, 3D and (2+1)D.

    The arguments are those of `block_costs`.
    """
    middles, weights, work = block_costs(n_in, n_out, t=t, d=d, stride=stride, rule=rule)
    figure = Figure(
        10, 3.0, about="Weights and multiply-adds of a block, 3D beside (2+1)D, as stacked bars"
    )
    panels = figure.subplots(1, 2, sharey=True)
    parts = [("first, space", SPACE, ""), ("first, time", TIME, "")]
    parts += [("second, space", SPACE, "////"), ("second, time", TIME, "////")]
    for ax, values, scale, label in (
        (panels[0], weights, 1e3, "weights [10³]"),
        (panels[1], work, 1e9, f"multiply-adds [10⁹], {_FRAMES} × {_SIDE} × {_SIDE} in"),
    ):
        for kind, numbers in values.items():
            left = 0.0
            for number, (_, colour, hatch) in zip(numbers, parts, strict=True):
                shown = BOTH if kind == "3D" else colour
                style = {"hatch": hatch, "edgecolor": "white"}
                ax.barh(kind, number / scale, left=left, color=shown, height=0.6, **style)
                left += number / scale
            ax.text(left, kind, f" {left:,.2f}" if left < 100 else f" {left:,.0f}", va="center")
        ax.set(xlabel=label, xlim=(0, 1.22 * max(sum(v) for v in values.values()) / scale))
        ax.xaxis.set_major_locator(MaxNLocator(4))
        open_axes(ax)
    panels[0].invert_yaxis()
    handles = [
        Rectangle((0, 0), 1, 1, facecolor=colour, hatch=hatch, edgecolor="white", label=name)
        for name, colour, hatch in (*parts, ("3D (hatched: second)", BOTH, ""))
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    share = sum(weights["(2+1)D"]) / sum(weights["3D"])
    figure.suptitle(
        f"{n_in} → {n_out} → {n_out} channels, {rule}:  M = {middles[0]} and {middles[1]},  "
        f"(2+1)D / 3D = {share:.4f} of the weights",
        fontsize=11,
    )
    return figure


def network_groups(groups: Mapping[str, Sequence[str]], parameters: Mapping[str, int]) -> Figure:
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


def response_strips(responses: Mapping[str, np.ndarray], *, signed: bool = False) -> Figure:
    """Show (T, H, W) maps, a row each and a column a frame; a row has one scale of colour.

    Args:
        responses: a name to its map.
        signed: puts zero in the middle of the colours; otherwise zero is white.
    """
    num_frames = len(next(iter(responses.values())))
    inches = 9.6 / num_frames
    figure = Figure(
        11,
        len(responses) * (inches + 0.06) + 0.3,
        about="Responses frame by frame, a row of small pictures for each",
    )
    figure.set_layout_engine("constrained", h_pad=0.03, w_pad=0.03, hspace=0, wspace=0)
    axes = figure.subplots(len(responses), num_frames, squeeze=False)
    for row, (name, response) in zip(axes, responses.items(), strict=True):
        for t, ax in enumerate(row):
            _map(ax, response, t, signed)
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=11)
    for t, ax in enumerate(axes[0]):
        ax.set_title(f"frame {t}", fontsize=10)
    return figure


def response_frame(rows: Mapping[str, Mapping[str, np.ndarray]], frame: int) -> Figure:
    """Show one frame of several signed (T, H, W) maps: row name to column name to map."""
    columns = list(next(iter(rows.values())))
    figure = Figure(
        2.6 * len(columns) + 1.4,
        2.4 * len(rows) + 0.6,
        about="Responses of one frame, a row a step, a column a clip",
    )
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for line, (name, maps) in zip(axes, rows.items(), strict=True):
        for ax, column in zip(line, columns, strict=True):
            _map(ax, maps[column], frame, True)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=11)
    for ax, column in zip(axes[0], columns, strict=True):
        ax.set_title(column, fontsize=11)
    figure.suptitle(f"frame {frame}", fontsize=11)
    return figure


def _map(ax: Axes, response: np.ndarray, frame: int, signed: bool) -> None:
    """Draw one frame of a (T, H, W) map, coloured by the whole map's scale."""
    top = max(float(np.abs(response).max()), 1e-9)
    # PuOr rather than red and blue, because blue means space in these figures.
    ax.imshow(
        response[frame],
        cmap="PuOr_r" if signed else "Greys",
        vmin=-top if signed else 0.0,
        vmax=top,
    )
    ax.set_xticks([])
    ax.set_yticks([])


def _draw_frames(ax: Axes, covered: Set[tuple[int, int, int]], colour: str) -> None:
    """Draw five frames of 5 x 5 pixels in a row, seen obliquely, with the covered pixels coloured."""

    def corner(t: int, y: float, x: float) -> tuple[float, float]:
        return 2.6 * t + 0.42 * x, 0.8 * y + 0.3 * x

    for t in range(5):
        for y in range(5):
            for x in range(5):
                points = [corner(t, y + j, x + i) for j, i in ((0, 0), (0, 1), (1, 1), (1, 0))]
                face = colour if (t, y, x) in covered else "#F4F4F4"
                ax.add_patch(Polygon(points, facecolor=face, edgecolor="#B0B0B0", linewidth=0.7))
        ax.text(2.6 * t + 0.5, -0.75, f"{t}", ha="center", fontsize=10, color="#606060")
    ax.text(-0.2, -0.75, "frame", ha="right", fontsize=10, color="#606060")
    ax.set(xlim=(-1.3, 13.2), ylim=(-1.0, 5.8))
    ax.set_aspect("equal")
    ax.axis("off")


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
    names = [stage.name for stage in next(iter(networks.values()))]
    shades = ["#D7E3EE", "#B5C9DB", "#8DA9C4", "#5D84A8", "#34618C", "#1F3B5B"]
    for ax, cost, unit, label in zip(
        axes, ("parameters", "multiply_adds"), (1e6, 1e9), labels, strict=True
    ):
        left = np.zeros(len(networks))
        for number, name in enumerate(names):
            values = np.array([getattr(stages[number], cost) / unit for stages in networks.values()])
            ax.barh(rows, values, left=left, color=shades[number], label=name, height=0.7)
            left += values
        for row, total in enumerate(left):
            ax.text(total + 0.01 * left.max(), row, f"{total:.1f}", va="center", fontsize=9)
        ax.set(xlabel=label, xlim=(0, 1.12 * left.max()))
        open_axes(ax)
    axes[0].set_yticks(rows, list(networks))
    axes[0].invert_yaxis()
    axes[1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    return figure
