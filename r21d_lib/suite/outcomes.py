"""What became of each notebook that was run: its outcome, the table at the end, the file of times."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from r21d_lib.files import whole_file
from r21d_lib.suite import comparison, copies, results


@dataclass
class Outcome:
    """What became of one notebook: "passed", "failed", "drifted" or "skipped", and why."""

    name: str
    status: str
    seconds: float = 0.0
    peak_mb: int | None = None
    compared: int = 0
    comparison: str = copies.UNCHECKED
    arithmetic: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    started: float = 0.0  # by the clock that counts `seconds`


def write_suite(outcomes: Sequence[Outcome], path: Path, *, profile: str) -> None:
    """Write what became of each notebook, its seconds and its kernel's peak memory, as JSON."""
    rows = {
        o.name: {"status": o.status, "seconds": round(o.seconds, 1), "peak_mb": o.peak_mb}
        for o in outcomes
    }
    origin = results.provenance(profile=profile)
    for outcome in outcomes:
        origin |= outcome.arithmetic  # the kernels', which is not this process's
    content = {"notebooks": rows, "minutes": round(_minutes(outcomes), 1), "provenance": origin}
    with whole_file(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n")


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the table that is printed at the end, and below it what went wrong."""
    rows = pd.DataFrame(
        {
            "notebook": [o.name for o in outcomes],
            "status": [o.status for o in outcomes],
            "seconds": [f"{o.seconds:.0f}" for o in outcomes],
            "peak MB": [o.peak_mb or "-" for o in outcomes],
            "numbers compared": [o.compared for o in outcomes],
            "comparison": [o.comparison for o in outcomes],
        }
    )
    problems = [f"{o.name}: {problem}" for o in outcomes for problem in o.problems]
    passed = sum(o.status == "passed" for o in outcomes)
    closing = f"{passed} of {len(outcomes)} notebooks passed in {_minutes(outcomes):.1f} minutes"
    notes = []
    if any(o.status == "drifted" for o in outcomes):
        notes.append(comparison.ABOUT_DRIFTS)
    if any(o.comparison == comparison.NO_SPREAD for o in outcomes):
        notes.append(comparison.ABOUT_SPREAD)
    computed = dict.fromkeys(
        "instructions {instruction_set}, threads {threads}, fingerprint {fingerprint}".format(
            **o.arithmetic
        )
        for o in outcomes
        if o.arithmetic
    )
    return "\n".join([rows.to_string(index=False), *computed, *problems, *notes, closing])


def _minutes(outcomes: Sequence[Outcome]) -> float:
    """Return how long notebooks took together, of which several may have run at a time."""
    ran = [(o.started, o.started + o.seconds) for o in outcomes if o.seconds]
    return (max(end for _, end in ran) - min(start for start, _ in ran)) / 60 if ran else 0.0
