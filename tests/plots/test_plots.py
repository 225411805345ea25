"""Figures show what they are given, and widgets redraw them."""

import base64
import io
import itertools
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from bs4 import BeautifulSoup
from IPython.core.interactiveshell import InteractiveShell
from PIL import Image

from r21d_lib import plots
from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.errors import DatasetError
from r21d_lib.evaluation.inspection import sort_temporal_kernels
from r21d_lib.evaluation.scores import Scores, confusion, per_class, per_class_counts
from r21d_lib.plots import tensorboard, widgets
from r21d_lib.suite import pictures as gallery
from r21d_lib.suite.statistics import Study
from r21d_lib.training import EpochReport


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
        plots.printed_streams(
            pd.DataFrame(
                [("table 1", "A", "net", "nothing", 8, 70.0, 60.0, 72.0)],
                columns=["where", "data", "network", "pretrained", "frames", "rgb", "flow", "both"],
            ),
            {"A": "ours"},
        ),
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
    menu = displayed[0].widget.children[0]
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


def image_in(place):
    """Return the one picture of a widget's HTML."""
    (image,) = BeautifulSoup(place.value, "html.parser").find_all("img")
    return image


def test_the_slider_changes_the_one_picture_and_its_text(monkeypatch):
    frames = np.random.default_rng(0).integers(0, 255, (6, 12, 16, 3), np.uint8)
    (output,) = shown(monkeypatch, lambda: widgets.frame_slider(frames, title='a "clip" <1>'))
    slider, place = output.widget.children
    before = image_in(place)
    assert widgets.FIGURE_CLASS in before["class"]
    assert widgets.SLIDER_CLASS in slider._dom_classes
    assert before["alt"] == output.figure.alt
    assert 'a "clip" <1>' in before["alt"]
    slider.value = 3
    after = image_in(place)
    assert after["src"] != before["src"]
    assert "frame 3" in after["alt"]
    assert "frame 3" not in before["alt"]
    picture = Image.open(io.BytesIO(base64.b64decode(after["src"].partition("base64,")[2])))
    assert picture.size == (int(after["width"]), int(after["height"]))


def test_one_output_holds_the_widget_and_the_figure_that_stands_for_it(monkeypatch):
    frames = np.zeros((6, 12, 16, 3), np.uint8)
    (output,) = shown(monkeypatch, lambda: widgets.frame_slider(frames))
    data, metadata = InteractiveShell.instance().display_formatter.format(output)
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == output.widget.model_id
    kind = f"image/{output.figure.format}"
    stored = Image.open(io.BytesIO(base64.b64decode(data[kind])))
    assert f"image/{stored.format.lower()}" == kind
    assert stored.size[0] == int(image_in(output.widget.children[1])["width"])
    assert metadata[kind]["alt"] == output.figure.alt
    assert " at 0x" not in data["text/plain"], "a published notebook would change with each run"


def test_the_explorer_follows_the_chosen_class(monkeypatch, scores):
    rng = np.random.default_rng(1)
    videos = rng.integers(0, 255, (20, 9, 12, 16, 3), np.uint8)
    outputs = shown(monkeypatch, lambda: widgets.class_explorer(scores, lambda i: videos[i]))
    assert len(outputs) == 3
    assert all(isinstance(output.figure, plots.Figure) for output in outputs)
    action, _, _, first = outputs[0].widget.children
    pictures = [first, *(output.widget for output in outputs[1:])]
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


NAMES = ["win_$5_or_$10", "$\\frac{", "two\nlines", "x" * 5000, "\x1b[31mred", "plain"]


def report_of(classes, writer):
    """An epoch's report of a training on so many classes."""
    count = len(classes)
    confusion_of = np.eye(count, dtype=np.int64)
    inputs, clips = torch.zeros(2, 3, 4, 16, 16), ClipSettings(clip_len=4, resize=(16, 16), crop=16)
    return EpochReport(1, tuple(classes), confusion_of, inputs, clips, None, writer)


def test_class_names_are_drawn_letter_for_letter():
    matrix = plots.confusion_matrix(np.eye(len(NAMES), dtype=np.int64), NAMES)
    table = plots.per_class_accuracy(per_class_counts(np.eye(len(NAMES), dtype=np.int64), NAMES))
    strip = plots.video_scores(np.eye(len(NAMES), dtype=np.float16), NAMES, 0, title="$1 to $2.avi")
    for figure in (matrix, table, strip):
        assert figure.picture()
        labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
        assert "win_\\$5_or_\\$10" in labels
        assert "two\\nlines" in labels
        assert max(map(len, labels)) < 90


def test_clips_that_a_short_video_does_not_have_are_not_drawn(scores):
    short = np.concatenate([scores.probabilities[0, :3], np.full((2, 4), np.nan, np.float16)])
    figures = [plots.video_scores(clips, scores.classes, 0) for clips in (short, short[:3])]
    drawn = [[text.get_text() for ax in figure.axes for text in ax.texts] for figure in figures]
    assert drawn[0] == drawn[1]
    assert len(figures[0].axes[0].get_xticks()) == 3


