"""Counts: every network of the tables to the integer and the printed digit; what a value sees."""

import pytest
import torch

from r21d_lib.errors import SettingsError
from r21d_lib.models import counting
from r21d_lib.models.kinds import NETWORK_NAMES
from r21d_lib.models.networks import build_network
from r21d_lib.models.settings import NetworkSettings

# (parameters at 8 frames, GFLOPs at 8 frames, at 16 frames) with 400 classes at 112 pixels: VMZ's
# models.md, with more digits by an analytic count.
EIGHTEEN_LAYERS = {
    "r2d": (11_447_568, 1.93, 2.17),
    "fr2d": (11_381_712, 13.80, 27.60),
    "r3d": (33_371_472, 20.35, 40.70),
    "mc2": (11_400_528, 14.27, 28.55),
    "mc3": (11_695_440, 21.67, 43.34),
    "mc4": (12_727_632, 19.98, 39.95),
    "mc5": (16_856_400, 19.95, 39.90),
    "rmc2": (33_352_656, 19.88, 39.75),
    "rmc3": (33_057_744, 12.48, 24.95),
    "rmc4": (32_025_552, 14.55, 29.09),
    "rmc5": (27_896_784, 15.39, 30.79),
    "r2plus1d": (33_370_839, 20.75, 41.50),
}


def giga(settings, frames, crop=112, digits=2):
    return round(counting.count_multiply_adds(settings, frames=frames, crop=crop) / 1e9, digits)


def parameters(settings):
    with torch.device("meta"):
        return counting.count_parameters(build_network(**settings.to_dict()))


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_the_twelve_networks(name):
    count, at_8, at_16 = EIGHTEEN_LAYERS[name]
    eight, sixteen = (NetworkSettings(name, clip_len=frames) for frames in (8, 16))
    assert parameters(eight) == count
    assert (giga(eight, 8), giga(sixteen, 16)) == (at_8, at_16)
    assert parameters(sixteen) == (11_522_832 if name == "r2d" else count)


@pytest.mark.parametrize(
    ("frames", "expected"),
    [(8, 20.75), (16, 41.50), (24, 62.24), (32, 82.99), (40, 103.74), (48, 124.49)],
)
def test_compute_grows_with_the_clip(frames, expected):
    assert giga(NetworkSettings("r2plus1d"), frames) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (dict(depth=34), 63_697_175),
        (dict(depth=34, num_classes=51), 63_518_138),
        (dict(depth=34, num_classes=487), 63_741_806),
        (dict(depth=34, num_classes=359), 63_676_142),
        (dict(depth=34, midplane_rule="block"), 61_831_661),
        (dict(midplane_rule="block"), 31_505_325),
        (dict(stem_midplanes=83), 33_383_797),
        (dict(depth=50), 46_985_057),
        (dict(depth=101), 86_050_785),
        (dict(depth=152), 118_226_785),
    ],
)
def test_parameters_of_r2plus1d(options, expected):
    assert parameters(NetworkSettings("r2plus1d", **options)) == expected


def test_torchvisions_rule_at_152_layers():
    block = parameters(NetworkSettings("r2plus1d", 152, midplane_rule="block"))
    assert round(block / 1e6, 1) == 137.8


def test_34_layers():
    assert (giga(NetworkSettings("r2plus1d", 34), 8), giga(NetworkSettings("r2plus1d", 34), 32)) == (
        38.09,
        152.36,
    )
    assert parameters(NetworkSettings("r3d", 34)) == 63_681_104
    assert (giga(NetworkSettings("r3d", 34), 8), giga(NetworkSettings("r3d", 34), 32)) == (
        37.69,
        150.76,
    )


@pytest.mark.parametrize(
    ("depth", "frames", "printed"), [(34, 8, 49.8), (34, 32, 199.0), (152, 32, 329.1)]
)
def test_the_zoos_numbers_are_at_128_pixels(depth, frames, printed):
    # The first is 49.75 in the authors' way of counting and 49.748 in ours.
    assert giga(NetworkSettings("r2plus1d", depth), frames, crop=128) == pytest.approx(
        printed, abs=0.06
    )


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (NetworkSettings("r3d", bn_eps=1e-5), "r3d_18"),
        (NetworkSettings("mc3", bn_eps=1e-5), "mc3_18"),
        (NetworkSettings("r2plus1d", midplane_rule="block", bn_eps=1e-5), "r2plus1d_18"),
    ],
)
def test_torchvisions_three(settings, name):
    from torchvision.models import get_model_weights

    meta = get_model_weights(name)["KINETICS400_V1"].meta
    assert parameters(settings) == meta["num_params"]
    assert giga(settings, 16, digits=3) == meta["_ops"]


