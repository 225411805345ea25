"""Other people's weight files: each loads into the right network, or says what would fit."""

import argparse
import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from foreign_files import blobs_of, r2plus1d_shapes, random_blobs, run_r2plus1d, write_caffe2
from typer.testing import CliRunner

from r21d_lib import checkpoints
from r21d_lib.checkpoints.formats.pickles import read_caffe2
from r21d_lib.cli.main import app
from r21d_lib.errors import CheckpointError, SettingsError
from r21d_lib.files import sha256
from r21d_lib.models.kinds import NETWORK_NAMES
from r21d_lib.models.networks import build_network, list_networks
from r21d_lib.models.settings import NetworkSettings


@pytest.fixture(scope="module")
def caffe2_34(tmp_path_factory):
    """The 34-layer R(2+1)D of the paper, 400 classes, as VMZ's file holds it."""
    blobs = random_blobs(r2plus1d_shapes(34, 400))
    return blobs, write_caffe2(tmp_path_factory.mktemp("caffe2") / "r2.5d_like.pkl", blobs)


def small(tmp_path, *, depth=18, classes=5, width=8, name="small.pkl", **kinds):
    blobs = random_blobs(r2plus1d_shapes(depth, classes, width=width))
    return blobs, write_caffe2(tmp_path / name, blobs, **kinds)


def test_all_347_blobs_of_34_layers(caffe2_34):
    blobs, path = caffe2_34
    assert len(blobs) == 347
    assert sum(values.size for values in blobs.values()) == 63_747_463
    net, report = checkpoints.load(path)
    assert net.settings == NetworkSettings("r2plus1d", 34)
    assert len(report.loaded) == 347
    assert len(report.missing) == 69
    assert all(name.endswith("num_batches_tracked") for name in report.missing)
    clips = torch.randn(1, 3, 8, 56, 56)
    with torch.no_grad():
        torch.testing.assert_close(net(clips), run_r2plus1d(blobs, clips, 34), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["wrapped", "bare", "momentum", "python 3"])
