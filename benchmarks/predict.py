"""How long does `r21d predict` take for 3 s of video, and how much of that is importing torch?

    python benchmarks/predict.py                    # half a minute
    python benchmarks/predict.py --other ../before  # beside another checkout, in turn

Warm: each command has run before, so that files are in memory and this machine's speeds are known.
Every run is a process of its own, with the shipped checkpoint, in turns. "Processor" is what it and
its children computed, which other work on the machine disturbs less. Results go to
benchmarks/results/predict.json, by processor and instruction set.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import timing

from r21d_lib.data import video

HERE = Path(__file__).resolve().parents[1]
FRAMES, HEIGHT, WIDTH = 90, 240, 320


def children_seconds() -> float:
    """Return the processor time of all processes that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(checkout: Path, arguments: list[str]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    command = [sys.executable, *arguments]
    subprocess.run(
        command,
        cwd=checkout,
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="timed turns of each")
    parser.add_argument("--other", type=Path, help="another checkout, such as of an earlier commit")
    given = parser.parse_args()
    found: dict[str, Mapping[str, float]] = {}
    ranges: dict[str, Mapping[str, tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as place:
        film = Path(place) / "film.avi"
        random = np.random.default_rng(0)
        shown = random.integers(0, 256, (FRAMES, HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
        video.write(film, shown.repeat(8, axis=1).repeat(8, axis=2))
        predict = ["-m", "r21d_lib", "predict", str(film)]
        functions: dict[str, Callable[[], object]] = {
            "import torch": partial(run, HERE, ["-c", "import torch"]),
            "r21d --help": partial(run, HERE, ["-m", "r21d_lib", "--help"]),
            "r21d predict": partial(run, HERE, predict),
        }
        if given.other:
            functions["r21d predict, the other checkout"] = partial(run, given.other.resolve(), predict)
        for clock, name in ((None, "seconds"), (children_seconds, "processor")):
            more = {} if clock is None else {"clock": clock}
            taken = timing.paired(functions, given.rounds, **more)
            found[name] = timing.medians(taken)
            ranges[name] = timing.ranges(taken)
            if given.other:
                ratio = timing.ratios(taken, "r21d predict, the other checkout")["r21d predict"]
                print(f"{name}: {ratio:.2f} times as fast as the other checkout")
    print(f"{timing.machine()}, load {os.getloadavg()[0]:.1f}")
    for name in functions:
        print(f"{name:34}" + "".join(f"{found[key][name]:8.2f} s {key}" for key in found))
    timing.write_here(
        "predict", {"rounds": given.rounds, "load": os.getloadavg()[0], **found, "range": ranges}
    )


if __name__ == "__main__":
    main()
