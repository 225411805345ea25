"""Trainings that are killed, or that cannot write: nothing is lost, and the end is the same."""

import random
import subprocess
import sys
import time

import pytest
import torch

from r21d_lib import checkpoints
from r21d_lib.data.cache import prepare
from r21d_lib.errors import R21DError
from r21d_lib.models.networks import build_network
from r21d_lib.training import recipes, train
from r21d_lib.training.progress import Progress

CHANGES = ["clip_len=4", "stride=2", "resize=24,32", "crop=24", "epochs=8", "batch_size=4"]
CHANGES += ["clips_per_epoch=32", "learning_rate=0.02"]

TRAIN = """
import resource, sys
from pathlib import Path
import torch
from r21d_lib.data.lists import VideoList
from r21d_lib.data.cache import prepare
from r21d_lib.errors import R21DError
from r21d_lib.models.networks import build_network
from r21d_lib.training import recipes, train

torch.set_num_threads(1)
root, cache, run, limit = sys.argv[1:5]
names = tuple(sorted(str(p.relative_to(root)) for p in Path(root).rglob("*.avi")))
labels = tuple(int(name.startswith("right")) for name in names)
videos = prepare(VideoList("tiny", ("left", "right"), Path(root), names, labels), cache, size=(24, 32))
recipe = recipes.read("small_scratch", sys.argv[5:])
network = build_network("r3d", 10, num_classes=2, width=4, seed=0)
if int(limit):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
try:
    train(network, videos, recipe, run, progress=False, save_seconds=0.0)
except R21DError as error:
    sys.exit(str(error))
"""


def command(videos, folder, run, limit=0):
    arguments = (videos.root, folder / "cache", folder / run, limit)
    return [sys.executable, "-c", TRAIN, *map(str, arguments), *CHANGES]


@pytest.mark.slow
def test_kills_at_ten_random_moments_change_no_bit(tiny_dataset, tmp_path):
    subprocess.run(command(tiny_dataset, tmp_path, "straight"), check=True, timeout=300)
    moments = random.Random(1)
    state = tmp_path / "killed" / "resume.pt"
    reached = []
    for _ in range(10):
        before = state.stat().st_mtime_ns if state.is_file() else 0
        process = subprocess.Popen(command(tiny_dataset, tmp_path, "killed"))
        until = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < until:
            if state.is_file() and state.stat().st_mtime_ns != before:
                break  # it has gone on from where it was
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.4))
        process.kill()
        process.wait()
        left = torch.load(state, weights_only=True)
        reached.append(8 * len(left["history"]) + left["step"])
    assert reached == sorted(reached)
    assert reached[0] < 64, f"the kills came too late to interrupt anything: {reached}"
    subprocess.run(command(tiny_dataset, tmp_path, "killed"), check=True, timeout=300)
    one, other = (
        checkpoints.load(tmp_path / run / "last.safetensors")[0].state_dict()
        for run in ("straight", "killed")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def begun(tiny_dataset, tmp_path, monkeypatch):
    """Return a run that was stopped after three of its eight epochs."""
    videos = prepare(tiny_dataset, tmp_path / "cache", size=(24, 32))
    network = build_network("r3d", 10, num_classes=2, width=4, seed=0)
    add = Progress.add

    def stop(progressed, step):
        if len(progressed.history) == 3:
            raise KeyboardInterrupt
        add(progressed, step)

    monkeypatch.setattr(Progress, "add", stop)
    with pytest.raises(KeyboardInterrupt):
        train(network, videos, recipes.read("small_scratch", CHANGES), tmp_path / "run", progress=False)
    return tmp_path / "run"


@pytest.mark.thorough
def test_a_full_disk_leaves_the_last_good_checkpoint(begun, tiny_dataset, tmp_path):
    before = (begun / "last.safetensors").read_bytes()
    done = subprocess.run(
        command(tiny_dataset, tmp_path, "run", limit=30_000),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 1
    last_line = done.stderr.strip().splitlines()[-1]
    assert "cannot be written" in last_line
    assert "free space or choose another place" in last_line
    assert (begun / "last.safetensors").read_bytes() == before
    assert checkpoints.load(begun / "last.safetensors")[1].card.training["epoch"] == 3
    assert not [p.name for p in begun.iterdir() if "partial" in p.name]
    subprocess.run(command(tiny_dataset, tmp_path, "run"), check=True, timeout=300)  # space again
    assert checkpoints.load(begun / "last.safetensors")[1].card.training["epoch"] == 8


def test_a_place_that_cannot_be_written(tiny_dataset, tmp_path):
    videos = prepare(tiny_dataset, tmp_path / "cache", size=(24, 32))
    (tmp_path / "file").write_text("not a folder")
    network = build_network("r3d", 10, num_classes=2, width=4, seed=0)
    with pytest.raises(R21DError, match="cannot be written") as caught:
        train(network, videos, recipes.read("small_scratch", CHANGES), tmp_path / "file" / "run")
    assert "\n" not in str(caught.value)
