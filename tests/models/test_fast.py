"""The fast copy of a network: the same logits for all twelve, how precision and engine are chosen."""

import copy
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from stand_in_card import card
from torch import nn

from r21d_lib.errors import SettingsError
from r21d_lib.models import fast as inference
from r21d_lib.models import folded, openvino_layers
from r21d_lib.models.fast import optimized
from r21d_lib.models.kinds import NETWORK_NAMES
from r21d_lib.models.networks import VideoResNet, build_network

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="OpenVINO, the extra [fast], is not installed"
)


@pytest.fixture(autouse=True)
def nothing_measured(monkeypatch, tmp_path):
    monkeypatch.setenv("R21D_CACHE", str(tmp_path / "cache"))


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
    monkeypatch.setattr(folded, "_has_fused_layers", lambda dtype: False)
    plain = optimized(network, precision="float32")
    torch.testing.assert_close(plain(clips), wanted, atol=1e-4, rtol=1e-4)


def test_this_torch_has_fused_layers():
    """Or the fast path is not one: look for what became of oneDNN's operations."""
    assert folded._has_fused_layers(torch.float32) == torch.backends.mkldnn.is_available()


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
        if isinstance(layer, folded.FoldedConvolution):
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


@pytest.mark.thorough
def test_the_gain_is_measured_where_there_are_units(monkeypatch):
    monkeypatch.setattr(inference, "has_bfloat16", lambda device_type: True)
    gain = inference.bfloat16_gain("cpu")
    assert gain > 0
    assert inference.bfloat16_gain("cpu") == gain


