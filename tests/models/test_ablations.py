"""The changed networks of "Why factorize?": each differs from its base as its label says."""

import pytest
import torch
from torch import nn

from r21d_lib.models.ablations import ABLATIONS
from r21d_lib.models.counting import count_parameters
from r21d_lib.models.fast import optimized
from r21d_lib.models.folded import fold
from r21d_lib.models.networks import build_network


def built(name, **options):
    return build_network(name, 10, num_classes=12, width=16, seed=0, **options).eval()


def count(network, kind):
    return sum(isinstance(module, kind) for module in network.modules())


@pytest.mark.parametrize("name", ABLATIONS)
def test_folding_gives_the_same_answers(name):
    network, clips = built(name), torch.randn(2, 3, 8, 32, 32)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):  # as after a training
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    with torch.no_grad():
        want = network.forward_features(clips)
        got = fold(network)(clips.to(memory_format=torch.channels_last_3d))
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)
        agree = optimized(network)(clips).argmax(1) == network(clips).argmax(1)
    assert bool(agree.all())


@pytest.mark.parametrize("name", ABLATIONS)
def test_weights_match_the_bases_but_where_the_label_says_otherwise(name):
    base, changed = built(ABLATIONS[name].base), built(name)
    share = count_parameters(changed) / count_parameters(base)
    expected = {"r2plus1d_half_m": 0.5, "r2plus1d_double_m": 2.0}.get(name, 1.0)
    assert share == pytest.approx(expected, rel=0.02)


# Weights of the convolution from 16 channels to 32 that begins conv3_x, counted by hand. M is
# 27*16*32 / (9*16 + 3*32) = 13824 / 240 = 57 in a pair; with time first 13824 / (3*16 + 9*32) = 41.
BY_HAND = {
    "r3d": 27 * 16 * 32,
    "r2plus1d": 9 * 16 * 57 + 3 * 57 * 32,
    "r2plus1d_linear": 9 * 16 * 57 + 3 * 57 * 32,
    "r2plus1d_no_norm": 9 * 16 * 57 + 3 * 57 * 32,
    "r2plus1d_half_m": 9 * 16 * 28 + 3 * 28 * 32,
    "r2plus1d_double_m": 9 * 16 * 114 + 3 * 114 * 32,
    "r2plus1d_time_first": 3 * 16 * 41 + 9 * 41 * 32,
    # 27*16 = 432 weights into each of a planes and 32 out of it: a = 13824 / 464 = 29
    "r3d_more_relus": 432 * 29 + 29 * 32,
}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_convolution_has_the_weights_and_the_output_counted_by_hand(name):
    convolution = built(name).layer2[0].conv1[0].eval()
    kernels = [m for m in convolution.modules() if isinstance(m, nn.Conv3d)]
    assert sum(kernel.weight.numel() for kernel in kernels) == BY_HAND[name]
    with torch.no_grad():
        assert convolution(torch.randn(2, 16, 8, 14, 14)).shape == (2, 32, 4, 7, 7)


def test_each_change_is_the_one_it_is_called():
    r2plus1d, r3d = built("r2plus1d"), built("r3d")
    pairs = 1 + 2 * 4  # conv1 and two convolutions in each of four blocks
    linear, no_norm = built("r2plus1d_linear"), built("r2plus1d_no_norm")
    assert count(r2plus1d, nn.ReLU) - count(linear, nn.ReLU) == pairs
    assert count(r2plus1d, nn.BatchNorm3d) == count(linear, nn.BatchNorm3d)
    assert count(r2plus1d, nn.BatchNorm3d) - count(no_norm, nn.BatchNorm3d) == pairs
    assert count(built("r3d_more_relus"), nn.ReLU) == count(r2plus1d, nn.ReLU)
    assert count(built("r3d_more_relus"), nn.ReLU) - count(r3d, nn.ReLU) == pairs
    kernels = [
        m.kernel_size for m in built("r2plus1d_time_first").modules() if isinstance(m, nn.Conv3d)
    ]
    assert kernels[:4] == [(3, 1, 1), (1, 7, 7), (3, 1, 1), (1, 3, 3)]
    stem = built("r3d_factorized_stem").stem
    assert isinstance(stem[0], nn.Conv3d)
    assert stem[0].kernel_size == (1, 7, 7)
    assert built("r2plus1d_3d_stem").stem[0].kernel_size == (3, 7, 7)


def test_without_the_relu_a_pair_is_one_3d_convolution():
    network = built("r2plus1d_linear")
    conv = network.layer1[0].conv1[0].double().eval()
    space, norm, _, time = conv
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    norm.running_var.uniform_(0.5, 1.5)
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    # The sum over midplanes of an outer product of a kernel in time and one in space.
    kernel = torch.einsum(
        "omt,mihw->oithw", time.weight[..., 0, 0], scale[:, None, None, None] * space.weight[:, :, 0]
    )
    x = torch.randn(1, 16, 6, 9, 9, dtype=torch.float64)
    with torch.no_grad():
        want = nn.functional.conv3d(x, kernel, padding=1)
        torch.testing.assert_close(conv(x), want)
