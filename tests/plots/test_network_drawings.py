"""Drawings of networks show every group's own numbers, whatever stands beside it."""

import numpy as np
import pandas as pd
import pytest

from r21d_lib import plots
from r21d_lib.errors import SettingsError
from r21d_lib.models.ablations import ABLATIONS
from r21d_lib.models.counting import count_stages
from r21d_lib.models.settings import ALL_GROUPS, NetworkSettings


def stages_of(name, depth=18, *, frames=16, **options):
    return count_stages(NetworkSettings(name, depth, clip_len=frames, **options), frames=frames)


PLAIN, POOLED = stages_of("r3d"), stages_of("r3d", stem_t=7, pool1="space-time")


@pytest.mark.parametrize("order", [("plain", "pooled"), ("pooled", "plain"), ("pooled",), ("plain",)])
def test_each_group_is_drawn_under_its_own_name(order):
    """A pool1 between two groups moves no number to another name."""
    networks = {name: {"plain": PLAIN, "pooled": POOLED}[name] for name in order}
    figure = plots.stage_costs(networks)
    names = [stage.name for stage in (POOLED if "pooled" in order else PLAIN)]
    for ax, cost, unit in zip(figure.axes, ("parameters", "multiply_adds"), (1e6, 1e9), strict=True):
        assert [bars.get_label() for bars in ax.containers] == names
        for row, stages in enumerate(networks.values()):
            drawn = {bars.get_label(): bars[row].get_width() for bars in ax.containers}
            wanted = {stage.name: getattr(stage, cost) / unit for stage in stages}
            assert drawn == pytest.approx(dict.fromkeys(names, 0) | wanted)
    colours = {bars[0].get_facecolor() for bars in figure.axes[0].containers}
    assert len(colours) == len(names)


def boxes(name, frames):
    """Return the widths of the clip and of a network's groups, and how many frames are told apart."""
    ax = plots.network_flow(stages_of(name, frames=frames), ALL_GROUPS[name]).axes[0]
    pale, groups = ax.patches[::2], ax.patches[1::2]
    stripes = [len(lines.get_segments()) + 1 for lines in ax.collections]
    (clip,) = {round(box.get_width(), 6) for box in pale}
    return clip, [box.get_width() for box in groups], stripes


@pytest.mark.parametrize(
    ("name", "frames", "left"),
    [
        ("r2d", 16, [1, 1, 1, 1, 1]),
        ("fr2d", 16, [16, 16, 16, 16, 16]),
        ("r2plus1d", 16, [16, 16, 8, 4, 2]),
        ("r2plus1d", 32, [32, 32, 16, 8, 4]),
    ],
)
def test_a_box_is_as_wide_as_its_frames_of_the_clips(name, frames, left):
    clip, widths, stripes = boxes(name, frames)
    assert widths == pytest.approx([clip * count / frames for count in left])
    assert stripes == left


@pytest.mark.parametrize("name", ABLATIONS)
def test_changed_networks_are_drawn_too(name):
    figure = plots.network_flow(stages_of(name, 10, frames=8), ALL_GROUPS[name])
    assert figure.picture()
    if "1+2d" in ALL_GROUPS[name]:
        assert "time first" in {text.get_text() for text in figure.axes[0].texts}
    assert plots.network_groups({"a": ALL_GROUPS[name]}, {"a": 1}).picture()


def test_a_kind_that_does_not_exist_is_named():
    with pytest.raises(SettingsError, match="no convolution is called '4d': choose one of 2d, "):
        plots.network_flow(PLAIN, ["4d"] * 5)


@pytest.mark.parametrize("missing", [[0], [0, 1]])
@pytest.mark.parametrize("column", ["parameters", "GFLOPs", "accuracy"])
def test_a_cost_that_is_not_known_is_written_so(column, missing):
    table = pd.DataFrame(
        {"parameters": [1e6, 2e6], "GFLOPs": [1.0, 3.0], "accuracy": [60.0, 62.5]}, index=["a", "b"]
    )
    table.iloc[missing, table.columns.get_loc(column)] = np.nan
    figure = plots.network_costs(table, {"a": "2d", "b": "3d"})
    assert figure.picture()
    written = [[text.get_text() for text in ax.texts].count("unknown") for ax in figure.axes]
    assert written == [len(missing) if name == column else 0 for name in table]
