"""Figures of films and of clip length: where in a film the score comes from, and what frames cost."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.ticker import NullFormatter, ScalarFormatter

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
    draw_frame,
    evenly,
    open_axes,
    run_style,
)

_COLOURS = (SPACE, BOTH, TURNS, TIME, WRONG, DARK)  # of trainings

_STRIP = 10  # frames of a film


def film_scores(
    frames: np.ndarray,
    centres: np.ndarray,
    probabilities: np.ndarray,
    action: tuple[float, float],
    *,
    classes: tuple[str, ...],
    true: int,
) -> Figure:
    """Draw a film as a strip, and below it what each of its clips says.

    Args:
        frames: (T, H, W, 3) uint8.
        centres: (clips,) the middle of each clip, in frames.
        probabilities: (clips, classes) softmax of each clip; clips of NaN, which the film does not
            have, are left out.
        action: the first and the last frame of the action.
        classes: class names.
        true: the true class's position.
    """
    there = ~np.isnan(probabilities).all(1)
    centres, probabilities = centres[there], probabilities[there]
    figure = Figure(10, 4.0, photographs=True)
    grid = figure.add_gridspec(2, _STRIP, height_ratios=(1, 2.1))
    for column, index in enumerate(evenly(len(frames), _STRIP)):
        draw_frame(figure.add_subplot(grid[0, column]), frames[index])
    ax = figure.add_subplot(grid[1, :])
    ax.axvspan(*action, color=PLAIN, alpha=0.3, lw=0, label="the action")
    ax.plot(centres, probabilities[:, true], "o-", color=BOTH, label=f"each clip: {classes[true]}")
    others = [k for k in np.argsort(-probabilities.mean(0)) if k != true][:2]
    for other, marker in zip(others, "x+"[: len(others)], strict=True):
        ax.plot(
            centres,
            probabilities[:, other],
            ":",
            marker=marker,
            color=WRONG,
            label=f"each clip: {classes[other]}",
        )
    mean = float(probabilities[:, true].mean())
    ax.axhline(mean, color=BOTH, lw=1, ls="--", label=f"film: {classes[true]} {mean:.2f}")
    ax.set(xlim=(0, len(frames) - 1), ylim=(-0.03, 1.03), xlabel="frame at the middle of the clip")
    ax.set_ylabel("softmax")
    ax.legend(fontsize=8, ncol=5, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    open_axes(ax)
    return figure


def clip_lengths(table: pd.DataFrame, *, unit: str) -> Figure:
    """Draw video@1 (filled) and clip@1 (open) against the frames of the test clips, a line a training.

    Args:
        table: rows of `suite.clip_length.ClipLengths.table` of one way of testing.
        unit: what the intervals are over.
    """
    figure = Figure(9, 4.4)
    ax = figure.subplots()
    trainings = list(dict.fromkeys(table["training"]))
    # Side by side, on an axis of ratios; all of them nearer to their number of frames than to another.
    apart = min(1.025, 1.4 ** (1 / len(trainings)))
    for number, training in enumerate(trainings):
        colour, marker, _ = run_style(number, _COLOURS)  # dots are clip@1's
        its = table[table["training"] == training].sort_values("frames")
        x = its["frames"] * apart ** (number - len(trainings) / 2)
        whiskers = np.maximum([its["video@1"] - its["low"], its["high"] - its["video@1"]], 0)
        ax.errorbar(
            x, its["video@1"], yerr=whiskers, color=colour, marker=marker, capsize=3,
            label=f"trained on {training}",
        )  # fmt: skip
        ax.plot(x, its["clip@1"], ":", color=colour, marker=marker, markerfacecolor="white")
    ax.set_xscale("log", base=2)
    ax.set_xticks([8, 16, 32])
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.set(xlabel="frames of the test clips", ylabel="accuracy", ylim=(0, 1.02))
    ax.set_title(f"filled: video@1 with its 95% interval over {unit}; open: clip@1", fontsize=9)
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8, loc="lower right")
    open_axes(ax)
    return figure


def accuracy_by_clips(table: pd.DataFrame) -> Figure:
    """Draw video@1 against the multiply-adds spent on a film; each point says its number of clips.

    Args:
        table: from `suite.clip_length.ClipLengths.by_clips`.
    """
    figure = Figure(9, 4.2)
    ax = figure.subplots()
    trainings = list(dict.fromkeys(table["training"]))
    for number, training in enumerate(trainings):
        colour, marker, line = run_style(number, _COLOURS)
        its = table[table["training"] == training].sort_values("clips")
        label = f"trained on {training}, clips of {its['frames'].iloc[0]}"
        style: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": line}
        ax.plot(its["compute"], its["video@1"], label=label, **style)
        ax.fill_between(its["compute"], its["low"], its["high"], color=colour, alpha=0.12, lw=0)
        for row in its.to_dict("records"):
            ax.annotate(
                str(row["clips"]), (row["compute"], row["video@1"]), (0, 6),
                textcoords="offset points", ha="center", fontsize=8, color=colour,
            )  # fmt: skip
    ax.set_xscale("log")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set(xlabel="multiply-adds of all clips of a film [10^6]", ylabel="video@1")
    ax.grid(alpha=0.3, color=CHOSEN)
    ax.legend(fontsize=8, loc="lower right")
    open_axes(ax)
    return figure
