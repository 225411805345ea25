"""Everything that waits for a GPU, in nine minutes on one card: what `make gpu` runs.

    make gpu                                               # with the clips of gpu_inputs.py
    python benchmarks/gpu.py --to $OUT                     # another folder than build/gpu
    python benchmarks/gpu.py --only parity exactness
    python benchmarks/gpu.py --device cpu --tiny           # a rehearsal, small, without a card

Each part is a process of its own with a limit; one that fails is recorded with its last line, and the
next one runs. The parts are in the order of what is learnt a minute, the study of real clips takes what
is left. gpu.json holds the numbers, gpu.log all that was printed; both are written after every part.
Needs torch, torchvision, numpy, pandas, pillow, safetensors and accelerate: no av, no Jupyter.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gpu_inputs
import timing
import torch
from torch import Tensor, nn

from r21d_lib.data import frame_store
from r21d_lib.data.cache import PreparedVideos, store_of
from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.data.lists import VideoList
from r21d_lib.evaluation.protocol import score_videos
from r21d_lib.files import BUILD, whole_file
from r21d_lib.models.fast import optimized
from r21d_lib.models.networks import build_network
from r21d_lib.suite.results import provenance
from r21d_lib.training.loop import EpochReport, train
from r21d_lib.training.recipes import Recipe
from r21d_lib.training.settings import TrainingSettings

HERE = Path(__file__).parent
LONGEST = 540.0  # seconds of the whole
_END = 5.0  # seconds kept for the last lines
CLASSES = 400


class Interrupted(Exception):  # noqa: N818 - it stands for a kill
    """What stops a training in its middle."""


@dataclass(frozen=True)
class Job:
    """What a part is told.

    Attributes:
        device: "cuda" or "cpu".
        tiny: small networks and clips, only to see that the code runs.
        inputs: the folder of `gpu_inputs.py`.
        seconds: the part's time, the process's start included.
        started: when it started, on `time.monotonic`'s clock.
    """

    device: str
    tiny: bool
    inputs: Path
    seconds: float
    started: float

    @property
    def left(self) -> float:
        return self.seconds - (time.monotonic() - self.started)

    def videos(self, part: str, folder: Path) -> PreparedVideos:
        """Return the real clips, or drawn ones in a rehearsal without them."""
        if self.tiny and not (self.inputs / f"{part}.json").is_file():
            return drawn_clips(folder / part)
        return gpu_inputs.read(self.inputs, part)

    def recipe(self, frames: int, **settings: Any) -> Recipe:
        """Return R(2+1)D-34 on clips of so many frames, or a tiny one."""
        depth, width, crop, batch = (10, 8, 16, 4) if self.tiny else (34, 64, 112, 512 // frames)
        if self.tiny:
            frames = 2
        few = {"epochs": 2, "clips_per_epoch": 4 * batch, "batch_size": batch, "workers": 0}
        few |= {"learning_rate": 0.01, "warmup_epochs": 0.0}
        if not self.tiny:
            few["workers"] = min(8, os.cpu_count() or 1)
        return Recipe(
            name="gpu",
            description="made by benchmarks/gpu.py",
            data=None,
            network="r2plus1d",
            depth=depth,
            width=width,
            checkpoint=None,
            clips=ClipSettings(frames, 1, gpu_inputs.SIZE, crop),
            training=TrainingSettings(**(few | settings)),
        )

    def random_clips(self, count: int, frames: int) -> Tensor:
        side = 16 if self.tiny else 112
        random = torch.Generator().manual_seed(0)
        return torch.randn(count, 3, 2 if self.tiny else frames, side, side, generator=random)


def drawn_clips(folder: Path) -> PreparedVideos:
    """Write 24 videos of moving noise in three classes."""
    import numpy as np

    random = torch.Generator().manual_seed(0)
    height, width = gpu_inputs.SIZE
    names = tuple(f"class{n % 3}/video{n}.avi" for n in range(24))
    for n, name in enumerate(names):
        small = torch.rand(1, 3, 6, 8, generator=random) * 255
        picture = nn.functional.interpolate(small, (height, width), mode="bilinear")[0]
        frames = torch.stack([picture.roll(t * (n % 3), 2) for t in range(6)])
        encoded = frame_store.encode(frames.byte().permute(0, 2, 3, 1).contiguous(), 90)
        kept = frame_store.Frames(folder, encoded)
        video = frame_store.StoredVideo(name, height, width, 90, 0, 0, kept)
        frame_store.write(store_of(folder, name), [video])
    labels = tuple(n % 3 for n in range(24))
    listed = VideoList("drawn clips", ("class0", "class1", "class2"), folder, names, labels)
    return PreparedVideos(listed, folder, np.zeros((24, 2), np.int64))


def finite(history: Any) -> list[float]:
    """Return the losses of a training, which must be numbers."""
    losses = [float(loss) for loss in history["loss"]]
    if not all(map(math.isfinite, losses)):
        raise SystemExit(f"error: losses are not finite: {losses}")
    return losses


def weights_apart(one: nn.Module, other: nn.Module) -> float:
    """Return the largest difference of a weight, relative to the largest weight of its tensor."""
    there = other.state_dict()
    return max(
        float((a.double() - there[name].double()).abs().max() / a.double().abs().max().clamp(min=1e-12))
        for name, a in one.state_dict().items()
        if a.is_floating_point()
    )


def finetune(job: Job, frames: int, precision: str) -> dict[str, Any]:
    """Train as a whole, and again with a stop after the first epoch and a resume."""
    if job.device == "cpu":
        precision = "no"  # nothing else is allowed on a CPU
    recipe = job.recipe(frames, mixed_precision=precision)
    with tempfile.TemporaryDirectory() as place:
        videos = job.videos("train", Path(place))
        classes = len(videos.videos.classes)

        def stop(report: EpochReport) -> None:
            raise Interrupted(f"after epoch {report.epoch}")

        whole, broken, resumed = (recipe.build(classes, seed=0) for _ in range(3))
        started = time.perf_counter()
        history = train(whole, videos, recipe, f"{place}/whole", progress=False)
        seconds = time.perf_counter() - started
        stopped = False
        try:
            train(broken, videos, recipe, f"{place}/broken", on_epoch=stop, progress=False)
        except Interrupted:
            stopped = True
        again = train(resumed, videos, recipe, f"{place}/broken", progress=False)
    if not stopped or len(again) != recipe.training.epochs:
        raise SystemExit("error: the training did not stop, or did not go on to its end")
    memory = torch.cuda.max_memory_allocated() / 1e9 if job.device == "cuda" else 0.0
    batch, steps = recipe.training.batch_size, 4
    fastest = steps * batch / float(history["seconds"].min())
    return {
        "precision": precision,
        "batch": batch,
        "losses": finite(history),
        "losses_resumed": finite(again),
        "weights_apart": weights_apart(whole, resumed),
        "clips_per_s": round(fastest, 1),
        "seconds": round(seconds, 1),
        "peak_gb": round(memory, 2),
    }


def parity(job: Job) -> dict[str, Any]:
    """Score the same clips on the CPU and on the device, in each precision."""
    depth, width = (10, 8) if job.tiny else (18, 64)
    network = build_network("r2plus1d", depth, num_classes=CLASSES, width=width, seed=0).eval()
    clips = job.random_clips(8, 16)
    with torch.inference_mode():
        wanted = network(clips)
        found: dict[str, Any] = {"largest_logit": float(wanted.abs().max())}
        there = network.to(job.device)
        for tf32 in (False, True):
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
            fast = optimized(there, precision="float32")
            found["tf32" if tf32 else "float32"] = apart(wanted, fast(clips.to(job.device)))
        fast = optimized(there, precision="bfloat16")
        found["bfloat16"] = apart(wanted, fast(clips.to(job.device)))
        found["choice"] = str(optimized(there).choice)
    if found["float32"]["largest_error"] > 1e-4 * found["largest_logit"]:
        raise SystemExit(f"error: float32 logits differ from the CPU's: {found}")
    return found


def apart(wanted: Tensor, got: Tensor) -> dict[str, float]:
    got = got.cpu()
    return {
        "largest_error": float((wanted - got).abs().max()),
        "same_class": float((wanted.argmax(1) == got.argmax(1)).float().mean()),
    }


def exactness(job: Job) -> dict[str, Any]:
    """Train twice alike, as it is and with deterministic algorithms only, and compare the bits."""
    found: dict[str, Any] = {}
    for name, exact in (("as it is", False), ("deterministic", True)):
        torch.use_deterministic_algorithms(exact, warn_only=True)
        recipe = job.recipe(8, mixed_precision="auto", epochs=1)
        networks = []
        with tempfile.TemporaryDirectory() as place:
            videos = job.videos("train", Path(place))
            started = time.perf_counter()
            for turn in "ab":
                networks.append(recipe.build(len(videos.videos.classes), seed=0))
                train(networks[-1], videos, recipe, f"{place}/{turn}", progress=False)
                torch.backends.cudnn.benchmark = False
        difference = weights_apart(*networks)
        seconds = round((time.perf_counter() - started) / 2, 2)
        found[name] = {"equal": difference == 0, "weights_apart": difference, "seconds": seconds}
    return found


def processes(job: Job) -> dict[str, Any]:
    """NCCL (gloo on a CPU) as one process: an all-reduce, SyncBatchNorm, and a training with it."""
    import torch.distributed as dist

    card = job.device == "cuda"
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511"}
    os.environ |= {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}
    dist.init_process_group("nccl" if card else "gloo")
    values = torch.arange(2**10 if job.tiny else 2**25, device=job.device, dtype=torch.float32)
    total = values.clone()

    def reduce() -> None:
        dist.all_reduce(total)
        if card:
            torch.cuda.synchronize()

    seconds = timing.medians(timing.paired({"all_reduce": reduce}, 5))["all_reduce"]
    if not torch.equal(total, values):
        raise SystemExit("error: the sum over one process is not its own value")
    found: dict[str, Any] = {
        "backend": dist.get_backend(),
        "all_reduce_gb_s": values.nbytes / seconds / 1e9,
    }
    if card:
        torch.manual_seed(0)
        plain = nn.BatchNorm3d(64).to(job.device)
        shared = nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(nn.BatchNorm3d(64)))
        shared = nn.parallel.DistributedDataParallel(shared.to(job.device))
        maps = torch.randn(4, 64, 8, 56, 56, device=job.device)
        found["sync_batchnorm_error"] = float((plain(maps) - shared(maps)).abs().max())
    recipe = job.recipe(8, mixed_precision="auto", epochs=1, sync_batchnorm=card)
    with tempfile.TemporaryDirectory() as place:
        videos = job.videos("train", Path(place))
        network = recipe.build(len(videos.videos.classes), seed=0)
        found["losses"] = finite(train(network, videos, recipe, f"{place}/run", progress=False))
    dist.destroy_process_group()
    return found


def speed(job: Job, key: str, *more: str) -> dict[str, Any]:
    """Run training_gpu.py for one network; it says the card's rates, the ways and what bounds them."""
    turns = ("--steps", "1", "--rounds", "1", "--workers", "0") if job.tiny else ("--steps", "5")
    which = ("--tiny",) if job.tiny else ("--only", key)
    folder = Path(os.environ[_ANSWER]).parent  # `run_part` finds there what a run out of time left
    command = [sys.executable, str(HERE / "training_gpu.py"), "--device", job.device, "--no-finetune"]
    environment = {**os.environ, "R21D_BENCHMARKS": str(folder)}
    done = subprocess.run([*command, *which, *turns, *more], env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"error: training_gpu.py ended with status {done.returncode}")
    print((folder / "training_gpu_profile.txt").read_text(encoding="utf-8"))
    return json.loads((folder / _SPEED).read_text(encoding="utf-8"))


