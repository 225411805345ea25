"""Fixtures: small real videos with known frames, a tiny data set in HMDB51's layout, shared clips."""

import csv
import dataclasses
import logging
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hub_server import Hub

from r21d_lib.cli.main import main
from r21d_lib.data import csv_lists, video
from r21d_lib.data.lists import VideoList
from r21d_lib.training import run_folder

REPOSITORY = Path(__file__).resolve().parents[1]

WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0"))

# Each of pytest-xdist's workers, and what it starts, computes with its share of the cores: threads of
# several processes that wait for each other on the same cores take several times as long.
if WORKERS:
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // WORKERS)))
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


# A shell starts what runs in the background deaf to Ctrl-C, and so would be what tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def square_frames(num_frames: int = 20, height: int = 48, width: int = 64, step: int = 2) -> np.ndarray:
    """Return a bright square that moves over a dark ground: (T, H, W, 3) uint8."""
    frames = np.full((num_frames, height, width, 3), 30, np.uint8)
    for t in range(num_frames):
        x = (4 + step * t) % (width - 14)
        frames[t, 12:26, x : x + 14] = (220, 120, 60)
    return frames


@pytest.fixture
def make_frames():
    return square_frames


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory) -> VideoList:
    """Return two classes of four videos: a square that moves to the right, one that moves left."""
    root = tmp_path_factory.mktemp("tiny") / "videos"
    names, labels = [], []
    for label, (name, step) in enumerate((("left", -2), ("right", 2))):
        for take in range(4):
            names.append(f"{name}/clip_(take)!_{take}.avi")
            labels.append(label)
            video.write(root / names[-1], square_frames(16 + take, step=step))
    return VideoList("tiny", ("left", "right"), root, tuple(names), tuple(labels))


@pytest.fixture
def copied(tiny_dataset, tmp_path) -> VideoList:
    """Return a copy of the tiny data set, to damage."""
    shutil.copytree(tiny_dataset.root, tmp_path / "videos")
    return dataclasses.replace(tiny_dataset, root=tmp_path / "videos")


@pytest.fixture(scope="session")
def tiny_data(tiny_dataset, tmp_path_factory) -> Path:
    """Return the tiny data set as `r21d prepare listed` makes one, for a recipe's `data`."""
    folder = tmp_path_factory.mktemp("tiny_data")
    rows = [(n, n.split("/")[0], "test" if "_3" in n else "train") for n in tiny_dataset.names]
    with open(folder / "list.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("video", "class", "subset"), *rows])
    csv_lists.make_folder([folder / "list.csv"], folder / "tiny", videos=tiny_dataset.root)
    return folder / "tiny"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Return a stand-in for the Hugging Face Hub that is asked in its place, with an empty cache."""
    from huggingface_hub import constants

    from r21d_lib.data import hub as client

    for name in ("HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub_cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no_token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(client, "_WAITS", (0.01, 0.02, 0.03))
    for handler in logging.getLogger("huggingface_hub").handlers:
        monkeypatch.setattr(handler, "stream", sys.__stderr__)  # pytest closes that of another test
    with Hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.fixture
def build(tmp_path, monkeypatch) -> Path:
    """Return a folder that takes the place of build/, here and in the processes that a test starts."""
    folder = tmp_path / "build"
    monkeypatch.setenv("R21D_BUILD", str(folder))
    for name, module in list(sys.modules.items()):
        if name.startswith("r21d_lib.") and hasattr(module, "BUILD"):
            monkeypatch.setattr(module, "BUILD", folder)
    monkeypatch.setattr(run_folder, "RUNS", folder / "runs")
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real HMDB51 material, which is not part of the repository."""
    folder = Path(os.environ.get("R21D_SHARED", REPOSITORY.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"no real HMDB51 clips here ({folder}); set R21D_SHARED to try them")
    return folder


@pytest.fixture
def r21d(monkeypatch, capsys):
    """Return what runs the command in this process: starting torch anew takes seconds each time."""

    def run(*arguments, **environment) -> subprocess.CompletedProcess:
        for name, value in {"NO_COLOR": "1", "COLUMNS": "100", **environment}.items():
            monkeypatch.setenv(name, value)
        command = ["r21d", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", command)
        capsys.readouterr()
        status = 0
        try:
            main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        return subprocess.CompletedProcess(command, status, *capsys.readouterr())

    return run
