"""A network made fast for scoring: folded layers, few clips at once, precision and engine by checks."""

import importlib.util
import math
import os
import time
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from r21d_lib.errors import SettingsError
from r21d_lib.models import measured
from r21d_lib.models.folded import FoldedConvolution, fold
from r21d_lib.models.networks import VideoResNet
from r21d_lib.models.settings import NetworkSettings

Precision = Literal["auto", "float32", "bfloat16"]
Engine = Literal["auto", "torch", "openvino"]
ENGINE_VARIABLE = "R21D_SCORE_WITH"  # "torch" keeps OpenVINO out where the engine is chosen
AGREEMENT = 0.99  # the part of the check clips whose best class bfloat16 must not change
_CHECK_CLIPS, _CHECK_FRAMES, _CHECK_SIDE = 128, 2, 24
_TIMED_FRAMES, _TIMED_SIDE = 8, 56  # of the clip that the engines are timed on
_SAME = 1e-4  # how far apart two engines' float32 features may be, of the largest
_LARGEST_MAP = 32 * 2**20  # bytes that go through the layers at once: what glibc keeps for the next
_WORTH = 1.2  # so many times faster must bfloat16 be


@dataclass(frozen=True)
class Choice:
    """What a network computes in, and why.

    Attributes:
        precision: of weights and maps: "float32" or "bfloat16".
        reason: in words.
        engine: what computes the convolutions, "torch" or "openvino".
        agreement: the fraction of the check clips whose best class is that of float32; None where
            bfloat16 was not tried.
        largest_error: of a logit on them.
    """

    precision: str
    reason: str
    engine: str = "torch"
    agreement: float | None = None
    largest_error: float | None = None

    def __str__(self) -> str:
        return f"{self.precision} by {self.engine}: {self.reason}"


