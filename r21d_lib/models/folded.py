"""A network's layers with the norms folded into the convolutions: what scoring and export are made of.

In evaluation a batch norm is a scale and a shift of each channel, which the convolution before it can
do. What is left of a network is convolutions, each with its ReLU and its block's sum in the same pass
over memory, and with its kernel packed once in the order that the processor reads it in.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from r21d_lib.models.blocks import Bottleneck, ResidualBlock
from r21d_lib.models.networks import VideoResNet


def fold(
    network: VideoResNet,
    dtype: torch.dtype = torch.float32,
    order: torch.memory_format = torch.channels_last_3d,
) -> nn.Sequential:
    """Return what a network does up to its average pooling, as copies of its layers.

    Args:
        network: stays as it is.
        dtype: of the copies.
        order: of their kernels in memory; torch computes fastest with its default.

    Returns:
        `FoldedConvolution`s, `FoldedBlock`s and, where the network has it, the max-pooling after conv1:
        (N, in_channels, T, H, W) to (N, C, T', H', W').
    """
    layers: list[nn.Module] = []
    for name, stage in network.stages().items():
        if name == "pool1":
            layers.append(stage)
        elif name == "conv1":
            layers += _convolutions(stage, dtype, order)
        else:
            layers += [FoldedBlock(block, dtype, order) for block in stage.children()]
    return nn.Sequential(*layers)


class FoldedBlock(nn.Module):
    """A residual block of either kind; the sum and the last ReLU belong to its last convolution."""

    def __init__(self, block: nn.Module, dtype: torch.dtype, order: torch.memory_format) -> None:
        super().__init__()
        assert isinstance(block, ResidualBlock | Bottleneck)
        names = ("conv1", "conv2", "conv3") if isinstance(block, Bottleneck) else ("conv1", "conv2")
        parts = [_convolutions(block.get_submodule(name), dtype, order) for name in names]
        layers = list(chain.from_iterable(parts))
        layers[-1].relu = True
        self.first, self.last = nn.Sequential(*layers[:-1]), layers[-1]
        projection = block.downsample
        self.shortcut: nn.Module = nn.Identity()
        if projection is not None:
            self.shortcut = _convolutions(projection, dtype, order)[0]

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) to the block's output, as the network's own block does."""
        return self.last(self.first(x), self.shortcut(x))


class FoldedConvolution(nn.Module):
    """A convolution with the norm after it folded in, and the sum and the ReLU in the same pass."""

    def __init__(
        self,
        convolution: nn.Conv3d,
        norm: _BatchNorm | None,
        dtype: torch.dtype,
        order: torch.memory_format = torch.channels_last_3d,
    ) -> None:
        super().__init__()
        scale, shift = _scale_and_shift(convolution, norm)
        kernel = convolution.weight.detach().float()
        weight = (kernel * scale.float()[:, None, None, None, None]).to(dtype)
        self.bias = _fixed(shift.to(dtype))
        self.relu = False
        assert isinstance(convolution.padding, tuple)  # of numbers, not a word
        self.place = (list(convolution.padding), list(convolution.stride), [1, 1, 1], 1)
        self.weight = _fixed(weight.contiguous(memory_format=order))
        self.fused = weight.device.type == "cpu" and _has_fused_layers(dtype)
        self.packed: dict[torch.Size, Tensor] = {}

    def forward(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """Convolve, add the shortcut where there is one, and cut at 0 where a ReLU follows."""
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


@dataclass(frozen=True)
class Operations:
    """What folded layers are made of, in the graph of another runtime, whose nodes are of any type."""

    convolution: Callable[[FoldedConvolution, Any], Any]  # with its bias
    max_pool: Callable[[nn.MaxPool3d, Any], Any]
    add: Callable[[Any, Any], Any]
    relu: Callable[[Any], Any]


def follow(layer: nn.Module, x: Any, to: Operations) -> Any:
    """Write what a layer, or layers one after the other, make of a node; return the last node.

    Raises:
        TypeError: for a layer that is none of `fold`'s.
    """
    if isinstance(layer, nn.Identity):
        return x
    if isinstance(layer, nn.Sequential):
        for inner in layer:
            x = follow(inner, x, to)
        return x
    if isinstance(layer, FoldedConvolution):
        x = to.convolution(layer, x)
        return to.relu(x) if layer.relu else x
    if isinstance(layer, FoldedBlock):
        shortcut = follow(layer.shortcut, x, to)
        return to.relu(to.add(to.convolution(layer.last, follow(layer.first, x, to)), shortcut))
    if isinstance(layer, nn.MaxPool3d):
        return to.max_pool(layer, x)
    raise TypeError(f"a graph has no {type(layer).__name__}")


def _convolutions(
    part: nn.Module, dtype: torch.dtype, order: torch.memory_format
) -> list["FoldedConvolution"]:
    """Return the convolutions in a part of a network, each with the norm and the ReLU that follow."""
    layers: list[FoldedConvolution] = []
    waiting: nn.Conv3d | None = None  # for its norm; the networks of `ablations` lack some

    def finish(norm: _BatchNorm | None) -> None:
        nonlocal waiting
        if waiting is not None:
            layers.append(FoldedConvolution(waiting, norm, dtype, order))
        waiting = None

    for module in part.modules():
        if isinstance(module, nn.Conv3d):
            finish(None)
            waiting = module
        elif isinstance(module, _BatchNorm):
            finish(module)
        elif isinstance(module, nn.ReLU):
            finish(None)
            layers[-1].relu = True
    finish(None)
    return layers


def _scale_and_shift(convolution: nn.Conv3d, norm: _BatchNorm | None) -> tuple[Tensor, Tensor]:
    """Return what a norm does to each channel, in float64; nothing where there is none."""
    if norm is None:
        ones = torch.ones(
            convolution.out_channels, dtype=torch.float64, device=convolution.weight.device
        )
        return ones, torch.zeros_like(ones)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    return scale, norm.bias.double() - norm.running_mean.double() * scale


def _fixed(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.detach(), requires_grad=False)


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
