"""What the benchmarks share: timing in turns (A B A B), medians, ratios, and the results file.

It needs torch and nothing else, so that it runs wherever the networks do.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch

from r21d_lib.files import whole_file
from r21d_lib.models.measured import processor_name
from r21d_lib.suite.results import provenance

RESULTS = Path(__file__).parent / "results"


def paired(
    functions: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    warmup: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Time functions in turns, A B ... A B ..., so that a slow minute falls on all of them alike.

    Args:
        functions: by name; each is called without arguments and must have finished its work when it
            returns (on a GPU: synchronize in it).
        rounds: how often each is timed.
        warmup: untimed rounds before.
        clock: what tells the seconds; time.process_time counts this process's work alone, which
            other work on the machine disturbs less.

    Returns:
        The seconds of each function, one value a round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(-warmup, rounds):
        for name, function in functions.items():
            started = clock()
            function()
            elapsed = clock() - started
            if turn >= 0:
                seconds[name].append(elapsed)
    return seconds


def medians(seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return the median of each function's seconds."""
    return {name: statistics.median(values) for name, values in seconds.items()}


def ranges(seconds: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, float]]:
    """Return the least and the most of each function's seconds."""
    return {name: (min(values), max(values)) for name, values in seconds.items()}


def ratios(seconds: Mapping[str, Sequence[float]], slow: str) -> dict[str, float]:
    """Return how many times faster than `slow` each function is: the median of the ratios by round."""
    return {
        name: statistics.median(s / v for s, v in zip(seconds[slow], values, strict=True))
        for name, values in seconds.items()
    }


def machine(threads: int | None = None) -> str:
    """Return one line: processor, cores, card, torch, and the threads that torch computes with."""
    origin = provenance()
    used = torch.get_num_threads() if threads is None else threads
    return f"{origin['machine']}, {used} threads, torch {origin['torch']}"


def write(name: str, values: Mapping[str, Any]) -> Path:
    """Write benchmarks/results/NAME.json: the values, the thread count and where they come from.

    $R21D_BENCHMARKS names another folder, for trials.
    """
    path = Path(os.environ.get("R21D_BENCHMARKS") or RESULTS) / f"{name}.json"
    content = {**values, "threads": torch.get_num_threads(), "provenance": provenance()}
    with whole_file(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n")
    return path


def instruction_set() -> str:
    """Name what torch computes with here, and whether that is all that the processor has."""
    info, capability = Path("/proc/cpuinfo"), torch.backends.cpu.get_cpu_capability()
    words = set(info.read_text(encoding="utf-8").split()) if info.is_file() else set()
    if capability != "AVX512":
        return f"{capability}, imitated" if "avx512f" in words else capability
    units = {"amx_bf16": "AMX", "avx512_bf16": "bfloat16"}
    return " and ".join([capability, *(name for flag, name in units.items() if flag in words)])


def write_here(name: str, values: Mapping[str, Any]) -> Path:
    """Write what was measured under the name of processor and instruction set, beside the others'."""
    path = Path(os.environ.get("R21D_BENCHMARKS") or RESULTS) / f"{name}.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    own = {**values, "threads": torch.get_num_threads(), "provenance": provenance()}
    found[f"{processor_name()}, {instruction_set()}"] = own
    with whole_file(path) as partial:
        partial.write_text(json.dumps(found, indent=2) + "\n")
    return path


def skip(reason: str) -> NoReturn:
    """Say why nothing is measured here, and end with status 0: `run_all.py` reads the line."""
    print(f"skipped: {reason}", flush=True)
    sys.exit(0)