@pytest.mark.parametrize("name", NETWORK_NAMES)
@pytest.mark.parametrize("depth", [18, 50])
def test_the_closed_formula_gives_the_same(name, depth):
    """Multiply-adds = kernel volume x channels in x values out, added over all convolutions."""
    settings = NetworkSettings(name, depth, clip_len=8)
    with torch.device("meta"):
        net, clip = build_network(**settings.to_dict()), torch.zeros(1, 3, 8, 112, 112)
    total = 0

    def add(layer, _, output):
        nonlocal total
        total += layer.weight[0].numel() * output.numel()

    for layer in net.modules():
        if isinstance(layer, torch.nn.Conv3d | torch.nn.Linear):
            layer.register_forward_hook(add)
    net(clip)
    assert counting.count_multiply_adds(settings, frames=8) == total
    stages = counting.count_stages(settings, frames=8)
    assert sum(stage.multiply_adds for stage in stages) == total
    assert sum(stage.parameters for stage in stages) == counting.count_parameters(net)


def test_stages_have_the_shapes_of_table_1():
    stages = {s.name: s for s in counting.count_stages(NetworkSettings("r3d", 34), frames=16)}
    assert [s.shape for s in stages.values()] == [
        (64, 16, 56, 56),
        (64, 16, 56, 56),
        (128, 8, 28, 28),
        (256, 4, 14, 14),
        (512, 2, 7, 7),
        (400,),
    ]
    pooled = counting.count_stages(NetworkSettings("r2plus1d", pool1="space"), frames=8, crop=224)
    assert [s.name for s in pooled][:3] == ["conv1", "pool1", "conv2_x"]
    assert pooled[1].shape == (64, 8, 56, 56)


@pytest.mark.parametrize("name", ["fr2d", "r3d", "mc3", "rmc4", "r2plus1d"])
@pytest.mark.parametrize(
    "options", [dict(depth=10), dict(depth=50), dict(depth=10, pool1="space-time")]
)
def test_receptive_fields_are_what_gradients_reach(name, options):
    settings = NetworkSettings(name, num_classes=2, width=4, **options)
    field = counting.receptive_field(settings)
    net = build_network(**settings.to_dict(), seed=0).eval()
    frames, pixels = 97, 401  # larger than the fields that are compared
    clip = torch.zeros(1, 3, frames, pixels, 1, dtype=torch.float64, requires_grad=True)
    x = clip
    for stage_name, stage in net.stages().items():
        # Without ReLUs nothing is cut off; double precision, so that nothing is rounded to zero.
        x = linear(stage)(x)
        expected = field[stage_name]
        if expected[0] > frames or expected[1] > pixels:
            break
        centre = x[:, :, x.shape[2] // 2, x.shape[3] // 2].sum()
        gradient = torch.autograd.grad(centre, clip, retain_graph=True)[0].abs().sum((0, 1, 4))
        seen = gradient > 0
        reached = int(seen.any(1).sum()), int(seen.any(0).sum())
        assert reached == expected, stage_name


def linear(stage):
    """Return a group without norms, ReLUs and maxima, with positive weights."""
    import copy

    stage = copy.deepcopy(stage)
    for module in list(stage.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, torch.nn.BatchNorm3d | torch.nn.ReLU):
                setattr(module, name, torch.nn.Identity())
    if isinstance(stage, torch.nn.MaxPool3d):  # whose gradient reaches the largest value alone
        kernel, stride, padding = stage.kernel_size, stage.stride, stage.padding
        # The clip is one pixel wide.
        return torch.nn.AvgPool3d((*kernel[:2], 1), (*stride[:2], 1), (*padding[:2], 0))
    for parameter in stage.parameters():
        parameter.data = torch.full_like(parameter, 0.1, dtype=torch.float64)
    return stage


def test_r2d_sees_the_whole_clip_at_once():
    assert counting.receptive_field(NetworkSettings("r2d", clip_len=16))["conv1"] == (16, 7)


@pytest.mark.parametrize(
    "count", [counting.count_stages, counting.count_multiply_adds, counting.activation_bytes]
)
def test_an_r2d_is_not_counted_on_clips_that_it_cannot_run(count):
    with pytest.raises(SettingsError, match="built for clips of 8 frames and got 16"):
        count(NetworkSettings("r2d", clip_len=8), frames=16)


def test_activation_memory():
    """What is counted on the meta device is what a real training step keeps."""
    small = NetworkSettings("r2plus1d", 10, width=8)
    eight, sixteen = (counting.activation_bytes(small, frames=f, crop=32) for f in (8, 16))
    assert 1.9 < sixteen / eight < 2.1
    net = build_network("r2plus1d", 10, width=8, seed=0)
    clip = torch.randn(1, 3, 8, 32, 32)
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        net.train()(clip)
    weights = {p.untyped_storage().data_ptr() for p in net.parameters()}
    measured = sum(s.nbytes() for pointer, s in kept.items() if pointer not in weights)
    assert eight == pytest.approx(measured, rel=0.02)