def test_every_form_of_caffe2_pickle(tmp_path, kind):
    import pickle

    blobs, path = small(tmp_path, bare=kind == "bare")
    if kind == "momentum":
        more = {f"{name}_momentum": values for name, values in blobs.items()}
        more |= {"ITER": np.zeros(1, np.float32), "conv1_spatbn_relu_sm": np.zeros(8, np.float32)}
        write_caffe2(path, blobs | more)
    if kind == "python 3":
        path.write_bytes(pickle.dumps({"blobs": blobs}, protocol=2))
    net, report = checkpoints.load(path)
    assert len(report.unexpected) == (len(blobs) + 2 if kind == "momentum" else 0)
    clips = torch.randn(2, 3, 8, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(net(clips), run_r2plus1d(blobs, clips, 18), atol=1e-5, rtol=1e-5)


def test_python_2_and_python_3_pickles_hold_the_same(tmp_path):
    blobs, path = small(tmp_path)
    read = read_caffe2(path)
    assert read.keys() == blobs.keys()
    for name, values in blobs.items():
        np.testing.assert_array_equal(read[name], values)
        assert read[name].dtype == np.float32


@pytest.mark.parametrize("name", NETWORK_NAMES)
@pytest.mark.parametrize("depth", [18, 34])
def test_every_family_at_18_and_34_layers(tmp_path, name, depth):
    original = build_network(name, depth, num_classes=7, width=8, clip_len=8, seed=1).eval()
    path = write_caffe2(tmp_path / "net.pkl", blobs_of(original))
    net, report = checkpoints.load(path)
    clip_len = 8 if name == "r2d" else None
    assert net.settings == NetworkSettings(name, depth, num_classes=7, width=8, clip_len=clip_len)
    clips = torch.randn(1, 3, 8, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(net(clips), original(clips))
    assert report.grammar == "Caffe2"
    if name == "r2d":
        assert report.card.clips.clip_len == 8


def test_bottlenecks_of_152_layers(tmp_path):
    original = build_network("r2plus1d", 152, num_classes=7, width=4, seed=1).eval()
    blobs = blobs_of(original)
    assert {0, 3, 11, 47} == {int(b.split("_")[2]) for b in blobs if b.startswith("shortcut")}
    for blob in ("comp_0_conv_1_w", "comp_0_conv_2_middle_w", "comp_49_spatbn_3_riv"):
        assert blob in blobs
    net, _ = checkpoints.load(write_caffe2(tmp_path / "deep.pkl", blobs))
    assert net.settings == original.settings
    clips = torch.randn(1, 3, 8, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(net(clips), original(clips))


# .pth --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [359, 400, 487])
@pytest.mark.parametrize("wrapped", ["plain", "training", "parallel", "legacy"])
def test_ig65m_and_vmz_pth(tmp_path, classes, wrapped):
    original = build_network("r2plus1d", 34, num_classes=classes, width=4, seed=1).eval()
    content = original.state_dict()
    if wrapped == "training":
        optimizer = torch.optim.SGD(original.parameters(), lr=0.1, momentum=0.9).state_dict()
        args = argparse.Namespace(lr=0.01, name="r2plus1d_34")
        content = {"model": content, "optimizer": optimizer, "epoch": 3, "args": args}
    if wrapped == "parallel":
        content = {"state_dict": {f"module.{name}": t for name, t in content.items()}, "arch": "x"}
    path = tmp_path / "net.pth"
    torch.save(content, path, _use_new_zipfile_serialization=wrapped != "legacy")
    net, report = checkpoints.load(path)
    # Only the paper's rule for the midplanes tells these files from torchvision's.
    assert net.settings == original.settings
    assert net.settings.bn_eps == 1e-3
    assert not report.missing
    clips = torch.randn(1, 3, 8, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(net(clips), original(clips))


def kenshohara(network):
    """Rename one of our networks' tensors as kenshohara's code calls them."""
    renamed = {}
    for name, tensor in network.state_dict().items():
        for ours, theirs in (
            ("stem.0.", "conv1_s." if "stem.3.weight" in network.state_dict() else "conv1."),
            ("stem.1.", "bn1_s." if "stem.3.weight" in network.state_dict() else "bn1."),
            ("stem.3.", "conv1_t."),
            ("stem.4.", "bn1_t."),
        ):
            name = name.replace(ours, theirs)
        for j in "123":
            for ours, theirs in (
                (f".conv{j}.0.0.", f".conv{j}_s."),
                (f".conv{j}.0.1.", f".bn{j}_s."),
                (f".conv{j}.0.3.", f".conv{j}_t."),
            ):
                name = name.replace(ours, theirs)
            block = name.split(f".conv{j}.")[0]
            factorized = f"{block}.conv{j}.0.3.weight" in network.state_dict()
            name = name.replace(f".conv{j}.1.", f".bn{j}_t." if factorized else f".bn{j}.")
            name = name.replace(f".conv{j}.0.", f".conv{j}.")
        renamed[name] = tensor
    return renamed


@pytest.mark.parametrize("name", ["r3d", "r2plus1d"])
@pytest.mark.parametrize("depth", [18, 50])
def test_kenshohara_names(tmp_path, name, depth):
    # Its conv1 spans 7 frames, with midplanes by the rule, and is followed by a pooling in time too.
    options = dict(stem_t=7, pool1="space-time", bn_eps=1e-5, width=8, num_classes=6, seed=1)
    stem = 14 if name == "r2plus1d" else None
    original = build_network(name, depth, stem_midplanes=stem, **options).eval()
    state = kenshohara(original)
    expected = "conv1_s.weight" if name == "r2plus1d" else "conv1.weight"
    assert expected in state
    assert not any(key.startswith("stem") or ".conv1.0" in key for key in state)
    path = tmp_path / "net.pth"
    torch.save({"epoch": 1, "arch": f"resnet-{depth}", "state_dict": state}, path)
    net, report = checkpoints.load(path)
    assert net.settings == original.settings
    assert report.grammar == "kenshohara"
    # Its mean.py's for Kinetics, which its main.py takes unless it is told otherwise.
    assert report.card.clips.mean == (0.4345, 0.4051, 0.3775)
    assert report.card.clips.std == (0.2768, 0.2713, 0.2737)
    assert str(report).endswith(
        "assumed bn_eps 1e-05, pool1 space-time, mean 0.4345 0.4051 0.3775, std 0.2768 0.2713 0.2737"
    )
    clips = torch.randn(1, 3, 16, 48, 48)
    with torch.no_grad():
        torch.testing.assert_close(net(clips), original(clips))


def test_what_no_file_tells_is_named_in_the_report_unless_it_is_given(tmp_path, weights_folder):
    _, path = small(tmp_path, classes=3)
    _, report = checkpoints.load(path)
    assert report.card.clips.mean == (0.43216, 0.394666, 0.37645)
    assert report.assumed == {
        "bn_eps": 1e-3,
        "pool1": "none",
        "mean": report.card.clips.mean,
        "std": report.card.clips.std,
    }
    assert "assumed bn_eps 0.001, pool1 none, mean 0.4322 0.3947" in str(report)
    net, report = checkpoints.load(path, bn_eps=1e-4, pool1="space")
    assert (net.settings.bn_eps, net.settings.pool1) == (1e-4, "space")
    assert set(report.assumed) == {"mean", "std"}
    wanted = replace(net.settings, bn_eps=1e-2)
    net, report = checkpoints.load(path, network=wanted)
    assert net.settings == report.card.network == wanted
    assert set(report.assumed) == {"mean", "std"}
    net, report = checkpoints.load(path, network=wanted, bn_eps=1e-4)
    assert net.settings == report.card.network == replace(wanted, bn_eps=1e-4)
    # Of a published file the table tells it, of this project's own the card.
    entry = checkpoints.published()["torchvision/mc3_18"]
    torch.save(build_network("mc3", 18, width=4).state_dict(), weights_folder / entry.file)
    for known in (entry.name, "r2plus1d_10_figures"):
        report = checkpoints.load(known)[1]
        assert report.assumed == {}
        assert "assumed" not in str(report)


@pytest.mark.parametrize(
    ("name", "width", "bn_eps"),
    [
        ("r3d", 8, 1e-3),  # torchvision's code builds 64 channels only
        ("mc3", 16, 1e-3),
        ("rmc3", 64, 1e-3),  # nor a conv1 of one frame
        ("fr2d", 64, 1e-3),
        ("r2d", 64, 1e-3),
        ("r2plus1d", 8, 1e-3),
        ("r3d", 64, 1e-5),  # this looks exactly as torchvision's
        ("mc3", 64, 1e-5),
    ],
)
def test_a_state_dict_that_torchvision_cannot_have_written_has_this_projects_bn_eps(
    tmp_path, name, width, bn_eps
):
    original = build_network(name, 10, num_classes=2, width=width, clip_len=8)
    torch.save(original.state_dict(), tmp_path / "net.pth")
    net, report = checkpoints.load(tmp_path / "net.pth")
    assert net.settings.bn_eps == report.assumed["bn_eps"] == bn_eps
    assert f"bn_eps {bn_eps}" in str(report)


# Heads -------------------------------------------------------------------------------------------


def test_the_head_goes_by_names_not_by_their_number(tmp_path):
    _, path = small(tmp_path, classes=3)
    names = ("jump", "run", "walk")
    with pytest.raises(CheckpointError, match=r"the file names none.*not the 3 classes jump"):
        checkpoints.load(path, classes=names)
    net, report = checkpoints.load(path, classes=names, replace_head=True)
    assert report.replaced == ("fc.weight", "fc.bias")
    assert "fc.weight" not in report.loaded
    assert "randomly initialised" in str(report)
    kept, report = checkpoints.load(path, classes=names, file_classes=names)
    assert report.head == "kept"
    assert not torch.equal(kept.fc.weight, net.fc.weight)
    with pytest.raises(CheckpointError, match="has 3 classes, and 2 names were given"):
        checkpoints.load(path, file_classes=("a", "b"))


# What does not fit -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            dict(depth=34, midplane_rule="block", num_classes=5),
            r"comp_3_conv_2_middle_w \(layer2\.0\.conv2\.0\.0\.weight\) has shape \(36, 16, 1, 3, 3\), "
            r"and r2plus1d_34 \(5 classes\) expects \(28, 16, 1, 3, 3\); the file fits "
            r"build_network\('r2plus1d', 34, num_classes=5, width=8, midplane_rule='conv'\)",
        ),
        (
            dict(depth=34, num_classes=400),
            r"last_out_L5_w \(fc\.weight\) has shape \(5, 64\), and .* expects \(400, 64\); the file "
            r"fits build_network\('r2plus1d', 34, num_classes=5",
        ),
        (
            dict(depth=18, num_classes=5),
            r"layer1\.2\..* has no place in r2plus1d_18 .*the file fits build_network\('r2plus1d', 34",
        ),
        (dict(depth=50, num_classes=5), r"the file fits build_network\('r2plus1d', 34"),
    ],
)
def test_a_misfit_names_the_blob_and_what_would_fit(tmp_path, wanted, message):
    _, path = small(tmp_path, depth=34)
    with pytest.raises(CheckpointError, match=message) as caught:
        checkpoints.load(path, network=NetworkSettings("r2plus1d", width=8, **wanted))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_18_layers_do_not_fill_34(tmp_path):
    _, path = small(tmp_path, depth=18)
    with pytest.raises(CheckpointError, match=r"layer1\.2\.conv1.*is missing.*fits .*'r2plus1d', 18"):
        checkpoints.load(path, network=NetworkSettings("r2plus1d", 34, num_classes=5, width=8))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b.pop("comp_1_conv_2_w"), r"layer1\.1\.conv2\.0\.3\.weight is missing"),
        (lambda b: b.update(conv1a_w=np.zeros(3)), "blob conv1a_w belongs to no residual network"),
        (lambda b: b.pop("shortcut_projection_4_w"), r"projections at blocks|is missing"),
        (
            lambda b: b.update(comp_0_conv_1_middle_w=np.zeros((17, 8, 1, 3, 3), np.float32)),
            "17 midplanes, where 8 to 8 channels give 18 by the paper's rule",
        ),
        (
            lambda b: b.update(comp_0_spatbn_1_s=np.full(8, np.nan, np.float32)),
            r"comp_0_spatbn_1_s .* not finite",
        ),
    ],
)
def test_a_blob_too_few_too_many_or_wrong(tmp_path, change, message):
    blobs, path = small(tmp_path)
    change(blobs)
    write_caffe2(path, blobs)
    with pytest.raises(CheckpointError, match=message):
        checkpoints.load(path)


