"""Batches on their way to the device: copied, cropped and normalised beside the step before."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

Item = TypeVar("Item")


def ahead(
    items: Iterator[Item], make: Callable[[Item], tuple[Tensor, ...]], device: torch.device
) -> Iterator[tuple[Tensor, ...]]:
    """Make what a step takes out of each item, on a GPU one item ahead and on a stream of its own.

    Args:
        items: batches as the loader gives them, in pinned memory for a GPU.
        make: copies one to the device (non_blocking) and prepares it there.
        device: where the steps run. On a CPU nothing runs ahead: it would take the step's cores.

    Yields:
        What `make` returned, in order, ready for the device's current stream.
    """
    if device.type != "cuda":
        yield from map(make, items)
        return
    side = torch.cuda.Stream(device)

    def start() -> tuple[Tensor, ...] | None:
        for item in items:
            with torch.cuda.stream(side):
                return make(item)
        return None

    coming = start()
    while coming is not None:
        current = torch.cuda.current_stream(device)
        current.wait_stream(side)
        for tensor in coming:
            tensor.record_stream(current)  # its memory is not given out again before the step is done
        ready, coming = coming, start()
        yield ready
