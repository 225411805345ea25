"""The fingerprint of a machine's arithmetic: it repeats, and another arithmetic has another one."""

import os
import shutil
import subprocess

import pytest
import torch

from r21d_lib.suite import arithmetic, results


@pytest.mark.thorough
def test_a_fingerprint_repeats_and_says_when_sums_are_rounded_otherwise():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        one = arithmetic.fingerprint()
        assert arithmetic.fingerprint() == one
        assert len(one) == 16
        torch.set_num_threads(3)  # the same instructions, sums in other portions
        assert arithmetic.fingerprint() != one
    finally:
        torch.set_num_threads(threads)


@pytest.mark.thorough
def test_the_pinned_fingerprint_is_that_of_a_process_of_its_own(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    pinned = arithmetic.fingerprint_of(native=False)
    arithmetic.fingerprint_of.cache_clear()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert arithmetic.fingerprint_of(native=False) == pinned
    if "ATEN_CPU_CAPABILITY" in arithmetic.pinned() and _has_avx512():
        assert arithmetic.fingerprint_of(native=True) != pinned


@pytest.mark.slow
@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="this torch has no MKL")
@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_the_pinned_fingerprint_is_the_same_on_processors_of_either_maker(tmp_path):
    """MKL chooses by the processor's maker, so it is told of each one in turn."""
    prints = {}
    for maker, is_intel in (("intel", 1), ("other", 0)):
        source, library = tmp_path / f"{maker}.c", tmp_path / f"{maker}.so"
        names = ("mkl_serv_intel_cpu", "mkl_serv_intel_cpu_true")
        source.write_text("".join(f"int {name}(void) {{ return {is_intel}; }}\n" for name in names))
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
        told = {**os.environ, **arithmetic.pinned(), "LD_PRELOAD": str(library)}
        free = {name: value for name, value in told.items() if name != "MKL_CBWR"}
        prints[maker] = [arithmetic.fingerprint_in(told), arithmetic.fingerprint_in(free)]
    assert prints["intel"][0] == prints["other"][0] == arithmetic.fingerprint_of(native=False)
    if "MKL_CBWR" in arithmetic.pinned():
        assert prints["intel"][1] != prints["other"][1]  # else MKL was not told at all


def _has_avx512():
    return torch.backends.cpu.get_cpu_capability() == "AVX512"


def test_provenance_names_the_arithmetic(monkeypatch):
    monkeypatch.setenv(results.FINGERPRINT_VARIABLE, "0123456789abcdef")
    origin = results.provenance()
    assert origin["fingerprint"] == "0123456789abcdef"
    assert origin["threads"] == torch.get_num_threads()
    assert origin["instruction_set"] == torch.backends.cpu.get_cpu_capability()
    monkeypatch.delenv(results.FINGERPRINT_VARIABLE)
    assert "fingerprint" not in results.provenance()


@pytest.mark.parametrize(
    ("machine", "capability", "fixed"),
    [("x86_64", "AVX512", 5), ("AMD64", "AVX2", 5), ("x86_64", "DEFAULT", 2), ("arm64", "DEFAULT", 2)],
)
def test_a_machine_is_told_only_what_it_knows(monkeypatch, machine, capability, fixed):
    monkeypatch.setattr(arithmetic.platform, "machine", lambda: machine)
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: capability)
    assert len(arithmetic.pinned()) == fixed
