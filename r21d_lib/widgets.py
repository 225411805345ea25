"""Widgets: each shows a plain figure first, for readers without a kernel, then controls that redraw it.

All of them call functions of `plots`; nothing is computed here. A notebook never reads a widget.
"""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from IPython.display import display
from matplotlib.figure import Figure

from r21d_lib import plots
from r21d_lib.evaluation import Scores, per_class

# What a browser test looks for.
SLIDER_CLASS, FIGURE_CLASS = "r21d-slider", "r21d-figure"


def png(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG picture."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return buffer.getvalue()


def explore(draw: Callable[..., Figure], **controls: Any) -> None:
    """Show `draw` with the controls' first values, then the controls and the figure they redraw.

    Args:
        draw: a pure function from the controls' values to a figure.
        controls: an ipywidgets control for each of its arguments, in the order of the page.
    """
    import ipywidgets

    first = draw(**{name: control.value for name, control in controls.items()})
    display(first)
    picture = ipywidgets.Image(value=png(first), format="png")
    picture.add_class(FIGURE_CLASS)

    def redraw(_: object) -> None:
        picture.value = png(draw(**{name: control.value for name, control in controls.items()}))

    for control in controls.values():
        control.observe(redraw, names="value")
        if isinstance(control, ipywidgets.IntSlider | ipywidgets.FloatSlider):
            control.add_class(SLIDER_CLASS)
    display(ipywidgets.VBox([*controls.values(), picture]))


def frame_slider(frames: np.ndarray, *, title: str = "") -> None:
    """Move through a (T, H, W, 3) uint8 video, frame by frame."""
    import ipywidgets

    def draw(frame: int) -> Figure:
        figure = Figure(figsize=(4, 3.2), layout="constrained")
        ax = figure.subplots()
        ax.imshow(frames[frame])
        ax.set_title(f"{title}  frame {frame} of {len(frames)}", fontsize=9)
        ax.axis("off")
        return figure

    explore(draw, frame=ipywidgets.IntSlider(0, 0, len(frames) - 1, description="frame"))


def class_explorer(scores: Scores, frames_of: Callable[[int], np.ndarray]) -> None:
    """Choose a class to see it among the others, and one of its videos to see what the clips said.

    Args:
        scores: of a test list.
        frames_of: from a video's number in the scores to its (T, H, W, 3) uint8 frames.
    """
    import ipywidgets

    table = per_class(scores)
    worst = table.sort_values("accuracy")["class"].iloc[0]
    members = {
        name: np.flatnonzero(scores.labels == label) for label, name in enumerate(scores.classes)
    }
    most = max(len(numbers) for numbers in members.values())

    def draw_classes(name: str, order: str) -> Figure:
        return plots.per_class_accuracy(table, sort=order, highlight=name)

    def draw_video(name: str, number: int) -> Figure:
        video = int(members[name][number % len(members[name])])
        label = int(scores.labels[video])
        return plots.video_scores(
            scores.probabilities[video], scores.classes, label, title=scores.names[video].split("/")[1]
        )

    def draw_frames(name: str, number: int) -> Figure:
        return plots.frame_strip(frames_of(int(members[name][number % len(members[name])])))

    name = ipywidgets.Dropdown(options=scores.classes, value=worst, description="class")
    order = ipywidgets.Dropdown(options=["accuracy", "class"], description="order by")
    number = ipywidgets.IntSlider(0, 0, most - 1, description="video")
    explore(draw_classes, name=name, order=order)
    explore(draw_video, name=name, number=number)
    explore(draw_frames, name=name, number=number)