def test_channel_separated_networks_are_named(tmp_path):
    state = build_network("r3d", 50, num_classes=3, width=4).state_dict()
    state["layer1.0.conv2.0.weight"] = torch.zeros(4, 1, 3, 3, 3)
    torch.save(state, tmp_path / "csn.pth")
    with pytest.raises(CheckpointError, match="channel-separated networks"):
        checkpoints.load(tmp_path / "csn.pth")


# Names and files ---------------------------------------------------------------------------------


def test_the_published_table_is_whole():
    table = checkpoints.published()
    assert len(table) == 47
    assert [name for name, entry in table.items() if entry.modality == "flow"] == [
        "vmz/r2plus1d_34_32_kinetics_flow",
        "vmz/r2plus1d_34_32_sports1m_kinetics_flow",
    ]
    for entry in table.values():
        name, depth = entry.network.rsplit("_", 1)
        NetworkSettings(name, int(depth), clip_len=entry.clip_len)
        assert entry.url.startswith("https://")
        assert entry.trained_on
    assert table["r2plus1d_34_32_kinetics"].hash_prefix == "ade133f1"
    assert table["r2plus1d_34_32_kinetics"].accuracy == {"video@1": 0.8, "video@5": 0.942}
    assert table["r2plus1d_34_8_ig65m"].num_classes == 487
    assert table["vmz/mc3_18_16_kinetics"].accuracy["clip@1"] == 0.541
    assert table["torchvision/r2plus1d_18"].hash_prefix == "91a641e6"
    assert table["torchvision/r2plus1d_18"].class_names()[:2] == ("abseiling", "air drumming")


