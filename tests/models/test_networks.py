"""The networks: parameters to the integer, temporal lengths, gradients, names, bad arguments."""

import pytest
import torch

from r21d_lib.errors import SettingsError
from r21d_lib.models.kinds import NETWORK_NAMES
from r21d_lib.models.networks import build_network, list_networks
from r21d_lib.models.settings import BLOCKS

# Frames left of 8 before the pooling: only 3D groups stride in time, three times at the most.
FINAL_FRAMES = {
    "r2d": 1,
    "fr2d": 8,
    "r3d": 1,
    "mc2": 8,
    "mc3": 8,
    "mc4": 4,
    "mc5": 2,
    "rmc2": 1,
    "rmc3": 1,
    "rmc4": 2,
    "rmc5": 4,
    "r2plus1d": 1,
}


def test_the_twelve_names():
    assert set(NETWORK_NAMES) == set(FINAL_FRAMES)
    assert len(NETWORK_NAMES) == 12


@pytest.mark.parametrize("name", NETWORK_NAMES)
@pytest.mark.parametrize(("depth", "width"), [(10, 8), (50, 4)])
def test_every_network_runs_and_every_parameter_learns(name, depth, width):
    net = build_network(name, depth, num_classes=5, width=width, clip_len=8, seed=0)
    clips = torch.randn(2, 3, 8, 32, 32)
    channels = 8 * width * (4 if depth == 50 else 1)
    assert net.eval().forward_features(clips).shape == (2, channels, FINAL_FRAMES[name], 2, 2)
    net.train()(clips).square().sum().backward()
    without = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@pytest.mark.parametrize("depth", BLOCKS)
def test_depth_counts_weighted_layers(depth):
    with torch.device("meta"):
        net = build_network("r3d", depth)
    convs = [n for n, p in net.named_parameters() if p.ndim == 5 and "downsample" not in n]
    assert len(convs) + 1 == depth


@pytest.mark.parametrize("frames", [1, 3, 8, 20])
@pytest.mark.parametrize("name", ["fr2d", "mc3", "rmc3", "r3d", "r2plus1d"])
def test_any_clip_length(name, frames):
    net = build_network(name, 10, num_classes=3, width=4, seed=0).eval()
    assert net(torch.randn(1, 3, frames, 24, 40)).shape == (1, 3)


def test_only_r2d_is_bound_to_a_clip_length():
    with pytest.raises(SettingsError, match="give it clip_len"):
        build_network("r2d")
    net = build_network("r2d", 10, width=4, clip_len=8)
    with pytest.raises(SettingsError, match="clips of 8 frames and got 16"):
        net(torch.zeros(1, 3, 16, 32, 32))


def test_clips_of_another_form_are_refused():
    with pytest.raises(SettingsError, match=r"takes clips of \(N, 3, frames, height, width\)"):
        build_network("r3d", 10, width=4)(torch.zeros(1, 8, 3, 32, 32))


@pytest.mark.parametrize(("pool1", "expected"), [("space", (8, 8, 8)), ("space-time", (4, 8, 8))])
def test_pool1_halves_what_it_says(pool1, expected):
    net = build_network("r2plus1d", 10, width=4, pool1=pool1, seed=0).eval()
    assert net.pool1(net.stem(torch.zeros(1, 3, 8, 32, 32))).shape[2:] == expected


def test_every_network_is_listed():
    names = list_networks()
    assert len(names) == 72
    assert {"r2plus1d_34", "mc3_18", "fr2d_152"} <= set(names)


def test_f_r2d_does_not_see_the_order_of_frames_and_r2plus1d_does():
    clips = torch.randn(1, 3, 8, 32, 32)
    order_blind, order_aware = (
        build_network(name, 10, num_classes=4, width=8, seed=0).eval() for name in ("fr2d", "r2plus1d")
    )
    assert torch.allclose(order_blind(clips), order_blind(clips.flip(2)), atol=1e-5)
    assert not torch.allclose(order_aware(clips), order_aware(clips.flip(2)), atol=1e-3)


def test_parameter_names_are_torchvisions():
    keys = build_network("r2plus1d", 10, width=4, num_classes=2).state_dict()
    for key in (
        "stem.0.weight",
        "stem.1.running_var",
        "stem.3.weight",
        "stem.4.bias",
        "layer2.0.conv1.0.0.weight",
        "layer2.0.conv1.0.1.bias",
        "layer2.0.conv1.0.3.weight",
        "layer2.0.conv1.1.weight",
        "layer2.0.conv2.1.weight",
        "layer2.0.downsample.0.weight",
        "layer2.0.downsample.1.bias",
        "fc.weight",
    ):
        assert key in keys


def test_a_seed_repeats_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    one, two = (build_network("r3d", 10, width=4, num_classes=2, seed=3) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_replace_head_keeps_the_rest():
    net = build_network("r3d", 10, width=4, num_classes=2, seed=0)
    stem = net.stem[0].weight.clone()
    net.replace_head(7)
    assert net(torch.zeros(1, 3, 8, 32, 32)).shape == (1, 7)
    assert net.settings.num_classes == 7
    assert torch.equal(stem, net.stem[0].weight)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(name="r2plus1"), "did you mean 'r2plus1d'"),
        (dict(name="r3d", depth=20), "choose 10, 18, 34, 50, 101 or 152"),
        (dict(name="r3d", midplane_rule="layer"), "choose conv or block"),
        (dict(name="r3d", num_classes=0), "num_classes must be from 1 to"),
        (dict(name="r2plus1d", stem_midplanes=0), "stem_midplanes must be from 1 to"),
        (dict(name="r3d", bn_eps=0), "bn_eps must be above 0"),
        (dict(name="r3d", stem_t=4), "stem_t must be odd"),
        (dict(name="r3d", pool1="time"), "choose none, space or space-time"),
    ],
)
def test_bad_arguments_name_the_way_out(arguments, message):
    with pytest.raises(SettingsError, match=message):
        build_network(**arguments)
