"""Widgets: controls that redraw a figure, which is stored plain for readers without a kernel.

All of them call functions of `plots`; nothing is computed here. A notebook never reads a widget.
"""

import base64
import html
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from IPython.display import DisplayHandle, display

from r21d_lib import plots
from r21d_lib.errors import R21DError
from r21d_lib.evaluation.scores import Scores, confusion, per_class
from r21d_lib.plots.style import Figure

if TYPE_CHECKING:
    from ipywidgets import HTML, DOMWidget, ValueWidget

# What a browser test looks for.
SLIDER_CLASS, FIGURE_CLASS, FAULT_CLASS = "r21d-slider", "r21d-figure", "r21d-fault"
Draw = Callable[..., Figure | Sequence[Figure]]
Choice = tuple[int, int, int] | tuple[int, int, int, int] | Sequence[str]


class Shown:
    """A widget, and the plain figure that stands in its place where no kernel moves it.

    Both are in one output, of which a page shows one: JupyterLab the widget, GitHub the figure.
    """

    def __init__(self, widget: "DOMWidget", figure: Figure) -> None:
        self.widget = widget
        self.figure = figure

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, Any], dict[str, Any]]:
        kind = f"image/{self.figure.format}"
        view = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        data = {
            "text/plain": repr(self.figure),
            kind: base64.b64encode(self.figure.picture()).decode(),
            "application/vnd.jupyter.widget-view+json": view,
        }
        return data, {kind: {"alt": self.figure.alt}}


def show_in(place: "HTML", figure: Figure) -> None:
    """Put a figure into a widget with its text, for which ipywidgets' own Image has no place."""
    width, height = (int(100 * inches) for inches in figure.get_size_inches())
    size = f'width="{width}" height="{height}" style="max-width: 100%; height: auto"'
    data = base64.b64encode(figure.picture()).decode()
    place.value = (
        f'<img class="{FIGURE_CLASS}" alt="{html.escape(figure.alt)}" {size} '
        f'src="data:image/{figure.format};base64,{data}">'
    )


def say_in(place: "HTML", error: R21DError) -> None:
    """Put what stops a figure in its place, so that a former one does not stand for it."""
    place.value = f'<p class="{FAULT_CLASS}" role="alert">{html.escape(str(error))}</p>'


def explore(draw: Draw, **choices: Choice) -> None:
    """Show controls and the figures of `draw` that they redraw.

    Where ipywidgets is missing, the figures of the first choices and one line that says so are all
    there is. Where the figures of a later choice cannot be drawn, what stops them is shown instead.

    Args:
        draw: a pure function from the choices to one figure, or to several.
        choices: for each argument of `draw`, in the order of the page: (start, lowest, highest) or
            (start, lowest, highest, step) makes a slider, a list of names makes a menu that starts
            with the first.
    """
    start = {name: choice[0] for name, choice in choices.items()}
    figures = _listed(draw(**start))
    try:
        import ipywidgets
    except ImportError:
        for figure in figures:
            display(figure)
        print("Install ipywidgets to move the controls of this figure.")
        return
    controls = {name: _control(name, choice) for name, choice in choices.items()}
    places = [ipywidgets.HTML() for _ in figures]

    def put(redrawn: Sequence[Figure]) -> None:
        for place, figure in zip(places, redrawn, strict=True):
            show_in(place, figure)

    def redraw(*_: object) -> None:
        try:
            redrawn = _listed(draw(**{name: control.value for name, control in controls.items()}))
        except R21DError as error:
            say_in(places[0], error)
            for place in places[1:]:
                place.value = ""
        else:
            put(redrawn)

    for control in controls.values():
        control.observe(redraw, names="value")
    # The first figure with the controls, each further one in an output of its own.
    first = ipywidgets.VBox([*controls.values(), places[0]])
    for widget, figure in zip([first, *places[1:]], figures, strict=True):
        display(Shown(widget, figure))
    put(figures)


def frame_slider(frames: np.ndarray, *, title: str = "") -> None:
    """Move through a (T, H, W, 3) uint8 video, frame by frame."""

    def draw(frame: int) -> Figure:
        return plots.single_frame(frames, frame, title=title)

    explore(draw, frame=(0, 0, len(frames) - 1))


