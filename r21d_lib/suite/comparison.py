"""Comparing a notebook's numbers with the recorded ones: to the digit where that can be, else by draws.

tests/recorded/<name>.json holds `values`, the `provenance` of the run that gave them, and

- `trained`: shell patterns of the dotted names of numbers that come out of training. Rounding moves
  these, and rounding differs from processor to processor.
- `machine`: patterns of what depends on the machine otherwise, and is never compared.
- `draws`: the trained numbers of more runs, with other seeds or in another arithmetic. One with the
  recorded seed is what a machine of that arithmetic must find to the digit.
- `made_by`: what the values depend on, see `copies.identity`.

All other numbers, counts for instance, must be the same everywhere.
"""

import fnmatch
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from r21d_lib.files import whole_file
from r21d_lib.suite.results import read_results

FEWEST_DRAWS = 3
COVERAGE = 0.999  # of the prediction intervals
EVERY_DIGIT = "every digit"
NO_SPREAD = "no spread recorded"
# Floats are written with more digits than float32 holds: six of them count.
_ROUNDING = 1e-6
# What a newcomer is told below the table of a run.
_MOST = f"{100 * COVERAGE:g}%"
ABOUT_DRIFTS = f"""
What a drifted number may mean. Compared by every digit, it differs because code, a recipe, data or a
package has changed. Compared statistically, this run rounded otherwise than the recorded one (another
processor, or --native), and networks ended elsewhere, but {_MOST} of such runs stay within the
interval: one number may be outside by chance, several mean a change, too.
What to do. Look at the copies in build/executed/, at `git status`, and at `pip list` beside
constraints.txt. Until it is explained, do not rely on what a notebook's text says about that number. If
the new one is right, `r21d reproduce NAME --record` makes it the one to agree with.
"""
ABOUT_SPREAD = f"""
No spread recorded: this run rounded otherwise than the recorded one (another processor, or --native),
and with fewer than {FEWEST_DRAWS} recorded draws nobody can tell how far off trained
numbers may be. They were not compared; all others were. `r21d reproduce --draws N` records N draws.
"""


@dataclass(frozen=True)
class Comparison:
    """How a notebook's numbers were compared, and what came out.

    Attributes:
        how: "every digit", "statistical, <n> draws", or "no spread recorded" where trained numbers came
            from another arithmetic and there are too few draws to judge them by.
        compared: how many numbers were compared.
        drifts: a line for each number that has drifted.
    """

    how: str
    compared: int
    drifts: tuple[str, ...]


def compare(recorded: Mapping[str, Any], measured: Mapping[str, Any]) -> Comparison:
    """Compare a results file with the recorded numbers.

    Where the recorded run, or a draw of the same code with its seed, had the measured fingerprint of
    arithmetic, trained numbers are compared as all others are: names, counts and truths must be equal,
    floats in six digits. Elsewhere a trained number has drifted if it lies outside the interval that
    holds 99.9% of runs, as the recorded draws tell.

    Args:
        recorded: the content of a file in tests/recorded.
        measured: the content of a results file.
    """
    expected, got = flat(recorded["values"]), flat(measured["values"])
    drifts = [f"{key} is recorded and was not measured" for key in expected.keys() - got.keys()]
    drifts += [f"{key} was measured and is not recorded" for key in got.keys() - expected.keys()]
    trained, machine = recorded.get("trained", ()), recorded.get("machine", ())
    exact = _exact(recorded, _fingerprint(measured))
    intervals = prediction_intervals(recorded) if exact is None else {}
    expected |= exact or {}
    compared, unjudged = 0, 0
    for key in sorted(expected.keys() & got.keys()):
        if _pattern_of(key, machine) is not None:
            continue
        if exact is not None or _pattern_of(key, trained) is None:
            compared += 1
            if not _equal(expected[key], got[key]):
                drifts.append(f"{key}: recorded {expected[key]}, measured {got[key]}")
        elif key in intervals:
            compared += 1
            low, high = intervals[key]
            if not (low <= got[key] <= high or _equal(expected[key], got[key])):
                drifts.append(
                    f"{key}: measured {got[key]:.4g}, outside of [{low:.4g}, {high:.4g}], "
                    f"where {100 * COVERAGE:g}% of runs lie"
                )
        else:
            unjudged += 1
    how = EVERY_DIGIT
    if unjudged:
        how = NO_SPREAD
    elif intervals:
        how = f"statistical, {1 + len(recorded['draws'])} draws"
    return Comparison(how, compared, tuple(sorted(drifts)))