@needs_openvino
@pytest.mark.parametrize("name", NETWORK_NAMES)
@pytest.mark.parametrize(("depth", "pool1"), [(10, "none"), (50, "space"), (18, "space-time")])
def test_openvino_gives_the_networks_logits(name, depth, pool1):
    network = trained_like(
        build_network(name, depth, num_classes=7, width=4, clip_len=5, pool1=pool1, seed=0)
    )
    fast = optimized(network, precision="float32", engine="openvino")
    assert fast.choice.engine == "openvino"
    shapes = [(2, 3, 5, 24, 32)] if name == "r2d" else [(2, 3, 5, 24, 32), (3, 3, 8, 17, 17)]
    for shape in shapes:
        clips = torch.randn(shape)
        with torch.inference_mode():
            wanted = network(clips)
            torch.testing.assert_close(fast(clips), wanted, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(fast(clips[:0]), wanted[:0])


@needs_openvino
def test_openvino_is_imported_without_the_package_that_reports_it():
    code = (
        "import sys\n"
        "from r21d_lib.models.fast import optimized\n"
        "from r21d_lib.models.networks import build_network\n"
        "network = build_network('r3d', 10, num_classes=5, width=4)\n"
        "assert not any(name.startswith('openvino') for name in sys.modules)\n"
        "optimized(network, engine='openvino', precision='float32')\n"
        "assert 'openvino' in sys.modules and 'openvino_telemetry' not in sys.modules\n"
        "import openvino.tools.ovc as ovc\n"
        "assert 'telemetry_stub' in type(ovc.telemetry).__module__, type(ovc.telemetry)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@needs_openvino
@pytest.mark.parametrize(("gain", "engine"), [(1.2, "openvino"), (0.8, "torch")])
def test_the_faster_engine_is_taken_and_said(gain, engine, monkeypatch):
    monkeypatch.delenv(inference.ENGINE_VARIABLE, raising=False)
    monkeypatch.setattr(inference, "bfloat16_gain", lambda device_type: 0.0)
    monkeypatch.setattr(inference, "_times_faster", lambda *_, **__: gain)
    network = trained_like(build_network("r2plus1d", 10, num_classes=5, width=4, seed=0))
    fast = optimized(network, engine="auto")
    assert fast.choice.engine == engine
    assert f"OpenVINO is {gain:.2f} times as fast as torch" in str(fast.choice)
    clips = torch.randn(2, 3, 4, 24, 24)
    with torch.inference_mode():
        torch.testing.assert_close(fast(clips), network(clips), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("precision", ["auto", "float32"])
def test_openvino_is_refused_for_a_network_on_a_card(precision):
    network = build_network("r3d", 10, num_classes=2, width=4)
    with card() as device:
        network.to(device)
        with pytest.raises(
            SettingsError, match=r"the network is on .*network\.cpu\(\), or give engine"
        ):
            optimized(network, precision=precision, engine="openvino")


@needs_openvino
def test_openvino_takes_flow(monkeypatch):
    monkeypatch.delenv(inference.ENGINE_VARIABLE, raising=False)
    monkeypatch.setattr(inference, "_times_faster", lambda *_, **__: 2.0)
    network = trained_like(build_network("r2plus1d", 10, num_classes=5, width=4, in_channels=2, seed=0))
    fast = optimized(network, precision="float32", engine="auto")
    assert fast.choice.engine == "openvino"
    clips = torch.randn(2, 2, 4, 24, 24)
    with torch.inference_mode():
        torch.testing.assert_close(fast(clips), network(clips), atol=1e-4, rtol=1e-4)


@needs_openvino
def test_an_engine_that_disagrees_is_not_taken(monkeypatch):
    monkeypatch.delenv(inference.ENGINE_VARIABLE, raising=False)
    monkeypatch.setattr(inference, "_times_faster", lambda *_, **__: 9.0)
    network = trained_like(build_network("r3d", 10, num_classes=5, width=4, seed=0))
    shown = openvino_layers.OpenVinoLayers.forward
    monkeypatch.setattr(
        openvino_layers.OpenVinoLayers, "forward", lambda self, clips: shown(self, clips) * 1.01
    )
    assert optimized(network, precision="float32", engine="auto").choice.engine == "torch"


@needs_openvino
@pytest.mark.parametrize(("gain", "engine"), [(1.2, "openvino"), (0.8, "torch")])
def test_what_was_measured_is_not_built_again(gain, engine, monkeypatch):
    """Speeds hold for all weights of these settings; agreement is looked at for each network's own."""
    monkeypatch.delenv(inference.ENGINE_VARIABLE, raising=False)
    units = inference.has_bfloat16("cpu")
    precision = "bfloat16" if units else "float32"
    monkeypatch.setattr(inference, "bfloat16_gain", lambda device_type: 2.0 if units else 0.0)
    monkeypatch.setattr(inference, "_times_faster", lambda *_, **__: gain)
    network = trained_like(build_network("r2plus1d", 10, num_classes=5, width=4, seed=0))
    network.fc.bias.data.copy_(torch.tensor([0.0, 0.0, 0.0, 0.0, 9.0]))  # bfloat16 keeps its classes
    clips = torch.randn(2, 3, 4, 24, 24)
    built = []
    make = inference.FastNetwork.__init__

    def noted(self, network, choice):
        built.append((choice.precision, choice.engine))
        make(self, network, choice)

    monkeypatch.setattr(inference.FastNetwork, "__init__", noted)
    first = optimized(network, engine="auto")
    exact = [("float32", "torch")]  # what answers are compared with
    pair = [(precision, "torch"), (precision, "openvino")]
    assert built == (pair + exact if units else pair)
    built.clear()
    again = optimized(network, engine="auto")
    assert built == [(precision, engine)]
    assert again.choice == first.choice
    assert torch.equal(again(clips), first(clips))
    built.clear()
    network.fc.weight.data.mul_(1.01)
    other = optimized(network, engine="auto")
    compared = exact if units or engine == "openvino" else []
    assert sorted(built) == sorted({(precision, engine), *compared})
    assert other.choice.agreement == (1 if units else None)


@needs_openvino
def test_openvino_is_not_asked_for_bfloat16_where_the_environment_rules_it_out(monkeypatch):
    """It would take the processor's units all the same, and then fail or return rows of nothing."""
    monkeypatch.delenv(inference.ENGINE_VARIABLE, raising=False)
    monkeypatch.setattr(inference, "has_bfloat16", lambda device_type: False)
    monkeypatch.setattr(inference, "_times_faster", lambda *_, **__: 9.0)
    network = trained_like(build_network("r3d", 10, num_classes=5, width=4, seed=0))
    chosen = optimized(network, precision="bfloat16", engine="auto")
    assert chosen.choice.engine == "torch"
    assert chosen(torch.randn(3, 3, 4, 24, 24)).shape == (3, 5)
    with pytest.raises(SettingsError, match='precision="float32"'):
        optimized(network, precision="bfloat16", engine="openvino")


@needs_openvino
def test_an_engine_is_compared_anew_for_other_weights(monkeypatch):
    monkeypatch.delenv(inference.ENGINE_VARIABLE, raising=False)
    monkeypatch.setattr(inference, "_times_faster", lambda *_, **__: 9.0)
    network = trained_like(build_network("r3d", 10, num_classes=5, width=4, seed=0))
    assert optimized(network, precision="float32", engine="auto").choice.engine == "openvino"
    shown = openvino_layers.OpenVinoLayers.forward
    monkeypatch.setattr(
        openvino_layers.OpenVinoLayers, "forward", lambda self, clips: shown(self, clips) * 1.01
    )
    network.fc.bias.data.add_(1)
    choice = optimized(network, precision="float32", engine="auto").choice
    assert choice.engine == "torch"
    assert "its answers are" in choice.reason


@needs_openvino
def test_the_engine_is_really_timed(monkeypatch):
    monkeypatch.delenv(inference.ENGINE_VARIABLE, raising=False)
    network = build_network("r3d", 10, num_classes=5, width=4, seed=0).eval()
    assert "times as fast as torch" in str(optimized(network, engine="auto").choice)


def test_reproduced_numbers_are_torchs(monkeypatch):
    """The notebooks' evaluation never asks for another engine, and their recogniser may not."""
    network = build_network("r3d", 10, num_classes=5, width=4, seed=0).eval()
    assert optimized(network).choice.engine == "torch"
    monkeypatch.setenv(inference.ENGINE_VARIABLE, "torch")
    assert not inference.has_openvino()
    assert optimized(network, engine="auto").choice.engine == "torch"


def test_an_instruction_set_that_is_ruled_out_has_no_bfloat16():
    code = "from r21d_lib.models.fast import has_bfloat16; print(has_bfloat16('cpu'))"
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": "avx2"}
    words = Path("/proc/cpuinfo")
    if not words.is_file() or "avx512" not in words.read_text(encoding="utf-8"):
        pytest.skip("no processor with AVX-512")
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "False"
