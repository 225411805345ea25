"""How fast is a clip scored on this processor, against its peers and against what it can do at most?

    python benchmarks/inference_cpu.py            # natively, then with AVX2 alone: eight minutes
    python benchmarks/inference_cpu.py --rounds 2 --isa native

R(2+1)D-18 on clips of 16 frames at 112 x 112, batches of 1 and 5, in turns (A B C A B C) in one
process: torchvision's r2plus1d_18 in eval as documented; onnxruntime and OpenVINO with that network
as ONNX, where they are installed; this project's network through `fast.optimized`, by the engine
that it chooses and by torch's alone. What computes in bfloat16 takes part where the processor has its
units. The ceiling is measured in the same turns, in each precision: every convolution by itself, in
the fastest of the layouts that torch has for it. AVX2 is imitated by the variables that torch, oneDNN
and so OpenVINO read. The first answer, from a network to its logits, is timed in two processes of their
own: where nothing was measured before, and where it was. Results go to
benchmarks/results/inference_cpu.json, by processor and instruction set, with the machine's load.
"""

import argparse
import importlib.util
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable

import timing
import torch
import torchvision
from torch import Tensor, nn

from r21d_lib.models.fast import Engine, FastNetwork, Precision, bfloat16_gain, has_openvino, optimized
from r21d_lib.models.measured import CACHE_VARIABLE
from r21d_lib.models.networks import VideoResNet, build_network

