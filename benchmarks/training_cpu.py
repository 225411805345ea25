"""How long does a training step take on this processor, against torchvision's defaults and at best?

    python benchmarks/training_cpu.py             # about six minutes
    python benchmarks/training_cpu.py --rounds 2

Two networks: R(2+1)D-18 on 4 clips of 8 frames at 112 x 112, and ActionFigures' network of recipe
figures_scratch. The plain path keeps torchvision's defaults (channels first, plain SGD; for the first
it is torchvision's own network), the other is a step as `training.train` takes it. Both start from the
same weights, see the same clips, warm up alike and take turns (A B C A B C), each in a process of its
own. Their losses over 20 steps are compared, beside what rounding alone does: the plain path's losses
from weights that are 1e-7 larger. The ceiling is the same convolutions, forward and both gradients,
each in the fastest of the layouts that torch has for it, and nothing else. The second network's step
is also timed in the arithmetic that `r21d reproduce` pins: one thread, AVX2. Results go to
benchmarks/results/training_cpu.json, by processor and instruction set.
"""

import argparse
import multiprocessing
import os
import statistics
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any
from unittest import mock

import inference_cpu
import timing
import torch
import torchvision
from torch import Tensor, nn

from r21d_lib.models.networks import VideoResNet, build_network
from r21d_lib.suite.arithmetic import pinned
from r21d_lib.training import TrainingSettings, recipes
from r21d_lib.training.hardware import keep_freed_memory, memory_order
from r21d_lib.training.settings import make_optimizer

STEPS, RATE, MOMENTUM, DECAY = 20, 0.01, 0.9, 1e-4
ROUNDING = 1e-7  # half of float32's last place
PATHS = ("plain", "this project", "moved")  # the last: plain, from weights moved by ROUNDING
PASSES = ("forward", "gradient of the maps", "gradient of the kernel")


def layouts(convolution: nn.Conv3d, shape: torch.Size) -> dict[str, tuple[Tensor, Tensor, Any, Any]]:
    """Return maps, kernel, stride and padding of a convolution in each layout that fits it."""
    maps, weight = torch.randn(shape), convolution.weight.detach()
    stride, padding = list(convolution.stride), list(convolution.padding)
    last = {4: torch.channels_last, 5: torch.channels_last_3d}
    found = {"3D": (maps, weight, stride, padding)}
    if weight.shape[2] == 1 and stride[0] == 1:
        flat = maps.transpose(1, 2).flatten(0, 1)
        found["frames folded"] = (flat, weight[:, :, 0], stride[1:], padding[1:])
    elif weight.shape[3:] == (1, 1) and stride[1:] == [1, 1]:
        found["pixels folded"] = (maps.flatten(3), weight[..., 0], [stride[0], 1], [padding[0], 0])
    return {
        f"{name}, channels {order}": (
            x.contiguous(memory_format=last[x.ndim] if order == "last" else torch.contiguous_format),
            w.contiguous(memory_format=last[x.ndim] if order == "last" else torch.contiguous_format),
            s,
            p,
        )
        for name, (x, w, s, p) in found.items()
        for order in ("first", "last")
    }


def passes(
    x: Tensor, w: Tensor, stride: Any, padding: Any
) -> tuple[list[Callable[[], object]], Tensor]:
    """Return a convolution and its two gradients, ready to be run, and the output's gradient."""
    ones = [1] * len(stride)

    def forward() -> Tensor:
        return torch.mkldnn_convolution(x, w, None, padding, stride, ones, 1)

    change = torch.randn_like(forward())

    def backward(*wanted: bool) -> object:
        return torch.ops.aten.convolution_backward(
            change, x, w, None, stride, padding, ones, False, [0] * len(stride), 1, [*wanted, False]
        )

    return [forward, lambda: backward(True, False), lambda: backward(False, True)], change


