"""Several processes: the same losses as one with the same batches, and every video scored once."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

WORKER = Path(__file__).with_name("scale_worker.py")

# The command line, in which each process names the videos that it reads clips of.
SPY = """
from r21d_lib.cli.main import main
from r21d_lib.data.sampling import TestClips

read = TestClips.__getitem__

def spied(self, video):
    print(f"read {video}\\n", end="", flush=True)
    return read(self, video)

TestClips.__getitem__ = spied
main()
"""


def launch(folder, processes, accumulate):
    """Run the worker as users do: through torchrun, on CPU, over gloo."""
    command = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    done = subprocess.run(
        [sys.executable, *command, str(WORKER), str(folder), str(accumulate)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "process group" not in done.stderr, done.stderr  # they were not parted, or not in order
    files = [folder / f"world{processes}_rank{rank}.json" for rank in range(processes)]
    return [json.loads(file.read_text()) for file in files]


@pytest.fixture(scope="module")
def results(tiny_dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scale")
    listed = {
        "name": tiny_dataset.name,
        "classes": tiny_dataset.classes,
        "root": str(tiny_dataset.root),
        # Seven of eight videos: two processes cannot share them evenly.
        "names": tiny_dataset.names[:7],
        "labels": tiny_dataset.labels[:7],
    }
    (folder / "list.json").write_text(json.dumps(listed))
    return launch(folder, 1, accumulate=2), launch(folder, 2, accumulate=1)


@pytest.mark.thorough
def test_two_processes_have_the_losses_of_one(results):
    (alone,), pair = results
    for rank in pair:
        assert rank["processes"] == 2
        for name, values in alone["history"].items():
            if name != "validation_accuracy":
                assert rank["history"][name] == pytest.approx(values, abs=1e-5), name
    assert len(set(alone["history"]["loss"])) == 3, "nothing was learned, so nothing was compared"


def test_two_processes_score_every_video_once(results):
    (alone,), pair = results
    for rank in pair:
        assert rank["names"] == alone["names"]
        probabilities = np.array(rank["probabilities"])
        assert np.isfinite(probabilities).all()
        # Batch-norm statistics are the first process's, so the networks differ a little.
        assert probabilities.shape == np.array(alone["probabilities"]).shape
    assert pair[0]["probabilities"] == pair[1]["probabilities"]


def test_after_a_training_two_processes_still_share_their_videos(results):
    """They were parted by the end of a training, so that each scored all videos."""
    (alone,), pair = results
    assert alone["scored"] == list(range(7))
    assert [rank["scored"] for rank in pair] == [[0, 2, 4, 6], [1, 3, 5]]
    # The second time the scores were in their file.
    assert [rank["scored_once"] for rank in (alone, *pair)] == [7, 4, 3]
    assert [rank["written"] for rank in (alone, *pair)] == [1, 1, 0]
    assert all(rank["once_is_the_same"] for rank in (alone, *pair))


def test_two_processes_train_twice(results):
    (alone,), pair = results
    assert pair[0]["second_losses"] == pair[1]["second_losses"]
    assert pair[0]["second_losses"] == pytest.approx(alone["second_losses"], abs=1e-3)
    assert [rank["state_of"] for rank in (alone, *pair)] == [1, 2, 2]


@pytest.mark.thorough
@pytest.mark.parametrize("launcher", ["accelerate", "torchrun"])
def test_the_command_as_it_is_printed_trains_under_a_launcher(launcher, build, tiny_data):
    # On a CPU the two processes of torchrun each trained alone once, into the same folder.
    start = {
        "accelerate": ["accelerate.commands.launch", "--cpu"],
        "torchrun": ["torch.distributed.run", "--standalone", "--nproc-per-node=2"],
    }[launcher]
    steps = 2 if launcher == "torchrun" else 3  # of an epoch: 6 videos, 2 for each process
    small = "epochs=300 batch_size=2 width=4 clip_len=4 resize=16,20 crop=16 workers=0 warmup_epochs=0"
    train = ["-m", "r21d_lib", "train", "small_scratch", f"data={tiny_data}", *small.split()]
    command = [sys.executable, "-m", *start, *train, "--minutes", "0.05"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    said = [line for line in done.stdout.splitlines() if line.startswith("the run is in")]
    assert len(said) == 1, done.stdout
    (run,) = (build / "runs").iterdir()
    epochs = json.loads((run / "recipe.json").read_text())["recipe"]["training"]["epochs"]
    rows = (run / "metrics.csv").read_text().splitlines()
    assert len(rows) == 1 + epochs  # both processes were told the same number, or they would wait
    assert f"{epochs * steps}/{epochs * steps} " in done.stderr
    spy = build / "evaluate.py"
    spy.write_text(SPY)
    command = [sys.executable, "-m", *start, str(spy), "evaluate", run.name, "--clips", "3"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert shown.returncode == 0, shown.stderr[-3000:]
    for once in ("read 0", "read 1", "split 1, 2 videos;", "video@1 "):  # shared, and said by one
        found = [line for line in shown.stdout.splitlines() if line.startswith(once)]
        assert len(found) == 1, shown.stdout
    assert "process group" not in done.stderr + shown.stderr