FRAMES, SIDE, CLASSES = 16, 112, 400
FLOPS_PER_PRODUCT = 2
ISAS = {"native": {}, "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}}
Scorer = Callable[[Tensor], object]


class Layer:
    """One convolution and the layouts that torch can run it in; all give the same maps."""

    def __init__(self, convolution: nn.Conv3d, shape: torch.Size, dtype: torch.dtype) -> None:
        weight = convolution.weight.detach().to(dtype)
        bias = torch.zeros(convolution.out_channels, dtype=dtype)
        padding, stride = list(convolution.padding), list(convolution.stride)
        maps = torch.randn(shape).to(dtype)
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

    def __init__(
        self, network: nn.Module, clips: Tensor, dtype: torch.dtype = torch.float32, rounds: int = 3
    ) -> None:
        self.clips = len(clips)
        self.runs: list[tuple[Callable[[], Tensor], int]] = []
        self.table: list[dict[str, object]] = []
        for convolution, shape, times in layers(network, clips[:1]):
            layer = Layer(convolution, shape, dtype)
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


def peers(network: nn.Module, precisions: list[Precision]) -> dict[str, Scorer]:
    """Return what else scores the network's ONNX file, by name, of what is installed."""
    if not all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript")):
        return {}
    file, found = io.BytesIO(), dict[str, Scorer]()
    example = torch.randn(2, 3, FRAMES, SIDE, SIDE)
    shapes = ({0: torch.export.Dim("clips")},)
    torch.onnx.export(network, (example,), dynamo=True, dynamic_shapes=shapes, verbose=False).save(file)
    if importlib.util.find_spec("onnxruntime"):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(file.getvalue(), options)
        name = session.get_inputs()[0].name
        found["onnxruntime float32"] = lambda clips: session.run(None, {name: clips.numpy()})[0]
    if has_openvino():
        from r21d_lib.models.openvino_layers import import_openvino

        core = import_openvino().Core()
        for precision in precisions:
            settings = {
                "INFERENCE_PRECISION_HINT": "f32" if precision == "float32" else "bf16",
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            }
            model = core.compile_model(core.read_model(file.getvalue(), b""), "CPU", settings)
            found[f"OpenVINO {precision}"] = lambda clips, model=model: model([clips.numpy()])[0]
    return found


def measure(
    batch: int,
    network: VideoResNet,
    scorers: dict[str, Scorer],
    precisions: list[Precision],
    rounds: int,
) -> dict:
    """Return the medians of a batch size, ratios, errors and shares of the ceilings."""
    clips = torch.randn(batch, 3, FRAMES, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    plain = network(clips)
    ceilings = {p: Ceiling(network, clips, getattr(torch, p)) for p in precisions}
    functions: dict[str, Callable[[], object]] = {
        **{name: lambda scorer=scorer: scorer(clips) for name, scorer in scorers.items()},
        **{f"ceiling {precision}": ceiling for precision, ceiling in ceilings.items()},
    }
    seconds = timing.paired(functions, rounds)
    shares = {
        name: statistics.median(
            best / own for best, own in zip(seconds[f"ceiling {name.split()[-1]}"], values, strict=True)
        )
        for name, values in seconds.items()
        if name.startswith("this project")
    }
    errors = {
        name: float((torch.as_tensor(scorer(clips)) - plain).abs().max())
        for name, scorer in scorers.items()
    }
    return {
        "batch": batch,
        "gflop": ceilings["float32"].gflop,
        "seconds": timing.medians(seconds),
        "range": timing.ranges(seconds),
        "times_torchvision": timing.ratios(seconds, "torchvision float32"),
        "share_of_ceiling": shares,
        "largest_error": errors,
        "largest_logit": float(plain.abs().max()),
        "layers": {precision: ceiling.table for precision, ceiling in ceilings.items()},
    }


@torch.inference_mode()
def first_answer() -> float:
    """Return the seconds from a network to its first logits, with all that is built and checked."""
    network = build_network("r2plus1d", 18, num_classes=CLASSES, seed=0).eval()
    clip = torch.randn(1, 3, FRAMES, SIDE, SIDE)
    started = time.perf_counter()
    optimized(network, engine="auto")(clip)
    return time.perf_counter() - started


@torch.inference_mode()
def measure_here(rounds: int) -> dict:
    """Measure in this process's instruction set, and print the table."""
    command = [sys.executable, __file__, "--first"]
    firsts = [
        float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for _ in range(2)
    ]
    torch.manual_seed(0)
    reference = torchvision.models.video.r2plus1d_18(weights=None).eval()
    ours = build_network("r2plus1d", 18, num_classes=CLASSES, midplane_rule="block", bn_eps=1e-5).eval()
    ours.load_state_dict(reference.state_dict())  # the same arithmetic to the last layer
    chosen = optimized(ours, engine="auto")
    precisions: list[Precision] = ["float32", "bfloat16"] if bfloat16_gain("cpu") > 1 else ["float32"]
    scorers: dict[str, Scorer] = {"torchvision float32": reference, **peers(ours, precisions)}
    choices = {"as it chooses": str(chosen.choice)}
    engines: tuple[Engine, ...] = ("auto", "torch") if has_openvino() else ("torch",)
    for precision in precisions:
        for engine in engines:
            fast: FastNetwork = optimized(ours, precision=precision, engine=engine)
            name = "this project" if engine == engines[0] else "this project, torch alone,"
            scorers[f"{name} {precision}"] = fast
            choices[f"{name} {precision}"] = str(fast.choice)
    results = [measure(batch, ours, scorers, precisions, rounds) for batch in (1, 5)]
    load = os.getloadavg()[0]
    print(f"{timing.machine()}, {timing.instruction_set()}, load {load:.1f}")
    print(f"{chosen.choice}; first answer after {firsts[0]:.2f} s, later {firsts[1]:.2f} s")
    print(f"{'':36}" + "".join(f"{'batch ' + str(r['batch']):>28}" for r in results))
    for name in results[0]["seconds"]:
        cells = [
            f"{r['seconds'][name] / r['batch']:8.3f} s a clip {r['times_torchvision'][name]:5.2f} x"
            for r in results
        ]
        print(f"{name:36}" + "".join(f"{cell:>28}" for cell in cells))
    for r in results:
        for name, share in r["share_of_ceiling"].items():
            error = r["largest_error"][name]
            print(f"batch {r['batch']}, {name}: {share:.0%} of the ceiling, error {error:.1e}")
    return {
        "load": load,
        "choice": choices,
        "first_answer_s": firsts[0],
        "later_first_answer_s": firsts[1],
        "rounds": rounds,
        "batches": results,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=4, help="timed turns of each")
    usual = ["native"] if timing.instruction_set() == "AVX2" else list(ISAS)
    parser.add_argument("--isa", nargs="+", choices=ISAS, default=usual, help="which to measure")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--first", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.first:
        print(first_answer())
    elif given.here:
        timing.write_here("inference_cpu", measure_here(given.rounds))
    else:
        for isa in given.isa:  # a process each, as the variables count when torch starts
            print(f"\n{isa}", flush=True)
            command = [sys.executable, __file__, "--rounds", str(given.rounds), "--here"]
            with tempfile.TemporaryDirectory() as nothing_measured:
                more = {**ISAS[isa], CACHE_VARIABLE: nothing_measured}
                subprocess.run(command, env={**os.environ, **more}, check=True)


if __name__ == "__main__":
    main()
