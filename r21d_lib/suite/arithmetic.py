"""The arithmetic of a machine: the instructions and threads that a kernel gets, and their fingerprint.

Two processors round the same float32 sums differently, and training multiplies a rounding error until
a network ends elsewhere. Numbers can be compared digit for digit only where the arithmetic is the same.
That is measured, not concluded from names: even a cache's size can change the order of a sum.
"""

import functools
import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from r21d_lib.models.kinds import NETWORK_NAMES
from r21d_lib.suite.profiles import get_profile, get_race
from r21d_lib.training.hardware import memory_order
from r21d_lib.training.recipes import Recipe

_THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# MKL, which multiplies the last layer's matrices, chooses by the processor's maker as well; this branch
# of it gives the same bits on all (Intel, "Conditional Numerical Reproducibility").
_AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "COMPATIBLE"}
_CLASSES = 12


def pinned() -> dict[str, str]:
    """Return the environment that fixes a process's threads and, where it has AVX2, instruction set.

    It counts only if it is there before torch starts. A processor without AVX2 (an Arm one, say) has
    arithmetic of its own, and only its threads are fixed.
    """
    has_avx2 = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    on_x86 = platform.machine().lower() in ("x86_64", "amd64")
    return {**_THREADS, **_AVX2} if on_x86 and has_avx2 else dict(_THREADS)


@functools.cache
def fingerprint_of(*, native: bool) -> str:
    """Return the fingerprint of a fresh process, with or without the environment of `pinned`."""
    return fingerprint_in({**os.environ, **({} if native else pinned())})


def fingerprint_in(environment: Mapping[str, str]) -> str:
    """Return the fingerprint of a fresh process in an environment.

    Raises:
        subprocess.CalledProcessError: if it cannot train at all; what it printed is shown.
    """
    done = subprocess.run(
        [sys.executable, "-m", "r21d_lib.suite.arithmetic"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def fingerprint() -> str:
    """Return 16 hexadecimal digits that change with any bit of how this process trains.

    It is a hash of gradients and of the weights after a step, of each of the twelve networks in the
    race's shapes and of R(2+1)D in the finetuning's, on noise; about three seconds on a processor. It
    knows nothing of recipes' rates and lengths: a changed recipe is no other arithmetic.
    """
    recipes = [get_race("figures", [f"network={name}"]) for name in NETWORK_NAMES]
    digest = hashlib.sha256()
    for recipe in [*recipes, get_profile("figures")]:
        for tensor in _train(recipe):
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _train(recipe: Recipe) -> list[Tensor]:
    """Take a training step on noise in the shapes of a recipe's batches.

    Returns:
        Gradients, as an optimizer gets them, then weights and statistics after its step.
    """
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    device = device or torch.device("cpu")
    network = recipe.build(_CLASSES, seed=0).train()
    order = memory_order(network, device)
    network.to(device).to(memory_format=order)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.002)
    random = torch.Generator().manual_seed(0)
    size, crop = recipe.training.batch_size, recipe.clips.crop
    noise = torch.randint(256, (size, 3, recipe.clips.clip_len, crop, crop), generator=random)
    labels = torch.randint(_CLASSES, (size,), generator=random).to(device)
    inputs = noise.to(device, torch.float32).sub(128).div(64).contiguous(memory_format=order)
    nn.functional.cross_entropy(network(inputs), labels).backward()
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
    optimizer.step()
    return [*gradients, *network.state_dict().values()]


if __name__ == "__main__":
    print(fingerprint())
