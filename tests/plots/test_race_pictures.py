"""Comparisons of networks keep every network, length and study that they are given."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from r21d_lib import plots
from r21d_lib.models.settings import LABELS


def points_of(lengths):
    rows = [("A", frames, frames / 8, 60 + frames / 8) for frames in lengths]
    rows += [("B", frames, frames / 6, 59 + frames / 8) for frames in lengths[:2]]
    return pd.DataFrame(rows, columns=["network", "frames", "GFLOPs", "accuracy"])


def looks_of(figure, points):
    """Return how each number of frames is drawn: the marker's outline and whether it is filled."""
    looks = {}
    for mark in figure.axes[0].collections:
        for place in np.asarray(mark.get_offsets()):
            row = points[(points[["GFLOPs", "accuracy"]] == place).all(axis=1)].iloc[0]
            outline = mark.get_paths()[0].vertices.round(3).tobytes()
            filled = to_hex(mark.get_facecolor()[0]) != "#ffffff"
            looks.setdefault(int(row["frames"]), set()).add((outline, filled))
    return looks


@pytest.mark.parametrize("lengths", [(8, 16), (8, 16, 32), tuple(range(4, 64, 4))])
def test_every_length_of_a_clip_has_its_own_marker(lengths):
    points = points_of(lengths)
    figure = plots.accuracy_against_compute(points, {"A": "3d", "B": "2d"})
    looks = looks_of(figure, points)
    assert set(looks) == set(lengths)
    assert all(len(drawn) == 1 for drawn in looks.values()), "one look for a length in all networks"
    assert len({next(iter(drawn)) for drawn in looks.values()}) == len(lengths)
    assert [frames for frames, ((_, filled),) in looks.items() if filled] == [lengths[-1]]
    ax = figure.axes[0]
    assert figure.picture()
    if len(lengths) == 2:
        assert "open: 8 frames, filled: 16 frames" in ax.get_xlabel()
        assert ax.get_legend() is None
    else:
        said = [text.get_text() for text in ax.get_legend().get_texts()]
        assert said == [f"{frames} frames" for frames in lengths]


def test_each_network_is_named_at_its_own_longest_clips():
    points = points_of((8, 16, 32)).sample(frac=1, random_state=0)
    ax = plots.accuracy_against_compute(points, {"A": "3d", "B": "2d"}).axes[0]
    named = {text.get_text(): text.xy for text in ax.texts}
    assert named == {"A": (4, 64), "B": (pytest.approx(16 / 6), 61)}


def test_clips_of_one_length_are_not_said_to_be_of_two():
    points = points_of((8, 16, 32)).query("frames == 8")
    label = plots.accuracy_against_compute(points, {"A": "3d", "B": "2d"}).axes[0].get_xlabel()
    assert "open" not in label
    assert "filled: 8 frames" in label


def test_verdicts_of_many_studies_are_all_counted():
    numbers = pd.DataFrame({"verdict": ["reproduced"] * 3})
    compared = pd.DataFrame(
        [
            {"measured_on": study, "frames": frames, "verdict": verdict}
            for study in "abcd"
            for frames in (8, 16)
            for verdict in ("opposite", "within noise")
        ]
    )
    figure = plots.verdicts(numbers, compared)
    ax = figure.axes[0]
    assert [text.get_text() for text in ax.texts] == ["3", "8", "8"]
    (legend,) = figure.legends
    assert len(legend.get_texts()) == 9
    figure.canvas.draw()
    assert not legend.get_window_extent().overlaps(ax.get_window_extent()), "it would cover bars"
    looks = {(bars[0].get_facecolor(), bars[0].get_hatch()) for bars in ax.containers}
    assert len(looks) == 9
    assert figure.picture()


def test_errors_of_more_than_four_networks_are_drawn():
    networks = list(LABELS)[:6]
    curves = {"train_accuracy": [0.2, 0.5], "test_accuracy": [0.1, 0.4]}
    runs = [{"network": name, "seed": 0, **curves} for name in networks]
    figure = plots.error_curves(runs, networks)
    said = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert said == [LABELS[name] for name in networks]
    assert all(len(ax.lines) == 6 for ax in figure.axes)
    assert len({line.get_marker() for line in figure.axes[0].lines}) == 6


def test_no_order_is_claimed_that_is_not_drawn():
    table = pd.DataFrame(
        {"mean": [0.3, 0.9, 0.6], "low": 0.2, "high": 0.95, "seeds": 1, "groups": 9},
        index=["R3D", "f-R2D", "R(2+1)D"],
    )
    figure = plots.standings(table, [], guessing=0.1)
    drawn = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert drawn == list(table.index)
    assert "in order of video@1" not in figure.alt
    assert figure.alt.startswith("video@1 of networks, a row each")
