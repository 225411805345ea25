"""The figure class, the colours and the axes that all figures share.

The colours mean the same in all figures: blue is space (2D), orange is time, green is both at once
(3D), wine is both in turn ((2+1)D). Bars and matrices that are not about kinds are grey-blue.
"""

import io
import re
import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib
import matplotlib.figure
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from r21d_lib.errors import printable

# Distinguishable with any colour vision (after Okabe and Ito, and Tol).
SPACE, TIME, BOTH, TURNS = "#0072B2", "#E69F00", "#009E73", "#882255"
PLAIN, CHOSEN, DARK, RIGHT, WRONG = "#8DA0B3", "#4F7CAC", "#1F3B5B", "#009E73", "#D55E00"
KIND_COLOURS = {"2d": SPACE, "3d": BOTH, "2+1d": TURNS}
# For the lines of runs, whose number is not known beforehand: their colours, and what tells those apart
# whose colour is the same.
RUN_COLOURS = (DARK, WRONG, BOTH, TIME, SPACE, TURNS)
LINES = ("-", "--", "-.", ":")
_MARKERS = "os^DvP"
_LONGEST_LABEL = 80  # characters
_LONGEST_ALT, _MOST_TEXTS = 500, 40  # of a text for those who do not see a figure
_KIND_LABELS = {"2d": "2D", "3d": "3D", "2+1d": "(2+1)D"}


class Figure(matplotlib.figure.Figure):
    """A figure that notebooks show without pyplot, which would keep every figure open.

    Args:
        width: inches, of 100 pixels.
        height: inches.
        photographs: true where video frames fill it: then it is stored as JPEG, a tenth of the size.
        about: what kind of picture it is, the beginning of `alt`.
    """

    def __init__(
        self, width: float, height: float, *, photographs: bool = False, about: str = ""
    ) -> None:
        super().__init__(figsize=(width, height), dpi=100, layout="constrained")
        FigureCanvasAgg(self)
        self.photographs = photographs
        self.about = about

    @property
    def format(self) -> str:
        """Return "png" or "jpeg", the format of `picture`."""
        return "jpeg" if self.photographs else "png"

    def picture(self) -> bytes:
        """Return the figure as a PNG or JPEG file; the same figure always gives the same bytes."""
        buffer = io.BytesIO()
        options = {"quality": 88} if self.photographs else None
        self.savefig(buffer, format=self.format, dpi=100, pil_kwargs=options)
        return buffer.getvalue()

    @property
    def alt(self) -> str:
        """Return its text for readers who do not see it: what it is, then what is written in it."""
        written = [self.get_suptitle()]
        for ax in self.axes:
            legend = ax.get_legend()
            ticks = [label for axis in (ax.xaxis, ax.yaxis) for label in axis.get_ticklabels()]
            labels = [*(() if legend is None else legend.get_texts()), *ticks]
            names = [ax.get_title(), ax.get_xlabel(), ax.get_ylabel(), *(t.get_text() for t in labels)]
            written += [name for name in names if re.search(r"[^\W\d]", name)]  # no numbers of an axis
            written += [text.get_text() for text in ax.texts] if len(ax.texts) <= _MOST_TEXTS else []
        text = "; ".join(" ".join(name.replace(r"\$", "$").split()) for name in written if name)
        return textwrap.shorten(
            ": ".join(filter(None, (self.about, text))), _LONGEST_ALT, placeholder=" ..."
        )

    def drawing(self) -> bytes:
        """Return the figure as an SVG file; the same figure always gives the same bytes."""
        buffer = io.BytesIO()
        with matplotlib.rc_context({"svg.hashsalt": "r21d", "svg.fonttype": "none"}):
            self.savefig(buffer, format="svg", metadata={"Date": None})
        return buffer.getvalue()

    def _repr_png_(self) -> tuple[bytes, dict[str, str]] | None:
        return None if self.photographs else (self.picture(), {"alt": self.alt})

    def _repr_jpeg_(self) -> tuple[bytes, dict[str, str]] | None:
        return (self.picture(), {"alt": self.alt}) if self.photographs else None


class RunStyle(NamedTuple):
    """How the line of one of several runs is drawn."""

    colour: str
    marker: str
    line: str


def run_style(number: int, colours: Sequence[str] = RUN_COLOURS) -> RunStyle:
    """Return the style of run `number` of several, counted from 0.

    With six colours, of 144 runs no two have one style, of 36 no two have one colour and marker, of 24
    no two have one colour and kind of line.

    Args:
        number: of the run.
        colours: in the order in which they are taken.
    """
    count = len(colours)
    # A step further in each round of colours; the kind of line a second one in each round of markers.
    rounds, all_rounds = number // count, number // count**2
    marker = _MARKERS[(number + rounds) % len(_MARKERS)]
    return RunStyle(colours[number % count], marker, LINES[(rounds + all_rounds) % len(LINES)])


def draw_legend(ax: Axes, lines: Sequence[Any], names: Sequence[str], **where: Any) -> None:
    """Draw a legend of what has been drawn, under any name.

    Args:
        ax: the axes.
        lines: of the legend, as drawn.
        names: one a line.
        where: what `Axes.legend` takes besides.
    """
    # Numbers first: matplotlib leaves out a line whose name begins with "_".
    legend = ax.legend(lines, [str(number) for number in range(len(lines))], **where)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(name)


def plain(text: str) -> str:
    r"""Return a name from a file as matplotlib shows it letter for letter: no formula between two $."""
    return printable(text, _LONGEST_LABEL).replace("$", r"\$")


def open_axes(ax: Axes) -> None:
    """Hide the upper and right spines."""
    ax.spines[["top", "right"]].set_visible(False)


Values = np.ndarray | pd.Series


def evenly(num_frames: int, count: int) -> np.ndarray:
    """Return the numbers of at most `count` evenly spaced frames, the first and last among them."""
    return np.linspace(0, num_frames - 1, min(count, num_frames)).round().astype(int)


def draw_frame(ax: Axes, frame: np.ndarray) -> None:
    """Show a frame, (H, W, 3) uint8, without ticks."""
    ax.imshow(frame)
    ax.set_xticks([])
    ax.set_yticks([])


def draw_intervals(ax: Axes, value: Values, low: Values, high: Values) -> None:
    """Draw intervals as whiskers on horizontal bars."""
    centre = np.asarray(value, float)
    errors = np.maximum([centre - np.asarray(low), np.asarray(high) - centre], 0)
    ax.errorbar(centre, range(len(centre)), xerr=errors, fmt="none", ecolor="black", capsize=2.5, lw=1)
