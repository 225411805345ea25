"""Runs every benchmark that this machine can run, in about 15 minutes: what `make bench` does.

Each script is a process of its own with a time limit. A script that lacks its inputs (a GPU, a run of
the notebooks) says "skipped: why" and counts as well; one that fails or takes too long makes the whole
end with status 1. What a script printed, and its numbers, are kept in build/bench/; a script that is
run by itself writes the recorded ones, benchmarks/results/.
"""

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from r21d_lib.files import BUILD

HERE = Path(__file__).parent
EXAMPLES = """examples:
  make bench
  python benchmarks/run_all.py --only data suite
  python benchmarks/run_all.py --minutes 5     # gives up a script after 5 minutes at most"""
# In the order in which they run: script, its arguments, and minutes after which it is given up.
SCRIPTS: dict[str, tuple[tuple[str, ...], float]] = {
    "inference_cpu": (("--rounds", "3"), 8),
    "training_cpu": ((), 8),
    "scaling": ((), 5),
    "data": ((), 5),
    "bf16_training_cpu": (("--seconds", "30"), 3),
    "decord_by_index": ((), 2),
    "database": (("--videos", "12", "--rounds", "3"), 3),
    "suite": ((), 1),
    "training_gpu": ((), 60),
}


@dataclass(frozen=True)
class Ran:
    """What became of one script: "measured", "skipped" or "failed", and why."""

    name: str
    status: str
    seconds: float
    reason: str = ""


def run(script: Path, arguments: tuple[str, ...], minutes: float, log: Path) -> Ran:
    """Run one script, show what it prints, and keep that in `log`."""
    name, started = script.stem, time.perf_counter()
    if not script.is_file():
        return Ran(name, "skipped", 0.0, f"there is no {script.name}")
    with open(log, "w+", encoding="utf-8") as output:
        command = [sys.executable, str(script), *arguments]
        try:
            done = subprocess.run(
                command, stdout=output, stderr=subprocess.STDOUT, timeout=minutes * 60, check=False
            )
            status, reason = ("measured", "") if done.returncode == 0 else ("failed", "")
        except subprocess.TimeoutExpired:
            status, reason = "failed", f"took more than {minutes:g} minutes"
        output.seek(0)
        lines = output.read().rstrip().splitlines()
    print("\n".join(lines), flush=True)
    last = lines[-1] if lines else "it printed nothing"
    if status == "measured" and last.startswith("skipped: "):
        status, reason = "skipped", last.removeprefix("skipped: ")
    elif status == "failed":
        reason = reason or last
    return Ran(name, status, time.perf_counter() - started, reason)


def main() -> None:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=formatter)
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, default=list(SCRIPTS), metavar="SCRIPT")
    parser.add_argument("--minutes", type=float, help="a lower limit for every script")
    parser.add_argument("--scripts", type=Path, default=HERE, help="the folder that they are in")
    given = parser.parse_args()
    logs = BUILD / "bench"
    logs.mkdir(parents=True, exist_ok=True)
    os.environ["R21D_BENCHMARKS"] = str(logs)
    outcomes = []
    for place, name in enumerate(given.only, start=1):
        arguments, limit = SCRIPTS[name]
        print(f"\n=== {place} of {len(given.only)}: {name} {' '.join(arguments)}", flush=True)
        minutes = min(limit, given.minutes or limit)
        ran = run(given.scripts / f"{name}.py", arguments, minutes, logs / f"{name}.txt")
        print(f"=== {name}: {ran.status} {ran.reason}", flush=True)
        outcomes.append(ran)
    print(f"\n{'script':18} {'seconds':>8}  status")
    for ran in outcomes:
        print(f"{ran.name:18} {ran.seconds:>8.0f}  {ran.status}{ran.reason and ': '}{ran.reason}")
    minutes = sum(ran.seconds for ran in outcomes) / 60
    failed = [ran.name for ran in outcomes if ran.status == "failed"]
    print(f"{minutes:.1f} minutes, {len(failed)} failed; what each printed is in {logs}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
