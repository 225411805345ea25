"""Every figure of the notebooks: a pure function from arrays and tables to a `Figure`.

The colours mean the same in all of them: blue is space (2D), orange is time, green is both at once
(3D), wine is both in turn ((2+1)D). Bars and matrices that are not about kinds are grey-blue.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Polygon, Rectangle
from matplotlib.ticker import MaxNLocator

from r21d_lib.convolutions import midplanes
from r21d_lib.files import whole_file

# Distinguishable with any colour vision (after Okabe and Ito, and Tol).
SPACE, TIME, BOTH, TURNS = "#0072B2", "#E69F00", "#009E73", "#882255"
PLAIN, STRONG, GREY, RIGHT, WRONG = "#8DA0B3", "#1F3B5B", "#999999", "#009E73", "#D55E00"
_KIND_COLOURS = {"2d": SPACE, "3d": BOTH, "2+1d": TURNS}
_KIND_LABELS = {"2d": "2D", "3d": "3D", "2+1d": "(2+1)D"}
# For lines and bars of runs, whose number is not known beforehand.
_RUN_STYLES = ((STRONG, "o"), (WRONG, "s"), (BOTH, "^"), (TIME, "D"), (SPACE, "v"), (TURNS, "P"))
_FEW_CLASSES = 20
Values = np.ndarray | pd.Series


class Figure(matplotlib.figure.Figure):
    """A figure that notebooks show without pyplot, which would keep every figure open.

    Args:
        width: inches, of 100 pixels.
        height: inches.
        photographs: true where video frames fill it: then it is stored as JPEG, a tenth of the size.
    """

    def __init__(self, width: float, height: float, *, photographs: bool = False) -> None:
        super().__init__(figsize=(width, height), dpi=100, layout="constrained")
        FigureCanvasAgg(self)
        self.photographs = photographs

    @property
    def format(self) -> str:
        """Return "png" or "jpeg", the format of `picture`."""
        return "jpeg" if self.photographs else "png"

    def picture(self) -> bytes:
        """Return the figure as a PNG or JPEG file; the same figure always gives the same bytes."""
        buffer = io.BytesIO()
        options = {"pil_kwargs": {"quality": 88}} if self.photographs else {}
        self.savefig(buffer, format=self.format, dpi=100, **options)
        return buffer.getvalue()

    def _repr_png_(self) -> bytes | None:
        return None if self.photographs else self.picture()

    def _repr_jpeg_(self) -> bytes | None:
        return self.picture() if self.photographs else None


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
    picked = _evenly(len(frames), count)
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
    figure.get_layout_engine().set(h_pad=0.015, w_pad=0.015, hspace=0, wspace=0)
    axes = figure.subplots(len(clips), count, squeeze=False)
    for row, (name, frames) in zip(axes, clips.items(), strict=True):
        picked = _evenly(len(frames), count)
        for ax in row[len(picked) :]:
            ax.axis("off")
        for ax, index in zip(row, picked, strict=False):
            _picture(ax, frames[index])
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
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
        _open(ax)
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
        steps, colour = np.arange(1, curves.shape[1] + 1), _KIND_COLOURS[kinds[name]]
        for curve in curves:
            ax.plot(steps, curve, color=colour, linewidth=0.8, alpha=0.5)
        ax.plot(steps, curves.mean(0), color=colour, linewidth=2.2, label=name)
    ax.axhline(guessing, color="black", linestyle=":", linewidth=1.2, label="guessing")
    ax.set(xlabel="epoch", ylabel="cross entropy on training clips")
    ax.set_ylim(bottom=0)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(alpha=0.3)
    ax.legend()
    _open(ax)
    return figure


def per_class_accuracy(
    table: pd.DataFrame, *, sort: str = "accuracy", highlight: str | None = None
) -> Figure:
    """Draw video@1 of each class as a bar with its 95% Wilson interval.

    Args:
        table: from `evaluation.per_class`.
        sort: "accuracy" puts the best class on top, "class" orders by name.
        highlight: a class whose bar and name stand out.
    """
    ascending = sort != "class"  # the first row is drawn at the bottom
    rows = table.sort_values([sort, "class"], ascending=[ascending, False])
    figure = Figure(8.5, 0.9 + (0.27 if len(rows) <= _FEW_CLASSES else 0.2) * len(rows))
    ax = figure.subplots()
    colours = [STRONG if name == highlight else PLAIN for name in rows["class"]]
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
        xlabel=f"video@1 of the class, with its 95% interval (dotted: all videos, {mean:.3f})",
    )
    ax.set_xticks(np.linspace(0, 1, 6))
    _open(ax)
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
    _open(ax)
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
    _open(right)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def kernels() -> Figure:
    """Draw what one output value is computed from, with t = d = 3 (after the paper's figure 2).

    A clip is a row of frames seen from the side; coloured pixels are those that the kernel covers.
    """
    figure = Figure(10, 6.2)
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


def factorized_weights(n_in: int, n_out: int, *, t: int = 3, d: int = 3) -> Figure:
    """Compare the weights of a 3D convolution with those of the (2+1)D pair of width `midplanes`."""
    m = midplanes(n_in, n_out, t=t, d=d)
    full, spatial, temporal = t * d * d * n_in * n_out, d * d * n_in * m, t * m * n_out
    figure = Figure(8.5, 2.3)
    ax = figure.subplots()
    ax.barh("3D", full, color=BOTH, label=f"{t} × {d} × {d}: {full:,}")
    ax.barh("(2+1)D", spatial, color=SPACE, label=f"1 × {d} × {d}: {spatial:,}")
    ax.barh("(2+1)D", temporal, left=spatial, color=TIME, label=f"{t} × 1 × 1: {temporal:,}")
    ax.invert_yaxis()
    ax.set(
        xlim=(0, 1.02 * full),
        xlabel="weights",
        title=f"{n_in} channels in, {n_out} out:  M = {m},  "
        f"(2+1)D / 3D = {(spatial + temporal) / full:.4f}",
    )
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    _open(ax)
    return figure


def network_groups(groups: Mapping[str, Sequence[str]], parameters: Mapping[str, int]) -> Figure:
    """Draw which convolution each of the five groups of each network uses (after figure 1).

    Args:
        groups: the paper's name to five of "2d", "3d", "2+1d".
        parameters: the paper's name to the number of parameters.
    """
    figure = Figure(9, 0.7 + 0.38 * len(groups))
    ax = figure.subplots()
    for row, (name, kinds) in enumerate(groups.items()):
        for column, kind in enumerate(kinds):
            box = Rectangle((column + 0.03, row - 0.42), 0.94, 0.84, color=_KIND_COLOURS[kind])
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
    figure = Figure(10, 0.9 + 0.3 * len(table))
    axes = figure.subplots(1, 3, sharey=True)
    colours = [_KIND_COLOURS.get(kinds[name], PLAIN) for name in table.index]
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
        _open(ax)
    return figure


def response_strips(responses: Mapping[str, np.ndarray], *, signed: bool = False) -> Figure:
    """Show (T, H, W) maps, a row each and a column a frame; a row has one scale of colour.

    Args:
        responses: a name to its map.
        signed: puts zero in the middle of the colours; otherwise zero is white.
    """
    num_frames = len(next(iter(responses.values())))
    inches = 9.6 / num_frames
    figure = Figure(11, len(responses) * (inches + 0.06) + 0.3)
    figure.get_layout_engine().set(h_pad=0.03, w_pad=0.03, hspace=0, wspace=0)
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
    figure = Figure(2.6 * len(columns) + 1.4, 2.4 * len(rows) + 0.6)
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for line, (name, maps) in zip(axes, rows.items(), strict=True):
        for ax, column in zip(line, columns, strict=True):
            _map(ax, maps[column], frame, True)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=11)
    for ax, column in zip(axes[0], columns, strict=True):
        ax.set_title(column, fontsize=11)
    figure.suptitle(f"frame {frame}", fontsize=11)
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
            partial.write_bytes(figure.picture())
    return [folder / name for name in figures]


def _evenly(num_frames: int, count: int) -> np.ndarray:
    """Return the numbers of at most `count` evenly spaced frames, the first and last among them."""
    return np.linspace(0, num_frames - 1, min(count, num_frames)).round().astype(int)


def _picture(ax: Axes, frame: np.ndarray) -> None:
    ax.imshow(frame)
    ax.set_xticks([])
    ax.set_yticks([])


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


def _draw_frames(ax: Axes, covered: Iterable[tuple[int, int, int]], colour: str) -> None:
    """Draw five frames of 5 x 5 pixels in a row, seen obliquely, with the covered pixels coloured."""
    cells = set(covered)

    def corner(t: int, y: float, x: float) -> tuple[float, float]:
        return 2.6 * t + 0.42 * x, 0.8 * y + 0.3 * x

    for t in range(5):
        for y in range(5):
            for x in range(5):
                points = [corner(t, y + j, x + i) for j, i in ((0, 0), (0, 1), (1, 1), (1, 0))]
                face = colour if (t, y, x) in cells else "#F4F4F4"
                ax.add_patch(Polygon(points, facecolor=face, edgecolor="#B0B0B0", linewidth=0.7))
        ax.text(2.6 * t + 0.5, -0.75, f"{t}", ha="center", fontsize=10, color="#606060")
    ax.text(-0.2, -0.75, "frame", ha="right", fontsize=10, color="#606060")
    ax.set(xlim=(-1.3, 13.2), ylim=(-1.0, 5.8))
    ax.set_aspect("equal")
    ax.axis("off")


def _intervals(ax: Axes, value: Values, low: Values, high: Values) -> None:
    """Draw intervals as whiskers on horizontal bars."""
    centre = np.asarray(value, float)
    errors = np.maximum([centre - np.asarray(low), np.asarray(high) - centre], 0)
    ax.errorbar(centre, range(len(centre)), xerr=errors, fmt="none", ecolor="black", capsize=2.5, lw=1)


def _open(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
