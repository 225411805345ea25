"""What a training step costs as clips, frames, networks, workers and processes become more.

    python benchmarks/scaling.py                # about three minutes on a calm machine
    python benchmarks/scaling.py --rounds 1

R(2+1)D of width 16 takes steps on batches of 4, in turns: clips of 4 to 32 frames, frames of 32 to
112 pixels, depths of 10 to 34, one of the three at a time; beside the seconds stands the arithmetic
that was counted. Then `training.budget.measure_speed` on made .avi files: 0, 1 and 2 workers in one
process, and 1 and 2 processes (torchrun, gloo) of one thread each. Results go to
benchmarks/results/scaling.json and figures/scaling.png and .svg. The last lines are a prediction on
paper, with what it assumes.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import data
import timing
import torch
from torch import nn

from r21d_lib.data.cache import PreparedVideos, prepare
from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.data.lists import VideoList
from r21d_lib.files import whole_file
from r21d_lib.models.counting import count_multiply_adds, count_parameters
from r21d_lib.models.networks import VideoResNet, build_network
from r21d_lib.plots.style import CHOSEN, DARK, PLAIN, Figure, open_axes
from r21d_lib.suite.repository import FIGURES
from r21d_lib.training import TrainingSettings, recipes
from r21d_lib.training.budget import measure_speed
from r21d_lib.training.settings import make_optimizer

WIDTH, BATCH = 16, 4
FRAMES, SIDE, DEPTH = 8, 56, 10
SWEEPS = {"frames": (4, 8, 16, 32), "side": (32, 56, 80, 112), "depth": (10, 18, 34)}
LABELS = {"frames": "frames in a clip", "side": "height and width [pixels]", "depth": "layers"}
CLIPS = ClipSettings(clip_len=8, resize=(72, 96), crop=56)
WORKERS, WORLDS, SECONDS = (0, 1, 2), (1, 2), 6.0
# The paper's training on Kinetics, and what the prediction assumes.
KINETICS_CLIPS, EPOCHS = 1_000_000, 45
GPUS, TFLOPS, BANDWIDTH = 8, 100.0, 100e9


class Step:
    """One training step of a network on the same random clips again and again."""

    def __init__(self, frames: int = FRAMES, side: int = SIDE, depth: int = DEPTH) -> None:
        self.network = _network(depth).train().to(memory_format=torch.channels_last_3d)
        self.optimizer = make_optimizer(self.network, TrainingSettings(learning_rate=1e-3))
        clips = torch.randn(BATCH, 3, frames, side, side)
        self.clips = clips.to(memory_format=torch.channels_last_3d)
        self.labels = torch.arange(BATCH)
        # A gradient costs as much as the forward pass, and there are two: of maps and of weights.
        work = 3 * count_multiply_adds(self.network.settings, frames=frames, crop=side)
        self.gflop = 2 * BATCH * work / 1e9

    def __call__(self) -> None:
        nn.functional.cross_entropy(self.network(self.clips), self.labels).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def _network(depth: int = DEPTH) -> VideoResNet:
    return build_network("r2plus1d", depth, num_classes=BATCH, width=WIDTH, seed=0)


def sweep(name: str, rounds: int) -> list[dict[str, float]]:
    """Return seconds and counted work of a step for each value of one setting."""
    steps = {str(value): Step(**{name: value}) for value in SWEEPS[name]}
    seconds = timing.medians(timing.paired(steps, rounds))
    return [
        {name: float(value), "seconds": seconds[value], "gflop": step.gflop}
        for value, step in steps.items()
    ]


def made_videos(folder: Path) -> PreparedVideos:
    """Write .avi files once and return them decoded, of one class."""
    if not (folder / "files").is_dir():
        (folder / "files").mkdir(parents=True)
        data.make_files(folder / "files", 8, frames=40)
    names = tuple(sorted(path.name for path in (folder / "files").glob("*.avi")))
    made = VideoList("made", ("made",), folder / "files", names, (0,) * len(names))
    return prepare(made, folder / "cache", size=CLIPS.resize, workers=1, progress=False)


def clips_a_second(videos: PreparedVideos, workers: int, seconds: float) -> float:
    """Return how fast the training loop takes clips in, on all processes together."""
    changes = [f"batch_size={BATCH}", "clips_per_epoch=100000", f"workers={workers}"]
    recipe = dataclasses.replace(recipes.read("small_scratch", changes), clips=CLIPS)
    return measure_speed(_network(), videos, recipe, seconds=seconds)


def of_processes(folder: Path, world: int, seconds: float) -> float:
    """Return clips a second of so many processes of one thread each, over gloo."""
    command = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world}"]
    mine = [__file__, "--process", str(folder), "--seconds", str(seconds)]
    done = subprocess.run(
        [sys.executable, *command, *mine], capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        raise SystemExit(f"error: {world} processes ended with {done.returncode}: {done.stderr[-500:]}")
    return float(json.loads((folder / f"world{world}.json").read_text()))


def be_a_process(folder: Path, seconds: float) -> None:
    """Measure as one of several processes; the first writes the speed of all."""
    from accelerate import PartialState

    state = PartialState(cpu=True)
    torch.set_num_threads(1)
    speed = clips_a_second(made_videos(folder), 0, seconds)
    if state.is_main_process:
        (folder / f"world{state.num_processes}.json").write_text(json.dumps(speed))
    state.wait_for_everyone()


def draw(sweeps: dict[str, list[dict[str, float]]], workers: dict, worlds: dict) -> Figure:
    """Draw the seconds of a step against each setting, and the speed of workers and processes."""
    figure = Figure(11, 5.6)
    axes = figure.subplots(2, 3)
    for ax, (name, rows) in zip(axes[0], sweeps.items(), strict=True):
        at = [row[name] for row in rows]
        ax.plot(at, [row["seconds"] for row in rows], "o-", color=CHOSEN, label="measured")
        rate = rows[0]["gflop"] / rows[0]["seconds"]
        by_work = [row["gflop"] / rate for row in rows]
        ax.plot(at, by_work, "--", color=PLAIN, label="by arithmetic, from the first")
        ax.set_xticks(at, [f"{value:g}" for value in at])
        ax.set_xlabel(LABELS[name])
        ax.set_ylabel("seconds a step")
        ax.set_ylim(0)
        open_axes(ax)
    axes[0, 0].legend(frameon=False, fontsize=9)
    every = [row for rows in sweeps.values() for row in rows]
    work = [row["gflop"] for row in every]
    speed = [row["gflop"] / row["seconds"] for row in every]
    axes[1, 0].plot(work, speed, "o", color=CHOSEN)
    axes[1, 0].set(xlabel="work of a step [GFLOP]", ylabel="GFLOP/s", xscale="log")
    axes[1, 0].set_xticks((1, 2, 5, 10, 20), ("1", "2", "5", "10", "20"))
    axes[1, 0].set_xticks((), minor=True)
    axes[1, 0].set_ylim(0, 1.15 * max(speed))
    open_axes(axes[1, 0])
    bars = ((workers, "workers that read clips"), (worlds, "processes of one thread (gloo)"))
    for ax, (values, label) in zip(axes[1, 1:], bars, strict=True):
        drawn = ax.bar(list(values), list(values.values()), width=0.6, color=CHOSEN)
        ax.bar_label(drawn, fmt="%.0f", color=DARK, padding=2)
        ax.set(xlabel=label, ylabel="clips a second")
        ax.margins(y=0.15)
        open_axes(ax)
    return figure


def prediction(worlds: dict[str, float]) -> list[str]:
    """Return what 8 GPUs would need for the paper's training on Kinetics, on paper."""
    with torch.device("meta"):
        network = build_network("r2plus1d", 18)
    settings = network.settings
    gflop = 6 * count_multiply_adds(settings, frames=8) / 1e9
    megabytes = 4 * count_parameters(network) / 1e6
    ring = 2 * (GPUS - 1) / GPUS * megabytes * 1e6 / BANDWIDTH
    step = 32 * gflop / (TFLOPS * 1e3)
    epoch = KINETICS_CLIPS / (GPUS * 32) * (step + ring)
    alone, pair = worlds.values()
    return [
        f"A clip of 8 x 112 x 112 costs R(2+1)D-18 {gflop:.0f} GFLOP of training; its gradients are "
        f"{megabytes:.0f} MB.",
        f"Granted {TFLOPS:.0f} TFLOP/s sustained a GPU and {BANDWIDTH / 1e9:.0f} GB/s between GPUs, 32 "
        f"clips a GPU take {1e3 * step:.0f} ms and their all-reduce {1e3 * ring:.1f} ms if nothing "
        f"overlaps: {step / (step + ring):.0%} efficiency on {GPUS} GPUs.",
        f"{EPOCHS} epochs of {KINETICS_CLIPS:,} clips then take {EPOCHS * epoch / 3600:.1f} hours and "
        f"{KINETICS_CLIPS / epoch:,.0f} clips a second from the readers.",
        f"Measured here: 2 processes on 2 cores take {pair / alone:.2f} times the clips of 1.",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=4, help="timed turns of each step")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each speed of the loop")
    parser.add_argument("--process", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.process is not None:
        be_a_process(arguments.process, arguments.seconds)
        return
    sweeps = {name: sweep(name, arguments.rounds) for name in SWEEPS}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        videos = made_videos(folder)
        workers = {str(n): clips_a_second(videos, n, arguments.seconds) for n in WORKERS}
        worlds = {str(n): of_processes(folder, n, arguments.seconds) for n in WORLDS}
    print(timing.machine())
    for name, rows in sweeps.items():
        print(f"{LABELS[name]:27}  seconds a step  GFLOP  GFLOP/s")
        for row in rows:
            rate = row["gflop"] / row["seconds"]
            print(f"{row[name]:27g}  {row['seconds']:14.3f}  {row['gflop']:5.1f}  {rate:7.1f}")
    print("clips a second by workers: " + ", ".join(f"{n}: {v:.0f}" for n, v in workers.items()))
    print("clips a second by processes: " + ", ".join(f"{n}: {v:.0f}" for n, v in worlds.items()))
    lines = prediction(worlds)
    print("\n".join(lines))
    values: dict[str, Any] = {"sweeps": sweeps, "workers": workers, "processes": worlds}
    path = timing.write("scaling", {**values, "prediction": lines})
    figure = draw(sweeps, workers, worlds)
    # A trial's picture goes where its numbers go.
    place = FIGURES if path.parent == timing.RESULTS else path.parent
    for suffix, content in ((".png", figure.picture()), (".svg", figure.drawing())):
        with whole_file(place / f"scaling{suffix}") as partial:
            partial.write_bytes(content)


if __name__ == "__main__":
    main()
