"""Exported networks: any number of clips and frames, torch's own logits, and a card that goes along."""

import onnx
import onnxruntime
import pytest
import torch
from stand_in_card import card as gpu

from r21d_lib import checkpoints
from r21d_lib.checkpoints import Card
from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.errors import CheckpointError, SettingsError
from r21d_lib.models.folded import fold
from r21d_lib.models.kinds import NETWORK_NAMES
from r21d_lib.models.networks import build_network
from r21d_lib.publish import export

CLASSES = ("clap", "jump", "run", "sit", "walk")
CLIPS = ClipSettings(clip_len=8, stride=2, resize=(32, 40), crop=32)


def network_and_card(name, depth=10, **more):
    """Build a small network whose batch norms have seen something, so that folding them matters."""
    clip_len = 8 if name == "r2d" else None
    network = build_network(name, depth, num_classes=5, width=4, clip_len=clip_len, seed=1, **more)
    network.train()
    for _ in range(3):
        network(torch.randn(2, 3, 8, 32, 32))
    return network.eval(), Card(network.settings, CLIPS, CLASSES, accuracy={"video@1": 0.5})


def logits(network, clips):
    with torch.inference_mode():
        return network(clips)


def run_onnx(path, clips):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"clips": clips.numpy()})[0])


def shapes(name):
    """Return batches of (clips, frames), none of which the export itself tries."""
    return [(5, 8), (4, 8)] if name == "r2d" else [(4, 8), (2, 7), (3, 12), (1, 1), (1, 33)]


def check_onnx(name, path, network):
    for num_clips, num_frames in shapes(name):
        clips = torch.randn(num_clips, 3, num_frames, 32, 32)
        expected = logits(network, clips)
        assert float(expected.std()) > 1e-3
        torch.testing.assert_close(run_onnx(path, clips), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_onnx_agrees_at_other_batch_sizes_and_clip_lengths(name, tmp_path):
    network, card = network_and_card(name)
    report = export.export_onnx(network, card, tmp_path / "net.onnx")
    assert report.largest_difference < 1e-4
    assert "largest difference from torch" in str(report)
    assert ("8 frames only" in str(report)) == (name == "r2d")
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"], "one file, no data beside it"
    check_onnx(name, tmp_path / "net.onnx", network)


@pytest.mark.parametrize(
    ("name", "depth", "more"),
    [
        ("r2plus1d", 18, {"midplane_rule": "block"}),
        ("rmc4", 34, {}),
        ("r3d", 18, {"stem_t": 7, "pool1": "space-time"}),
        ("r2plus1d", 50, {"pool1": "space"}),
    ],
)
def test_onnx_agrees_for_deeper_networks_and_their_variants(name, depth, more, tmp_path):
    network, card = network_and_card(name, depth, **more)
    export.export_onnx(network, card, tmp_path / "net.onnx")
    check_onnx(name, tmp_path / "net.onnx", network)


@pytest.mark.parametrize("name", ["r2plus1d", "r2d", "mc3"])
def test_program_agrees_at_other_batch_sizes_and_clip_lengths(name, tmp_path):
    network, card = network_and_card(name)
    export.export_program(network, card, tmp_path / "net.pt2")
    program = torch.export.load(tmp_path / "net.pt2").module()
    for num_clips, num_frames in shapes(name):
        clips = torch.randn(num_clips, 3, num_frames, 32, 32)
        torch.testing.assert_close(program(clips), logits(network, clips), atol=1e-4, rtol=1e-4)
    assert export.read_exported_card(tmp_path / "net.pt2") == card


def test_r2d_says_which_length_it_takes(tmp_path):
    network, card = network_and_card("r2d")
    export.export_onnx(network, card, tmp_path / "net.onnx")
    with pytest.raises(Exception, match=r"index: 2 Got: 9 Expected: 8"):
        run_onnx(tmp_path / "net.onnx", torch.randn(1, 3, 9, 32, 32))


def test_the_shipped_network_carries_its_classes_and_clip_settings(tmp_path):
    export.export("figures", tmp_path / "net.onnx")
    card = checkpoints.read_card("r2plus1d_10_figures")
    assert export.read_exported_card(tmp_path / "net.onnx") == card
    model = onnx.load(tmp_path / "net.onnx")
    onnx.checker.check_model(model, full_check=True)
    operators = {node.op_type for node in model.graph.node}
    assert operators == {"Conv", "Relu", "Add", "GlobalAveragePool", "Flatten", "Gemm"}


def test_a_file_that_disagrees_is_not_kept(tmp_path, monkeypatch):
    network, card = network_and_card("r3d")
    other = build_network("r3d", 10, num_classes=5, width=4, seed=2).eval()
    monkeypatch.setattr(export, "fold", lambda _, **order: fold(other, **order))
    old = tmp_path / "net.onnx"
    old.write_text("the old file")
    with pytest.raises(CheckpointError, match="is not written: its logits differ from torch's by"):
        export.export_onnx(network, card, old)
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]
    assert old.read_text() == "the old file"


def test_what_is_wrong_is_said_in_one_line(tmp_path):
    with pytest.raises(SettingsError, match=r"net.pb is named neither .onnx nor .pt2"):
        export.export("figures", tmp_path / "net.pb")
    with pytest.raises(CheckpointError, match="no checkpoint nowhere"):
        export.export("nowhere", tmp_path / "net.onnx")
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match=r"bad\.safetensors"):
        export.export(tmp_path / "bad.safetensors", tmp_path / "net.onnx")
    assert not (tmp_path / "net.onnx").exists()
    for name in ("net.onnx", "net.pt2"):
        (tmp_path / name).write_bytes(b"something else")
        with pytest.raises(CheckpointError, match=rf"{name} is no network that `r21d export` wrote"):
            export.read_exported_card(tmp_path / name)


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_a_network_on_a_card_is_exported_and_stays_there(suffix, tmp_path):
    network, card = network_and_card("r2plus1d")
    clips = torch.randn(2, 3, 8, 32, 32)
    expected, path = logits(network, clips), tmp_path / f"net{suffix}"
    write = export.export_onnx if suffix == ".onnx" else export.export_program
    with gpu() as device:
        write(network.to(device), card, path)
        assert all(values.device.type == device.type for values in network.state_dict().values())
    got = run_onnx(path, clips) if suffix == ".onnx" else torch.export.load(path).module()(clips)
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)