def test_the_columns_of_several_squares_are_not_called_clips(scores):
    said = np.repeat(scores.probabilities[0], 3, 0)  # 30 columns
    figure = plots.video_scores(
        said, scores.classes, 0, views="10 evenly spaced clips, 3 squares of each"
    )
    assert figure.axes[0].get_xlabel().startswith("square of a clip")
    assert figure.axes[1].get_xlabel() == "mean over the squares"
    for views in ("10 evenly spaced clips, their centre square", ""):
        ten = plots.video_scores(said[::3], scores.classes, 0, views=views)
        assert ten.axes[0].get_xlabel() == "clip, from the video's start to its end"


@pytest.mark.parametrize("columns", [3, 10, 16, 17, 18, 20, 30, 100])
@pytest.mark.parametrize("name", ["a", "a class whose name is long", 80 * "x"])
def test_numbers_stand_only_in_columns_that_hold_them(columns, name):
    said = np.full((columns, 2), 0.44, np.float16)
    figure = plots.video_scores(said, (name, "b"), 0)
    figure.draw_without_rendering()
    ax = figure.axes[0]
    boxes = [text.get_window_extent() for text in ax.texts]
    assert len(boxes) in (0, 2 * columns)
    assert all(one.x1 < next_.x0 for one, next_ in itertools.pairwise(boxes[:columns]))
    assert boxes or (columns, name) not in {(3, "a"), (10, "a")}
    ticks = [label.get_window_extent() for label in ax.get_xticklabels()]
    assert all(one.x1 < next_.x0 for one, next_ in itertools.pairwise(ticks))


def test_what_cannot_be_drawn_is_said_in_place_of_the_former_picture(monkeypatch, scores):
    frames = np.zeros((9, 12, 16, 3), np.uint8)
    worst = per_class(scores).sort_values("accuracy")["class"].iloc[0]
    broken = np.flatnonzero(scores.labels == scores.classes.index(worst))[1]

    def frames_of(number):
        if number == broken:
            raise DatasetError("<b>2</b> cannot be decoded")
        return frames

    outputs = shown(monkeypatch, lambda: widgets.class_explorer(scores, frames_of))
    *_, video, first = outputs[0].widget.children
    places = [first, *(output.widget for output in outputs[1:])]
    video.value = 2
    assert "&lt;b&gt;2&lt;/b&gt; cannot be decoded" in first.value
    assert not any("<img" in place.value for place in places)
    video.value = 3
    assert all("<img" in place.value for place in places)
    assert "cannot be decoded" not in first.value


def test_a_picture_that_fails_stops_no_training(monkeypatch):
    def fail(*_):
        raise ValueError("no such formula")

    monkeypatch.setattr(plots, "confusion_matrix", fail)
    with pytest.warns(UserWarning, match="epoch 1 has no pictures in TensorBoard: no such formula"):
        tensorboard.log_images(report_of(["a", "b"], None))


MANY = """
import sys
import numpy as np, torch
from torch.utils.tensorboard import SummaryWriter
from r21d_lib.data.clips import ClipSettings
from r21d_lib.plots import tensorboard
from r21d_lib.training import EpochReport
from r21d_lib.suite.results import peak_mb
classes = tuple(f"class {n}" for n in range(int(sys.argv[1])))
counts = np.random.default_rng(0).integers(0, 3, (len(classes),) * 2)
clips = ClipSettings(clip_len=4, resize=(16, 16), crop=16)
writer = SummaryWriter(sys.argv[2])
inputs = torch.zeros(2, 3, 4, 16, 16)
tensorboard.log_images(EpochReport(1, classes, counts, inputs, clips, None, writer))
writer.close()
print(peak_mb())
"""


@pytest.mark.thorough
@pytest.mark.parametrize("classes", [400, pytest.param(4000, marks=pytest.mark.slow)])
def test_pictures_of_many_classes_take_less_than_two_gigabytes(tmp_path, classes):
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", MANY, str(classes), tmp_path],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 2000
    for name in ("confusion/training", "per_class/training", "clips"):
        assert tensorboard.read_image(tmp_path, name).size


def test_colours_of_flow_are_directions():
    from r21d_lib.plots import flow_colours

    right_down_left_up = np.array([[[1, 0], [0, 1], [-1, 0], [0, -1], [0, 0]]], np.float32)
    colours = flow_colours(right_down_left_up, fastest=1.0)[0]
    assert colours[0].tolist() == [255, 0, 0]  # red
    assert colours[2].tolist() == [0, 255, 255]  # cyan
    assert colours[1, 1] == colours[3, 2] == 255  # greenish, violet
    assert colours[4].tolist() == [255, 255, 255]
    assert (flow_colours(0.5 * right_down_left_up, fastest=1.0)[0, 0] == [255, 128, 128]).all()


def test_flow_is_drawn_as_arrows_and_as_colour(make_frames):
    from r21d_lib import plots

    frames = make_frames(6)
    field = np.zeros((5, *frames.shape[1:3], 2), np.float32)
    field[:, 12:26, 4:18] = (2.0, 0.0)
    figure = plots.flow(frames, field, count=3, title="a square")
    arrows = [ax.collections[0] for ax in figure.axes if ax.collections]
    assert len(arrows) == 3
    assert set(arrows[0].U) == {2.0}
    assert "rim: 2.0 pixels" in {ax.get_title() for ax in figure.axes}
    still = plots.flow(frames, np.zeros_like(field))  # where nothing moves there is no arrow
    assert still.picture()[:2] == b"\xff\xd8"
