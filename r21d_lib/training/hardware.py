"""What makes a training step faster on a processor: the order of maps in memory, and memory kept.

Neither changes what is computed, except for the last bits of sums that are taken in another order.
"""

import ctypes
import sys

import torch

from r21d_lib.models.networks import VideoResNet

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's numbers for mallopt
_KEPT = 2**30  # bytes; glibc takes numbers of 31 bits
_WIDE = 64  # channels


def memory_order(network: VideoResNet, device: torch.device) -> torch.memory_format:
    """Return the order in memory that a network trains fastest in.

    Channels last, except for wide networks on processors without AVX-512: there the gradient of a
    1 x 3 x 3 kernel over large maps is three times as fast with channels first
    (benchmarks/training_cpu.py has the rates of both, layer by layer).
    """
    old = torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "AVX2")
    wide = network.settings.width >= _WIDE
    first = device.type == "cpu" and old and wide
    return torch.contiguous_format if first else torch.channels_last_3d


def keep_freed_memory() -> bool:
    """Let this process keep freed memory of up to 1 GB a block; return whether it can.

    By default glibc gives blocks of some 32 MB and more back to Linux, which hands each out again page
    by page, filled with zeros: a good fifth of a step's time where maps are large.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries lack it
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _KEPT)) and bool(mallopt(_TRIM_THRESHOLD, 2 * _KEPT - 1))
