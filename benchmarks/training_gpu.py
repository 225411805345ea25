"""How fast does a GPU train, against torchvision, and what bounds it?

The same networks, batches and steps: torchvision as its users run it (eager, float32 or AMP, clips
made ready by the loader's processes) against this library's way (bfloat16, channels-last, compiled,
fused optimizer, clips copied and augmented on the card one step ahead), without and with reading the
clips (JPEG frames in this project's store). Before that the operations and bytes of a step are
counted, and the card's own rates measured: a matrix product in bfloat16, a copy in its memory. After
it, each stage of a network is timed alone and set beside both floors, and torch's profiler lists
where a step's time goes. Needs torch, torchvision and numpy, nothing else. Results go to
benchmarks/results/training_gpu.json and training_gpu_profile.txt.
"""

import argparse
import gc
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import timing
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.models import video
from torchvision.models.video import resnet
from torchvision.transforms import v2

from r21d_lib.data import frame_store
from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.data.clips import random_start, seeded_generator, to_network
from r21d_lib.models.counting import activation_bytes, count_multiply_adds, count_stages
from r21d_lib.models.kinds import MidplaneRule
from r21d_lib.models.networks import VideoResNet, build_network
from r21d_lib.training.prefetch import ahead
from r21d_lib.training.settings import TrainingSettings, make_optimizer

EXAMPLES = """examples:
  python benchmarks/training_gpu.py                            # all networks, about 25 minutes
  python benchmarks/training_gpu.py --only r2plus1d_18_8 --stages  # one network, and its stages
  python benchmarks/training_gpu.py --device cpu --tiny        # the same code, small, without a GPU
  python benchmarks/training_gpu.py --finetune                 # only VMZ's finetune, in hours"""