def study(job: Job) -> dict[str, Any]:
    """Train 18 layers on 16 x 112 x 112 real clips, network after network until the time is up."""
    depth, width, batch = (10, 8, 4) if job.tiny else (18, 64, 32)
    rounds = [(name, seed) for seed in range(3) for name in ("r2plus1d", "r3d", "r2d")]
    found: dict[str, Any] = {"runs": [], "epochs": 1 if job.tiny else 30}
    longest = 0.0
    with tempfile.TemporaryDirectory() as place:
        videos, tests = (job.videos(part, Path(place)) for part in gpu_inputs.PARTS)
        for name, seed in rounds[: 1 if job.tiny else None]:
            if job.left < 1.3 * longest:
                break
            begun = time.monotonic()
            recipe = job.recipe(16, epochs=found["epochs"], clips_per_epoch=None, seed=seed)
            training = replace(recipe.training, batch_size=batch, mixed_precision="auto")
            training = replace(training, learning_rate=0.02, warmup_epochs=1.0, label_smoothing=0.1)
            if job.device == "cpu":
                training = replace(training, mixed_precision="no")
            recipe = replace(recipe, network=name, depth=depth, width=width, training=training)
            network = recipe.build(len(videos.videos.classes), seed=seed)
            run = f"{place}/{name}{seed}"
            history = train(network, videos, recipe, run, progress=False)
            scores = score_videos(network, tests, recipe.clips, num_clips=10, progress=False)
            right = scores.video_probabilities.argmax(1) == scores.labels
            groups = sorted({g for g, hit in zip(scores.groups, right, strict=True) if hit})
            row = {"network": name, "seed": seed, "video@1": float(right.mean())}
            row |= {"losses": finite(history), "videos": len(right), "films_with_a_hit": len(groups)}
            longest = max(longest, time.monotonic() - begun)
            found["runs"].append({**row, "seconds": round(time.monotonic() - begun, 1)})
            print(f"{name} seed {seed}: video@1 {row['video@1']:.3f}", flush=True)
            report(found)  # what is there stays, should the time run out
    return found


