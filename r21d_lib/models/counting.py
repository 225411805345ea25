"""What a network costs and sees: parameters, multiply-adds, receptive fields, activation memory.

Everything is counted on torch's meta device, where shapes are followed and nothing is computed: it
takes no memory and well under a second, whatever the network.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from r21d_lib.models.networks import VideoResNet
from r21d_lib.models.settings import NetworkSettings


@dataclass(frozen=True)
class Stage:
    """One group of a network, counted for one clip.

    Attributes:
        name: conv1, pool1, conv2_x, ..., conv5_x or fc.
        shape: of its output, (channels, frames, height, width).
        parameters: of its convolutions, norms and linear layer.
        multiply_adds: of its convolutions and linear layer.
        sees_frames: how many frames of the clip one output value depends on, the clip's ends aside.
        sees_pixels: height and width of the square that it depends on, likewise.
    """

    name: str
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    sees_frames: int
    sees_pixels: int


def count_parameters(module: nn.Module) -> int:
    """Return the number of trainable values: convolutions, scale and shift of norms, linear layers."""
    return sum(parameter.numel() for parameter in module.parameters())


def count_multiply_adds(settings: NetworkSettings, *, frames: int, crop: int = 112) -> int:
    """Return the multiply-adds of convolutions and linear layer for one clip (3, frames, crop, crop).

    The field prints them as "FLOPs"; torch's own counter counts a multiplication and an addition as
    two. Source: the paper's table 2 and VMZ's models.md print these, in units of 10^9.
    """
    network, clip = _on_meta(settings, frames, crop)
    return _multiply_adds(network, clip)


def count_stages(settings: NetworkSettings, *, frames: int, crop: int = 112) -> list[Stage]:
    """Return the groups of a network in order, each with its output, cost and receptive field.

    Args:
        settings: what builds the network.
        frames: of a clip.
        crop: height and width of a frame [pixels].

    Raises:
        SettingsError: if the network does not take clips of that length.

    Source: the paper's table 1.
    """
    network, x = _on_meta(settings, frames, crop)
    seen = dict(_receptive_fields(network))
    stages = []
    for name, module in network.stages().items():
        cost = _multiply_adds(module, x)
        x = module(x)
        stages.append(Stage(name, tuple(x.shape[1:]), count_parameters(module), cost, *seen[name]))
    pooled = network.avgpool(x).flatten(1)
    cost = _multiply_adds(network.fc, pooled)
    last = Stage("fc", (settings.num_classes,), count_parameters(network.fc), cost, frames, crop)
    return [*stages, last]


def receptive_field(settings: NetworkSettings) -> dict[str, tuple[int, int]]:
    """Return (frames, pixels) that one output value of each group depends on, by the group's name."""
    with torch.device("meta"):
        return dict(_receptive_fields(VideoResNet(settings)))


def activation_bytes(settings: NetworkSettings, *, frames: int, crop: int = 112) -> int:
    """Return the bytes of float32 activations that a training step keeps for one clip.

    Counted are the tensors that torch's automatic differentiation saves for the backward pass,
    each once, without the weights; what a convolution needs for a moment comes on top.
    """
    network, clip = _on_meta(settings, frames, crop)
    network.train()
    weights = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(clip)
    return sum(storage.nbytes() for storage in kept.values())


def _on_meta(settings: NetworkSettings, frames: int, crop: int) -> tuple[VideoResNet, Tensor]:
    with torch.device("meta"):
        clip = torch.zeros(1, settings.in_channels, frames, crop, crop)
        settings.check(clip)  # an R2D's groups run on other clips too, though the network does not
        return VideoResNet(settings).eval(), clip


def _multiply_adds(module: nn.Module, x: Tensor) -> int:
    from torch.utils.flop_counter import FlopCounterMode  # takes triton along, and whoever draws waits

    with FlopCounterMode(display=False) as counter:
        module(x)
    return counter.get_total_flops() // 2


def _receptive_fields(network: VideoResNet) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield each group's field: every layer adds (kernel - 1) times the step between its inputs."""
    seen, step = [1, 1], [1, 1]  # in time and in height; width is as height
    for name, stage in network.stages().items():
        for path, layer in stage.named_modules():
            # The shortcut sees no more than the block beside it.
            if not isinstance(layer, nn.Conv3d | nn.MaxPool3d) or "downsample" in path:
                continue
            kernel, stride = _three(layer.kernel_size), _three(layer.stride)
            for axis in (0, 1):
                seen[axis] += (kernel[axis] - 1) * step[axis]
                step[axis] *= stride[axis]
        yield name, (seen[0], seen[1])


def _three(size: int | tuple[int, ...]) -> tuple[int, ...]:
    return (size,) * 3 if isinstance(size, int) else size
