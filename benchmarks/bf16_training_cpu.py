"""Are bfloat16 gradients finite on this processor? Looks for the operation and the shape where not.

    python benchmarks/bf16_training_cpu.py               # about a minute
    python benchmarks/bf16_training_cpu.py --seconds 600
    python benchmarks/bf16_training_cpu.py --dtype float32   # where bfloat16 cannot be run

Why training refuses bfloat16 on a CPU: on a processor with bfloat16 units, gradients of convolution
kernels came out non-finite now and then, never at the same step twice. Every convolution of R(2+1)D-18
on 4 clips of 8 frames at 112 x 112 is run by itself, forward and both gradients, again and again on the
same values, channels first and last, with all threads and with one; each result is compared with the
first one, and with float32. What is non-finite is named with its operation, shapes and the runs that
it happened in. Finding nothing proves nothing: it is said how many runs were made, and whether the
processor has the units at all. Where oneDNN has no bfloat16 convolutions (it needs AVX-512), there is
nothing to search. Last come convolutions of other sizes than one that fails, on one thread, with AMX
and without.
Results go to benchmarks/results/bf16_training_cpu.json.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from itertools import product
from typing import Any

import inference_cpu
import timing
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm
from training_cpu import PASSES, layouts, passes

from r21d_lib.models.fast import has_bfloat16
from r21d_lib.models.networks import build_network

RUNS_AROUND = 3
WITHOUT_AMX = {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}


def run_again(run: Any, exact: Tensor, until: float) -> dict[str, Any]:
    """Repeat a pass on the same values until the time is up, at least once more after the first.

    The error is the largest of a finite value in any run, of the largest exact one; places are those
    along the result's first axis: a kernel's output channels.
    """
    outputs = set[int]()
    first, runs, bad, other, error = None, 0, [], 0, 0.0
    while runs < 2 or time.perf_counter() < until:
        got = run()
        got = (got if isinstance(got, Tensor) else next(g for g in got if g is not None)).float()
        runs += 1
        finite = torch.isfinite(got)
        if not finite.all():
            bad.append(runs)
            outputs |= set((~finite).flatten(1).any(1).nonzero().flatten().tolist())
        if first is None:
            first = got.clone()
        other += not torch.equal(first, got)
        apart = (got - exact).abs().nan_to_num(0, 0, 0).max() / exact.abs().max()
        error = max(error, float(apart))
    return {
        "runs": runs,
        "non_finite_runs": bad,
        "non_finite_places": sorted(outputs),
        "differing_runs": other,
        "relative_error": error,
    }


def exact_result(number: int, parts: tuple[Any, ...], change: Tensor) -> Tensor:
    """Return what a pass gives in float32, from the same values that bfloat16 has."""
    x, w, stride, padding = parts
    x, w = x.float().detach().requires_grad_(), w.float().detach().requires_grad_()
    y = nn.functional.conv3d(x, w, None, stride, padding)
    if number == 0:
        return y.detach()
    return torch.autograd.grad(y, x if number == 1 else w, change.float())[0]


def around() -> list[dict[str, Any]]:
    """Return where the gradient of a spatial kernel is not finite on one thread, one size at a time."""
    torch.set_num_threads(1)
    middle = {"clips": 4, "inputs": 128, "outputs": 288, "side": 28}
    sweeps = {
        "clips": (1, 2, 8),
        "inputs": (32, 64, 96, 256),
        "outputs": (128, 192, 224, 240, 256, 512),
        "side": (7, 14, 56),
    }
    sizes = [middle, *({**middle, name: n} for name, ns in sweeps.items() for n in ns)]
    rows = []
    for size in sizes:
        torch.manual_seed(0)
        clips, inputs, outputs, side = size.values()
        convolution = nn.Conv3d(inputs, outputs, (1, 3, 3), padding=(0, 1, 1), bias=False)
        convolution = convolution.to(torch.bfloat16)
        x = torch.randn(clips, inputs, 1, side, side, dtype=torch.bfloat16)
        bad = set[int]()
        for _ in range(RUNS_AROUND):
            y = convolution(x)
            (got,) = torch.autograd.grad(y, convolution.weight, torch.randn_like(y))
            bad |= set((~got.isfinite()).flatten(1).any(1).nonzero().flatten().tolist())
        rows.append({**size, "non_finite_outputs": sorted(bad)})
    return rows


def around_in(environment: dict[str, str]) -> list[dict[str, Any]]:
    """Run `around` in a process of its own: oneDNN reads its variables once."""
    command = [sys.executable, __file__, "--around"]
    environment = {**os.environ, **environment}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="of all passes together")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--around", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.around:
        print(json.dumps(around()))
        return
    seconds, dtype = given.seconds, getattr(torch, given.dtype)
    if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        timing.skip("oneDNN has no bfloat16 convolutions on this processor, which lacks AVX-512")
    torch.manual_seed(0)
    network = build_network("r2plus1d", 18).eval()
    found = inference_cpu.layers(network, torch.randn(4, 3, 8, 112, 112))
    rows = []
    threads = sorted({1, torch.get_num_threads()}, reverse=True)
    share = seconds / (len(found) * 2 * len(PASSES) * len(threads))
    turns = list(product(threads, found))
    for count, (convolution, shape, _) in tqdm(turns, desc="convolutions", unit="layer"):
        torch.set_num_threads(count)
        for layout, parts in layouts(convolution, shape).items():
            if not layout.startswith("3D"):
                continue  # what a network runs
            x, w, stride, padding = parts
            parts = (x.to(dtype), w.to(dtype), stride, padding)
            functions, change = passes(*parts)
            for number, name in enumerate(PASSES):
                exact = exact_result(number, parts, change)
                row = run_again(functions[number], exact, time.perf_counter() + share)
                place: dict[str, Any] = {
                    "pass": name,
                    "layout": layout,
                    "input": list(shape),
                    "kernel": list(w.shape),
                }
                place |= {"stride": stride, "padding": padding, "threads": count}
                rows.append({**place, **row})
    torch.set_num_threads(threads[0])
    units = has_bfloat16("cpu")
    bad = [row for row in rows if row["non_finite_runs"]]
    print(timing.machine())
    print(platform.platform(), torch.__config__.parallel_info().splitlines()[-1])
    print(f"bfloat16 units: {'yes' if units else 'no, torch computes it in float32 or by emulation'}")
    print(
        f"{sum(row['runs'] for row in rows)} runs of {len(rows)} passes: {len(bad)} passes gave values "
        f"that are not finite, {sum(row['differing_runs'] > 0 for row in rows)} did not repeat to the "
        f"bit, largest error of a finite value {max(row['relative_error'] for row in rows):.1e} of the "
        "largest"
    )
    for row in bad:
        print(row)
    values = {"dtype": given.dtype, "bfloat16_units": units, "non_finite": len(bad), "passes": rows}
    if dtype == torch.bfloat16:
        values["around"] = {"as it comes": around_in({}), "without AMX": around_in(WITHOUT_AMX)}
        for name, sizes in values["around"].items():
            print(name, *sizes, sep="\n")
    timing.write_here("bf16_training_cpu", values)


if __name__ == "__main__":
    main()
