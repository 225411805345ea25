"""How long do README's commands take in a fresh clone of this repository, and do they pass?

    python benchmarks/fresh_clone.py                 # make run, then make test
    python benchmarks/fresh_clone.py run test-all

The clone is of the last commit, in a temporary folder, without caches; installing is not counted. The
numbers go to benchmarks/results/fresh_clone.json, whose table README shows; what a command printed goes
to build/fresh_clone/.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from r21d_lib.files import BUILD, whole_file
from r21d_lib.suite import findings
from r21d_lib.suite.repository import REPOSITORY
from r21d_lib.suite.results import provenance, read_results

RESULTS = Path(__file__).parent / "results" / "fresh_clone.json"
COMMANDS = ("run", "test")


def clone(to: Path) -> None:
    """Clone the repository and install its environment."""
    subprocess.run(["git", "clone", "--quiet", REPOSITORY, to], check=True)
    subprocess.run(["make", "setup"], cwd=to, check=True)


def measure(command: str, folder: Path) -> dict[str, Any]:
    """Run a command of the Makefile in a clone; return its minutes, and whether it ended with 0."""
    BUILD.joinpath("fresh_clone").mkdir(parents=True, exist_ok=True)
    outer = ("R21D_BUILD", "VIRTUAL_ENV", "PYTHONPATH")
    own = {name: value for name, value in os.environ.items() if name not in outer}
    started = time.monotonic()
    with open(BUILD / "fresh_clone" / f"{command}.log", "w", encoding="utf-8") as log:
        done = subprocess.run(
            ["make", command], cwd=folder, env=own, stdout=log, stderr=log, check=False
        )
    return {"minutes": round((time.monotonic() - started) / 60, 1), "passed": done.returncode == 0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("commands", nargs="*", default=COMMANDS, help="of the Makefile")
    commands = parser.parse_args().commands
    kept = read_results(RESULTS) if RESULTS.is_file() else {}  # by command, then by machine
    passed: list[bool] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "clone"
        clone(folder)
        for command in commands:
            made_on = provenance()
            row = {**measure(command, folder), "provenance": made_on}
            kept.setdefault(command, {})[made_on["machine"]] = row
            passed.append(row["passed"])
            print(f"make {command}: {row['minutes']} minutes, passed: {row['passed']}", flush=True)
            with whole_file(RESULTS) as partial:
                partial.write_text(json.dumps(kept, indent=2) + "\n")
    findings.fill()
    sys.exit(not all(passed))


if __name__ == "__main__":
    main()