FINETUNE_CLIPS = 320_000  # what VMZ's published HMDB51 recipe sees
CLASSES = 400
SLOW = "torchvision AMP"
OURS = "this library"
Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Work:
    """A network and its clips.

    Attributes:
        name, depth, width, rule: of the network, see `build_network`.
        frames, crop: of a clip.
        batch: clips in a step.
    """

    name: str
    depth: int
    frames: int
    batch: int
    crop: int = 112
    width: int = 64
    rule: MidplaneRule = "block"  # torchvision's, so that both sides do the same arithmetic

    @property
    def key(self) -> str:
        return f"{self.name}_{self.depth}_{self.frames}"

    @property
    def clip_size(self) -> dict[str, int]:
        return {"frames": self.frames, "crop": self.crop}

    @property
    def clips(self) -> ClipSettings:
        height = self.crop * 8 // 7
        return ClipSettings(self.frames, 1, (height, height * 4 // 3), self.crop)

    def build(self) -> VideoResNet:
        return build_network(
            self.name,
            self.depth,
            num_classes=CLASSES,
            width=self.width,
            midplane_rule=self.rule,
            bn_eps=1e-5,
            seed=0,
        )

    def build_torchvision(self) -> nn.Module:
        """Return torchvision's own network; it has no 34 layers, but the parts to build them."""
        torch.manual_seed(0)
        if self.depth == 34:
            makers = [resnet.Conv2Plus1D] * 4
            parts = (resnet.BasicBlock, makers, [3, 4, 6, 3], resnet.R2Plus1dStem)
            return resnet.VideoResNet(*parts, num_classes=CLASSES)
        return getattr(video, f"{self.name}_{self.depth}")(weights=None, num_classes=CLASSES)


WORKS = (
    Work("r2plus1d", 18, 8, 64),
    Work("r2plus1d", 34, 8, 48),
    Work("r2plus1d", 34, 32, 12),
    Work("r3d", 18, 8, 64),
    Work("mc3", 18, 8, 64),
)
FINETUNE = Work("r2plus1d", 34, 32, 12, rule="conv")
TINY = (Work("mc3", 18, 2, 2, crop=14),)
TINY_FINETUNE = Work("r2plus1d", 10, 2, 2, crop=14, width=8, rule="conv")
VIDEOS = 32  # in the store of synthetic ones


class Machine:
    """The device, and what differs between a card and the CPU that only tries the code."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self.is_card = self.device.type == "cuda"
        # TorchInductor compiles for a minute; what is tried on a CPU is only that the code runs.
        self.backend = "inductor" if self.is_card else "eager"

    def wait(self) -> None:
        if self.is_card:
            torch.cuda.synchronize()

    def peak_bytes(self, run: Callable[[], object]) -> int:
        """Return the most memory that `run` holds beyond what is held before it, 0 on a CPU."""
        if not self.is_card:
            run()
            return 0
        self.wait()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        self.wait()
        return torch.cuda.max_memory_allocated() - before

    def rates(self, size: int, megabytes: int) -> tuple[float, float]:
        """Return what the device reaches: multiplications and additions, and bytes, a second."""
        dtype = torch.bfloat16 if self.is_card else torch.float32
        left, right = (torch.randn(size, size, device=self.device, dtype=dtype) for _ in "ab")
        source = torch.empty(megabytes * 2**20, dtype=torch.uint8, device=self.device)
        target = torch.empty_like(source)

        def repeat(run: Callable[[], object]) -> None:
            for _ in range(10):
                run()
            self.wait()

        functions = {
            "product": lambda: repeat(lambda: left @ right),
            "copy": lambda: repeat(lambda: target.copy_(source)),
        }
        seconds = timing.medians(timing.paired(functions, 5))
        return 20 * size**3 / seconds["product"], 20 * source.nbytes / seconds["copy"]


class StoredClips(Dataset):
    """Random clips out of a store of synthetic videos; a transform makes them ready, where given."""

    def __init__(self, path: Path, work: Work, transform: nn.Module | None) -> None:
        self.path, self.work, self.transform = path, work, transform

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        generator = seeded_generator(number)
        entry = frame_store.find(self.path, str(number % VIDEOS))
        start = random_start(entry.frames, self.work.frames, generator=generator)
        clip = frame_store.read(self.path, entry, torch.arange(start, start + self.work.frames).numpy())
        if self.transform is not None:
            # (C, T, H, W), as the presets of torchvision's video references hand it on.
            clip = self.transform(clip.permute(0, 3, 1, 2)).permute(1, 0, 2, 3)
        return clip, number % CLASSES


def fill_store(path: Path, work: Work) -> None:
    """Write synthetic videos, smooth and moving, as JPEG of quality 90."""
    height, width = work.clips.resize
    random = torch.Generator().manual_seed(0)
    written = []
    for name in range(VIDEOS):
        small = torch.rand(1, 3, 12, 16, generator=random) * 255
        size = (height + 2 * work.frames, width + 2 * work.frames)
        scene = nn.functional.interpolate(small, size, mode="bilinear")[0].byte().permute(1, 2, 0)
        frames = torch.stack([scene[t : t + height, t : t + width] for t in range(2 * work.frames)])
        encoded = frame_store.encode(frames, 90)
        kept = frame_store.Frames(path.parent, encoded)
        written.append(frame_store.StoredVideo(str(name), height, width, 90, 0, 0, kept))
    frame_store.write(path, written)


class Trainer:
    """A network in training: torchvision's users' way. `ready` batches are on the device."""

    def __init__(self, work: Work, machine: Machine, *, amp: bool) -> None:
        self.work, self.machine = work, machine
        self.amp = amp and machine.is_card  # a CPU without bfloat16 units takes minutes a step
        self.network = work.build_torchvision().to(machine.device).train()
        parameters = self.network.parameters()
        self.optimizer = torch.optim.SGD(parameters, lr=0.01, momentum=0.9, weight_decay=1e-4)
        self.scaler = torch.amp.GradScaler(machine.device.type, enabled=self.amp)

    @property
    def transform(self) -> nn.Module | None:
        """What the loader's processes do to a clip: here all, as in torchvision's references."""
        crop, clips = self.work.crop, self.work.clips
        return v2.Compose(
            [
                v2.ToDtype(torch.float32, scale=True),
                v2.RandomHorizontalFlip(0.5),
                v2.Normalize(clips.mean, clips.std),
                v2.RandomCrop((crop, crop)),
            ]
        )

    def batches(self, loader: DataLoader) -> Iterator[tuple[Tensor, ...]]:
        """Yield the loader's batches, ready."""
        for clips, labels in loader:
            yield clips.to(self.machine.device), labels.to(self.machine.device)

    def loss(self, inputs: Tensor, labels: Tensor) -> Tensor:
        # As torchvision's --amp does it: float16, with a scaler.
        with torch.autocast(self.machine.device.type, torch.float16, enabled=self.amp):
            return nn.functional.cross_entropy(self.network(inputs), labels)

    def step(self, inputs: Tensor, labels: Tensor) -> float:
        loss = self.loss(inputs, labels)
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.item()  # the references print it


class OurTrainer(Trainer):
    """The steps of `r21d_lib.training.loop`, without Accelerate."""

    def __init__(self, work: Work, machine: Machine, *, compiled: bool) -> None:
        self.work, self.machine = work, machine
        network = work.build().to(machine.device).to(memory_format=torch.channels_last_3d)
        if compiled:
            network.compile(backend=machine.backend)
        self.network = network.train()
        self.optimizer = make_optimizer(network, TrainingSettings())

    @property
    def transform(self) -> nn.Module | None:
        return None  # the loader hands on uint8, a quarter of the bytes

    def batches(self, loader: DataLoader) -> Iterator[tuple[Tensor, ...]]:
        return ahead(enumerate(loader), self._ready, self.machine.device)

    def _ready(self, item: tuple[int, Batch]) -> Batch:
        number, (clips, labels) = item
        clips = clips.to(self.machine.device, non_blocking=True)
        inputs = to_network(clips, self.work.clips, random=seeded_generator(number))
        return inputs, labels.to(self.machine.device, non_blocking=True)

    def step(self, inputs: Tensor, labels: Tensor) -> float:
        kind, is_card = self.machine.device.type, self.machine.is_card
        with torch.autocast(kind, torch.bfloat16, enabled=is_card):
            loss = nn.functional.cross_entropy(self.network(inputs), labels)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), 10.0)
        if not torch.isfinite(norm):
            raise SystemExit(f"error: {self.work.key}: the gradient is not finite")
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()


