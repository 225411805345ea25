"""Pictures of what is inside a network show all that they are given, and say how."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba

from r21d_lib import plots
from r21d_lib.errors import SettingsError
from r21d_lib.evaluation.inspection import sort_temporal_kernels


def legend_of(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_no_curve_of_a_rank_is_lost():
    errors = {f"_kind {number}": np.linspace(1, 0, 5) ** (1 + number) for number in range(9)}
    figure = plots.low_rank(errors, 2, np.ones((2, 3, 3, 3)))
    assert legend_of(figure) == list(errors)
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 5]
    np.testing.assert_array_equal([line.get_ydata() for line in lines], list(errors.values()))
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 9


def test_no_distribution_is_lost():
    values = {f"_run {number}": np.full(4, 0.1 * number) for number in range(8)}
    figure = plots.histogram(values, label="x")
    assert legend_of(figure) == list(values)
    areas = figure.axes[0].patches
    for area, numbers in zip(areas, values.values(), strict=True):
        heights, edges, _ = area.get_data()
        place = heights.argmax()
        assert edges[place] <= numbers[0] <= edges[place + 1]
    styles = {
        (area.get_edgecolor(), area.get_facecolor(), area.get_fill(), area.get_linestyle())
        for area in areas
    }
    assert len(styles) == 8
    first = areas[0].get_facecolor()
    assert first == to_rgba(plots.BOTH, 0.5), "the area is filled in its own colour"


def test_a_histogram_holds_every_number():
    figure = plots.histogram({"h": np.array([0.5, 1.5, 2.5, -1])}, label="x")
    (area,) = figure.axes[0].patches
    heights, edges, _ = area.get_data()
    assert (heights > 0).sum() == 4
    assert figure.axes[0].get_xlim() == (edges[0], edges[-1]) == (-1, 2.5)
    within = plots.histogram({"h": np.array([0.5, 0.7])}, label="x")
    assert within.axes[0].get_xlim() == (0, 1)
    with pytest.raises(SettingsError, match="2 of the 3 numbers of 'h' are not finite"):
        plots.histogram({"h": np.array([0.5, np.nan, np.inf])}, label="x")


def test_a_temporal_kernel_and_its_negative_are_drawn_alike_and_zeros_not_at_all():
    kernels = torch.tensor([[0.0, 0, 0]] * 6 + [[-1.0, 2, -1], [1, -2, 1], [-1, -1, -1], [0, -1, 0]])
    figure = plots.temporal_kernels(kernels.numpy(), sort_temporal_kernels(kernels))
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ["blur: 10%", "derivative: 20%", "delay: 0%", "present: 10%"]
    assert figure.get_suptitle() == "all zeros: 6 of 10 kernels"
    assert "largest positive" in figure.axes[0].get_ylabel()
    curves = [[line.get_ydata() for line in ax.lines[:-1]] for ax in figure.axes]
    assert [len(drawn) for drawn in curves] == [1, 2, 0, 1]
    assert all(np.isfinite(curve).all() for drawn in curves for curve in drawn)
    np.testing.assert_allclose(curves[1], np.array([[-1, 2, -1]] * 2) / 6**0.5, atol=1e-6)
    some = plots.temporal_kernels(kernels[6:].numpy(), sort_temporal_kernels(kernels[6:]))
    assert some.get_suptitle() == ""


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_kernels_of_pictures_and_of_flow_are_grey_where_a_weight_is_zero(channels):
    kernels = np.zeros((2, channels, 3, 3))
    kernels[0, 0, 1, 1], kernels[1, -1, 1, 1] = -1, 0.5
    figure = plots.kernel_images(kernels, columns=2)
    pictures = [ax.images[0].get_array() for ax in figure.axes]
    first, last = (0, 4) if channels == 2 else (0, 0)  # the second is behind a gap of one
    assert (pictures[0][0, 0] == 0.5).all()
    assert pictures[0][1, first + 1, 0] == 0, "the most negative weight is black"
    assert pictures[1][1, last + 1, -1] == 1, "the largest is white"
    film = plots.kernel_films(kernels[:, :, None].repeat(3, 2))
    assert len(film.axes) == 6
    for ax in film.axes[::2]:
        np.testing.assert_array_equal(ax.images[0].get_array(), pictures[0])
    assert (film.get_suptitle() == "x at the left, y at the right") == (channels == 2)
    assert film.picture()
    assert figure.picture()


def test_kernels_of_other_channels_are_refused():
    for draw, shape in ((plots.kernel_images, (4, 5, 3, 3)), (plots.kernel_films, (4, 5, 3, 3, 3))):
        with pytest.raises(SettingsError, match="3, 2 or 1 channels can be drawn, and these span 5"):
            draw(np.ones(shape))


def test_responses_of_one_picture_have_one_scale():
    strong = np.zeros((3, 6, 6))
    strong[1, 2, 2], strong[0, 0, 0] = 1, -4
    figure = plots.response_frame({"R3D": {"right": strong, "left": 0.01 * strong}}, 1)
    *maps, bar = figure.axes
    assert [ax.images[0].get_clim() for ax in maps] == [(-4, 4)] * 2
    assert bar.get_ylim() == (-4, 4)
    assert bar.get_ylabel() == "response"
