"""The fast copy of a network: the same logits for all twelve, and how its precision is chosen."""

import copy

import pytest
import torch
from torch import nn

from r21d_lib.errors import SettingsError
from r21d_lib.models import fast as inference
from r21d_lib.models.fast import optimized
from r21d_lib.models.networks import NETWORK_NAMES, VideoResNet, build_network


def trained_like(network: VideoResNet) -> VideoResNet:
    """Give the norms statistics and scales that are not 0 and 1, as training does."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    network.fc.weight.data.mul_(20)  # logits of the size that trained networks have
    return network.eval()


@pytest.mark.parametrize("name", NETWORK_NAMES)
@pytest.mark.parametrize(("depth", "pool1"), [(10, "none"), (50, "space")])
def test_the_logits_are_the_networks(name, depth, pool1):
    network = trained_like(
        build_network(name, depth, num_classes=7, width=4, clip_len=5, pool1=pool1, seed=0)
    )
    before = copy.deepcopy(network.state_dict())
    fast = optimized(network, precision="float32")
    shapes = (
        [(2, 3, 5, 24, 32)]
        if name == "r2d"
        else [(2, 3, 5, 24, 32), (1, 3, 8, 17, 17), (9, 3, 1, 32, 32)]
    )
    for shape in shapes:
        clips = torch.randn(shape)
        with torch.inference_mode():
            wanted = network(clips)
            assert wanted.std() > 0.1
            torch.testing.assert_close(fast(clips), wanted, atol=1e-4, rtol=1e-4)
    after = network.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_it_scores_in_eval_mode_and_leaves_the_network_in_training():
    network = trained_like(build_network("r2plus1d", 10, num_classes=5, width=4, seed=0)).train()
    fast = optimized(network, precision="float32")
    assert network.training
    clips = torch.randn(2, 3, 4, 24, 24)
    got = fast(clips)
    assert not got.requires_grad
    assert all(p.requires_grad for p in network.parameters())
    with torch.no_grad():
        torch.testing.assert_close(got, network.eval()(clips), atol=1e-4, rtol=1e-4)


def test_without_fused_layers_the_logits_are_the_same(monkeypatch):
    """Another torch, a build without oneDNN, or a card."""
    network = trained_like(build_network("r2plus1d", 10, num_classes=5, width=4, seed=0))
    clips = torch.randn(2, 3, 4, 24, 24)
    wanted = optimized(network, precision="float32")(clips)
    monkeypatch.setattr(inference, "_has_fused_layers", lambda dtype: False)
    plain = optimized(network, precision="float32")
    torch.testing.assert_close(plain(clips), wanted, atol=1e-4, rtol=1e-4)


def test_this_torch_has_fused_layers():
    """Or the fast path is not one: look for what became of oneDNN's operations."""
    assert inference._has_fused_layers(torch.float32) == torch.backends.mkldnn.is_available()


def test_clips_that_do_not_fit_are_named():
    fast = optimized(build_network("r2d", 10, num_classes=5, width=4, clip_len=5))
    with pytest.raises(SettingsError, match="built for clips of 5 frames and got 6"):
        fast(torch.zeros(1, 3, 6, 24, 24))
    with pytest.raises(SettingsError, match="takes clips of"):
        fast(torch.zeros(3, 5, 24, 24))


@pytest.mark.parametrize("name", NETWORK_NAMES)
@pytest.mark.parametrize(("depth", "pool1"), [(10, "none"), (50, "space"), (18, "space-time")])
def test_a_batch_goes_through_in_parts_that_fit(name, depth, pool1, monkeypatch):
    network = trained_like(
        build_network(name, depth, num_classes=7, width=4, clip_len=5, pool1=pool1, seed=0)
    )
    fast = optimized(network, precision="float32")
    sizes = []
    for layer in fast.modules():
        if isinstance(layer, inference._Convolution):
            layer.register_forward_hook(
                lambda _layer, _given, maps: sizes.append((len(maps), maps.nbytes // max(1, len(maps))))
            )
    clips = torch.randn(7, 3, 5, 33, 24)
    whole = fast(clips)
    largest = max(each for _, each in sizes)
    assert {number for number, _ in sizes} == {7}
    monkeypatch.setattr(inference, "_LARGEST_MAP", 3 * largest + 1)
    sizes.clear()
    torch.testing.assert_close(fast(clips), whole, atol=1e-5, rtol=1e-5)
    assert {number for number, _ in sizes} == {3, 1}
    assert fast(clips[:0]).shape == (0, 7)


def test_without_units_bfloat16_is_not_tried(monkeypatch):
    monkeypatch.setattr(inference, "bfloat16_gain", lambda device_type: 0.0)
    choice = optimized(build_network("r3d", 10, num_classes=5, width=4)).choice
    assert (choice.precision, choice.agreement) == ("float32", None)
    assert "no bfloat16 units" in str(choice)


def test_a_small_gain_is_not_worth_the_error(monkeypatch):
    monkeypatch.setattr(inference, "bfloat16_gain", lambda device_type: 1.1)
    choice = optimized(build_network("r3d", 10, num_classes=5, width=4)).choice
    assert (choice.precision, choice.agreement) == ("float32", None)


def test_bfloat16_must_keep_the_best_class(monkeypatch):
    """A network whose last maps are large and hardly differ loses its classes, and stays in float32."""
    monkeypatch.setattr(inference, "bfloat16_gain", lambda device_type: 2.0)
    network = trained_like(build_network("r3d", 10, num_classes=5, width=4, seed=0))
    network.fc.bias.data.copy_(torch.tensor([0.0, 0.0, 0.0, 0.0, 9.0]))
    passed = optimized(network)
    assert passed.choice.precision == "bfloat16"
    assert passed.choice.agreement >= 0.99
    assert 0 < passed.choice.largest_error < 0.2
    clips = torch.randn(2, 3, 4, 24, 24)
    with torch.inference_mode():
        difference = (passed(clips) - network(clips)).abs().max()
    assert passed(clips).dtype == torch.float32
    assert 1e-6 < difference < 0.2

    network.layer4[0].conv2[1].bias.data.fill_(1000)
    network.fc.bias.data.copy_(-1000 * network.fc.weight.data.sum(1))
    failed = optimized(network)
    assert failed.choice.precision == "float32"
    assert failed.choice.agreement < 0.99
    with torch.inference_mode():
        torch.testing.assert_close(failed(clips), network(clips), atol=1e-2, rtol=1e-3)


def test_the_gain_is_measured_where_there_are_units(monkeypatch):
    inference.bfloat16_gain.cache_clear()
    monkeypatch.setattr(inference, "has_bfloat16", lambda device_type: True)
    gain = inference.bfloat16_gain("cpu")
    assert gain > 0
    assert inference.bfloat16_gain("cpu") == gain
    inference.bfloat16_gain.cache_clear()
