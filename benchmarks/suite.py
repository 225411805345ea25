"""How long does `make run` take, notebook by notebook, and how much memory does each kernel need?

Reads what the last whole run left behind (build/suite.json) and runs nothing itself. Targets:
10 minutes on 2 cores and 2 GB a kernel. Results go to benchmarks/results/suite.json.
"""

import argparse
from pathlib import Path

import timing

from r21d_lib.suite.results import read_results
from r21d_lib.suite.runner import SUITE

EXAMPLES = """examples:
  make run && python benchmarks/suite.py        # about 10 minutes for the run
  python benchmarks/suite.py elsewhere/suite.json"""
TARGET_MINUTES, TARGET_MB = 10, 2000


def main() -> None:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=formatter)
    parser.add_argument("file", type=Path, nargs="?", default=SUITE, help="what a run left behind")
    path = parser.parse_args().file
    if not path.is_file():
        timing.skip("no whole run of the notebooks is on record: `make run` first")
    content = read_results(path)
    rows, origin = content["notebooks"], content["provenance"]
    print(f"{origin['machine']}, {origin['date']}, commit {origin['commit']}")
    print(f"{'notebook':32} {'seconds':>8} {'peak MB':>8}  status")
    for name, row in rows.items():
        print(f"{name:32} {row['seconds']:>8.0f} {row['peak_mb'] or '-':>8}  {row['status']}")
    minutes = content["minutes"]
    peak = max(row["peak_mb"] or 0 for row in rows.values())
    print(f"{'all together':32} {minutes * 60:>8.0f} {peak:>8}")
    met = {"minutes": minutes <= TARGET_MINUTES, "peak_mb": peak <= TARGET_MB}
    for name, reached in met.items():
        limit = {"minutes": TARGET_MINUTES, "peak_mb": TARGET_MB}[name]
        print(f"target, at most {limit} {name}: {'met' if reached else 'not met'}")
    timing.write(
        "suite",
        {"notebooks": rows, "minutes": minutes, "peak_mb": peak, "met": met, "run": origin},
    )


if __name__ == "__main__":
    main()
