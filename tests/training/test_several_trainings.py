"""Several trainings in one process: each has its own precision."""

import contextlib
import dataclasses
from types import SimpleNamespace

import pytest
import torch

from r21d_lib.data.cache import prepare
from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.models.networks import build_network
from r21d_lib.training import TrainingDiverged, TrainingSettings, hardware, loop, recipes, train

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


def recipe(precision, **settings):
    training = TrainingSettings(epochs=1, batch_size=4, mixed_precision=precision, **settings)
    return dataclasses.replace(recipes.read("small_scratch"), clips=CLIPS, training=training)


def test_each_training_of_a_process_has_its_own_precision(videos, tmp_path, any_precision, monkeypatch):
    seen, make = [], loop.Loop

    def spied(accelerator, *rest):
        seen.append((accelerator.mixed_precision, accelerator.native_amp))
        return make(accelerator, *rest)

    monkeypatch.setattr(loop, "Loop", spied)
    net = build_network("r3d", 10, num_classes=2, width=4, seed=0)
    for turn, precision in enumerate(["no", "bf16", "bf16", "no"]):
        with any_precision:
            train(net, videos, recipe(precision), tmp_path / str(turn), progress=False)
    assert seen == [("no", False), ("bf16", True), ("bf16", True), ("no", False)]