def trainers(compiled: bool) -> dict[str, Callable[[Work, Machine], Trainer]]:
    """Return the ways to train, by name."""
    ways: dict[str, Callable[[Work, Machine], Trainer]] = {
        "torchvision float32": partial(Trainer, amp=False),
        SLOW: partial(Trainer, amp=True),
        f"{OURS}, not compiled": partial(OurTrainer, compiled=False),
    }
    return {**ways, OURS: partial(OurTrainer, compiled=True)} if compiled else ways


def run_ready(trainer: Trainer, batch: Batch, steps: int) -> None:
    """Take steps on one batch that is on the device already."""
    for _ in range(steps):
        trainer.step(*batch)
    trainer.machine.wait()


def run_fed(trainer: Trainer, loader: DataLoader) -> None:
    """Take a step on each batch of the loader."""
    for inputs, labels in trainer.batches(loader):
        trainer.step(inputs, labels)
    trainer.machine.wait()


def loader_for(trainer: Trainer, path: Path, steps: int, workers: int) -> DataLoader:
    return DataLoader(
        StoredClips(path, trainer.work, trainer.transform),
        batch_size=trainer.work.batch,
        sampler=range(steps * trainer.work.batch),
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=trainer.machine.is_card,
    )


def fitting(work: Work, machine: Machine) -> Work:
    """Return the work with no more clips than torchvision's float32 step has room for."""
    if not machine.is_card:
        return work
    room = torch.cuda.get_device_properties(machine.device).total_memory * 0.6
    a_clip = activation_bytes(work.build().settings, **work.clip_size)
    return replace(work, batch=max(1, min(work.batch, int(room / a_clip))))


def measure(work: Work, machine: Machine, given: argparse.Namespace, rate: float) -> dict[str, Any]:
    """Time all ways to train one network, in turns, and print their table."""
    settings = work.build().settings
    operations = 6 * count_multiply_adds(settings, **work.clip_size)
    # Forward is 2 operations a multiply-add; backward computes two gradients, each as long.
    inputs = torch.randn(work.batch, 3, work.frames, work.crop, work.crop, device=machine.device)
    inputs = inputs.contiguous(memory_format=torch.channels_last_3d)
    labels = torch.arange(work.batch, device=machine.device) % CLASSES
    ready: dict[str, Callable[[], object]] = {}
    fed: dict[str, Callable[[], object]] = {}
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clips.sqlite"
        fill_store(path, work)
        for name, build in trainers(given.compile).items():
            trainer = build(work, machine)
            shown = inputs.contiguous() if type(trainer) is Trainer else inputs
            run_ready(trainer, (shown, labels), 2)  # compiles, and searches the fastest kernels
            once = partial(run_ready, trainer, (shown, labels), 1)
            rows[name] = {"activations_gb": round(machine.peak_bytes(once) / 1e9, 2)}
            ready[name] = partial(run_ready, trainer, (shown, labels), given.steps)
            loader = loader_for(trainer, path, 2 * given.steps, given.workers)
            fed[name] = partial(run_fed, trainer, loader)
        without, reading = (timing.paired(runs, given.rounds) for runs in (ready, fed))
    factors, factors_fed = timing.ratios(without, SLOW), timing.ratios(reading, SLOW)
    print(f"\n{work.key}: batches of {work.batch}, {operations / 1e9:.0f} GFLOP a clip and step")
    print(f"{'':28}clips/s  reading too   x AMP  reading  TFLOP/s  of the rate  activations GB")
    for name, row in rows.items():
        alone = work.batch * given.steps / timing.medians(without)[name]
        row |= {
            "clips_per_s": round(alone, 1),
            "clips_per_s_reading": round(
                2 * work.batch * given.steps / timing.medians(reading)[name], 1
            ),
            "times_amp": round(factors[name], 2),
            "times_amp_reading": round(factors_fed[name], 2),
            "tflops": round(alone * operations / 1e12, 2),
            "share_of_rate": round(alone * operations / rate, 3),
        }
        print(
            f"{name:27}{row['clips_per_s']:>8}{row['clips_per_s_reading']:>13}{row['times_amp']:>8}"
            f"{row['times_amp_reading']:>9}{row['tflops']:>9}{row['share_of_rate']:>13.1%}"
            f"{row['activations_gb']:>16}"
        )
    best = max((row for name, row in rows.items() if name.startswith(OURS)), key=_speed)
    met = best["times_amp"] >= 3 or best["share_of_rate"] >= 0.5
    print(f"target, 3 x AMP or half of the rate: {'met' if met else 'not met'}")
    return {"batch": work.batch, "gflop_a_clip": round(operations / 1e9, 1), "ways": rows, "met": met}


