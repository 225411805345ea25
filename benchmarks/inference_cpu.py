"""How fast is a clip scored on this processor, against torchvision and against what it can do at most?

    python benchmarks/inference_cpu.py            # about three minutes
    python benchmarks/inference_cpu.py --rounds 2

R(2+1)D-18 on clips of 16 frames at 112 x 112, batches of 1 and 5: this project's network through
`inference.optimized` against torchvision's r2plus1d_18 in eval as documented, in turns (A B C A B C)
in one process. The ceiling is measured in the same turns: each of torchvision's convolutions by
itself, in the fastest of the layouts that torch has for it. onnxruntime takes part where it is
installed. Results go to benchmarks/results/inference_cpu.json.
"""

import argparse
import importlib.util
import io
import statistics
import time
from collections import Counter
from collections.abc import Callable

import timing
import torch
import torchvision
from torch import Tensor, nn

from r21d_lib.models.fast import FastNetwork, optimized
from r21d_lib.models.networks import VideoResNet, build_network

FRAMES, SIDE, CLASSES = 16, 112, 400
FLOPS_PER_PRODUCT = 2


class Layer:
    """One convolution and the layouts that torch can run it in; all give the same maps."""

    def __init__(self, convolution: nn.Conv3d, shape: torch.Size) -> None:
        weight, bias = convolution.weight.detach(), torch.zeros(convolution.out_channels)
        padding, stride = list(convolution.padding), list(convolution.stride)
        maps = torch.randn(shape)
        last = maps.contiguous(memory_format=torch.channels_last_3d)
        self.layouts: dict[str, Callable[[], Tensor]] = {}
        place = (bias, stride, padding)
        self.layouts["channels first"] = lambda: torch.conv3d(maps, weight, *place)
        weight_last = weight.contiguous(memory_format=torch.channels_last_3d)
        self.layouts["channels last"] = lambda: torch.conv3d(last, weight_last, *place)
        self._packed("packed, channels last", last, weight, bias, padding, stride)
        if weight.shape[2] == 1:  # 2D over frames that are folded into the batch
            flat = last.permute(0, 2, 3, 4, 1).flatten(0, 1).permute(0, 3, 1, 2)
            self._packed("packed, frames folded", flat, weight[:, :, 0], bias, padding[1:], stride[1:])
        elif weight.shape[3:] == (1, 1):  # 2D over time and all pixels
            flat = last.permute(0, 2, 3, 4, 1).flatten(2, 3).permute(0, 3, 1, 2)
            self._packed("packed, pixels folded", flat, weight[..., 0], bias, padding[:2], stride[:2])
        self.flops = FLOPS_PER_PRODUCT * weight[0].numel() * self.layouts["channels last"]().numel()

    def _packed(
        self,
        name: str,
        maps: Tensor,
        weight: Tensor,
        bias: Tensor,
        padding: list[int],
        stride: list[int],
    ) -> None:
        place = (padding, stride, [1] * len(stride), 1)
        packed = torch.ops.mkldnn._reorder_convolution_weight(weight, *place, list(maps.shape))
        run = torch.ops.mkldnn._convolution_pointwise
        self.layouts[name] = lambda: run(maps, packed, bias, *place, "none", [], "")


