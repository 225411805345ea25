"""Drawings of kernels, blocks and responses, made from the code's own numbers."""

from collections.abc import Mapping, Set
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.patches import Polygon, Rectangle
from matplotlib.ticker import MaxNLocator

from r21d_lib.models.kinds import midplanes
from r21d_lib.plots.style import BOTH, SPACE, TIME, Figure, open_axes


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
            _map(ax, response, t, signed, _largest(response))
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=11)
    for t, ax in enumerate(axes[0]):
        ax.set_title(f"frame {t}", fontsize=10)
    return figure


def response_frame(rows: Mapping[str, Mapping[str, np.ndarray]], frame: int) -> Figure:
    """Show one frame of several signed (T, H, W) maps, all by one scale of colour, which is drawn.

    Args:
        rows: a row's name to a column's name to the map; every row has the same columns.
        frame: which one. The scale is that of all frames, so that frames compare as well.
    """
    columns = list(next(iter(rows.values())))
    top = _largest(*(response for maps in rows.values() for response in maps.values()))
    figure = Figure(
        2.6 * len(columns) + 2.2,
        2.4 * len(rows) + 0.6,
        about="Responses of one frame as small pictures, all by one scale of colour",
    )
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for line, (name, maps) in zip(axes, rows.items(), strict=True):
        for ax, column in zip(line, columns, strict=True):
            image = _map(ax, maps[column], frame, True, top)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=11)
    for ax, column in zip(axes[0], columns, strict=True):
        ax.set_title(column, fontsize=11)
    figure.colorbar(image, ax=axes, shrink=0.7, label="response")
    figure.suptitle(f"frame {frame}", fontsize=11)
    return figure


def _largest(*responses: np.ndarray) -> float:
    """Return the largest size of values, above 0."""
    return max(1e-9, *(float(np.abs(response).max()) for response in responses))


def _map(ax: Axes, response: np.ndarray, frame: int, signed: bool, top: float) -> AxesImage:
    """Draw one frame of a (T, H, W) map, in full colour where a value is `top`."""
    # PuOr rather than red and blue, because blue means space in these figures.
    image = ax.imshow(
        response[frame],
        cmap="PuOr_r" if signed else "Greys",
        vmin=-top if signed else 0.0,
        vmax=top,
    )
    ax.set_xticks([])
    ax.set_yticks([])
    return image


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