def _speed(row: dict[str, Any]) -> float:
    return row["clips_per_s"]


def step_values(stage: nn.Module, x: Tensor) -> tuple[int, Tensor]:
    """Count the values that a step must move through memory for a stage, and return its output.

    A convolution reads and writes once forward; backward it reads the gradient twice, the input once,
    and writes one gradient. A norm reads twice (statistics, then scale with ReLU and addition) and
    writes once; backward it reads gradient and input twice and writes once.
    """
    values = 0

    def count(module: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        nonlocal values
        if isinstance(module, nn.Conv3d):
            weights = module.weight.numel()
            values += 3 * (given[0].numel() + out.numel() + weights)
        elif isinstance(module, nn.BatchNorm3d):
            values += 8 * out.numel()

    hooks = [module.register_forward_hook(count) for module in stage.modules()]
    out = stage(x)
    for hook in hooks:
        hook.remove()
    return values, out


def measure_stages(
    work: Work, machine: Machine, given: argparse.Namespace, rates: tuple[float, float]
) -> list[dict[str, Any]]:
    """Time each stage alone, forward and backward, and set it beside both floors."""
    print(f"\n{work.key}, stage by stage, milliseconds of a step with {work.batch} clips")
    print(f"{'':10}{'measured':>10}{'operations':>12}{'bytes':>8}   times the higher floor")
    with torch.device("meta"):
        counted = VideoResNet(work.build().settings)
        x = torch.zeros(work.batch, 3, work.frames, work.crop, work.crop)
    dtype = torch.bfloat16 if machine.is_card else torch.float32
    network = work.build().to(machine.device).to(memory_format=torch.channels_last_3d).train()
    costs = {s.name: s.multiply_adds for s in count_stages(counted.settings, **work.clip_size)}
    rows = []
    for (name, stage), on_meta in zip(network.stages().items(), counted.stages().values(), strict=True):
        shown = torch.randn(x.shape, device=machine.device, dtype=dtype)
        shown = shown.contiguous(memory_format=torch.channels_last_3d).requires_grad_(bool(rows))
        values, x = step_values(on_meta, x)
        if given.compile:
            stage.compile(backend=machine.backend)

        def run(stage: nn.Module = stage, shown: Tensor = shown) -> None:
            for _ in range(given.steps):
                with torch.autocast(machine.device.type, torch.bfloat16, enabled=machine.is_card):
                    out = stage(shown)
                out.backward(out.detach())
                stage.zero_grad()
            machine.wait()

        measured = timing.medians(timing.paired({name: run}, given.rounds))[name] / given.steps
        operations = 6 * costs[name] * work.batch / rates[0]
        moved = values * dtype.itemsize / rates[1]
        row = {"stage": name, "ms": measured, "operations_ms": operations, "bytes_ms": moved}
        row = {k: round(v * 1e3, 3) if isinstance(v, float) else v for k, v in row.items()}
        row["times_floor"] = round(measured / max(operations, moved), 2)
        rows.append(row)
        print(
            f"{name:10}{row['ms']:>10.2f}{row['operations_ms']:>12.2f}{row['bytes_ms']:>8.2f}"
            f"{row['times_floor']:>10.2f}  ({'operations' if operations > moved else 'bytes'})"
        )
    return rows


def profile(work: Work, machine: Machine, given: argparse.Namespace) -> str:
    """Return torch.profiler's table of three steps of this library's way."""
    trainer = OurTrainer(work, machine, compiled=given.compile)
    inputs = torch.randn(work.batch, 3, work.frames, work.crop, work.crop, device=machine.device)
    inputs = inputs.contiguous(memory_format=torch.channels_last_3d)
    batch = (inputs, torch.arange(work.batch, device=machine.device) % CLASSES)
    run_ready(trainer, batch, 2)
    with torch.profiler.profile() as recorded:
        run_ready(trainer, batch, 3)
    kind = "device" if machine.is_card else "cpu"
    table = recorded.key_averages().table(
        sort_by=f"self_{kind}_time_total", row_limit=25, max_name_column_width=70
    )
    return f"{work.key}, three steps of {work.batch} clips\n{table}"


def finetune(work: Work, machine: Machine, given: argparse.Namespace) -> dict[str, float]:
    """Time a bfloat16 finetune as a whole, reading included, and print what VMZ's recipe takes."""
    trainer = OurTrainer(work, machine, compiled=given.compile)
    with tempfile.TemporaryDirectory() as folder:
        fill_store(Path(folder) / "clips.sqlite", work)
        loader = loader_for(trainer, Path(folder) / "clips.sqlite", 2 * given.steps, given.workers)
        taken = timing.paired({OURS: partial(run_fed, trainer, loader)}, given.rounds)
    clips = 2 * given.steps * work.batch / timing.medians(taken)[OURS]
    hours = FINETUNE_CLIPS / clips / 3600
    print(
        f"\nfinetuning {work.key}: {clips:.1f} clips/s, {hours:.2f} hours for {FINETUNE_CLIPS:,} clips"
    )
    return {"batch": work.batch, "clips_per_s": round(clips, 1), "hours": round(hours, 2)}


def arguments() -> argparse.Namespace:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=formatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--tiny", action="store_true", help="small networks and clips: only a trial")
    parser.add_argument("--only", nargs="+", metavar="NETWORK", help="such as r2plus1d_34_32")
    parser.add_argument("--stages", action="store_true", help="time the stages of all of these")
    parser.add_argument("--finetune", action="store_true", help="measure VMZ's finetune alone")
    parser.add_argument("--no-finetune", dest="tune", action="store_false", help="leave that out")
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    parser.add_argument("--steps", type=int, default=10, help="in a turn")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each way")
    parser.add_argument("--workers", type=int, default=min(14, os.cpu_count() or 1))
    return parser.parse_args()


def main() -> None:
    given = arguments()
    if given.device == "cuda" and not torch.cuda.is_available():
        timing.skip("no CUDA device here: --device cpu --tiny tries the code without one")
    if given.device == "cpu" and not given.tiny:
        timing.skip("a CPU only tries the code: give --tiny")
    machine = Machine(given.device)
    torch.backends.cudnn.benchmark = True  # for both sides; torchvision's references set it too
    works, tuned = (TINY, TINY_FINETUNE) if given.tiny else (WORKS, FINETUNE)
    works = [work for work in works if given.only is None or work.key in given.only]
    if not works:
        raise SystemExit(f"error: no network of --only: choose {', '.join(w.key for w in WORKS)}")
    rates = machine.rates(256, 4) if given.tiny else machine.rates(8192, 2048)
    print(timing.machine())
    print(f"measured: {rates[0] / 1e12:.2f} TFLOP/s in a product, {rates[1] / 1e9:.0f} GB/s in a copy")
    found: dict[str, Any] = {"tflops": rates[0] / 1e12, "gb_per_s": rates[1] / 1e9, "networks": {}}
    tables = []
    for number, chosen in enumerate([] if given.finetune else works):
        work = fitting(chosen, machine)
        row = found["networks"][work.key] = measure(work, machine, given, rates[0])
        timing.write("training_gpu", found)  # stages may take long
        # The first and the longest network show what bounds a stage.
        if given.stages or number == 0 or work.key == FINETUNE.key:
            row["stages"] = measure_stages(work, machine, given, rates)
            tables.append(profile(work, machine, given))
        path = timing.write("training_gpu", found)  # what is measured stays, whatever comes after
        path.with_name("training_gpu_profile.txt").write_text("\n\n".join(tables) + "\n")
        torch.compiler.reset()
        gc.collect()
    if given.tune:
        found["finetune"] = finetune(fitting(tuned, machine), machine, given)
        timing.write("training_gpu", found)


if __name__ == "__main__":
    main()
