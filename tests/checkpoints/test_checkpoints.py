"""Checkpoints: what is written comes back, a replaced head is reported, bad files are refused."""

import dataclasses
import json
import shutil
import sys

import pytest
import torch

from r21d_lib import checkpoints
from r21d_lib.checkpoints import Card
from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.errors import CheckpointError
from r21d_lib.files import sha256
from r21d_lib.models.networks import build_network
from r21d_lib.prediction.recognizer import Recognizer

CLASSES = ("jump", "run", "walk")


@pytest.fixture
def saved(tmp_path):
    net = build_network("r2plus1d", 10, num_classes=3, width=4, seed=1)
    path = tmp_path / "net.safetensors"
    checkpoints.save(
        path, net, Card(net.settings, ClipSettings(), CLASSES, {"epochs": 3}, {"video@1": 0.5})
    )
    return net, path


def test_round_trip(saved):
    net, path = saved
    loaded, report = checkpoints.load(path)
    for key, value in net.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[key]), key
    assert report.head == "kept"
    assert report.card.classes == CLASSES
    assert report.card.accuracy == {"video@1": 0.5}
    assert report.card.network == net.settings


def test_the_head_is_kept_for_the_same_classes_only(saved):
    net, path = saved
    same, report = checkpoints.load(path, classes=CLASSES)
    assert report.head == "kept"
    assert torch.equal(same.fc.weight, net.fc.weight)
    # As many classes, but others: the trap of loaders that compare only the number.
    with pytest.raises(
        CheckpointError, match=r"knows the 3 classes jump, run, walk, not the 3 classes"
    ):
        checkpoints.load(path, classes=("jump", "walk", "run"))
    other, report = checkpoints.load(path, classes=("a", "b"), replace_head=True)
    assert report.head == "replaced"
    assert "replaced by a new one" in str(report)
    assert other.fc.weight.shape[0] == 2
    assert torch.equal(other.stem[0].weight, net.stem[0].weight)


def test_names_that_are_given_take_the_place_of_the_cards(saved, tmp_path):
    net, path = saved
    names, target = ("spring", "sprint", "stroll"), tmp_path / "renamed.safetensors"
    assert checkpoints.load(path, file_classes=names)[1].card.classes == names
    kept, report = checkpoints.load(path, classes=names, file_classes=names)
    assert report.head == "kept"
    assert torch.equal(kept.fc.weight, net.fc.weight)
    checkpoints.convert(path, target, file_classes=names)
    card = checkpoints.read_card(target)
    assert card.classes == names == Recognizer(path, classes=names, device="cpu").classes
    assert card.accuracy == {"video@1": 0.5}
    for load in (
        lambda two: checkpoints.load(path, file_classes=two),
        lambda two: checkpoints.convert(path, target, file_classes=two),
        lambda two: Recognizer(path, classes=two),
    ):
        with pytest.raises(CheckpointError, match=r"has 3 classes, and 2 names were given \(a, b\)"):
            load(("a", "b"))


@pytest.mark.parametrize("name", ["", "x" * 256])
def test_a_file_that_could_not_be_read_again_is_not_written(saved, tmp_path, name):
    target = tmp_path / "renamed.safetensors"
    with pytest.raises(CheckpointError, match=r"renamed\.safetensors is not written: a class name has"):
        checkpoints.convert(saved[1], target, file_classes=("a", "b", name))
    assert not target.exists()


@pytest.mark.parametrize(("name", "other"), [("bn_eps", 1e-5), ("pool1", "space")])
def test_a_setting_that_the_card_tells_otherwise_is_refused(saved, name, other):
    net, path = saved
    checkpoints.load(path, **{name: getattr(net.settings, name)})
    wanted = dataclasses.replace(net.settings, **{name: other})
    for options in ({name: other}, {"network": wanted}):
        with pytest.raises(CheckpointError, match=rf"tells {name} .*, not {other}: give that, or none"):
            checkpoints.load(path, **options)


def test_a_card_must_describe_the_network(saved, tmp_path):
    net, _ = saved
    other = build_network("r3d", 10, num_classes=3, width=4)
    with pytest.raises(CheckpointError, match="describes another network"):
        checkpoints.save(tmp_path / "x.safetensors", other, Card(net.settings, ClipSettings(), CLASSES))
    assert not (tmp_path / "x.safetensors").exists()


def test_missing_damaged_and_foreign_files(saved, tmp_path):
    _, path = saved
    with pytest.raises(CheckpointError, match="no checkpoint nowhere"):
        checkpoints.load("nowhere")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        checkpoints.load(cut)
    import safetensors.torch

    foreign = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file({"x": torch.zeros(1)}, foreign)
    with pytest.raises(
        CheckpointError, match=r"stem\.0\.weight is missing: this is no network of the paper"
    ):
        checkpoints.load(foreign)


def test_the_shipped_checkpoint_is_whole_small_and_described():
    assert checkpoints.shipped() == ["r2plus1d_10_figures"]
    path = checkpoints.SHIPPED / "r2plus1d_10_figures.safetensors"
    beside = json.loads(path.with_suffix(".json").read_text())
    assert path.stat().st_size <= 5_000_000
    assert beside["sha256"] == sha256(path)
    net, report = checkpoints.load("r2plus1d_10_figures")
    assert report.card.accuracy == beside["accuracy"]
    assert report.card.accuracy["video@1"] > 0.9
    assert net.settings.name == "r2plus1d"


def test_an_altered_shipped_file_is_refused(tmp_path, monkeypatch):
    for path in checkpoints.SHIPPED.iterdir():
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(sys.modules["r21d_lib.checkpoints.load"], "SHIPPED", tmp_path)
    target = tmp_path / "r2plus1d_10_figures.safetensors"
    data = bytearray(target.read_bytes())
    data[-1] ^= 1
    target.write_bytes(data)
    with pytest.raises(CheckpointError, match="SHA-256"):
        checkpoints.load("r2plus1d_10_figures")
    for content in (b"{", b"[]", b"\xff", b"{}"):
        target.with_suffix(".json").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"figures\.json is damaged: restore it from git$"):
            checkpoints.load("r2plus1d_10_figures")
