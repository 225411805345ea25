"""The order of maps in memory and the memory that a training keeps: which, where, and its effect."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from r21d_lib.models.networks import build_network
from r21d_lib.training import hardware
from r21d_lib.training.hardware import memory_order

FAULTS = """
import resource, sys, torch
from r21d_lib.training.hardware import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
for _ in range(4):  # the heap grows until a block fits between what else lies in it
    torch.ones(16 * 2**20)  # 64 MB
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(16):
    torch.ones(16 * 2**20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.parametrize(
    ("capability", "width", "device", "first"),
    [
        ("AVX2", 64, "cpu", True),
        ("DEFAULT", 64, "cpu", True),
        ("AVX2", 16, "cpu", False),
        ("AVX512", 64, "cpu", False),
        ("AVX2", 64, "cuda", False),
    ],
)
def test_channels_come_first_in_wide_networks_on_old_processors(
    monkeypatch, capability, width, device, first
):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    with torch.device("meta"):
        network = build_network("r3d", 10, num_classes=2, width=width)
    order = memory_order(network, torch.device(device))
    assert order == (torch.contiguous_format if first else torch.channels_last_3d)


def test_the_order_changes_no_gradient_beyond_rounding():
    clips = torch.randn(2, 3, 4, 32, 32)
    found = []
    for order in (torch.contiguous_format, torch.channels_last_3d):
        network = build_network("r2plus1d", 10, num_classes=2, width=64, seed=0)
        network.to(memory_format=order)
        loss = nn.functional.cross_entropy(
            network(clips.contiguous(memory_format=order)), torch.arange(2)
        )
        loss.backward()
        found.append([parameter.grad.contiguous() for parameter in network.parameters()])
    torch.testing.assert_close(*found, atol=1e-4, rtol=1e-3)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is Linux's")
def test_kept_memory_is_not_asked_for_again():
    faults = {}
    for what in ("keep", "plain"):
        done = subprocess.run(
            [sys.executable, "-c", FAULTS, what], capture_output=True, text=True, check=True
        )
        faults[what] = int(done.stdout)
    # 64 MB are 16,384 pages, or 32 huge ones
    assert faults["keep"] < faults["plain"] / 4


def test_where_the_c_library_cannot_it_says_so(monkeypatch):
    monkeypatch.setattr(hardware.ctypes, "CDLL", lambda _name: object())
    assert not hardware.keep_freed_memory()