@pytest.fixture
def weights_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("R21D_WEIGHTS", str(tmp_path / "weights"))
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


def test_a_published_name_loads_the_file_that_was_put_there(weights_folder):
    entry = checkpoints.published()["torchvision/mc3_18"]
    original = build_network("mc3", 18, bn_eps=1e-5, seed=0).eval()
    torch.save(original.state_dict(), weights_folder / entry.file)
    net, report = checkpoints.load("torchvision/mc3_18")
    assert net.settings == original.settings
    assert report.card.classes[0] == "abseiling"
    assert report.card.accuracy == {"video@1": 0.6396, "video@5": 0.8413}
    assert report.card.clips.clip_len == 16
    assert report.card.training["frames per second"] == 15
    # The same file by its path is recognised by its name.
    assert checkpoints.load(weights_folder / entry.file)[1].card == report.card


def test_a_download_is_checked(weights_folder, tmp_path, monkeypatch):
    import dataclasses

    loading = sys.modules["r21d_lib.checkpoints.load"]

    source = tmp_path / "source.pth"
    torch.save(build_network("r3d", 10, num_classes=2, width=4).state_dict(), source)
    entry = checkpoints.published()["torchvision/r3d_18"]

    def served(file):
        changed = dataclasses.replace(entry, url=source.as_uri(), file=file)
        monkeypatch.setattr(loading, "published", lambda: {entry.name: changed})

    served(f"net-{sha256(source)[:8]}.pth")
    net, _ = checkpoints.load(entry.name, file_classes=("a", "b"))
    assert net.settings.depth == 10
    served("net-00000000.pth")
    with pytest.raises(CheckpointError, match=r"cannot be downloaded .*put it at .*net-00000000\.pth"):
        checkpoints.load(entry.name)
    assert not (weights_folder / "net-00000000.pth").exists()


