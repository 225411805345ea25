"""Files of a run with changed or missing bytes: noticed in one line, or read as they were written."""

import json
import random
import time

import numpy as np
import pytest
import torch

from r21d_lib import checkpoints
from r21d_lib.checkpoints import Card
from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.errors import R21DError
from r21d_lib.evaluation.scores import Scores
from r21d_lib.models.networks import build_network
from r21d_lib.training import recipes
from r21d_lib.training.run_folder import RunFolder

CLASSES = ("clap", "run", "sit")


def write_weights(path):
    network = build_network("r2plus1d", 10, num_classes=3, width=2, seed=1).eval()
    clips = ClipSettings(clip_len=4, resize=(32, 40), crop=32)
    checkpoints.save(path, network, Card(network.settings, clips, CLASSES))


def read_weights(path):
    network, report = checkpoints.load(path)
    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    return {**tensors, "card": np.array(report.card.to_json())}


def write_scores(path):
    values = np.random.default_rng(0).dirichlet((1, 1, 1), (6, 2)).astype(np.float16)
    names = tuple(f"{CLASSES[n % 3]}/clip_{n}.avi" for n in range(6))
    Scores(names, np.arange(6) % 3, CLASSES, values, "origin").save(path)


def read_scores(path):
    scores = Scores.load(path)
    texts = [*scores.names, *scores.classes, *scores.groups, scores.origin]
    return {"labels": scores.labels, "values": scores.probabilities, "texts": np.array(texts)}


def write_state(path):
    state = {"network": {"fc.weight": torch.arange(500.0)}, "history": [{"epoch": 1, "loss": 0.5}]}
    RunFolder(path.parent).write_state({**state, "step": 3})


def read_state(path):
    state = RunFolder(path.parent).read_state()
    told = json.dumps([state["history"], state["step"]])
    return {"weights": state["network"]["fc.weight"].numpy(), "told": np.array(told)}


FILES = {
    "last.safetensors": (write_weights, read_weights),
    "scores_split1.npz": (write_scores, read_scores),
    "resume.pt": (write_state, read_state),
}


def damaged(content, draw):
    """Return a file's bytes with a flipped bit, an overwritten stretch, or an end that is missing."""
    start, kind = draw.randrange(len(content)), draw.randrange(3)
    if kind == 0:
        return content[:start] + bytes([content[start] ^ 1 << draw.randrange(8)]) + content[start + 1 :]
    if kind == 1:
        return content[:start] + draw.randbytes(min(16, len(content) - start)) + content[start + 16 :]
    return content[:start]


def tried(use):
    """Return what a function gives and None, or None and its error's message."""
    try:
        return use(), None
    except R21DError as error:
        return None, str(error)


def fuzz(folder, name, seed, seconds, tries=None):
    """Damage a file again and again; return how often it was noticed, and how often it did nothing."""
    write, read = FILES[name]
    path, draw = folder / name, random.Random(seed)
    write(path)
    whole, expected = path.read_bytes(), read(path)
    noticed = harmless = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end and (tries is None or noticed + harmless < tries):
        content = damaged(whole, draw)
        path.write_bytes(content)
        found, message = tried(lambda: read(path))
        if message is not None:
            assert "\n" not in message, content
            assert name in message, message
            noticed += 1
            continue
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            np.testing.assert_array_equal(found[key], value, err_msg=f"{name}, {key}")
        harmless += 1
    return noticed, harmless


@pytest.mark.parametrize("name", FILES)
def test_forty_damages_are_noticed_or_change_nothing(tmp_path, name):
    noticed, harmless = fuzz(tmp_path, name, seed=0, seconds=60, tries=40)
    assert noticed + harmless == 40
    assert noticed > 20


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_minute_of_damages(tmp_path, name):
    noticed, harmless = fuzz(tmp_path, name, seed=1, seconds=20)
    assert noticed > 4 * harmless


@pytest.mark.parametrize("name", ["recipe.json", "metrics.csv"])
def test_a_damaged_record_of_a_run_is_one_line(tmp_path, name):
    recipe = recipes.read("figures_race")
    folder = RunFolder(tmp_path)
    for content in (b"", b"{", b"\xff\xfe\x00", b'"a', b"[1]", b'{"recipe": {"epochs": 3}}'):
        (tmp_path / "recipe.json").write_text(json.dumps({"recipe": recipe.to_dict()}))
        (tmp_path / name).write_bytes(content)
        _, message = tried(lambda: (folder.recipe(), folder.metrics()))
        assert message is not None or name == "metrics.csv"
        assert "\n" not in (message or "")
