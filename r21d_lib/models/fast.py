"""A network made fast for scoring on this machine: norms folded, layers fused, precision by a check.

In evaluation a batch norm is a scale and a shift of each channel, which the convolution before it can
do. What is left of a network is convolutions, each with its ReLU and its block's sum in the same pass
over memory, and with its kernel packed once in the order that the processor reads it in.
"""

import functools
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from r21d_lib.models.blocks import Bottleneck, ResidualBlock
from r21d_lib.models.networks import NetworkSettings, VideoResNet

Precision = Literal["auto", "float32", "bfloat16"]
AGREEMENT = 0.99  # the part of the check clips whose best class bfloat16 must not change
_CHECK_CLIPS, _CHECK_FRAMES, _CHECK_SIDE = 128, 4, 32
_LARGEST_MAP = 32 * 2**20  # bytes that go through the layers at once: what glibc keeps for the next
_WORTH = 1.2  # so many times faster must bfloat16 be


@dataclass(frozen=True)
class Choice:
    """What a network computes in, and why.

    Attributes:
        precision: of weights and maps: "float32" or "bfloat16".
        reason: in words.
        agreement: the fraction of the check clips whose best class is that of float32; None where
            bfloat16 was not tried.
        largest_error: of a logit on them.
    """

    precision: str
    reason: str
    agreement: float | None = None
    largest_error: float | None = None

    def __str__(self) -> str:
        return f"{self.precision}: {self.reason}"