class Ceiling:
    """The convolutions of a step and their gradients, each in its best layout, and nothing else."""

    def __init__(self, network: nn.Module, clips: Tensor) -> None:
        self.runs: list[tuple[Callable[[], object], int]] = []
        self.table: list[dict[str, object]] = []
        self.gflop = 0.0
        for convolution, shape, times in inference_cpu.layers(network, clips):
            choices = {name: passes(*parts)[0] for name, parts in layouts(convolution, shape).items()}
            first = next(iter(choices.values()))[0]()
            assert isinstance(first, Tensor)
            gflop = (
                inference_cpu.FLOPS_PER_PRODUCT * convolution.weight[0].numel() * first.numel() / 1e9
            )
            for number, name in enumerate(PASSES):
                if name == PASSES[1] and shape[1] == 3:
                    continue  # nobody asks for the gradient of the clips
                runs = {layout: functions[number] for layout, functions in choices.items()}
                seconds = {k: min(v) for k, v in timing.paired(runs, 2).items()}
                best = min(seconds, key=seconds.__getitem__)
                self.runs.append((runs[best], times))
                self.gflop += gflop * times
                rates = {layout: gflop / value for layout, value in seconds.items()}
                row = {"input": list(shape), "kernel": list(convolution.weight.shape), "pass": name}
                self.table.append({**row, "times": times, "best": best, "gflops": rates})

    @torch.no_grad()
    def __call__(self) -> None:
        for run, times in self.runs:
            for _ in range(times):
                run()