def layers(network: nn.Module, clips: Tensor) -> list[tuple[nn.Conv3d, torch.Size, int]]:
    """Return each different convolution of a network, its input's shape and how often it occurs."""
    found: Counter[tuple[object, ...]] = Counter()
    kept: dict[tuple[object, ...], tuple[nn.Conv3d, torch.Size]] = {}

    def note(module: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        assert isinstance(module, nn.Conv3d)
        key = (inputs[0].shape, module.weight.shape, module.stride)
        found[key] += 1
        kept[key] = (module, inputs[0].shape)

    hooks = [m.register_forward_hook(note) for m in network.modules() if isinstance(m, nn.Conv3d)]
    network(clips)
    for hook in hooks:
        hook.remove()
    return [(*kept[key], times) for key, times in found.items()]


class Ceiling:
    """The convolutions of a network one after another, each in its best layout and nothing else.

    Clip by clip, as maps of more clips cost more: Linux is asked for their memory each time.
    """

    def __init__(self, network: nn.Module, clips: Tensor, rounds: int = 3) -> None:
        self.clips = len(clips)
        self.runs: list[tuple[Callable[[], Tensor], int]] = []
        self.table: list[dict[str, object]] = []
        for convolution, shape, times in layers(network, clips[:1]):
            layer = Layer(convolution, shape)
            seconds = timing.paired(layer.layouts, rounds)
            best = min(seconds, key=lambda name: min(seconds[name]))
            self.runs.append((layer.layouts[best], times))
            self.table.append(
                {
                    "input": list(shape),
                    "kernel": list(convolution.weight.shape),
                    "times": times,
                    "gflop": layer.flops / 1e9,
                    "best": best,
                    "gflops": {n: layer.flops / min(v) / 1e9 for n, v in seconds.items()},
                }
            )
        self.gflop = self.clips * sum(row["gflop"] * row["times"] for row in self.table)

    def __call__(self) -> None:
        for run, times in self.runs:
            for _ in range(self.clips * times):
                run()


def onnx_session(network: nn.Module, clips: Tensor) -> Callable[[], object] | None:
    """Return a run of the network in onnxruntime, or None where that is not installed."""
    if not all(importlib.util.find_spec(name) for name in ("onnxruntime", "onnx", "onnxscript")):
        return None
    import onnxruntime

    file = io.BytesIO()
    program = torch.onnx.export(network, (clips,), dynamo=True, verbose=False)
    program.save(file)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file.getvalue(), options)
    feed = {session.get_inputs()[0].name: clips.numpy()}
    return lambda: session.run(None, feed)


def measure(
    batch: int, ours: VideoResNet, fast: FastNetwork, reference: nn.Module, rounds: int
) -> dict:
    """Return the medians of a batch size, ratios, error and shares of the ceiling."""
    clips = torch.randn(batch, 3, FRAMES, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    ceiling = Ceiling(ours, clips)
    plain = ours(clips)
    functions: dict[str, Callable[[], object]] = {
        "torchvision": lambda: reference(clips),
        "this project": lambda: fast(clips),
        "ceiling": ceiling,
    }
    if session := onnx_session(ours, clips):
        functions["onnxruntime"] = session
    seconds = timing.paired(functions, rounds)
    shares = zip(seconds["ceiling"], seconds["this project"], strict=True)
    return {
        "batch": batch,
        "gflop": ceiling.gflop,
        "seconds": timing.medians(seconds),
        "times_torchvision": timing.ratios(seconds, "torchvision"),
        "share_of_ceiling": statistics.median(best / own for best, own in shares),
        "largest_error": float((fast(clips) - plain).abs().max()),
        "largest_logit": float(plain.abs().max()),
        "layers": ceiling.table,
    }


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=4, help="timed turns of each")
    rounds = parser.parse_args().rounds
    torch.manual_seed(0)
    reference = torchvision.models.video.r2plus1d_18(weights=None).eval()
    ours = build_network("r2plus1d", 18, num_classes=CLASSES, midplane_rule="block", bn_eps=1e-5).eval()
    ours.load_state_dict(reference.state_dict())  # the same arithmetic to the last layer
    started = time.perf_counter()
    fast = optimized(ours)
    fast(torch.randn(1, 3, FRAMES, SIDE, SIDE))
    first = time.perf_counter() - started
    results = [measure(batch, ours, fast, reference, rounds) for batch in (1, 5)]
    print(timing.machine())
    print(f"{fast.choice}; first answer after {first:.2f} s")
    print(f"{'':22}" + "".join(f"{'batch ' + str(r['batch']):>28}" for r in results))
    for name in results[0]["seconds"]:
        cells = [
            f"{r['seconds'][name] / r['batch']:8.3f} s a clip {r['times_torchvision'][name]:5.2f} x"
            for r in results
        ]
        print(f"{name:22}" + "".join(f"{cell:>28}" for cell in cells))
    for r in results:
        rate = r["gflop"] / r["seconds"]["ceiling"]
        print(
            f"batch {r['batch']}: {r['share_of_ceiling']:.0%} of the ceiling ({rate:.0f} GFLOP/s), "
            f"error {r['largest_error']:.1e} of logits up to {r['largest_logit']:.1f}"
        )
    values = {"choice": str(fast.choice), "first_answer_s": first, "rounds": rounds, "batches": results}
    timing.write("inference_cpu", values)


if __name__ == "__main__":
    main()
