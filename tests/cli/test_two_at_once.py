"""Two of each command that writes at once: each ends right, or is refused in a line.

Twice each, as eight rounds of all take long: R21D_ROUNDS=8 asks for them. The others have two processes
at once elsewhere, with what takes long left out: `draw`, `site`, `figures` and the copies that `lab`
opens in test_two_writers.py, `reproduce` in test_reproduction.py.
"""

import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys

import pytest
from hub_server import Hub

from r21d_lib import checkpoints
from r21d_lib.checkpoints import Card
from r21d_lib.data import hmdb51, lists, video
from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.models.networks import build_network

pytestmark = pytest.mark.slow
TIMES = int(os.environ.get("R21D_ROUNDS", "2"))
TINY = "epochs=1 batch_size=2 width=2 clip_len=4 resize=16,20 crop=16 num_clips=2"
SMALL = "--checkpoint {in}/small.safetensors"
# {to} is a folder that both write into; the files whose bytes tell the time or a process's number.
COMMANDS = {
    "predict": f"predict {{in}}/film.avi --clips 1 {SMALL} --json {{to}}/a.json --csv {{to}}/a.csv",
    "predict --overlay": f"predict {{in}}/film.avi --clips 1 {SMALL} --overlay {{to}}/a.mp4",
    "features": f"features {{in}}/film.avi {{in}}/hmdb51/golf --clips 1 {SMALL} --to {{to}}",
    "live": f"live {{in}}/film.avi --fast --no-window {SMALL} --output {{to}}/a.mp4",
    "webm": "webm {in}/film.avi --to {to}",
    "convert": "convert {in}/small.safetensors {to}/a.safetensors",
    "export": "export {in}/small.safetensors --to {to}/a.onnx",
    "splits": "splits {in}/splits --name mine --to {to}",
    "worksheets": "worksheets --to {to}",
    "prepare listed": "prepare listed {in}/list.csv --videos {videos} --to {to}/data",
    "prepare hmdb51": "prepare hmdb51 {in}/hmdb51 --to {to}/hmdb51",
    "train": f"train small_scratch data={{data}} {TINY} --run {{to}}/run",
    "train --fresh": f"train small_scratch data={{data}} {TINY} --run {{to}}/run --fresh",
    "evaluate": "evaluate {run} --scores {to}/a.npz --csv {to}/a.csv",
    "publish": "publish {run} me/it --to {to}/published",
    "fetch": "fetch hmdb51 --classes climb --to {to}/hmdb51",
}
# Maps in these have an order of their own; the Hub's client notes when it fetched a file.
TIMED = ("safetensors", "npz", "parquet", "pt", "onnx", "metadata")
WORKER = """
import contextlib, io, json, sys
from r21d_lib.cli.main import main
import r21d_lib.prediction.recognizer, r21d_lib.training.run, r21d_lib.publish.export, onnxruntime
print("ready", flush=True)
for line in sys.stdin:
    sys.argv = ["r21d", *json.loads(line)]
    said, status = io.StringIO(), 0
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        except BaseException as error:
            status = repr(error)
    print(json.dumps([status, said.getvalue()]), flush=True)
"""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, tiny_dataset):
    folder = tmp_path_factory.mktemp("inputs")
    video.write(folder / "film.avi", video.decode(tiny_dataset.path(0)))
    network = build_network("r3d", 10, num_classes=2, width=2).eval()
    clips = ClipSettings(clip_len=8, resize=(32, 40), crop=32)
    checkpoints.save(folder / "small.safetensors", network, Card(network.settings, clips, ("a", "b")))
    for split in lists.SPLITS:
        names = {f"{name}/{n}.avi": n for name in "ab" for n in range(4)}
        parts = {name: "test" if n == split else "train" for name, n in names.items()}
        lists.write_official(folder / "splits", split, ("a", "b"), parts)
    rows = [(n, n.split("/")[0], "test" if "_3" in n else "train") for n in tiny_dataset.names]
    with open(folder / "list.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("video", "class", "subset"), *rows])
    for name in ("golf", "wave"):
        (folder / "hmdb51" / name).mkdir(parents=True)
        for take in range(10):
            shutil.copyfile(folder / "film.avi", folder / "hmdb51" / name / f"{name}_{take}.avi")
    return folder


@pytest.fixture(scope="module")
def server(inputs):
    """A stand-in for the Hub that has the official clips of a class."""
    film, source = (inputs / "film.avi").read_bytes(), hmdb51.find(None)
    with Hub() as server:
        server.repos[f"datasets/{source.repo}"] = {
            f"hmdb51_org/{name}": film for name in hmdb51.known_names() if name.startswith("climb/")
        }
        yield server


@pytest.fixture(scope="module")
def workers(tmp_path_factory, server):
    """Two processes that run commands one after the other, started once: torch takes seconds."""
    folder = tmp_path_factory.mktemp("workers")
    environment = {k: v for k, v in os.environ.items() if k not in ("HF_TOKEN", "HF_HUB_OFFLINE")}
    environment |= {"R21D_BUILD": str(folder / "build"), "NO_COLOR": "1"}
    environment["R21D_SCORE_WITH"] = "torch"  # which engine is faster can change with the load here
    hub = {"HF_ENDPOINT": server.url, "HF_HUB_CACHE": str(folder / "hub"), "HF_HUB_DISABLE_XET": "1"}
    environment |= hub
    both = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for _ in range(2)
    ]
    for worker in both:
        assert worker.stdout.readline() == "ready\n"
    yield both
    for worker in both:
        worker.communicate(timeout=60)


