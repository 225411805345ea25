"""Pictures of more runs and classes than the suite has: nothing is dropped or looks like another."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from r21d_lib import plots
from r21d_lib.evaluation.scores import per_class_counts
from r21d_lib.plots.style import run_style


def legend(figure, axes=0):
    return [text.get_text() for text in figure.axes[axes].get_legend().get_texts()]


def looks(lines, *properties):
    return [tuple(getattr(line, f"get_{name}")() for name in properties) for line in lines]


def test_styles_repeat_late():
    styles = [run_style(number) for number in range(144)]
    assert len(set(styles)) == 144
    assert len({(style.colour, style.marker) for style in styles[:36]}) == 36
    assert len({(style.colour, style.line) for style in styles[:24]}) == 24


def test_every_run_has_a_curve_and_a_name_of_its_own():
    table = pd.DataFrame({"epoch": [1, 2], "loss": [2.0, 1.0], "train_accuracy": [0.2, 0.6]})
    names = ["_base", *(f"run {number}" for number in range(12))]
    figure = plots.training_curves(dict.fromkeys(names, table))
    assert legend(figure) == names
    assert len(set(looks(figure.axes[0].lines, "color", "marker"))) == len(names)


def test_every_start_is_drawn_with_its_own_number_of_people():
    runs = pd.DataFrame(
        {"start": [f"w{n}" for n in range(9)], "epochs": 10, "video@1": 0.5, "low": 0.4, "high": 0.6}
    )
    figure = plots.budgets(runs.assign(people=range(9)))
    assert legend(figure) == [f"from w{n} ({n} people)" for n in range(9)]
    assert "people" not in figure.axes[0].get_ylabel()
    same = plots.budgets(runs.assign(people=9))
    assert legend(same) == [f"from w{n}" for n in range(9)]
    assert same.axes[0].get_ylabel() == "video@1 (95%: 9 people)"
    two = plots.budgets(pd.concat([runs.assign(people=8), runs.assign(people=9, epochs=20)]))
    assert legend(two)[0] == "from w0 (8 to 9 people)"


def test_every_momentum_is_drawn():
    names = [f"momentum {number}" for number in range(9)]
    figure = plots.running_values({name: [0.0, 1.0] for name in names}, truth=0)
    assert legend(figure) == [*names, "true mean"]
    assert len(set(looks(figure.axes[0].lines, "color", "linestyle"))) == 10


def test_every_training_of_the_clip_length_is_drawn():
    rows = [
        {"training": f"{n} frames", "frames": frames, "video@1": 0.5, "low": 0.4, "high": 0.6}
        for n in range(20)
        for frames in (8, 16)
    ]
    table = pd.DataFrame(rows).assign(**{"clip@1": 0.4, "clips": 1, "compute": 10.0})
    lengths, clips = plots.clip_lengths(table, unit="people"), plots.accuracy_by_clips(table)
    assert len(legend(lengths)) == len(legend(clips)) == 20
    places = [line.get_xdata() for line in lengths.axes[0].lines if len(line.get_xdata()) == 2]
    assert all(abs(np.log2(np.array(drawn, float) / (8, 16))).max() < 0.5 for drawn in places)


def test_a_value_is_a_dot_and_no_bar_from_anywhere():
    figure = plots.named_values({"R2D": 58.9, "R(2+1)D": 68.0}, label="video@1 [%]")
    (dots,) = figure.axes[0].collections
    assert dots.get_offsets().tolist() == [[58.9, 0], [68.0, 1]]
    assert not figure.axes[0].lines
    assert figure.alt.startswith("Dots")


def rows_of(figure):
    """Return the names of a figure's rows from the top down, and the numbers beside them."""
    ax = figure.axes[0]
    names = [label.get_text() for label in ax.get_yticklabels()][::-1]
    return names, [text.get_text() for text in ax.texts][::-1]


CLASSES = ("golf", "run", "sit", "wave")


@pytest.mark.parametrize("sort", ["accuracy", "class"])
def test_a_class_without_videos_is_not_the_best(sort):
    table = per_class_counts(
        np.array([[5, 0, 0, 0], [0, 5, 0, 0], [1, 0, 4, 0], [0, 0, 0, 0]]), CLASSES
    )
    for figure in (
        plots.per_class_accuracy(table, sort=sort),
        plots.classes_of_runs({"a": table}, sort=sort),
    ):
        assert rows_of(figure) == (["golf", "run", "sit"], ["5 of 5 (5)", "5 of 5 (5)", "4 of 5 (5)"])
        assert "1 of 4 classes have no videos" in figure.axes[0].get_xlabel()