def prediction_intervals(recorded: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Return for each trained number the interval that holds one further run with 99.9% probability.

    It is Student's t over the recorded values and draws. Their spread is that of the number itself or,
    where that is larger, the mean one of all numbers that the same pattern names: a few draws may agree
    by chance, as when every one gets each clip of an easy class right.

    Returns:
        (low, high) by dotted name; numbers with fewer than three draws are left out.
    """
    from scipy import stats

    runs = [flat(recorded["values"]), *(draw["values"] for draw in recorded.get("draws", ()))]
    trained = recorded.get("trained", ())
    samples: dict[str, np.ndarray] = {}
    families: dict[str, list[float]] = {}
    for key, value in runs[0].items():
        pattern = _pattern_of(key, trained)
        drawn = [run[key] for run in runs if key in run]
        if pattern is not None and _is_number(value) and len(drawn) >= FEWEST_DRAWS:
            samples[key] = np.array(drawn, float)
            families.setdefault(pattern, []).append(float(samples[key].var(ddof=1)))
    intervals = {}
    for key, sample in samples.items():
        family = families[str(_pattern_of(key, trained))]
        spread = math.sqrt(max(float(sample.var(ddof=1)), float(np.mean(family))))
        factor = float(stats.t.ppf((1 + COVERAGE) / 2, len(sample) - 1))
        half = factor * spread * math.sqrt(1 + 1 / len(sample))
        intervals[key] = (float(sample.mean()) - half, float(sample.mean()) + half)
    return intervals


def record(results: Path, recorded: Path, *, made_by: str) -> int:
    """Make a results file the one to agree with.

    Patterns stay. Draws stay where the new numbers agree with the old: otherwise a network or recipe
    has changed, and the draws are of the old one. A former run of the same code in another arithmetic
    becomes a draw.

    Args:
        results: of the run.
        recorded: the file in tests/recorded, which need not exist.
        made_by: what the numbers depend on, see `copies.identity`.

    Returns:
        How many draws were dropped.
    """
    content = {**read_results(results), "made_by": made_by}
    dropped = 0
    if recorded.is_file():
        before = read_results(recorded)
        content |= {key: before[key] for key in ("trained", "machine") if key in before}
        draws = before.get("draws", [])
        if compare(before, content).drifts:
            dropped = len(draws)
        else:
            if before.get("made_by") == made_by and content.get("trained"):
                draws = [*draws, _draw(before, content["trained"], made_by)]
            if draws := [draw for draw in draws if _key(draw) != _key(content["provenance"])]:
                content["draws"] = _in_order(draws)
    _write(content, recorded)
    return dropped


def record_draw(results: Path, recorded: Path, *, made_by: str) -> None:
    """Add the trained numbers of a results file to the recorded draws.

    A draw with the same seed and fingerprint is replaced.

    Args:
        results: of a run with another seed than the recorded one, or in another arithmetic.
        recorded: the file in tests/recorded; it must exist.
        made_by: what the draw depends on, see `copies.identity`.
    """
    content = read_results(recorded)
    draw = _draw(read_results(results), content["trained"], made_by)
    others = [other for other in content.get("draws", []) if _key(other) != _key(draw)]
    content["draws"] = _in_order([*others, draw])
    _write(content, recorded)


def _draw(run: Mapping[str, Any], trained: Sequence[str], made_by: str) -> dict[str, Any]:
    """Return a run as a draw: its trained numbers and what they came from."""
    values, origin = flat(run["values"]), run["provenance"]
    return {
        **{key: origin[key] for key in ("seed", "fingerprint", "instruction_set")},
        "made_by": made_by,
        "values": {k: v for k, v in values.items() if _pattern_of(k, trained) is not None},
    }


def _key(origin: Mapping[str, Any]) -> tuple[Any, Any]:
    return origin.get("seed"), origin.get("fingerprint")


def _in_order(draws: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(draws, key=lambda draw: (draw["fingerprint"], draw["seed"]))


def _exact(recorded: Mapping[str, Any], fingerprint: str | None) -> dict[str, Any] | None:
    """Return the trained numbers that a run in an arithmetic must find to the digit, None if unknown.

    They are empty where it is the arithmetic of the recorded run, whose own values say it.
    """
    if fingerprint is None:
        return None
    if fingerprint == _fingerprint(recorded):
        return {}
    wanted = (recorded.get("provenance", {}).get("seed"), fingerprint)
    for draw in recorded.get("draws", ()):
        if _key(draw) == wanted and draw.get("made_by", "") == recorded.get("made_by"):
            return dict(draw["values"])
    return None


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested values by dotted names."""
    return dict(_flat(values, ""))


def _flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _pattern_of(key: str, patterns: Sequence[str]) -> str | None:
    return next((pattern for pattern in patterns if fnmatch.fnmatchcase(key, pattern)), None)


def _fingerprint(content: Mapping[str, Any]) -> str | None:
    return content.get("provenance", {}).get("fingerprint")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _equal(expected: Any, got: Any) -> bool:
    if isinstance(expected, float) and _is_number(got):
        return math.isclose(expected, got, rel_tol=_ROUNDING)  # False for NaN, which equals nothing
    return expected == got


def _write(content: Mapping[str, Any], path: Path) -> None:
    with whole_file(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n")
