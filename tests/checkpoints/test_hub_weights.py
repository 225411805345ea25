"""Weights named by their place on the Hugging Face Hub, from a server that behaves as the Hub."""

import io
import itertools
import re

import pytest
import torch

from r21d_lib import Recognizer, build_network, checkpoints
from r21d_lib.errors import CheckpointError, HubError
from r21d_lib.prediction.recognizer import FIGURES

SHIPPED = checkpoints.SHIPPED / f"{FIGURES}.safetensors"
REPO = "models/someone/r2plus1d"


def pickled(seed=0):
    stream = io.BytesIO()
    network = build_network("r2plus1d", 10, num_classes=3, width=4, seed=seed)
    torch.save({"state_dict": {f"model.{k}": v for k, v in network.state_dict().items()}}, stream)
    return stream.getvalue()


@pytest.fixture
def served(hub):
    hub.repos[REPO] = {
        "README.md": b"# mine\n",
        "old.pth": pickled(),
        "net.safetensors": SHIPPED.read_bytes(),
    }
    return hub


def test_safetensors_are_preferred_and_fetched_once(served):
    net, report = checkpoints.load("hf://someone/r2plus1d")
    assert report.source.name == "net.safetensors"
    assert report.card == checkpoints.read_card(FIGURES)
    assert net.settings == report.card.network
    checkpoints.load("hf://someone/r2plus1d")
    assert served.asked("GET", "/store/") == 1


def test_a_named_file_is_taken_with_its_prefixes(served):
    net, report = checkpoints.load("hf://someone/r2plus1d/old.pth")
    assert net.settings.width == 4
    assert set(report.loaded) == set(net.state_dict())
    served.repos[REPO].pop("net.safetensors")
    assert checkpoints.load("hf://someone/r2plus1d")[1].source.name == "old.pth"
    assert checkpoints.load("hf://someone/r2plus1d@main")[1].source.name == "old.pth"


def test_what_was_fetched_serves_without_a_network(served, monkeypatch):
    names = ("hf://someone/r2plus1d", "hf://someone/r2plus1d/old.pth")
    for name in names:
        checkpoints.load(name)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    for name in names:
        source = checkpoints.load(name)[1].source
    with pytest.raises(HubError, match=r"cannot be reached for someone/other"):
        checkpoints.load("hf://someone/other")
    source.resolve().write_bytes(source.read_bytes()[:-1] + b"x")
    with pytest.raises(CheckpointError, match=r"old\.pth is damaged: delete it"):
        checkpoints.load(names[1])


@pytest.mark.parametrize(
    ("name", "files", "message"),
    [
        ("hf://someone/r2plus1d/no.pth", None, "has no file no.pth: it holds README.md, net.safe"),
        ("hf://someone/r2plus1d", {"a.md": b"a"}, "holds no weight file"),
        (
            "hf://someone/r2plus1d",
            {"a.pth": b"a", "b.pth": b"b"},
            "several weight files: name one of a.pth",
        ),
        ("hf://someone", None, "is no place on the Hub: give hf://owner/repo"),
        ("hf://some one/r2", None, "is no name of a repository"),
        ("hf://someone/none", None, "no model someone/none on the Hugging Face Hub"),
        ("hf://someone/r2plus1d@v9", None, "has no such revision"),
    ],
)
def test_what_is_not_there_is_named(served, name, files, message):
    if files is not None:
        served.repos[REPO] = files
    with pytest.raises((CheckpointError, HubError), match=re.escape(message)):
        checkpoints.load(name)


def test_of_several_the_usual_name_is_taken(served):
    content = SHIPPED.read_bytes()
    served.repos[REPO] = {
        "model.safetensors": content,
        "ema.safetensors": content,
        "a/model.safetensors": b"",
    }
    assert checkpoints.load("hf://someone/r2plus1d")[1].source.name == "model.safetensors"


def test_other_content_than_stated_is_not_loaded(served):
    served.wrong["net.safetensors"] = itertools.repeat(bytes(SHIPPED.stat().st_size))
    with pytest.raises(HubError, match="came with another content"):
        checkpoints.load("hf://someone/r2plus1d")


def test_commands_take_a_place_on_the_hub(served, tiny_dataset, tiny_data, build, r21d, tmp_path):
    place = "hf://someone/r2plus1d"
    said = r21d("predict", tiny_dataset.path(0), "--checkpoint", place, "--clips", "1")
    assert said.returncode == 0, said.stderr
    assert "drawn actions" in said.stderr
    tiny = ["epochs=1", "batch_size=4", "clip_len=4", "resize=24,32", "crop=16", "num_clips=1"]
    done = r21d("train", "small_finetune", f"data={tiny_data}", f"checkpoint={place}", *tiny)
    assert done.returncode == 0, done.stderr
    (run,) = (build / "runs").iterdir()
    assert r21d("evaluate", run.name).returncode == 0
    done = r21d("evaluate", place)
    assert done.returncode == 2
    assert "its split is not known" in done.stderr
    assert r21d("convert", f"{place}/old.pth", tmp_path / "mine.safetensors").returncode == 0
    assert isinstance(Recognizer.from_pretrained("someone/r2plus1d"), Recognizer)


def test_the_table_says_who_was_seen_alive(r21d):
    entries = checkpoints.published().values()
    assert all(re.fullmatch(r"seen alive \(20\d\d\)|unknown|dead", entry.seen) for entry in entries)
    said = r21d("weights").stdout
    assert said.count("seen alive (2026)") == sum("seen" in entry.seen for entry in entries) > 0
    assert "unknown" in said
