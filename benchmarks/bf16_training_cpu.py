"""Are bfloat16 gradients finite on this processor? Looks for the operation and the shape where not.

    python benchmarks/bf16_training_cpu.py               # about a minute
    python benchmarks/bf16_training_cpu.py --seconds 600
    python benchmarks/bf16_training_cpu.py --dtype float32   # where bfloat16 cannot be run

Why training refuses bfloat16 on a CPU: on a processor with bfloat16 units, gradients of convolution
kernels came out non-finite now and then, never at the same step twice. Every convolution of R(2+1)D-18
on 4 clips of 8 frames at 112 x 112 is run by itself, forward and both gradients, again and again on the
same values, channels first and last; each result is compared with the first one, and the first one
with float32. What is non-finite is named with its operation, shapes and the runs that it happened in.
Finding nothing proves nothing: it is said how many runs were made, and whether the processor has the
units at all. Where oneDNN has no bfloat16 convolutions (it needs AVX-512), there is nothing to search.
Results go to benchmarks/results/bf16_training_cpu.json.
"""

import argparse
import platform
import time
from typing import Any

import inference_cpu
import timing
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm
from training_cpu import PASSES, layouts, passes

from r21d_lib.models.fast import has_bfloat16
from r21d_lib.models.networks import build_network


def run_again(run: Any, exact: Tensor, until: float) -> dict[str, Any]:
    """Repeat a pass on the same values until the time is up, at least once more after the first."""
    first, runs, bad, other = None, 0, [], 0
    while runs < 2 or time.perf_counter() < until:
        got = run()
        got = (got if isinstance(got, Tensor) else next(g for g in got if g is not None)).float()
        runs += 1
        if not torch.isfinite(got).all():
            bad.append(runs)
        if first is None:
            first = got.clone()
        other += not torch.equal(first, got)
    assert first is not None
    error = float((first - exact).abs().max() / exact.abs().max())
    return {"runs": runs, "non_finite_runs": bad, "differing_runs": other, "relative_error": error}


def exact_result(number: int, parts: tuple[Any, ...], change: Tensor) -> Tensor:
    """Return what a pass gives in float32, from the same values that bfloat16 has."""
    x, w, stride, padding = parts
    x, w = x.float().detach().requires_grad_(), w.float().detach().requires_grad_()
    y = nn.functional.conv3d(x, w, None, stride, padding)
    if number == 0:
        return y.detach()
    return torch.autograd.grad(y, x if number == 1 else w, change.float())[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="of all passes together")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    given = parser.parse_args()
    seconds, dtype = given.seconds, getattr(torch, given.dtype)
    if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        timing.skip("oneDNN has no bfloat16 convolutions on this processor, which lacks AVX-512")
    torch.manual_seed(0)
    network = build_network("r2plus1d", 18).eval()
    found = inference_cpu.layers(network, torch.randn(4, 3, 8, 112, 112))
    rows = []
    share = seconds / (len(found) * 2 * len(PASSES))
    for convolution, shape, _ in tqdm(found, desc="convolutions", unit="layer"):
        for layout, parts in layouts(convolution, shape).items():
            if not layout.startswith("3D"):
                continue  # what a network runs
            x, w, stride, padding = parts
            parts = (x.to(dtype), w.to(dtype), stride, padding)
            functions, change = passes(*parts)
            for number, name in enumerate(PASSES):
                exact = exact_result(number, parts, change)
                row = run_again(functions[number], exact, time.perf_counter() + share)
                place = {"pass": name, "layout": layout, "input": list(shape), "kernel": list(w.shape)}
                rows.append({**place, "stride": stride, "padding": padding, **row})
    units = has_bfloat16("cpu")
    bad = [row for row in rows if row["non_finite_runs"]]
    print(timing.machine())
    print(platform.platform(), torch.__config__.parallel_info().splitlines()[-1])
    print(f"bfloat16 units: {'yes' if units else 'no, torch computes it in float32 or by emulation'}")
    print(
        f"{sum(row['runs'] for row in rows)} runs of {len(rows)} passes: {len(bad)} passes gave values "
        f"that are not finite, {sum(row['differing_runs'] > 0 for row in rows)} did not repeat to the "
        f"bit, largest error {max(row['relative_error'] for row in rows):.1e} of the largest value"
    )
    for row in bad:
        print(row)
    values = {"dtype": given.dtype, "bfloat16_units": units, "non_finite": len(bad), "passes": rows}
    timing.write("bf16_training_cpu", values)


if __name__ == "__main__":
    main()
