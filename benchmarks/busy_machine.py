"""What does a training step cost where another program keeps one of the cores busy?

    python benchmarks/busy_machine.py

Torch's threads meet after every layer. libgomp, which leads them, lets the first to arrive spin for
milliseconds; where another program has the core of the last one, that is time which the last one lacks.
GOMP_SPINCOUNT says how long they spin before they sleep. Measured is a step of the smallest training of
notebook 04's kind, on all cores, with libgomp's own count, with the one that `r21d` sets, and without
any spinning, in turns, on a machine that is quiet and beside a program that uses one core.
The numbers go to benchmarks/results/busy_machine.json.
"""

import os
import subprocess
import sys
import time

from timing import write_here

from r21d_lib.cli.main import SPIN_COUNT

COUNTS = {"libgomp's own": None, "as `r21d` sets it": SPIN_COUNT, "none": "0"}
ROUNDS = 5
SECONDS = 5.0  # of each turn


def step(seconds: float) -> float:
    """Train for a while, in this process, and return the milliseconds of a step."""
    import torch
    from torch.nn import functional

    from r21d_lib.models.networks import build_network

    network = build_network("r2plus1d", 10, num_classes=12, width=8, clip_len=8, seed=0)
    optimizer = torch.optim.AdamW(network.parameters())
    clips, labels = torch.randn(16, 3, 8, 24, 24), torch.arange(16) % 12

    def one() -> None:
        functional.cross_entropy(network(clips), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    for _ in range(2):  # the first ones choose algorithms
        one()
    steps, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        one()
        steps += 1
    return 1000 * (time.perf_counter() - began) / steps


def measured(count: str | None) -> float:
    """Return the milliseconds of a step in a process with a spin count, None for libgomp's own."""
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    if count is not None:
        environment["GOMP_SPINCOUNT"] = count
    command = [sys.executable, __file__, "step"]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return float(done.stdout)


def main() -> None:
    if sys.argv[1:] == ["step"]:
        print(step(SECONDS))
        return
    found: dict[str, dict[str, list[float]]] = {}
    for load in ("quiet", "busy"):
        found[load] = {name: [] for name in COUNTS}
        other = [sys.executable, "-c", "while True: pass"]
        beside = subprocess.Popen(other) if load == "busy" else None
        try:
            for _ in range(ROUNDS):
                for name, count in COUNTS.items():
                    found[load][name].append(round(measured(count), 1))
                    print(f"{load}, {name}: {found[load][name][-1]} ms", flush=True)
        finally:
            if beside is not None:
                beside.kill()
    write_here("busy_machine", {"milliseconds": found, "spin_count": int(SPIN_COUNT)})


if __name__ == "__main__":
    main()