def test_what_cannot_be_downloaded_says_where_to_put_it(weights_folder, monkeypatch):
    import urllib.error
    import urllib.request

    def refuse(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr("torch.hub.urlopen", refuse)
    with pytest.raises(CheckpointError, match=r"get https://.* and put it at .*ade133f1\.pth"):
        checkpoints.load("r2plus1d_34_32_kinetics")


def test_near_names_are_suggested():
    with pytest.raises(CheckpointError, match="did you mean 'r2plus1d_34_32_kinetics'"):
        checkpoints.load("r2plus1d_34_32_kinetcs")


# Commands ----------------------------------------------------------------------------------------


def test_convert(tmp_path):
    blobs, path = small(tmp_path, classes=3)
    labels = tmp_path / "classes.json"
    labels.write_text(json.dumps(["jump", "run", "walk"]))
    target = tmp_path / "net.safetensors"
    result = CliRunner().invoke(app, ["convert", str(path), str(target), "--labels", str(labels)])
    assert result.exit_code == 0, result.output
    net, report = checkpoints.load(target)
    assert report.grammar == "r21d"
    assert report.card.classes == ("jump", "run", "walk")
    assert report.card.training == {"converted from": "small.pkl", "sha256": sha256(path)}
    clips = torch.randn(1, 3, 8, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(net(clips), run_r2plus1d(blobs, clips, 18), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("text", "name"), [("{}", "x.json"), ("[1]", "x.json"), ("", "x.txt")])
def test_labels_that_are_none(tmp_path, text, name):
    (tmp_path / name).write_text(text)
    with pytest.raises(CheckpointError, match="not a list of class names"):
        checkpoints.read_labels(tmp_path / name)


def test_only_safetensors_are_written(tmp_path):
    with pytest.raises(CheckpointError, match=r"not named \.safetensors"):
        checkpoints.convert("r2plus1d_10_figures", tmp_path / "x.pth")


def test_weights_lists_every_name():
    lines = CliRunner().invoke(app, ["weights"]).output.splitlines()
    assert len(lines) == 1 + 1 + 47
    assert any(line.startswith("vmz/r2plus1d_34_32_sports1m_kinetics") for line in lines)
    assert isinstance(CliRunner().invoke(app, ["weights", "nonsense"]).exception, SettingsError)


# torch.hub ---------------------------------------------------------------------------------------


def test_torch_hub(tmp_path):
    from pathlib import Path

    root = str(Path(__file__).resolve().parents[2])
    net = torch.hub.load(root, "r2plus1d_34", source="local", num_classes=51, width=8)
    assert net.settings == NetworkSettings("r2plus1d", 34, num_classes=51, width=8)
    spec = importlib.util.spec_from_file_location("hubconf", f"{root}/hubconf.py")
    hubconf = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hubconf)
    # What torch.hub.list shows: callables without an underscore.
    offered = [n for n, v in vars(hubconf).items() if callable(v) and not n.startswith("_")]
    assert offered == list_networks()
    blobs, path = small(tmp_path)
    loaded = torch.hub.load(root, "r2plus1d_18", source="local", pretrained=str(path))
    clips = torch.randn(1, 3, 8, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(loaded(clips), run_r2plus1d(blobs, clips, 18), atol=1e-5, rtol=1e-5)
    with pytest.raises(CheckpointError, match="holds r2plus1d_18, not r3d_18"):
        torch.hub.load(root, "r3d_18", source="local", pretrained=str(path))


def _network() -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    """Return a small network's state dict, a clip, and the answer to it."""
    torch.manual_seed(0)
    network = build_network("r2plus1d", 18, num_classes=5, width=8, bn_eps=1e-3).eval()
    clip = torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        return network.state_dict(), clip, network(clip)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "model.net.", "ema."])