class Training:
    """A network that takes training steps by one of the PATHS."""

    def __init__(self, case: str, path: str) -> None:
        plain, ours, shape = networks(case)
        self.as_here = path == "this project"
        self.network: nn.Module = ours if self.as_here else plain
        order = torch.contiguous_format
        if self.as_here:
            order = memory_order(ours, torch.device("cpu"))
            keep_freed_memory()
            settings = TrainingSettings(learning_rate=RATE, momentum=MOMENTUM, weight_decay=DECAY)
            self.network.to(memory_format=order)
            self.optimizer = make_optimizer(ours, settings)
        else:
            self.optimizer = plain_sgd(plain)
        if path == "moved":
            with torch.no_grad():
                for weight in plain.parameters():
                    weight.mul_(1 + ROUNDING)
        self.network.train()
        self.order, self.shape, self.taken = order, shape, 0
        self.classes = plain.get_submodule("fc").out_features

    def step(self) -> float:
        generator = torch.Generator().manual_seed(self.taken)
        clips = torch.randn(self.shape, generator=generator).contiguous(memory_format=self.order)
        labels = torch.randint(self.classes, self.shape[:1], generator=generator)
        for group in self.optimizer.param_groups:
            group["lr"] = RATE * self.taken / STEPS
        loss = nn.functional.cross_entropy(self.network(clips), labels)
        loss.backward()
        if self.as_here:  # the norm is asked for, and nothing cut: a plain step has no such thing
            norm = nn.utils.clip_grad_norm_(self.network.parameters(), 1e6)
            assert torch.isfinite(norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.taken += 1
        return loss.item()


def plain_sgd(network: nn.Module) -> torch.optim.Optimizer:
    """Return torch's SGD as it comes, with the settings of the other path."""
    weights = list(network.parameters())
    groups = [
        {"params": [p for p in weights if p.ndim > 1], "weight_decay": DECAY},
        {"params": [p for p in weights if p.ndim == 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=RATE, momentum=MOMENTUM, nesterov=True)


def serve(pipe: Connection, case: str, path: str) -> None:
    """Take a step whenever the other end asks for one, and answer with its loss."""
    training = Training(case, path)
    pipe.send(None)
    with suppress(EOFError):  # the other end is gone
        while pipe.recv():
            pipe.send(training.step())


class Steps:
    """A process that takes the steps of one path, each when it is called for, and their losses.

    A process of its own, because freed memory is kept or given back by all of one.
    """

    def __init__(self, case: str, path: str, environment: Mapping[str, str] | None = None) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.losses: list[float] = []
        self.process = context.Process(target=serve, args=(other, case, path), daemon=True)
        with mock.patch.dict(os.environ, environment or {}):
            self.process.start()
        other.close()  # so that the end of the process is noticed
        self.pipe.recv()

    def __call__(self) -> None:
        self.pipe.send(True)
        self.losses.append(self.pipe.recv())

    def end(self) -> list[float]:
        """Take what is missing of the steps, and return the losses of all."""
        while len(self.losses) < STEPS:
            self()
        self.pipe.send(False)
        self.process.join()
        return self.losses[:STEPS]


def networks(case: str) -> tuple[nn.Module, VideoResNet, tuple[int, ...]]:
    """Return the plain network, this project's with the same weights, and the shape of a batch."""
    torch.manual_seed(0)
    if case == "R(2+1)D-18":
        plain: nn.Module = torchvision.models.video.r2plus1d_18(weights=None)
        ours = build_network("r2plus1d", 18, midplane_rule="block", bn_eps=1e-5)
        shape: tuple[int, ...] = (4, 3, 8, 112, 112)
    else:
        recipe = recipes.read("figures_scratch")
        plain, ours = recipe.build(12, seed=0), recipe.build(12, seed=0)
        side, frames = recipe.clips.crop, recipe.clips.clip_len
        shape = (recipe.training.batch_size, 3, frames, side, side)
    ours.load_state_dict(plain.state_dict())
    return plain, ours, shape


def largest_difference(one: list[float], other: list[float]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def compare(case: str, rounds: int, *, exact: bool = False) -> dict[str, Any]:
    """Return medians, ratios, the share of the ceiling and how far the losses are apart.

    Args:
        case: of `networks`.
        rounds: timed turns of each.
        exact: also times the step in the arithmetic that notebooks' numbers are recorded in.
    """
    network, _, shape = networks(case)
    keep_freed_memory()
    ceiling = Ceiling(network.eval(), torch.randn(shape))
    plain, own = Steps(case, "plain"), Steps(case, "this project")
    functions: dict[str, Callable[[], object]] = {
        "plain": plain,
        "this project": own,
        "ceiling": ceiling,
    }
    if exact:
        functions["exact"] = Steps(case, "this project", pinned())
    seconds = timing.paired(functions, rounds)
    shares = zip(seconds["ceiling"], seconds["this project"], strict=True)
    losses = {"plain": plain.end(), "this project": own.end()}
    apart = largest_difference(*losses.values())
    by_rounding = 0.0
    if apart > 0:
        by_rounding = largest_difference(losses["plain"], Steps(case, "moved").end())
    return {
        "input": list(shape),
        "gflop": ceiling.gflop,
        "seconds": timing.medians(seconds),
        "range": timing.ranges(seconds),
        "times_plain": timing.ratios(seconds, "plain"),
        "share_of_ceiling": statistics.median(best / mine for best, mine in shares),
        "losses": losses,
        "largest_difference": apart,
        "difference_by_rounding": by_rounding,
        "layers": ceiling.table,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="timed turns of each")
    rounds = parser.parse_args().rounds
    results = {
        "R(2+1)D-18": compare("R(2+1)D-18", rounds),
        "ActionFigures": compare("ActionFigures", 4 * rounds, exact=True),
    }
    print(timing.machine())
    print(
        f"{'':14} {'input':>20}  {'plain':>7}  {'ours':>7}  times  {'ceiling':>7}  share  "
        "losses apart  (by rounding)"
    )
    for name, row in results.items():
        shape = "x".join(map(str, row["input"]))
        plain, ours, best = (row["seconds"][key] for key in ("plain", "this project", "ceiling"))
        print(
            f"{name:14} {shape:>20}  {plain:5.3f} s  {ours:5.3f} s  "
            f"{row['times_plain']['this project']:5.2f}  {best:5.3f} s  "
            f"{row['share_of_ceiling']:5.0%}  {row['largest_difference']:12.1e}  "
            f"{row['difference_by_rounding']:13.1e}"
        )
    exact, ours = (results["ActionFigures"]["seconds"][key] for key in ("exact", "this project"))
    print(f"ActionFigures in exact arithmetic: {exact:.3f} s, {exact / ours:.2f} times ours")
    timing.write_here("training_cpu", {"rounds": rounds, "networks": results})


if __name__ == "__main__":
    main()
