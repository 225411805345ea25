"""Figures show what they are given, and widgets redraw them."""

import io
import sys

import ipywidgets
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from r21d_lib import plots
from r21d_lib.evaluation.inspection import sort_temporal_kernels
from r21d_lib.evaluation.scores import Scores, confusion, per_class
from r21d_lib.plots import widgets
from r21d_lib.suite import pictures as gallery
from r21d_lib.suite.statistics import Study


@pytest.fixture(scope="module")
def scores():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 5)
    logits = rng.normal(size=(20, 10, 4)) + 2 * np.eye(4)[labels][:, None]
    probabilities = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
    names = tuple(f"{'abcd'[k]}/{i}.avi" for i, k in enumerate(labels))
    return Scores(names, labels, ("a", "b", "c", "d"), probabilities.astype(np.float16))


def test_every_figure_can_be_drawn(scores, tmp_path):
    table = per_class(scores)
    frames = np.zeros((9, 12, 16, 3), np.uint8)
    history = pd.DataFrame({"epoch": [1, 2], "loss": [2.0, 1.0], "train_accuracy": [0.2, 0.6]})
    figures = [
        plots.frame_strip(frames),
        plots.clip_grid({"a": frames, "b": frames}),
        plots.training_curves({"one": history, "two": history.assign(validation_accuracy=0.3)}),
        plots.per_class_accuracy(table, sort="class", highlight="b"),
        plots.accuracy_bars({"finetuned": (0.9, 0.85, 0.93, 30), "scratch": (0.5, 0.4, 0.6, 30)}),
        plots.confusion_matrix(confusion(scores), scores.classes),
        plots.confusion_matrix(np.eye(51, dtype=int), [f"class {i}" for i in range(51)]),
        plots.video_scores(scores.probabilities[0], scores.classes, 0),
        plots.single_frame(frames, 3, title="one"),
        plots.seed_curves({"R3D": np.ones((2, 4))}, {"R3D": "3d"}, guessing=0.7),
        plots.kernels(),
        *(plots.factorized_block(64, 128, stride=2, rule=rule) for rule in plots.MIDDLE_RULES),
        plots.response_strips({"2D": np.eye(5)[None].repeat(3, 0)}),
        plots.response_frame({"right": {"2D": np.eye(5)[None]}}, 0),
    ]
    for figure in figures:
        picture = np.asarray(Image.open(io.BytesIO(figure.picture())).convert("L"))
        assert picture.std() > 5, "the picture is empty"


def test_bars_are_the_accuracies_and_carry_their_counts(scores):
    table = per_class(scores)
    ax = plots.per_class_accuracy(table).axes[0]
    drawn = {
        label.get_text(): bar.get_width()
        for label, bar in zip(ax.get_yticklabels(), ax.patches, strict=True)
    }
    assert drawn == dict(zip(table["class"], table["accuracy"], strict=True))
    texts = {t.get_text() for t in ax.texts}
    assert {f"{c} of 5 (5)" for c in table["correct"]} <= texts


def test_every_figure_of_networks_can_be_drawn(scores):
    curves = {"train_accuracy": [0.2, 0.5], "test_accuracy": [0.1, 0.4]}
    runs = [
        {"network": name, "seed": seed, "video@1": 0.4 + 0.1 * seed, "hits": [4 + seed] * 9, **curves}
        for name in ("r3d", "mc3", "r2plus1d")
        for seed in (0, 1)
    ]
    table = Study(runs, {f"person {k}": 10 for k in range(9)}, "people").standings()
    kernels = np.random.default_rng(0).normal(size=(20, 3))
    played = pd.DataFrame({"as filmed": [0.9], "reversed": [0.5], "shuffled": [0.4], "frozen": [0.2]})
    frames = np.full((8, 16, 16, 3), 90, np.uint8)
    kinds = sort_temporal_kernels(torch.from_numpy(kernels))
    figures = [
        plots.error_curves(runs, ["r3d", "r2plus1d"]),
        plots.standings(table, runs, guessing=0.1),
        plots.accuracy_and_compute(table.assign(compute=[3.0, 2.0, 3.1])),
        plots.time_changes(played.set_axis(["R3D"]), guessing=0.1),
        plots.class_table(played.set_axis(["sit"])),
        plots.kernel_images(kernels.reshape(5, 3, 2, 2), columns=4, title="kernels"),
        plots.kernel_films(np.random.default_rng(0).normal(size=(4, 3, 3, 5, 5))),
        plots.temporal_kernels(kernels, kinds),
        plots.attention(frames, {"R3D": np.linspace(0, 1, 2048).reshape(8, 16, 16)}),
        plots.feature_map(kernels[:, :2], np.arange(20) % 2, ("a", "b")),
        plots.histogram({"learned": kernels[:, 0] % 1, "random": kernels[:, 1] % 1}, label="x"),
    ]
    for figure in figures:
        picture = np.asarray(Image.open(io.BytesIO(figure.picture())).convert("L"))
        assert picture.std() > 5, "the picture is empty"
    with pytest.raises(ValueError, match="zip"):
        plots.time_changes(played.iloc[:, :2], guessing=0.1)