def test_a_class_that_another_run_was_tested_on_stays():
    none = np.zeros((4, 4), int)
    none[:2, :2] = np.eye(2)
    tables = {
        "a": per_class_counts(none, CLASSES),
        "b": per_class_counts(np.eye(4, dtype=int), CLASSES),
    }
    names, beside = rows_of(plots.classes_of_runs(tables))
    assert (names[-1], beside[-1]) == ("wave", "0 of 0 (0) | 1 of 1")


@pytest.mark.parametrize("runs", [1, 2])
def test_of_many_classes_the_ends_are_drawn_and_said_to_be(runs):
    counts = np.diag(np.arange(400))
    counts[np.arange(400), (np.arange(400) + 1) % 400] += 400 - np.arange(400)
    table = per_class_counts(counts, [f"c{n}" for n in range(400)])
    figure = plots.classes_of_runs(dict(zip("ab"[:runs], (table, table), strict=False)))
    for drawn in (figure, plots.per_class_accuracy(table)):
        names, _ = rows_of(drawn)
        assert names == [f"c{n}" for n in (*range(399, 299, -1), *range(99, -1, -1))]
        assert "200 of 400 classes: the 100 best and the 100 worst" in drawn.axes[0].get_xlabel()


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_the_dots_of_a_class_lie_at_its_own_line_with_each_runs_count(count):
    def of(number):
        return per_class_counts(np.array([[10 - number, number], [0, 9]]), ("golf", "run"))

    figure = plots.classes_of_runs({f"_run {n}": of(n) for n in range(count)}, sort="class")
    ax = figure.axes[0]
    for dots in ax.containers:
        drawn = dots.lines[0].get_ydata()
        assert np.abs(drawn - np.arange(2)).max() < 0.5
    assert rows_of(figure)[1][0] == " | ".join(
        ["10 of 10 (10)", *(f"{10 - n}" for n in range(1, count))]
    )
    assert [name.partition(":")[0] for name in legend(figure)] == [f"_run {n}" for n in range(count)]
    figure.draw_without_rendering()
    window = figure.get_window_extent()
    assert all(text.get_window_extent().x1 <= window.x1 for text in ax.texts)


@pytest.mark.parametrize("classes", [401, 1000, 1500])
def test_every_cell_of_a_confusion_matrix_is_seen(classes):
    counts = np.eye(classes, dtype=int)
    taken = [100, 101, classes - 2, classes - 1]  # two pairs that are always taken for each other
    counts[taken] = counts[[101, 100, classes - 1, classes - 2]]
    figure = plots.confusion_matrix(counts, [f"c{n}" for n in range(classes)])
    pixels = np.asarray(Image.open(io.BytesIO(figure.picture())).convert("L"))[::-1]
    ax = figure.axes[0]

    def dark(row, column):
        x, y = ax.transData.transform((column, row))
        return pixels[int(y), int(x)] < 100

    assert all(dark(n, n) != (n in taken) for n in range(classes))
    assert all(dark(n, m) and dark(m, n) for n, m in (taken[:2], taken[2:]))
    assert len(ax.get_yticklabels()) <= 60


def test_of_more_classes_than_pixels_no_cell_is_left_out():
    classes = 2500
    counts = np.eye(classes, dtype=int)
    taken = range(1000, 1040)  # each taken for a class far from it
    counts[taken] = counts[range(2000, 2040)]
    figure = plots.confusion_matrix(counts, [f"c{n}" for n in range(classes)])
    pixels = np.asarray(Image.open(io.BytesIO(figure.picture())).convert("L"))[::-1]
    ax = figure.axes[0]

    def light(row, column):
        x, y = ax.transData.transform((column, row)).astype(int)
        return float(pixels[y - 1 : y + 2, x - 1 : x + 2].mean())

    assert min(light(n, n) for n in taken[4:-4]) > 245
    assert max(light(n, n + 1000) for n in taken[2:-2]) < 230
    assert max(light(n, n) for n in range(0, 990)) < 230
    assert "a pixel the mean of" in ax.get_xlabel()
