"""The dashboard: scores files of one test list, class by class and mistake by mistake, by controls.

`voila docs/dashboard.ipynb` serves it as a page. Nothing is computed here: the figures are those of
`plots`, of scores that were kept.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from r21d_lib import plots
from r21d_lib.data import safe_decoder
from r21d_lib.errors import R21DError
from r21d_lib.evaluation.scores import Scores, confusion, per_class, with_clips
from r21d_lib.plots.style import Figure
from r21d_lib.plots.widgets import SLIDER_CLASS, say_in, show_in
from r21d_lib.training import scored
from r21d_lib.training.scored import ScoredList

if TYPE_CHECKING:
    from ipywidgets import Dropdown, VBox

_NONE = "nothing"
_NO_MISTAKE = "every video is right"


def dashboard(files: Sequence[str | Path] | None = None) -> "VBox":
    """Return the dashboard as one widget: a row of controls, and below it the pictures.

    Args:
        files: scores files, the first is shown first; None takes all below build/runs, newest first.

    Raises:
        DatasetError: if there are none, or one cannot be read.
    """
    import ipywidgets

    lists = [ScoredList.load(file) for file in (files or scored.find())]
    by_title = dict(zip(scored.titles(lists), lists, strict=True))
    most = lists[0].scores.probabilities.shape[1]
    wide = {"description_width": "initial"}
    first = ipywidgets.Dropdown(options=list(by_title), description="scores")
    second = ipywidgets.Dropdown(description="beside")
    clips = ipywidgets.IntSlider(most, 1, most, description="clips", continuous_update=False)
    order = ipywidgets.Dropdown(options=["accuracy", "class"], description="order")
    cell = ipywidgets.Dropdown(description="open", layout={"width": "22rem"})
    number = ipywidgets.BoundedIntText(1, min=1, max=1, description="film", layout={"width": "9rem"})
    for control in (first, second, clips, order, cell, number):
        control.style = wide
    clips.add_class(SLIDER_CLASS)
    bars, matrix, film = (ipywidgets.HTML() for _ in range(3))
    behind: dict[str, tuple[int, np.ndarray]] = {}

    def kept(title: str, count: int) -> Scores:
        """Return scores of so many clips, or of all where there are fewer."""
        scores = by_title[title].scores
        return with_clips(scores, min(count, scores.probabilities.shape[1]))

    @lru_cache(maxsize=64)
    def table(title: str, count: int) -> tuple[pd.DataFrame, int]:
        some = kept(title, count)
        return per_class(some), some.probabilities.shape[1]

    def draw_classes(*_: object) -> None:
        titles = [first.value, *([second.value] if second.value not in (None, _NONE) else [])]
        opened = behind.get(cell.value or "")
        scores = by_title[first.value].scores
        highlight = scores.classes[opened[0]] if opened else None
        tables = {}
        for title in titles:
            of_classes, used = table(title, clips.value)
            less = f", {used} {'clip' if used == 1 else 'clips'}" if used < clips.value else ""
            tables[title + less] = of_classes
        show_in(bars, plots.classes_of_runs(tables, sort=order.value, highlight=highlight))

    def choose_scores(*_: object) -> None:
        """Offer what can stand beside the chosen scores, and the cells that can be opened."""
        behind.clear()  # of the former scores: the offers below redraw before there are new cells
        chosen = by_title[first.value]
        others = [t for t, one in by_title.items() if t != first.value and _comparable(chosen, one)]
        _offer(second, [_NONE, *others])
        before, all_of_them = clips.value, clips.value == clips.max
        clips.max = chosen.scores.probabilities.shape[1]  # sets a greater number down to it
        if all_of_them:
            clips.value = clips.max
        if clips.value == before:  # otherwise the slider has called it
            choose_clips()

    def choose_clips(*_: object) -> None:
        some = kept(first.value, clips.value)
        show_in(matrix, plots.confusion_matrix(confusion(some), some.classes))
        behind.clear()
        behind.update(_cells(some.labels, some.video_probabilities.argmax(1), some.classes))
        _offer(cell, list(behind) or [_NO_MISTAKE])
        draw_classes()
        open_cell()

    def open_cell(*_: object) -> None:
        number.max = len(behind[cell.value][1]) if cell.value in behind else 1
        draw_film()

    def draw_film(*_: object) -> None:
        if cell.value not in behind:
            film.value = ""
            return
        label, videos = behind[cell.value]
        shown = min(number.value, len(videos))
        which, folder = f"{shown} of {len(videos)}", by_title[first.value].videos
        try:
            opened = _opened(
                kept(first.value, clips.value), folder, int(videos[shown - 1]), label, which
            )
        except R21DError as error:
            say_in(film, error)
        else:
            show_in(film, opened)

    choose_scores()  # before anything observes, so that each picture is drawn once
    first.observe(choose_scores, names="value")
    clips.observe(choose_clips, names="value")
    for control in (second, order):
        control.observe(draw_classes, names="value")
    for follow in (draw_classes, open_cell):
        cell.observe(follow, names="value")
    number.observe(draw_film, names="value")
    controls = ipywidgets.HBox(
        [first, second, clips, order, cell, number],
        layout=ipywidgets.Layout(flex_flow="row wrap", align_items="center"),
    )
    half = ipywidgets.Layout(width="50%")
    pictures = ipywidgets.HBox([ipywidgets.VBox([bars, film], layout=half), matrix])
    matrix.layout = half
    return ipywidgets.VBox([controls, pictures])


def _offer(menu: "Dropdown", options: Sequence[str]) -> None:
    menu.options = options
    menu.value = options[0]


def _comparable(one: ScoredList, other: ScoredList) -> bool:
    try:
        scored.same_videos(one, other)
    except R21DError:
        return False
    return True


def _cells(
    labels: np.ndarray, said: np.ndarray, classes: Sequence[str]
) -> dict[str, tuple[int, np.ndarray]]:
    """Return the cells beside the diagonal that hold videos, the largest first: label and videos."""
    pairs, counts = np.unique(np.stack([labels, said])[:, labels != said], axis=1, return_counts=True)
    cells = {}
    for place in np.argsort(-counts, kind="stable"):
        label, found = (int(value) for value in pairs[:, place])
        name = f"{classes[label]} taken for {classes[found]} ({counts[place]})"
        cells[name] = label, np.flatnonzero((labels == label) & (said == found))
    return cells


def _opened(scores: Scores, folder: Path | None, place: int, label: int, which: str) -> Figure:
    """Draw a video's frames, or what its clips say where the file is not at hand."""
    title = f"{scores.names[place]}, {which}"
    if folder is not None:
        frames = np.stack(list(safe_decoder.stream(folder / scores.names[place])))
        return plots.frame_strip(frames, title=title)
    said = scores.probabilities[place]
    return plots.video_scores(said, scores.classes, label, title=title, views=scores.views)
