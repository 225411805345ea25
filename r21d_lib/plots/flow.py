"""Optical flow drawn: as arrows on its frames, and as colour, where the hue is the direction."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb

from r21d_lib.plots.style import DARK, Figure, draw_frame, evenly, plain

_ARROWS = 24  # across a frame
_FASTEST = 99.5  # percentile whose speed has the full colour, so that a few wild pixels do not pale all


def flow_colours(flow: np.ndarray, *, fastest: float | None = None) -> np.ndarray:
    """Return flow as colour: the hue is the direction, full colour the fastest, white no motion.

    To the right is red, down is yellowish green, to the left cyan, up violet.

    Args:
        flow: (..., H, W, 2) to the right and down [pixels].
        fastest: the speed of full colour [pixels]; None takes the flow's own.

    Returns:
        (..., H, W, 3) uint8 RGB.
    """
    speed = np.hypot(flow[..., 0], flow[..., 1])
    full = fastest or max(float(np.percentile(speed, _FASTEST)), 1e-6)
    hue = np.arctan2(flow[..., 1], flow[..., 0]) / (2 * np.pi) % 1
    colour = np.stack([hue, np.clip(speed / full, 0, 1), np.ones_like(speed)], -1)
    return np.rint(255 * hsv_to_rgb(colour)).astype(np.uint8)


def flow(
    frames: np.ndarray, flow: np.ndarray, *, count: int = 4, title: str = "", magnify: float = 1.0
) -> Figure:
    """Show evenly spaced frames with their flow as arrows, below it as colour, and the colours' wheel.

    Args:
        frames: (T, H, W, 3) uint8.
        flow: (T - 1, H, W, 2) float, from each frame to the next, to the right and down [pixels].
        count: how many fields; fewer are shown where there are fewer.
        title: above the figure.
        magnify: how many times longer than the motion the arrows are.
    """
    picked = evenly(len(flow), count)
    height, width = frames.shape[1:3]
    speed = float(np.percentile(np.hypot(flow[..., 0], flow[..., 1]), _FASTEST))
    colours = flow_colours(flow, fastest=max(speed, 1e-6))
    columns = len(picked) + 1
    inches = 11 / columns
    figure = Figure(
        11,
        2 * inches * height / width + (0.75 if title else 0.5),
        photographs=True,
        about="Frames with their flow as arrows, and below as colour, with a wheel of directions",
    )
    axes = figure.subplots(2, columns, squeeze=False)
    for column, number in enumerate(picked):
        draw_frame(axes[0, column], frames[number])
        _arrows(axes[0, column], flow[number], magnify)
        draw_frame(axes[1, column], colours[number])
        axes[1, column].set_xlabel(f"frame {number} to {number + 1}")
    axes[0, -1].axis("off")
    _wheel(axes[1, -1], speed)
    if title:
        figure.suptitle(plain(title), fontsize=11)
    return figure


def _arrows(ax: Axes, flow: np.ndarray, magnify: float) -> None:
    """Draw the flow of every few pixels where something moves."""
    step = max(1, flow.shape[1] // _ARROWS)
    y, x = np.mgrid[step // 2 : flow.shape[0] : step, step // 2 : flow.shape[1] : step]
    right, down = flow[y, x, 0], flow[y, x, 1]
    moves = np.hypot(right, down) > 0.1 * max(float(np.hypot(right, down).max()), 1e-6)
    arrows = (magnify * right[moves], magnify * down[moves])
    style: dict[str, Any] = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.008}
    style |= {"color": "yellow", "edgecolor": DARK, "linewidth": 0.3}
    ax.quiver(x[moves], y[moves], *arrows, **style)
    ax.set(xlim=(-0.5, flow.shape[1] - 0.5), ylim=(flow.shape[0] - 0.5, -0.5))


def _wheel(ax: Axes, speed: float) -> None:
    """Draw which colour is which direction, from rest in the middle to full speed at the rim."""
    y, x = np.mgrid[-1:1:101j, -1:1:101j]
    wheel = flow_colours(np.stack([x, y], -1), fastest=1.0)
    wheel[np.hypot(x, y) > 1] = 255
    draw_frame(ax, wheel)
    ax.axis("off")
    ax.set_title(f"rim: {speed:.1f} pixels", fontsize=9)
