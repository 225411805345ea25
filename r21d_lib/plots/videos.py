"""Figures of frames and clips, and of a video's answers."""

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import SubFigure

from r21d_lib.plots.style import (
    CHOSEN,
    PLAIN,
    RIGHT,
    WRONG,
    Figure,
    draw_frame,
    evenly,
    open_axes,
    plain,
)


def frame_strip(frames: np.ndarray, *, title: str = "") -> Figure:
    """Show eight evenly spaced frames of a (T, H, W, 3) uint8 video, or all of fewer, in a row."""
    picked = evenly(len(frames), 8)
    height, width = frames.shape[1:3]
    inches = 11 / len(picked)
    figure = Figure(
        11,
        inches * height / width + (0.65 if title else 0.4),
        photographs=True,
        about="Frames of a video, left to right",
    )
    axes = figure.subplots(1, len(picked), squeeze=False)[0]
    for ax, index in zip(axes, picked, strict=True):
        draw_frame(ax, frames[index])
        ax.set_xlabel(f"frame {index}")
    if title:
        figure.suptitle(plain(title), fontsize=11)
    return figure


def clip_grid(clips: Mapping[str, np.ndarray], *, count: int = 8) -> Figure:
    """Show one row a clip: its name and evenly spaced frames of (T, H, W, 3) uint8, in time's order."""
    height, width = next(iter(clips.values())).shape[1:3]
    inches = 10 / count * height / width
    figure = Figure(
        11,
        len(clips) * (inches + 0.03) + 0.1,
        photographs=True,
        about="Frames left to right, a row each",
    )
    figure.set_layout_engine("constrained", h_pad=0.015, w_pad=0.015, hspace=0, wspace=0)
    axes = figure.subplots(len(clips), count, squeeze=False)
    for row, (name, frames) in zip(axes, clips.items(), strict=True):
        picked = evenly(len(frames), count)
        for ax in row[len(picked) :]:
            ax.axis("off")
        for ax, index in zip(row, picked, strict=False):
            draw_frame(ax, frames[index])
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
    figure = Figure(11, 0.9 + 0.2 * rows, about="Which part of a video each clip covers, a bar a clip")
    axes = figure.subplots(1, len(starts), sharey=True, squeeze=False)[0]
    for ax, (title, chosen) in zip(axes, starts.items(), strict=True):
        ax.barh(range(len(chosen)), span, left=list(chosen), height=0.7, color=CHOSEN)
        ax.set(title=plain(title), xlabel="frame of the video", xlim=(0, num_frames))
        ax.invert_yaxis()
        open_axes(ax)
    axes[0].set_ylabel("clip")
    axes[0].set_yticks(range(rows), [str(number + 1) for number in range(rows)], fontsize=8)
    axes[0].set_ylim(rows - 0.4, -0.6)
    return figure


def single_frame(frames: np.ndarray, frame: int, *, title: str = "") -> Figure:
    """Show frame number `frame` of a (T, H, W, 3) uint8 video."""
    height, width = frames.shape[1:3]
    figure = Figure(4.5, 4.5 * height / width + 0.4, photographs=True, about="One frame of a video")
    ax = figure.subplots()
    draw_frame(ax, frames[frame])
    ax.set_title(f"{plain(title)}, frame {frame} of {len(frames)}".lstrip(", "), fontsize=10)
    return figure