@pytest.mark.parametrize("beside", [{}, {"n_averaged": torch.tensor(3), "loss.weight": torch.ones(5)}])
def test_a_wrappers_prefix_is_left_off_and_what_stands_beside_is_told(tmp_path, prefix, beside):
    state, clip, want = _network()
    file = tmp_path / "wrapped.pth"
    torch.save({**{prefix + name: tensor for name, tensor in state.items()}, **beside}, file)
    network, report = checkpoints.load(file)
    assert set(report.unexpected) == set(beside)
    with torch.no_grad():
        torch.testing.assert_close(network(clip), want)


@pytest.mark.parametrize("keys", [("net",), ("model",), ("state_dict",), ("checkpoint", "weights_ema")])
def test_weights_are_found_wherever_a_training_script_put_them(tmp_path, keys):
    state, clip, want = _network()
    saved: object = state
    for key in reversed(keys):
        saved = {
            key: saved,
            "epoch": 3,
            "best": np.float64(0.7),
            "folder": Path("runs"),
            "args": argparse.Namespace(lr=0.1),
            "optimizer": {},
        }
    torch.save(saved, tmp_path / "training.pth")
    network, _ = checkpoints.load(tmp_path / "training.pth")
    with torch.no_grad():
        torch.testing.assert_close(network(clip), want)


def test_a_file_of_two_networks_is_refused_by_their_names(tmp_path):
    state, _, _ = _network()
    two = {p + n: t.clone() for n, t in state.items() for p in ("student.", "teacher.")}
    torch.save(two, tmp_path / "two.pth")
    with pytest.raises(CheckpointError, match=r"2 networks, at student\., teacher\.: save one of them"):
        checkpoints.load(tmp_path / "two.pth")


@pytest.mark.parametrize("head", ["none", "behind a dropout"])
def test_a_backbone_takes_a_new_head_and_is_refused_without_one(tmp_path, head):
    state, clip, want = _network()
    if head == "none":
        state = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    else:
        state = {name.replace("fc.", "fc.1."): tensor for name, tensor in state.items()}
    file = tmp_path / "backbone.pth"
    torch.save(state, file)
    network, report = checkpoints.load(file, classes=("a", "b"), replace_head=True)
    assert network.fc.out_features == 2
    assert report.head == "replaced"
    if head == "none":
        with pytest.raises(CheckpointError, match="has no last layer: it is a backbone"):
            checkpoints.load(file)
        with pytest.raises(CheckpointError, match="no classes to name: leave their names out"):
            checkpoints.load(file, classes=("a", "b"), replace_head=True, file_classes=("c", "d"))
    else:
        with torch.no_grad():
            torch.testing.assert_close(checkpoints.load(file)[0](clip), want)


class Foreign(torch.nn.Linear):
    """Somebody else's network, of a module that is not this project's."""


@pytest.mark.parametrize(
    ("whose", "way_out"),
    [
        ("this project's", "save it with its card, r21d_lib.checkpoints.save(FILE, network, card)"),
        ("another's", "save the weights alone, torch.save(network.state_dict(), FILE)"),
    ],
)
def test_what_is_no_state_dict_is_refused_with_the_way_out(tmp_path, whose, way_out):
    network, shape = build_network("r2plus1d", 18, num_classes=5, width=8).eval(), (1, 3, 4, 32, 32)
    if whose == "another's":
        network, shape = Foreign(3, 2), (1, 3)
    torch.save(network, tmp_path / "module.pth")
    torch.jit.trace(network, torch.zeros(shape)).save(tmp_path / "script.pt")
    for name in ("module.pth", "script.pt"):
        with pytest.raises(CheckpointError) as said:
            checkpoints.load(tmp_path / name)
        assert str(said.value).endswith(f": {way_out}")
        assert "\x1b" not in str(said.value)