class FastNetwork(nn.Module):
    """The layers of a `VideoResNet` for scoring only, as `optimized` makes them.

    Input: (N, C, T, H, W) floating point, normalised; T, H and W are as free as the network's. Output:
    (N, num_classes) float32 logits, without gradients. It stays on the device where it was made.

    Attributes:
        settings: the network's.
        choice: the precision, and why.
    """

    def __init__(self, network: VideoResNet, choice: Choice) -> None:
        super().__init__()
        self.settings, self.choice = network.settings, choice
        self.dtype: torch.dtype = getattr(torch, choice.precision)
        self.layers: nn.Module
        if choice.engine == "openvino":
            from r21d_lib.models.openvino_layers import OpenVinoLayers

            layers = fold(network, order=torch.contiguous_format)
            self.layers, self.windows = OpenVinoLayers(layers, choice.precision), _windows(layers)
        else:
            self.layers = fold(network, self.dtype)
            self.windows = _windows(self.layers)
        self.weight, self.bias = (
            nn.Parameter(values.detach().float().clone(), requires_grad=False)
            for values in (network.fc.weight, network.fc.bias)
        )

    @torch.no_grad()
    def forward(self, clips: Tensor) -> Tensor:
        """Return the logits: (N, C, T, H, W) to (N, num_classes) float32."""
        self.settings.check(clips)
        if not len(clips):
            return self.bias.new_empty(0, len(self.bias))
        if self.choice.engine == "torch":
            clips = clips.to(self.dtype, memory_format=torch.channels_last_3d)
        pooled = [self._pooled(part) for part in clips.split(self._at_once(clips))]
        return functional.linear(torch.cat(pooled), self.weight, self.bias)

    def _pooled(self, clips: Tensor) -> Tensor:
        maps = self.layers(clips)
        # OpenVINO's layers end with the pooling.
        return maps if maps.ndim == 2 else maps.mean((2, 3, 4), dtype=torch.float32)

    def _at_once(self, clips: Tensor) -> int:
        """Return how many clips go through the layers together: on a CPU, few.

        Memory for larger maps is given back to Linux each time, and to ask for it anew costs more than
        small batches do.
        """
        if clips.is_cuda:
            return max(1, len(clips))
        return max(1, _LARGEST_MAP // (self._largest_map(clips) * self.dtype.itemsize))

    def _largest_map(self, clips: Tensor) -> int:
        """Return the number of values that the largest map between two layers has for one clip."""
        size, largest = tuple(clips.shape[2:]), 1
        for channels, *window in self.windows:
            axes = zip(size, *window, strict=True)
            size = tuple((n + 2 * p - k) // s + 1 for n, k, p, s in axes)
            largest = max(largest, channels * math.prod(size))
        return largest


def _windows(layers: nn.Module) -> list[tuple[Any, ...]]:
    """Return channels (0 of a pooling), kernel, padding and stride of what a clip passes in turn."""
    found: list[tuple[Any, ...]] = []
    for name, layer in layers.named_modules():
        if isinstance(layer, nn.MaxPool3d):
            found.append((0, layer.kernel_size, layer.padding, layer.stride))
        elif isinstance(layer, FoldedConvolution) and not name.endswith("shortcut"):
            found.append((len(layer.bias), layer.weight.shape[2:], *layer.place[:2]))
    return found


def optimized(
    network: VideoResNet, *, precision: Precision = "auto", engine: Engine = "torch"
) -> FastNetwork:
    """Return a copy of a network that scores clips as it does in eval mode, several times faster.

    The logits are the network's to 1e-4 of the largest in float32. bfloat16 is taken only where the
    processor or card has units for it, where they are measured to be faster, and where it keeps the
    best class of 99% of 128 check clips of this network. `choice` says what was taken, why, and the
    error. Speeds are measured once on a machine, answers compared once for each network's weights:
    `measured` keeps both.

    Args:
        network: stays as it is, on its device; later changes of its weights do not reach the copy.
        precision: "auto" chooses as said; the others are taken without a check.
        engine: "auto" takes OpenVINO where it is installed, the network is on a CPU, and it is measured
            to be faster on one clip of this network with the same answer, unless the variable
            R21D_SCORE_WITH says torch. "torch" never does, and rounds the same whatever is installed.

    Raises:
        ImportError: if "openvino" is asked for and not installed.
        SettingsError: if it is asked for and the network is not on a CPU, or in bfloat16 where the
            processor has no units for it or the environment rules them out.
    """
    device = next(network.parameters()).device
    if precision != "auto":
        return _with_engine(network, Choice(precision, "asked for"), engine)
    gain = bfloat16_gain(device.type)
    if gain < _WORTH:
        why = f"bfloat16 is {gain:.1f} times as fast here" if gain else "no bfloat16 units here"
        return _with_engine(network, Choice("float32", why), engine)
    quick = _with_engine(network, Choice("bfloat16", ""), engine)

    @cache
    def checked() -> tuple[float, float]:
        exact = FastNetwork(network, Choice("float32", ""))
        clips = _check_clips(network.settings).to(device)
        wanted, got = exact(clips), quick(clips)
        agreeing = (wanted.argmax(1) == got.argmax(1)).float().mean()
        return float(agreeing), float((wanted - got).abs().max())

    shape = (_CHECK_CLIPS, _CHECK_FRAMES, _CHECK_SIDE)
    what = f"of bfloat16 by {quick.choice.engine}, {shape}, {measured.identity(network)}"
    agreement = measured.kept(f"agreement {what}", lambda: checked()[0])
    error = measured.kept(f"largest error {what}", lambda: checked()[1])
    why = f"bfloat16, {gain:.1f} times as fast, keeps the best class of {agreement:.1%} of check clips"
    why = f"{why}; largest error of a logit {error:.2g}{quick.choice.reason}"
    passed = agreement >= AGREEMENT
    chosen = quick if passed else _with_engine(network, Choice("float32", ""), engine)
    chosen.choice = replace(chosen.choice, reason=why, agreement=agreement, largest_error=error)
    return chosen


def _with_engine(network: VideoResNet, choice: Choice, engine: Engine) -> FastNetwork:
    """Return the copy in the precision of `choice`, whose reason gets what the engines' race says.

    What was measured before is not measured again, and then only the winner is built.
    """

    @cache
    def made(engine: str) -> FastNetwork:
        return FastNetwork(network, replace(choice, engine=engine))

    device = next(network.parameters()).device
    # Where variables rule the units out, OpenVINO takes them all the same: it fails or answers wrongly.
    units = choice.precision == "float32" or has_bfloat16("cpu")
    if engine == "openvino":
        if not units:
            raise SettingsError(
                "OpenVINO computes bfloat16 only on a processor with units for it that the environment "
                'allows (ATEN_CPU_CAPABILITY, ONEDNN_MAX_CPU_ISA): give precision="float32", or '
                'engine="torch"'
            )
        if device.type != "cpu":
            raise SettingsError(
                f"OpenVINO computes on the CPU, and the network is on {device}: move it with "
                'network.cpu(), or give engine="torch"'
            )
        return made(engine)
    if engine == "torch" or device.type != "cpu" or not units or not has_openvino():
        return made("torch")
    frames, channels = network.settings.clip_len or _TIMED_FRAMES, network.settings.in_channels
    random = torch.Generator().manual_seed(0)
    clip = torch.randn(1, channels, frames, _TIMED_SIDE, _TIMED_SIDE, generator=random)

    def difference() -> float:
        wanted, got = made("torch")(clip), made("openvino")(clip)
        return float((wanted - got).abs().max() / max(1.0, float(wanted.abs().max())))

    what = f"OpenVINO, {choice.precision}, {network.settings}"
    gain = measured.kept(what, lambda: _times_faster(made("torch"), made("openvino"), clip), timed=True)
    why = f"{choice.reason}; OpenVINO is {gain:.2f} times as fast as torch"
    winner = "openvino" if gain > 1 else "torch"
    if winner == "openvino" and choice.precision == "float32":
        what = f"difference of OpenVINO, {measured.identity(network)}"
        if not (apart := measured.kept(what, difference)) <= _SAME:
            winner, why = "torch", f"{why}, and its answers are {apart:.1g} off"
    chosen = made(winner)
    chosen.choice = replace(chosen.choice, reason=why)
    return chosen


def has_openvino() -> bool:
    """Tell whether OpenVINO is installed and not kept out by the variable R21D_SCORE_WITH."""
    wanted = os.environ.get(ENGINE_VARIABLE) != "torch"
    return wanted and importlib.util.find_spec("openvino") is not None


def bfloat16_gain(device_type: str) -> float:
    """Return how many times faster a convolution is in bfloat16 here; 0 where it has no units.

    Measured once on a machine, in some hundredths of a second.
    """
    if not has_bfloat16(device_type):
        return 0.0
    return measured.kept(f"bfloat16 on {device_type}", lambda: _time_bfloat16(device_type), timed=True)


def _time_bfloat16(device_type: str) -> float:
    layers, maps = [], []
    for dtype in (torch.float32, torch.bfloat16):
        convolution = nn.Conv3d(64, 144, (1, 3, 3), padding=(0, 1, 1), bias=False)
        layers.append(FoldedConvolution(convolution, nn.BatchNorm3d(144), dtype).to(device_type))
        shown = torch.zeros(1, 64, 8, 56, 56, dtype=dtype, device=device_type)
        maps.append(shown.contiguous(memory_format=torch.channels_last_3d))
    return _times_faster(layers[0], layers[1], *maps)


@torch.no_grad()
def _times_faster(
    slow: nn.Module, fast: nn.Module, clip: Tensor, other: Tensor | None = None, *, rounds: int = 6
) -> float:
    """Return how many times faster `fast` is, by the shortest of runs in turn.

    Other work on the machine disturbs the shortest least.

    Args:
        clip: what both see.
        other: what `fast` sees instead.
    """
    best = [float("inf")] * 2
    pairs = ((slow, clip), (fast, clip if other is None else other))
    for _ in range(rounds):
        for place, (layer, maps) in enumerate(pairs):
            started = time.perf_counter()
            layer(maps)
            if maps.is_cuda:
                torch.cuda.synchronize()
            best[place] = min(best[place], time.perf_counter() - started)
    return best[0] / best[1]


def has_bfloat16(device_type: str) -> bool:
    """Tell whether the processor or the card multiplies bfloat16 in hardware."""
    if device_type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    info = Path("/proc/cpuinfo")
    if device_type != "cpu" or not info.is_file():
        return False
    words = set(info.read_text(encoding="utf-8").split())
    # torch uses x86's only with AVX-512, which an environment can rule out.
    wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return "bf16" in words or (wide and bool(words & {"avx512_bf16", "amx_bf16"}))


def _check_clips(settings: NetworkSettings) -> Tensor:
    """Draw clips of moving waves and noise, as normalised clips are: (128, C, T, 24, 24) float32."""
    frames, channels = settings.clip_len or _CHECK_FRAMES, settings.in_channels
    generator = torch.Generator().manual_seed(0)
    random = torch.rand(6, _CHECK_CLIPS, 1, 1, 1, 1, generator=generator)
    t = torch.arange(frames).view(-1, 1, 1)
    y = torch.arange(_CHECK_SIDE).view(-1, 1)
    x = torch.arange(_CHECK_SIDE)
    across, down, moved = (random[:3] - 0.5).unbind()
    waves = torch.sin(across * x + down * y + 2 * moved * t + 6 * random[3])
    colours = torch.randn(_CHECK_CLIPS, channels, 1, 1, 1, generator=generator)
    noise = torch.randn(_CHECK_CLIPS, channels, frames, _CHECK_SIDE, _CHECK_SIDE, generator=generator)
    return colours * (waves + random[4]) + random[5] * noise
