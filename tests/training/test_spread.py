"""benchmarks/spread.py: which draws there are, how weights are moved, and what the table says."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

PATH = Path(__file__).parents[2] / "benchmarks" / "spread.py"


@pytest.fixture(scope="module")
def spread():
    spec = importlib.util.spec_from_file_location("spread", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["spread"] = module  # where dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["spread"]


def test_every_draw_differs_from_every_other(spread):
    draws = spread.plan(spread.NETWORKS, 4, 2, native=True)
    assert len(draws) == len(set(draws)) == len({draw.name for draw in draws}) == 3 * (4 + 2 + 2)
    assert {draw.arithmetic for draw in draws} == {"avx2", "native"}


def test_where_the_own_arithmetic_is_avx2_it_is_not_drawn_twice(spread):
    draws = spread.plan(["r3d"], 5, 2, native=False)
    assert len(draws) == len(set(draws)) == 5 + 2
    assert {draw.arithmetic for draw in draws} == {"avx2"}


def test_a_perturbation_moves_every_weight_by_a_millionth(spread):
    before = nn.Linear(50, 20)
    moved = {}
    for seed in (0, 1, 2):
        network = nn.Linear(50, 20)
        network.load_state_dict(before.state_dict())
        spread.perturb(network, seed)
        moved[seed] = network.weight.detach()
    assert torch.equal(moved[0], before.weight)
    for seed in (1, 2):
        ratio = (moved[seed].double() / before.weight.detach().double() - 1).abs()
        assert ratio.min() > 0.8e-6
        assert ratio.max() < 1.2e-6
    assert not torch.equal(moved[1], moved[2])


def test_a_draws_process_gets_one_thread_and_its_arithmetic(spread, monkeypatch):
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.setattr(
        spread.arithmetic,
        "pinned",
        lambda: {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": "avx2"},
    )
    pinned = spread.environment(spread.Draw("r3d", 0))
    native = spread.environment(spread.Draw("r3d", 0, "native"))
    assert pinned["ATEN_CPU_CAPABILITY"] == "avx2"
    assert "ATEN_CPU_CAPABILITY" not in native
    assert pinned["OMP_NUM_THREADS"] == native["OMP_NUM_THREADS"] == "1"
    assert native["PATH"] == os.environ["PATH"]


@pytest.mark.thorough
def test_the_fingerprint_of_a_draws_arithmetic_is_measured(spread):
    environment = spread.environment(spread.Draw("r3d", 0))
    measured = spread.arithmetic.fingerprint_in(environment)
    assert measured == spread.arithmetic.fingerprint_of(native=False)
    assert len(bytes.fromhex(measured)) == 8