class FastNetwork(nn.Module):
    """The layers of a `VideoResNet` for scoring only, as `optimized` makes them.

    Input: (N, 3, T, H, W) floating point, normalised; T, H and W are as free as the network's. Output:
    (N, num_classes) float32 logits, without gradients. It stays on the device where it was made.

    Attributes:
        settings: the network's.
        choice: the precision, and why.
    """

    def __init__(self, network: VideoResNet, dtype: torch.dtype, choice: Choice) -> None:
        super().__init__()
        self.settings, self.choice, self.dtype = network.settings, choice, dtype
        layers: list[nn.Module] = []
        for name, stage in network.stages().items():
            if name == "pool1":
                layers.append(stage)
            elif name == "conv1":
                layers += _fused(stage, dtype)
            else:
                layers += [_Block(block, dtype) for block in stage.children()]
        self.layers = nn.Sequential(*layers)
        self.weight, self.bias = (_fixed(p.float()) for p in (network.fc.weight, network.fc.bias))

    @torch.no_grad()
    def forward(self, clips: Tensor) -> Tensor:
        """Return the logits: (N, 3, T, H, W) to (N, num_classes) float32."""
        self.settings.check(clips)
        clips = clips.to(self.dtype, memory_format=torch.channels_last_3d)
        pooled = [self._pooled(part) for part in clips.split(self._at_once(clips))]
        return functional.linear(torch.cat(pooled), self.weight, self.bias)

    def _pooled(self, clips: Tensor) -> Tensor:
        return self.layers(clips).mean((2, 3, 4), dtype=torch.float32)

    def _at_once(self, clips: Tensor) -> int:
        """Return how many clips go through the layers together: on a CPU, few.

        Memory for larger maps is given back to Linux each time, and to ask for it anew costs more than
        small batches do.
        """
        if clips.is_cuda:
            return max(1, len(clips))
        return max(1, _LARGEST_MAP // (self._largest_map(clips) * clips.element_size()))

    def _largest_map(self, clips: Tensor) -> int:
        """Return the number of values that the largest map between two layers has for one clip."""
        size, largest = tuple(clips.shape[2:]), 1
        for name, layer in self.layers.named_modules():
            if isinstance(layer, nn.MaxPool3d):
                window: Any = (layer.kernel_size, layer.padding, layer.stride)
            elif isinstance(layer, _Convolution) and not name.endswith("shortcut"):
                window = (layer.weight.shape[2:], *layer.place[:2])
            else:
                continue
            axes = zip(size, *window, strict=True)
            size = tuple((n + 2 * p - k) // s + 1 for n, k, p, s in axes)
            if isinstance(layer, _Convolution):
                largest = max(largest, len(layer.bias) * math.prod(size))
        return largest


class _Block(nn.Module):
    """A residual block of either kind; the sum and the last ReLU belong to its last convolution."""

    def __init__(self, block: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        assert isinstance(block, ResidualBlock | Bottleneck)
        names = ("conv1", "conv2", "conv3") if isinstance(block, Bottleneck) else ("conv1", "conv2")
        layers = [layer for name in names for layer in _fused(block.get_submodule(name), dtype)]
        layers[-1].relu = True
        self.first, self.last = nn.Sequential(*layers[:-1]), layers[-1]
        projection = block.downsample
        self.shortcut = nn.Identity() if projection is None else _fused(projection, dtype)[0]

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x), self.shortcut(x))


class _Convolution(nn.Module):
    """A convolution with the norm after it folded in, and the sum and the ReLU in the same pass."""

    def __init__(self, convolution: nn.Conv3d, norm: _BatchNorm, dtype: torch.dtype) -> None:
        super().__init__()
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        weight = (convolution.weight.float() * scale.float()[:, None, None, None, None]).to(dtype)
        self.bias = _fixed((norm.bias.double() - norm.running_mean.double() * scale).to(dtype))
        self.relu = False
        assert isinstance(convolution.padding, tuple)  # of numbers, not a word
        self.place = (list(convolution.padding), list(convolution.stride), [1, 1, 1], 1)
        self.weight = _fixed(weight.contiguous(memory_format=torch.channels_last_3d))
        self.fused = weight.device.type == "cpu" and _has_fused_layers(dtype)
        self.packed: dict[torch.Size, Tensor] = {}

    def forward(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        if self.fused:
            return _fused_layer(x, shortcut, self._pack(x.shape), self.bias, self.place, self.relu)
        y = functional.conv3d(x, self.weight, self.bias, self.place[1], self.place[0])
        if shortcut is not None:
            y = y.add_(shortcut)
        return y.relu_() if self.relu else y

    def _pack(self, shape: torch.Size) -> Tensor:
        """Return the kernel in the order that is best for maps of a shape, oneDNN's own.

        One in another's order can be a hundred times slower. Two are kept: of full batches and of a
        last one.
        """
        if shape not in self.packed:
            if len(self.packed) == 2:
                self.packed.clear()
            pack = torch.ops.mkldnn._reorder_convolution_weight
            self.packed[shape] = pack(self.weight, *self.place, list(shape))
        return self.packed[shape]

    def __getstate__(self) -> dict[str, Any]:
        # Copies and pickles pack anew: that order has no form outside of oneDNN.
        return {**self.__dict__, "packed": {}}


def optimized(network: VideoResNet, *, precision: Precision = "auto") -> FastNetwork:
    """Return a copy of a network that scores clips as it does in eval mode, several times faster.

    The logits are the network's to 1e-4 of the largest in float32. bfloat16 is taken only where the
    processor or card has units for it, where they are measured to be faster (once in a process), and
    where it keeps the best class of 99% of 128 check clips of this network. `choice` says what was
    taken, why, and the error.

    Args:
        network: stays as it is, on its device; later changes of its weights do not reach the copy.
        precision: "auto" chooses as said; the others are taken without a check.
    """
    if precision == "float32":
        return FastNetwork(network, torch.float32, Choice("float32", "asked for"))
    if precision == "bfloat16":
        return FastNetwork(network, torch.bfloat16, Choice("bfloat16", "asked for"))
    device = next(network.parameters()).device
    gain = bfloat16_gain(device.type)
    if gain < _WORTH:
        why = f"bfloat16 is {gain:.1f} times as fast here" if gain else "no bfloat16 units here"
        return FastNetwork(network, torch.float32, Choice("float32", why))
    exact = FastNetwork(network, torch.float32, Choice("float32", ""))
    quick = FastNetwork(network, torch.bfloat16, Choice("bfloat16", ""))
    clips = _check_clips(network.settings).to(device)
    wanted, got = exact(clips), quick(clips)
    agreement = float((wanted.argmax(1) == got.argmax(1)).float().mean())
    error = float((wanted - got).abs().max())
    kept = agreement >= AGREEMENT
    chosen = quick if kept else exact
    why = f"bfloat16, {gain:.1f} times as fast, keeps the best class of {agreement:.1%} of check clips"
    why = f"{why}; largest error of a logit {error:.2g}"
    chosen.choice = Choice("bfloat16" if kept else "float32", why, agreement, error)
    return chosen


@functools.cache
def bfloat16_gain(device_type: str) -> float:
    """Return how many times faster a convolution is in bfloat16 here; 0 where it has no units.

    Measured at the first call in a process, in some hundredths of a second.
    """
    if not has_bfloat16(device_type):
        return 0.0
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        convolution = nn.Conv3d(64, 144, (1, 3, 3), padding=(0, 1, 1), bias=False)
        layer = _Convolution(convolution, nn.BatchNorm3d(144), dtype).to(device_type)
        maps = torch.zeros(1, 64, 8, 56, 56, dtype=dtype, device=device_type)
        maps = maps.contiguous(memory_format=torch.channels_last_3d)
        seconds[dtype] = _best_seconds(layer, maps)
    return seconds[torch.float32] / seconds[torch.bfloat16]


@torch.no_grad()
def _best_seconds(layer: nn.Module, maps: Tensor) -> float:
    """Return the shortest of some runs of a layer, which other work on the machine disturbs least."""
    best = float("inf")
    for _ in range(6):
        started = time.perf_counter()
        layer(maps)
        if maps.is_cuda:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return best


def has_bfloat16(device_type: str) -> bool:
    """Tell whether the processor or the card multiplies bfloat16 in hardware."""
    if device_type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    info = Path("/proc/cpuinfo")
    if device_type != "cpu" or not info.is_file():
        return False
    words = set(info.read_text().split())
    return bool(words & {"avx512_bf16", "amx_bf16", "bf16"})


def _check_clips(settings: NetworkSettings) -> Tensor:
    """Draw clips of moving waves and noise, as normalised clips are: (128, 3, T, 32, 32) float32."""
    frames = settings.clip_len or _CHECK_FRAMES
    generator = torch.Generator().manual_seed(0)
    random = torch.rand(6, _CHECK_CLIPS, 1, 1, 1, 1, generator=generator)
    t = torch.arange(frames).view(-1, 1, 1)
    y = torch.arange(_CHECK_SIDE).view(-1, 1)
    x = torch.arange(_CHECK_SIDE)
    across, down, moved = (random[:3] - 0.5).unbind()
    waves = torch.sin(across * x + down * y + 2 * moved * t + 6 * random[3])
    colours = torch.randn(_CHECK_CLIPS, 3, 1, 1, 1, generator=generator)
    noise = torch.randn(_CHECK_CLIPS, 3, frames, _CHECK_SIDE, _CHECK_SIDE, generator=generator)
    return colours * (waves + random[4]) + random[5] * noise


def _fused(part: nn.Module, dtype: torch.dtype) -> list["_Convolution"]:
    """Return the convolutions in a part of a network, each with the norm and the ReLU that follow."""
    layers: list[_Convolution] = []
    convolution = None
    for module in part.modules():
        if isinstance(module, nn.Conv3d):
            convolution = module
        elif isinstance(module, _BatchNorm):
            assert convolution is not None  # a network has no other order
            layers.append(_Convolution(convolution, module, dtype))
        elif isinstance(module, nn.ReLU):
            layers[-1].relu = True
    return layers


def _fixed(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.detach().clone(), requires_grad=False)


@functools.cache
def _has_fused_layers(dtype: torch.dtype) -> bool:
    """Tell whether torch has oneDNN's fused convolutions in this precision, and they work.

    They are what `torch.compile` generates on a CPU, and no documented interface: any other torch
    than those that were tried may lack them.
    """
    if not torch.backends.mkldnn.is_available():
        return False
    convolution = nn.Conv3d(3, 5, (3, 1, 1), padding=(1, 0, 0), bias=False)
    maps = torch.linspace(-1, 1, 3 * 64).view(1, 3, 4, 4, 4).to(memory_format=torch.channels_last_3d)
    with torch.no_grad():
        weight, place = convolution.weight.to(dtype), ([1, 0, 0], [1, 1, 1], [1, 1, 1], 1)
        wanted = functional.conv3d(maps, weight.float(), padding=(1, 0, 0))
        maps = maps.to(dtype)
        try:
            packed = torch.ops.mkldnn._reorder_convolution_weight(weight, *place, list(maps.shape))
            got = _fused_layer(maps, None, packed, torch.zeros(5, dtype=dtype), place, False)
            total = _fused_layer(maps, got, packed, torch.zeros(5, dtype=dtype), place, True)
        except (AttributeError, RuntimeError):
            return False
    allowed = 1e-5 if dtype == torch.float32 else 0.05
    right = (got.float() - wanted).abs().max() < allowed
    return bool(right and (total.float() - (2 * wanted).relu()).abs().max() < 2 * allowed)


def _fused_layer(
    maps: Tensor,
    shortcut: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    place: tuple[list[int], list[int], list[int], int],
    relu: bool,
) -> Tensor:
    """Convolve, add the shortcut and cut at 0, in one pass over memory."""
    then = "relu" if relu else "none"
    if shortcut is None:
        plain = torch.ops.mkldnn._convolution_pointwise
        return plain(maps, weight, bias, *place, then, [], "")
    return torch.ops.mkldnn._convolution_pointwise.binary(
        maps, shortcut, weight, bias, *place, "add", 1.0, then if relu else None, [], ""
    )