# Name to what it does and its longest time [s]; in the order in which they run.
PARTS: dict[str, tuple[Callable[[Job], dict[str, Any]], float]] = {
    "parity": (parity, 45),
    "processes": (processes, 45),
    "exactness": (exactness, 60),
    "speed_r2plus1d_18_8": (lambda job: speed(job, "r2plus1d_18_8"), 150),
    "finetune_8_bf16": (lambda job: finetune(job, 8, "bf16"), 45),
    "finetune_32_bf16": (lambda job: finetune(job, 32, "bf16"), 60),
    "finetune_8_fp16": (lambda job: finetune(job, 8, "fp16"), 45),
    "finetune_32_fp16": (lambda job: finetune(job, 32, "fp16"), 60),
    "speed_r2plus1d_34_32": (lambda job: speed(job, "r2plus1d_34_32", "--no-compile"), 90),
    "speed_r2plus1d_34_8": (lambda job: speed(job, "r2plus1d_34_8", "--no-compile"), 60),
    "speed_r3d_18_8": (lambda job: speed(job, "r3d_18_8", "--no-compile"), 45),
    "speed_mc3_18_8": (lambda job: speed(job, "mc3_18_8", "--no-compile"), 45),
    "study": (study, LONGEST),
}
TINY_PARTS = ("parity", "processes", "exactness", "finetune_8_bf16", "speed_r2plus1d_18_8", "study")
_ANSWER = "R21D_GPU_ANSWER"  # names the file that a part's process leaves its numbers in
_SPEED = "training_gpu.json"  # which training_gpu.py writes after each of its steps


