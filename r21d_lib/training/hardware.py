"""Where a training runs: Accelerate's devices and precision, the order of maps in memory, memory kept.

The order and the kept memory change nothing that is computed, except for the last bits of sums that
are taken in another order.
"""

import atexit
import ctypes
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from r21d_lib.errors import SettingsError
from r21d_lib.models.networks import VideoResNet
from r21d_lib.training import trackers
from r21d_lib.training.settings import TrainingSettings

if TYPE_CHECKING:
    from accelerate import Accelerator, PartialState

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's numbers for mallopt
_KEPT = 2**30  # bytes; glibc takes numbers of 31 bits
_WIDE = 64  # channels


def this_process() -> "PartialState":
    """Return which of a launcher's processes this one is, and let it meet the others.

    Without a GPU they meet on the CPU. Accelerate must be told so, or each would train alone.
    """
    from accelerate import PartialState

    launched = "LOCAL_RANK" in os.environ and os.environ.get("WORLD_SIZE", "1") != "1"
    on_cpu = launched and not torch.accelerator.is_available()
    return PartialState(cpu=True) if on_cpu else PartialState()


@contextmanager
def among_processes() -> Iterator[None]:
    """Work with a launcher's other processes, and let this one leave them in order when it ends.

    Until then they stay together, for another training or for scoring. A process that fails leaves
    without a word: in an orderly end it could wait for sums that the others never send.
    """
    atexit.unregister(_leave_the_others)
    this_process()
    yield
    atexit.register(_leave_the_others)


def _leave_the_others() -> None:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def start_accelerator(
    settings: TrainingSettings, run: Path | None = None, *, log_with: Sequence[str] = ()
) -> "Accelerator":
    """Start Accelerate with the precision that this machine can train in.

    Each training of a process has its own; an older `Accelerator` is not to be used afterwards.

    Args:
        settings: say the precision, and the batches of a step.
        run: the folder for TensorBoard's events; None writes none.
        log_with: other trackers, as `trackers.make` takes them.

    Raises:
        SettingsError: if the precision is not safe here, or a tracker is not known or installed.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, is_initialized

    device, precision = this_process().device, settings.mixed_precision
    if precision in ("bf16", "fp16") and device.type == "cpu":
        raise SettingsError(
            f"mixed_precision={precision} is not safe on a CPU: give mixed_precision=no, or auto"
        )
    if precision == "auto":
        bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        precision = "bf16" if bf16 else "no"
    if is_initialized() and AcceleratorState().mixed_precision != precision:
        # It is the process's, and Accelerate refuses another one. What is forgotten here is the
        # precision alone: devices and the other processes are known to PartialState, which stays, and
        # a training that has ended asks for neither.
        AcceleratorState._reset_state()
    return Accelerator(
        mixed_precision=precision,
        gradient_accumulation_steps=settings.accumulate,
        log_with=[trackers.TENSORBOARD, *trackers.make(log_with, run)] if run else None,
        project_dir=run,
    )


def check_shared_memory(workers: int, batch: int) -> None:
    """Refuse worker processes that could not hand over their batches; containers give them little room.

    Args:
        workers: processes that read clips.
        batch: size of what each hands over [bytes]; up to two wait in each.

    Raises:
        SettingsError: if they do not fit into /dev/shm.
    """
    shared = Path("/dev/shm")  # Linux has it; elsewhere there is no such limit
    if workers == 0 or not shared.is_dir():
        return
    free, needed = shutil.disk_usage(shared).free, (2 * workers + 1) * batch
    if free < needed:
        raise SettingsError(
            f"{workers} workers need {needed / 1e6:,.1f} MB of shared memory, and {shared} has "
            f"{free / 1e6:,.1f}: give workers=0, or start the container with more (--shm-size=2g)"
        )


def place(
    network: VideoResNet, device: torch.device, settings: TrainingSettings
) -> torch.memory_format:
    """Put a network where it trains, in the order in memory that is fastest there; return the order.

    Raises:
        SettingsError: if the settings need GPUs, and this is none.
    """
    if settings.sync_batchnorm:
        if device.type != "cuda":
            raise SettingsError("sync_batchnorm needs GPUs: omit it on this machine")
        nn.SyncBatchNorm.convert_sync_batchnorm(network)
    if settings.compile:
        network.compile()
    order = memory_order(network, device)
    if device.type == "cpu":
        keep_freed_memory()
    # A fused optimizer wants the weights in place.
    network.to(device).to(memory_format=order)
    if device.type == "cuda":
        # All batches have one size, so the fastest kernels are looked for once.
        torch.backends.cudnn.benchmark = True
    return order


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
