"""Weights and cards that make a network's scores NaN or infinite: refused, never an answer."""

import dataclasses
import json
import os
import zipfile

import pytest
import safetensors.torch
import torch

from r21d_lib import checkpoints
from r21d_lib.checkpoints import Card
from r21d_lib.checkpoints.cards import METADATA_KEY
from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.errors import CheckpointError, SettingsError
from r21d_lib.models.networks import build_network
from r21d_lib.models.settings import NetworkSettings
from r21d_lib.prediction.recognizer import Recognizer
from r21d_lib.publish import export

CLIPS = ClipSettings(clip_len=4, resize=(32, 40), crop=32)


def network_and_card():
    network = build_network("r2plus1d", 10, num_classes=3, width=4, seed=1).eval()
    return network, Card(network.settings, CLIPS, ("clap", "run", "sit"))


def write(path, *, tensors=None, **card_changes):
    """Write a checkpoint with changed tensors and a changed card, past the checks of `save`."""
    network, card = network_and_card()
    told = json.loads(card.to_json())
    for section, values in card_changes.items():
        told[section] |= values
    state = {**network.state_dict(), **(tensors or {})}
    safetensors.torch.save_file(state, path, metadata={METADATA_KEY: json.dumps(told)})
    return path


WIDE = torch.full((3,), 1e300, dtype=torch.float64)
FAULTS = {
    "float64 beyond float32": {"tensors": {"fc.bias": WIDE}},
    "NaN": {"tensors": {"fc.bias": torch.full((3,), float("nan"))}},
    "negative variance": {"tensors": {"layer1.0.conv1.1.running_var": torch.full((4,), -1.0)}},
    "std 0": {"clips": {"std": [0.2, 0.0, 0.2]}},
    "std NaN": {"clips": {"std": [0.2, float("nan"), 0.2]}},
    "mean infinite": {"clips": {"mean": [float("inf"), 0.4, 0.4]}},
    "bn_eps NaN": {"network": {"bn_eps": float("nan")}},
    "bn_eps infinite": {"network": {"bn_eps": float("inf")}},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_checkpoint_whose_scores_cannot_be_finite_is_refused(tmp_path, fault):
    path = write(tmp_path / "weights.safetensors", **FAULTS[fault])
    with pytest.raises(CheckpointError) as caught:
        checkpoints.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_same_file_without_a_fault_loads(tmp_path):
    network, report = checkpoints.load(write(tmp_path / "weights.safetensors"))
    assert report.card.clips == CLIPS
    assert torch.isfinite(network(torch.zeros(1, 3, 4, 32, 32))).all()


@pytest.mark.parametrize(
    "settings",
    [
        lambda: NetworkSettings("r3d", bn_eps=float("nan")),
        lambda: NetworkSettings("r3d", bn_eps=2.0),
        lambda: ClipSettings(std=(0.2, -0.2, 0.2)),
        lambda: ClipSettings(mean=(0.4, float("nan"), 0.4)),
    ],
)
def test_settings_have_bounds(settings):
    with pytest.raises(SettingsError):
        settings()


def overflowing():
    """Return a network of finite weights whose logits are not finite."""
    network, card = network_and_card()
    with torch.no_grad():
        network.fc.weight.fill_(3e38)
        network.stem[1].weight.fill_(1e30)
    return network, card


def test_prediction_refuses_scores_that_are_not_finite(tmp_path):
    network, card = overflowing()
    checkpoints.save(tmp_path / "weights.safetensors", network, card)
    recognizer = Recognizer(tmp_path / "weights.safetensors")
    clips = torch.randint(256, (2, 4, 32, 40, 3), dtype=torch.uint8)
    with pytest.raises(CheckpointError, match="not finite"):
        recognizer.score(clips)


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_a_network_without_finite_logits_is_not_exported(tmp_path, suffix):
    network, card = overflowing()
    checkpoints.save(tmp_path / "weights.safetensors", network, card)
    with pytest.raises(CheckpointError, match="not finite"):
        export.export(tmp_path / "weights.safetensors", tmp_path / f"net{suffix}")
    assert not (tmp_path / f"net{suffix}").exists()


class Touching:
    """An object whose pickle runs a command when it is read."""

    def __init__(self, witness):
        self.witness = str(witness)

    def __reduce__(self):
        return os.system, (f"touch {self.witness}",)


def test_the_card_of_an_exported_program_is_read_without_running_the_rest(tmp_path):
    network, card = network_and_card()
    card = dataclasses.replace(card, accuracy={"video@1": 0.5})
    export.export_program(network, card, tmp_path / "net.pt2")
    torch.save(Touching(tmp_path / "ran"), tmp_path / "code.pt")
    code = (tmp_path / "code.pt").read_bytes()
    hostile = tmp_path / "hostile.pt2"
    with zipfile.ZipFile(tmp_path / "net.pt2") as old, zipfile.ZipFile(hostile, "w") as new:
        for entry in old.infolist():
            harmful = entry.filename.endswith(("model.pt", "_config.json", "model.json"))
            new.writestr(entry.filename, code if harmful else old.read(entry))
    assert export.read_exported_card(tmp_path / "net.pt2") == card
    assert export.read_exported_card(hostile) == card
    assert not (tmp_path / "ran").exists(), "its code ran"


def test_a_card_that_unpacks_without_end_is_refused(tmp_path):
    path = tmp_path / "bomb.pt2"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"bomb/extra/{METADATA_KEY}", b" " * 10**8)
    with pytest.raises(CheckpointError, match=r"bomb\.pt2"):
        export.read_exported_card(path)