def live_curves(runs: Mapping[str, Path]) -> Callable[..., None]:
    """Return what draws the curves of some runs, and redraws them in place each time it is called.

    Args:
        runs: a name to the folder of a run of `training.train`; those that have not begun are left
            out. Call it from `on_epoch`, or as the `watch` of `run_many`.
    """
    shown: list[DisplayHandle] = []

    def redraw(*_: object) -> None:
        tables = {name: folder / "metrics.csv" for name, folder in runs.items()}
        histories = {name: pd.read_csv(file) for name, file in tables.items() if file.is_file()}
        figure = plots.training_curves(histories)
        if shown:
            shown[0].update(figure)
        else:
            shown.append(display(figure, display_id=True))

    return redraw


def mistake_explorer(scores: Scores, frames_of: Callable[[int], np.ndarray]) -> None:
    """Open the cells of the confusion matrix beside its diagonal: the videos that are behind them.

    Args:
        scores: of a test list.
        frames_of: from a video's number in the scores to its (T, H, W, 3) uint8 frames.
    """
    counts = confusion(scores)
    np.fill_diagonal(counts, 0)
    cells = {
        f"{scores.classes[row]} taken for {scores.classes[column]} ({counts[row, column]})": (
            row,
            column,
        )
        for row, column in zip(
            *np.unravel_index(np.argsort(-counts, axis=None), counts.shape), strict=True
        )
        if counts[row, column]
    }
    if not cells:
        print("Every video is right: there is no cell to open.")
        return
    best = scores.video_probabilities.argmax(1)

    def draw(cell: str, video: int) -> list[Figure]:
        row, column = cells[cell]
        behind = np.flatnonzero((scores.labels == row) & (best == column))
        number = int(behind[min(video, len(behind)) - 1])
        title = f"{scores.names[number]}, {min(video, len(behind))} of {len(behind)}"
        return [
            plots.frame_strip(frames_of(number), title=title),
            plots.video_scores(
                scores.probabilities[number], scores.classes, int(row), views=scores.views
            ),
        ]

    explore(draw, cell=list(cells), video=(1, 1, int(counts.max())))


def class_explorer(scores: Scores, frames_of: Callable[[int], np.ndarray]) -> None:
    """Choose a class to see it among the others, and one of its videos to see what its clips say.

    It starts with the class whose accuracy is lowest.

    Args:
        scores: of a test list.
        frames_of: from a video's number in the scores to its (T, H, W, 3) uint8 frames.
    """
    table = per_class(scores)
    members = {
        name: np.flatnonzero(scores.labels == label)
        for label, name in enumerate(scores.classes)
        if (scores.labels == label).any()
    }
    worst = str(table.dropna(subset="accuracy").sort_values("accuracy")["class"].iloc[0])

    # The bars do not depend on the video; with 51 classes they take most of the time.
    @lru_cache(maxsize=8)
    def bars(name: str, order: str) -> Figure:
        return plots.per_class_accuracy(table, sort=order, highlight=name)

    def draw(action: str, order: str, video: int) -> list[Figure]:
        numbers = members[action]
        number = int(numbers[min(video, len(numbers)) - 1])
        title = f"{action}, video {min(video, len(numbers))} of {len(numbers)}"
        label = int(scores.labels[number])
        return [
            bars(action, order),
            plots.frame_strip(frames_of(number), title=title),
            plots.video_scores(scores.probabilities[number], scores.classes, label, views=scores.views),
        ]

    explore(
        draw,
        action=[worst, *(name for name in members if name != worst)],
        order=["accuracy", "class"],
        video=(1, 1, max(len(numbers) for numbers in members.values())),
    )


def _listed(figures: Figure | Sequence[Figure]) -> list[Figure]:
    return [figures] if isinstance(figures, Figure) else list(figures)


def _control(name: str, choice: Choice) -> "ValueWidget":
    """Build the slider or the menu of one choice."""
    import ipywidgets

    description = name.replace("_", " ")
    if isinstance(choice[0], str):
        return ipywidgets.Dropdown(options=list(choice), description=description)
    start, low, high, *step = choice
    slider = ipywidgets.IntSlider(start, low, high, *step, description=description)
    slider.add_class(SLIDER_CLASS)
    return slider