def test_a_finetuned_file_under_a_published_name_is_read_by_its_own_shape(tmp_path):
    state, _, _ = _network()
    torch.save(state, tmp_path / "r2plus1d_18-91a641e6.pth")
    _, report = checkpoints.load(tmp_path / "r2plus1d_18-91a641e6.pth")
    assert len(report.card.classes) == 5


# Optical flow ------------------------------------------------------------------------------------


def test_vmzs_flow_networks_load_with_two_channels(tmp_path):
    """Their pickles have the names of the RGB networks' and a first blob of two channels."""
    shapes = r2plus1d_shapes(34, 5, width=8)
    stem = shapes["conv1_middle_w"]
    blobs = random_blobs({**shapes, "conv1_middle_w": (stem[0], 2, *stem[2:])})
    path = write_caffe2(tmp_path / "flow.pkl", blobs)
    net, report = checkpoints.load(path)
    assert net.settings == NetworkSettings("r2plus1d", 34, num_classes=5, width=8, in_channels=2)
    assert report.card.clips.modality == "flow"
    assert report.card.clips.mean == (0.0046635, 0.0046261)
    assert report.card.clips.std == (0.972347, 0.755146)
    clips = torch.randn(1, 2, 8, 56, 56)
    with torch.no_grad():
        torch.testing.assert_close(net(clips), run_r2plus1d(blobs, clips, 34), atol=1e-5, rtol=1e-5)
    with pytest.raises(SettingsError, match=r"takes clips of \(N, 2, frames, height, width\)"):
        net(torch.randn(1, 3, 8, 56, 56))
    checkpoints.convert(path, tmp_path / "flow.safetensors")
    card = checkpoints.read_card(tmp_path / "flow.safetensors")
    assert (card.network.in_channels, card.clips.modality) == (2, "flow")
    with pytest.raises(CheckpointError, match=r"fits build_network\(.*in_channels=2"):
        checkpoints.load(path, network=NetworkSettings("r2plus1d", 34, num_classes=5, width=8))


def test_the_published_flow_file_is_known_by_its_name(tmp_path, weights_folder):
    entry = checkpoints.published()["vmz/r2plus1d_34_32_sports1m_kinetics_flow"]
    shapes = r2plus1d_shapes(34, 400, width=8)
    stem = shapes["conv1_middle_w"]
    blobs = random_blobs({**shapes, "conv1_middle_w": (stem[0], 2, *stem[2:])})
    write_caffe2(weights_folder / entry.file, blobs)
    _, report = checkpoints.load(entry.name)
    assert report.card.clips == entry.clips
    assert (entry.clips.clip_len, entry.clips.fps, entry.clips.modality) == (32, 15, "flow")
    assert report.card.accuracy["video@1"] == 0.682
    assert checkpoints.best(name="r2plus1d", depth=34, modality="flow").name == entry.name
    assert checkpoints.best(name="r2plus1d", depth=34, clip_len=32).modality == "rgb"


def test_four_channels_are_no_network_of_the_paper(tmp_path):
    shapes = r2plus1d_shapes(18, 5, width=8)
    stem = shapes["conv1_middle_w"]
    blobs = random_blobs({**shapes, "conv1_middle_w": (stem[0], 4, *stem[2:])})
    path = write_caffe2(tmp_path / "four.pkl", blobs)
    with pytest.raises(CheckpointError, match=r"in_channels must be 3 \(RGB\) or 2 \(optical flow\)"):
        checkpoints.load(path)


def test_a_card_of_another_modality_than_its_network_is_refused():
    from r21d_lib.data.clip_settings import ClipSettings

    with pytest.raises(SettingsError, match="a network of 3 channels does not take flow"):
        checkpoints.Card(NetworkSettings("r3d"), ClipSettings(modality="flow"), ("a", "b"))