def report(found: dict[str, Any]) -> None:
    """Leave a part's numbers to the process that started it."""
    with whole_file(os.environ[_ANSWER]) as partial:
        partial.write_text(json.dumps(found), encoding="utf-8")


def run_part(name: str, given: argparse.Namespace, seconds: float, log: Path) -> dict[str, Any]:
    """Run one part in a process of its own; return its status, numbers and reason of a failure."""
    with tempfile.TemporaryDirectory() as place, open(log, "a+", encoding="utf-8") as output:
        answer = Path(place) / "answer.json"
        command = [sys.executable, str(Path(__file__).resolve()), "--part", name]
        command += [
            "--device",
            given.device,
            "--inputs",
            str(given.inputs),
            "--minutes",
            str(seconds / 60),
        ]
        command += ["--tiny"] * given.tiny
        environment = {**os.environ, _ANSWER: str(answer), "PYTHONUNBUFFERED": "1"}
        environment["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # deterministic algorithms need it
        print(f"\n=== {name}, {seconds:.0f} s at most", file=output, flush=True)
        begun, started = output.tell(), time.monotonic()
        # A session of its own, so that loader processes and benchmarks end with it.
        child = subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            code = child.wait(seconds)
            reason = "" if code == 0 else f"status {code}"
        except subprocess.TimeoutExpired:
            reason = f"took more than {seconds:.0f} s"
        finally:
            if child.poll() is None:
                os.killpg(child.pid, 9)
                child.wait()
        output.seek(begun)
        lines = output.read().strip().splitlines()
        if reason and lines:
            reason = f"{reason}: {lines[-1]}"
        kept = next((f for f in (answer, Path(place) / _SPEED) if f.is_file()), None)
        found = json.loads(kept.read_text(encoding="utf-8")) if kept else {}
    status = "measured" if not reason else "failed"
    spent = round(time.monotonic() - started, 1)
    return {"status": status, "reason": reason, "seconds": spent, "found": found}


def arguments() -> argparse.Namespace:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--tiny", action="store_true", help="a rehearsal on small inputs")
    parser.add_argument("--inputs", type=Path, default=gpu_inputs.FOLDER)
    parser.add_argument("--to", type=Path, default=BUILD / "gpu", help="for gpu.json and gpu.log")
    parser.add_argument("--minutes", type=float, default=LONGEST / 60, help="of all parts together")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    given = arguments()
    started = time.monotonic()
    if given.part:
        job = Job(given.device, given.tiny, given.inputs, given.minutes * 60, started)
        report(PARTS[given.part][0](job))
        return
    if given.device == "cuda" and not torch.cuda.is_available():
        timing.skip("no CUDA device here: --device cpu --tiny rehearses without one")
    if given.device == "cpu" and not given.tiny:
        timing.skip("a CPU only rehearses: give --tiny")
    given.to.mkdir(parents=True, exist_ok=True)
    log = given.to / "gpu.log"
    log.write_text(f"{timing.machine()}\n", encoding="utf-8")
    content: dict[str, Any] = {"tiny": given.tiny, "device": given.device, "parts": {}}
    content["provenance"] = provenance()
    for name in given.only or (TINY_PARTS if given.tiny else PARTS):
        left = given.minutes * 60 - (time.monotonic() - started) - _END
        if left < 10:
            done = {"status": "left out", "reason": "no time was left", "seconds": 0, "found": {}}
        else:
            # A rehearsal is not about time, and a busy CPU takes long.
            done = run_part(name, given, left if given.tiny else min(left, PARTS[name][1]), log)
        content["parts"][name] = done
        print(f"{name:24}{done['seconds']:>7.1f} s  {done['status']} {done['reason']}", flush=True)
        with whole_file(given.to / "gpu.json") as partial:
            partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    failed = [name for name, done in content["parts"].items() if done["status"] != "measured"]
    print(
        f"{time.monotonic() - started:.0f} s; the numbers are in {given.to}/gpu.json, the log beside it"
    )
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
