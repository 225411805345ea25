"""Several trainings in one process: each has its own precision, and leaves its network as it was."""

import contextlib
import dataclasses
from types import SimpleNamespace

import pytest
import torch

from r21d_lib.data.cache import prepare
from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.models.networks import build_network
from r21d_lib.training import TrainingDiverged, TrainingSettings, hardware, loop, recipes, train
from r21d_lib.training.progress import Progress

CLIPS = ClipSettings(clip_len=4, stride=2, resize=(24, 32), crop=24)


@pytest.fixture(scope="module")
def videos(tiny_dataset, tmp_path_factory):
    return prepare(tiny_dataset, tmp_path_factory.mktemp("cache"), size=(24, 32), workers=1)


@pytest.fixture
def any_precision(monkeypatch):
    """Let this processor train in any precision; gradients of bfloat16 may be non-finite on it."""
    there = SimpleNamespace(device=torch.device("meta"))
    monkeypatch.setattr(hardware, "this_process", lambda: there)
    return contextlib.suppress(TrainingDiverged)


def network():
    return build_network("r3d", 10, num_classes=2, width=4, seed=0)


def recipe(precision, **settings):
    training = TrainingSettings(epochs=1, batch_size=4, mixed_precision=precision, **settings)
    return dataclasses.replace(recipes.read("small_scratch"), clips=CLIPS, training=training)


def logits_are_float32s(net):
    """Compare a direct call with a copy's that no training has touched, up to rounding."""
    fresh, device = network(), net.fc.weight.device
    fresh.load_state_dict(net.state_dict())
    clips = torch.randn(2, 3, 4, 24, 24, device=device)
    return torch.allclose(net.eval()(clips), fresh.to(device).eval()(clips), rtol=1e-4, atol=1e-5)


def test_each_training_of_a_process_has_its_own_precision(videos, tmp_path, any_precision, monkeypatch):
    seen, make = [], loop.Loop

    def spied(accelerator, *rest):
        seen.append((accelerator.mixed_precision, accelerator.native_amp))
        return make(accelerator, *rest)

    monkeypatch.setattr(loop, "Loop", spied)
    net = network()
    for turn, precision in enumerate(["no", "bf16", "bf16", "no"]):
        with any_precision:
            train(net, videos, recipe(precision), tmp_path / str(turn), progress=False)
    assert seen == [("no", False), ("bf16", True), ("bf16", True), ("no", False)]


def test_a_network_computes_in_float32_again_after_a_training_in_less(videos, tmp_path, any_precision):
    net = network()
    with any_precision:
        train(net, videos, recipe("bf16"), tmp_path, progress=False)
    assert not {"forward", "_original_forward", "_is_accelerate_prepared"} & vars(net).keys()
    assert logits_are_float32s(net)


def test_only_where_nothing_failed_a_process_parts_from_the_others_in_order(monkeypatch):
    at_exit = []
    fake = SimpleNamespace(register=at_exit.append, unregister=lambda _: at_exit.clear())
    monkeypatch.setattr(hardware, "atexit", fake)
    for _ in range(2):
        with hardware.among_processes():
            assert at_exit == []
        assert len(at_exit) == 1
    with pytest.raises(RuntimeError), hardware.among_processes():
        raise RuntimeError
    assert at_exit == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_network_is_given_back_whole_where_its_training_breaks_off(
    videos, tmp_path, any_precision, monkeypatch, error
):
    wrapped = []

    def broken(*_):
        wrapped.append("forward" in vars(net))
        raise error

    net = network()
    monkeypatch.setattr(Progress, "add", broken)
    with pytest.raises(error):
        train(net, videos, recipe("bf16", first_trained="fc"), tmp_path, progress=False)
    assert wrapped == [True], "Accelerate's forward was not in use, so nothing is tested here"
    assert logits_are_float32s(net)
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_a_forward_of_the_users_own_stays(videos, tmp_path):
    net = network()
    mine = net.forward = net.forward
    train(net, videos, recipe("no"), tmp_path, progress=False)
    assert vars(net)["forward"] is mine