def video_scores(
    probabilities: np.ndarray, classes: Sequence[str], label: int, *, title: str = "", views: str = ""
) -> Figure:
    """Show what each clip of one video says of five classes, and their mean, the video's score.

    The numbers of many clips, which are wider than a column, are left to its colour.

    Args:
        probabilities: (clips, classes); clips of NaN, which the video does not have, are left out.
        classes: class names.
        label: the true class; it is shown even if it is not among the best.
        title: above the figure.
        views: as in `Scores`: whether a column is a clip, or one of several squares of it.
    """
    scores = probabilities[~np.isnan(probabilities).all(1)].astype(np.float32)
    mean = scores.mean(0)
    order = list(np.argsort(-mean, kind="stable")[:5])
    if label not in order:
        order[-1] = label
    figure = Figure(
        10,
        (1.35 if title else 1.1) + 0.34 * len(order),
        about="Probabilities of classes for each clip, and their mean over the clips as bars",
    )
    left, right = figure.subplots(1, 2, width_ratios=(3, 2), sharey=True)
    left.imshow(scores[:, order].T, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    names = [plain(classes[i]) for i in order]
    # About what the names leave of the left part, a column; "0.85" of 8 points is 18 points wide.
    column = 72 * max(0.6 * 10 - 0.5 - 0.085 * max(map(len, names)), 0.5) / len(scores)
    numbered = column > 19
    for row, index in enumerate(order):
        for clip, score in enumerate(scores[:, index] if numbered else ()):
            colour = "white" if score > 0.5 else "black"
            text = f"{score:.2f}" if score >= 0.005 else "0"
            left.text(clip, row, text, ha="center", va="center", fontsize=8, color=colour)
    left.set_xticks(range(0, len(scores), math.ceil(19 / column)))
    left.set_yticks(range(len(order)), names)
    for tick, index in zip(left.get_yticklabels(), order, strict=True):
        tick.set(
            color=RIGHT if index == label else "black",
            fontweight="bold" if index == label else "normal",
        )
    of_clip = "square of a clip" if re.search(r"\bsquares of each\b", views) else "clip"
    legend = "" if numbered else "\n(darker is more probable)"
    left.set(xlabel=f"{of_clip}, from the video's start to its end{legend}")
    best = int(mean.argmax())
    colours = [RIGHT if i == label else WRONG if i == best else PLAIN for i in order]
    right.barh(range(len(order)), mean[order], color=colours, height=0.7)
    for row, index in enumerate(order):
        right.text(mean[index] + 0.02, row, f"{mean[index]:.2f}", va="center", fontsize=9)
    right.set(xlim=(0, 1.15), xlabel=f"mean over the {of_clip.split()[0]}s")
    right.set_xticks(np.linspace(0, 1, 6))
    right.tick_params(labelleft=False)
    open_axes(right)
    if title:
        figure.suptitle(plain(title), fontsize=11)
    return figure


def prediction(
    pictures: Sequence[np.ndarray],
    scores: np.ndarray,
    labels: Sequence[str],
    agreement: Sequence[float],
    *,
    edges: np.ndarray,
    title: str = "",
) -> Figure:
    """Show a video's frames, what its clips say over time, and their mean as bars.

    Args:
        pictures: (h, w, 3) uint8 frames of one size, in time's order; without any, the rest is shown.
        scores: (clips, classes) probabilities of the best classes, the best first.
        labels: names of these classes.
        agreement: of each class, the share of clips that say it.
        edges: (clips + 1,) where each clip's column begins, and the last one ends [s].
        title: above the figure.
    """
    inches = 0.0
    if pictures:
        height, width = pictures[0].shape[:2]
        inches = min(10 / len(pictures) * height / width, 2.4)
    below = 0.75 + 0.3 * len(labels)
    figure = Figure(
        10,
        inches + below + (0.3 if title else 0),
        photographs=bool(pictures),
        about=f"{'Frames of a video, and the' if pictures else 'The'} classes that a network answers",
    )
    lower: Figure | SubFigure = figure
    if pictures:
        upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=(inches, below)).flat
        strip = upper.subplots(1, len(pictures), squeeze=False)[0]
        for ax, picture in zip(strip, pictures, strict=True):
            draw_frame(ax, picture)
    left, right = lower.subplots(1, 2, width_ratios=(3, 2), sharey=True)
    rows = np.arange(len(labels) + 1) - 0.5
    left.pcolormesh(edges, rows, scores.T, cmap="Blues", vmin=0, vmax=1)
    left.set(xlim=(edges[0], edges[-1]), ylim=(rows[-1], rows[0]))
    left.set_yticks(range(len(labels)), [plain(label) for label in labels])
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
        figure.suptitle(plain(title), fontsize=11)
    return figure
