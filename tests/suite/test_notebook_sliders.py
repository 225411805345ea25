"""The sliders of the notebooks do what is written beside them."""

import nbformat
import numpy as np
import pandas as pd

from r21d_lib import evaluation, plots
from r21d_lib.plots import widgets
from r21d_lib.suite.repository import NOTEBOOK_FOLDER


def test_notebook_07_takes_as_many_clips_as_its_slider_says(monkeypatch):
    cells = nbformat.read(NOTEBOOK_FOLDER / "07_evaluate_hmdb51.ipynb", as_version=4).cells
    (place,) = [at for at, cell in enumerate(cells) if "clips_used=" in cell.source]
    drawn, asked = [], {}
    monkeypatch.setattr(widgets, "explore", lambda draw, **choices: asked.update(choices, draw=draw))
    monkeypatch.setattr(evaluation, "per_class", drawn.append)
    monkeypatch.setattr(plots, "per_class_accuracy", lambda *_, **__: None)
    said = np.random.default_rng(0).dirichlet((1, 1), (20, 10)).astype(np.float16)
    names = tuple(f"{'ab'[n % 2]}/{n}.avi" for n in range(20))
    scores = evaluation.Scores(names, np.arange(20) % 2, ("a", "b"), said)
    given = {"scores": scores, "evaluation": evaluation, "plots": plots, "widgets": widgets}
    given |= {"chosen": type("Recipe", (), {"num_clips": 10}), "np": np, "pd": pd}
    for cell in cells[place - 1 : place + 1]:
        exec(cell.source, given)
    _, lowest, highest = asked["clips_used"]
    for count in range(lowest, highest + 1):
        asked["draw"](count)
        assert drawn[-1].probabilities.shape[1] == count