def ask(workers, words):
    for worker in workers:
        worker.stdin.write(json.dumps(words) + "\n")
        worker.stdin.flush()
    return [json.loads(worker.stdout.readline()) for worker in workers]


@pytest.fixture(scope="module")
def run_folder(workers, tiny_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    ((status, said),) = ask(
        workers[:1],
        ["train", "small_scratch", f"data={tiny_data}", *TINY.split(), "--run", str(folder)],
    )
    assert status == 0, said
    ((status, said),) = ask(workers[:1], ["evaluate", str(folder)])
    assert status == 0, said
    return folder


def content(folder):
    """Every file below a folder, with its bytes where they are the same each time."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and "events.out" not in name:
            told = path.suffix[1:] not in TIMED and not name.startswith("run/")
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if told else ""
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_two_end_right(command, workers, inputs, run_folder, tiny_dataset, tiny_data, tmp_path):
    def words(to):
        given = {"in": inputs, "videos": tiny_dataset.root, "data": tiny_data, "run": run_folder}
        return [word.format(to=to, **given) for word in COMMANDS[command].split()]

    before = content(inputs)
    ((status, said),) = ask(workers[:1], words(tmp_path / "alone"))
    assert status == 0, said
    alone = content(tmp_path / "alone")
    assert alone
    for time in range(TIMES):
        to = tmp_path / f"both {time}".replace(" ", "_")
        answers = ask(workers, words(to))
        assert 0 in [status for status, _ in answers], answers
        for status, said in answers:
            assert "Traceback" not in said
            if status:
                assert status == 2, said
                lines = [line for line in said.splitlines() if line.startswith("error: ")]
                assert len(lines) == 1
                assert "another r21d command is writing into" in lines[0]
        assert content(to) == alone
        if "train" in command:
            network, _ = checkpoints.load(to / "run" / "last.safetensors")
            expected, _ = checkpoints.load(tmp_path / "alone" / "run" / "last.safetensors")
            for name, tensor in network.state_dict().items():
                assert tensor.equal(expected.state_dict()[name]), name
    assert content(inputs) == before
    assert {path.name.partition("_")[0] for path in tmp_path.iterdir()} == {"alone", "both"}