def test_live_curves_are_redrawn_in_place(monkeypatch, tmp_path):
    table = pd.DataFrame({"epoch": [1], "loss": [2.0], "train_accuracy": [0.3]})
    (tmp_path / "one").mkdir()
    table.to_csv(tmp_path / "one" / "metrics.csv", index=False)
    shown = []

    class Handle:
        def update(self, figure):
            shown.append(("update", figure))

    def display(figure, display_id):
        shown.append(("display", figure))
        return Handle()

    monkeypatch.setattr(widgets, "display", display)
    redraw = widgets.live_curves({"one": tmp_path / "one", "later": tmp_path / "later"})
    redraw(None)
    pd.concat([table, table.assign(epoch=2)]).to_csv(tmp_path / "one" / "metrics.csv", index=False)
    redraw(None)
    assert [kind for kind, _ in shown] == ["display", "update"]
    assert [len(figure.axes[0].lines[0].get_xdata()) for _, figure in shown] == [1, 2]


def test_mistakes_open_the_videos_behind_a_cell(scores, monkeypatch):
    moved = np.roll(scores.labels, 2)
    scores = Scores(scores.names, moved, scores.classes, scores.probabilities)
    frames = np.zeros((9, 12, 16, 3), np.uint8)
    asked = []

    def frames_of(number):
        asked.append(number)
        return frames

    displayed = []
    monkeypatch.setattr(widgets, "display", displayed.append)
    widgets.mistake_explorer(scores, frames_of)
    best = scores.video_probabilities.argmax(1)
    assert asked, "the scores of the fixture hold no mistake"
    assert all(best[number] != scores.labels[number] for number in asked)
    menu = displayed[-1].children[0]
    assert "taken for" in menu.value
    counts = [int(option.rpartition("(")[2].rstrip(")")) for option in menu.options]
    assert counts == sorted(counts, reverse=True)
    assert sum(counts) == int((best != scores.labels).sum())


def test_the_figures_of_the_repository(tmp_path):
    for path in gallery.write_figures(tmp_path):
        if path.suffix == ".png":
            assert Image.open(path).size[0] > 600
        else:
            assert path.read_text().startswith("<?xml")


def shown(monkeypatch, call):
    displayed = []
    monkeypatch.setattr(widgets, "display", displayed.append)
    call()
    return displayed


def test_the_slider_changes_the_picture_and_a_plain_figure_comes_first(monkeypatch):
    frames = np.random.default_rng(0).integers(0, 255, (6, 12, 16, 3), np.uint8)
    figure, box = shown(monkeypatch, lambda: widgets.frame_slider(frames, title="x"))
    assert isinstance(figure, plots.Figure)
    assert isinstance(box.children[1], ipywidgets.Image)
    slider, picture = box.children
    before = picture.value
    slider.value = 3
    assert picture.value != before
    assert widgets.SLIDER_CLASS in slider._dom_classes
    assert widgets.FIGURE_CLASS in picture._dom_classes


def test_the_explorer_follows_the_chosen_class(monkeypatch, scores):
    rng = np.random.default_rng(1)
    videos = rng.integers(0, 255, (20, 9, 12, 16, 3), np.uint8)
    *figures, box = shown(monkeypatch, lambda: widgets.class_explorer(scores, lambda i: videos[i]))
    assert len(figures) == 3
    assert all(isinstance(figure, plots.Figure) for figure in figures)
    action, _, _, *pictures = box.children
    worst = per_class(scores).sort_values("accuracy")["class"].iloc[0]
    assert action.value == worst
    before = [picture.value for picture in pictures]
    action.value = next(c for c in scores.classes if c != worst)
    assert [picture.value != old for picture, old in zip(pictures, before, strict=True)] == [True] * 3


def test_without_ipywidgets_the_figure_is_still_there(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)  # an import of it fails
    frames = np.zeros((4, 12, 16, 3), np.uint8)
    (figure,) = shown(monkeypatch, lambda: widgets.frame_slider(frames))
    assert isinstance(figure, plots.Figure)
    assert "Install ipywidgets" in capsys.readouterr().out
