"""What was measured of speed: tables, one for each processor and instruction set, and a sentence."""

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from r21d_lib.suite import results
from r21d_lib.suite.repository import BENCHMARKS
from r21d_lib.suite.tables import markdown

_OURS = "this project"


def scoring() -> str:
    """Return what each path takes to score a clip, and this project's shares of the ceiling."""
    return _of_each("inference_cpu", _scoring)


def _scoring(found: dict[str, Any]) -> str:
    batches = found["batches"]
    header, rows = ["path"], []
    for b in batches:
        header += [f"batch {b['batch']}: s a clip", "x torchvision"]
    for path in batches[0]["seconds"]:
        cells = [
            _ranged(b["seconds"][path], b.get("range", {}).get(path), ".3f", per=b["batch"])
            + f" | {b['times_torchvision'][path]:.2f}"
            for b in batches
        ]
        name = f"**{path}**" if path.startswith(_OURS) and "alone" not in path else path
        rows.append([name, *cells])
    shares = [
        f"{path.removeprefix(_OURS).strip(', ')} {share:.0%} (batch {b['batch']})"
        for b in batches
        for path, share in b["share_of_ceiling"].items()
    ]
    errors = [
        error
        for b in batches
        for path, error in b["largest_error"].items()
        if path.startswith(_OURS) and "float32" in path
    ]
    later = found.get("later_first_answer_s")
    return "\n".join(
        [
            markdown(header, rows),
            "",
            f"Its choice: {found['choice']['as it chooses']}. Of the ceiling it reaches: "
            f"{', '.join(shares)}. Its logits in float32 are at most {max(errors):.1e} off. The first "
            f"answer came after {found['first_answer_s']:.1f} s"
            + (f", in a process after that one {later:.1f} s." if later else "."),
        ]
    )


def data() -> str:
    """Return how many clips a second each reader hands out."""
    header = ["reader", "clips/s, 1 worker", "x decord in order", "clips/s, 2 workers", "x"]
    header += ["processor ms a clip", "x"]
    parts = []
    for name, found in _measured("data"):
        rows = []
        times, milliseconds = found["processor_times"], found["processor_milliseconds_a_clip"]
        for reader, row in found["readers"].items():
            each = [
                _ranged(row[f"clips_per_s_{w}"], row.get(f"range_{w}"), ".0f")
                + f" | {row[f'times_{w}']:.1f}"
                for w in (1, 2)
            ]
            cells = [*each, f"{milliseconds[reader]:.1f} | {times[reader]:.1f}"]
            rows.append([reader, *cells])
        rest = [f"{what} {ms:.1f} ms" for what, ms in milliseconds.items() if what not in times]
        filling = found["filling_milliseconds_a_video"]
        said = f"Stages of a clip: {', '.join(rest)}. Filling: {filling:.0f} ms a video, once."
        parts += [_head(name, found), markdown(header, rows), said]
    return "\n\n".join(parts)


def training() -> str:
    """Return what a training step takes, against the plain one and the convolutions alone."""
    header = ["network", "batch", "plain [s]", f"{_OURS} [s]", "x", "ceiling [s]", "share of it"]
    header += ["losses apart in 20 steps", "by rounding"]
    parts = []
    for name, found in _measured("training_cpu"):
        rows, notes = [], list[str]()
        for network, row in found["networks"].items():
            shape = " x ".join(str(n) for n in (row["input"][0], *row["input"][2:]))
            plain, own, best = (
                _ranged(row["seconds"][key], row.get("range", {}).get(key), ".3g")
                for key in ("plain", _OURS, "ceiling")
            )
            apart = (row["largest_difference"], row["difference_by_rounding"])
            cells = [
                f"{network} | {shape} | {plain} | {own} | {row['times_plain'][_OURS]:.2f}",
                f"{best} | {row['share_of_ceiling']:.0%}",
                " | ".join(f"{value:.1e}" if value else "0" for value in apart),
            ]
            rows.append(cells)
            if "exact" in row["seconds"]:
                exact, here = row["seconds"]["exact"], row["seconds"][_OURS]
                said = f"{network} in the notebooks' exact arithmetic, one thread with AVX2: "
                rest = f"{exact:.3g} s, {exact / here:.2f} times as long as this."
                notes.append(f"\n{said}{rest}")
        parts += [_head(name, found), "\n".join([markdown(header, rows), *notes])]
    return "\n\n".join(parts)


def predicting() -> str:
    """Return what `r21d predict` takes, and what importing torch does."""
    return _of_each("predict", _predicting)


def _predicting(found: dict[str, Any]) -> str:
    ranges = found.get("range", {})
    rows = [
        [command]
        + [
            _ranged(found[kind][command], ranges.get(kind, {}).get(command), ".2f")
            for kind in ("seconds", "processor")
        ]
        for command in found["seconds"]
    ]
    return markdown(["command", "seconds", "of the processor"], rows)


def busy_machine() -> str:
    """Return what a training step takes on a quiet machine, and beside a program that uses a core."""
    return _of_each("busy_machine", _busy_machine)


def _busy_machine(found: dict[str, Any]) -> str:
    rows = []
    for setting, quiet in found["milliseconds"]["quiet"].items():
        cells = (quiet, found["milliseconds"]["busy"][setting])
        rows.append([setting, *(_ranged(median(c), (min(c), max(c)), ".0f") for c in cells)])
    return markdown(["spin count", "quiet [ms a step]", "one core is busy"], rows)


def low_precision() -> str:
    """Return which passes of which convolutions were not finite or did not repeat, in bfloat16."""
    lines = []
    for name, found in _measured("bf16_training_cpu"):
        rows = found["passes"]
        bad = [row for row in rows if row["non_finite_runs"] or row["differing_runs"]]
        right = max(row["relative_error"] for row in rows if row not in bad)
        lines.append(
            f"{_head(name, found)}: {sum(row['runs'] for row in rows):,} runs of {len(rows)} passes; "
            f"{found['non_finite']} passes gave values that are not finite, and {len(bad)} these or "
            f"others each time; all others repeat to the bit, at most {right:.1e} of the largest value "
            "off.\n"
        )
        for row in bad:
            places = row["non_finite_places"]
            where = f", at outputs {places[0]} to {places[-1]}" if places else ""
            lines.append(
                f"- {row['pass']}, {row['layout'].removeprefix('3D, ')}, input {row['input']}, kernel "
                f"{row['kernel']}, threads {row['threads']}: not finite in "
                f"{len(row['non_finite_runs'])} of {row['runs']} runs{where}; finite values up to "
                f"{row['relative_error']:.1e} of the largest off"
            )
        for setting, sizes in found.get("around", {}).items():
            lines.append(f"\n{_around(setting, sizes)}")
    return "\n".join(lines)


def dashboard() -> str:
    """Say how soon the dashboard could be used: of the starts beside no other work, or of all."""
    measured = results.read_results(BENCHMARKS / "results" / "dashboard.json")
    quiet = [start for start in measured["starts"] if start["load"] <= 2]
    shown = quiet or measured["starts"]
    seconds, processor, loads = (
        [one[kind] for one in shown] for kind in ("seconds", "processor", "load")
    )
    machine = measured["provenance"]["machine"]
    busy = f" that was busy with other work, load average {min(loads):.0f}"
    return (
        f"Over {measured['runs']} runs its server and kernel take {min(processor):.1f} to "
        f"{max(processor):.1f} seconds of a processor until it can be used, {min(seconds):.1f} to "
        f"{max(seconds):.1f} seconds after the command on a machine"
        f"{' without other work' if quiet else busy} ({machine})."
    )


def _ranged(middle: float, ends: Sequence[float] | None, digits: str, per: int = 1) -> str:
    """Write a median, and in brackets the lowest and highest of the rounds if they are recorded."""
    low, high = (end / per for end in ends) if ends else (None, None)
    return f"{middle / per:{digits}}" + (f" ({low:{digits}} to {high:{digits}})" if ends else "")


def _around(setting: str, sizes: list[dict[str, Any]]) -> str:
    """Say which sizes beside the one that fails give the last maps' kernels values that are none."""
    said: dict[bool, list[str]] = {True: [], False: []}
    for size in sizes:
        bad = size["non_finite_outputs"]
        what = f"{size['clips']} x {size['inputs']} to {size['outputs']} maps of side {size['side']}"
        said[bool(bad)].append(f"{what} (outputs {bad[0]} to {bad[-1]})" if bad else what)
    if not said[True]:
        return f"1 x 3 x 3 kernels on one thread, {setting}: all {len(sizes)} of these are finite."
    wrong, right = (", ".join(said[is_bad]) for is_bad in (True, False))
    return f"1 x 3 x 3 kernels on one thread, {setting}. Not finite: {wrong}. Finite: {right}."


def _measured(name: str) -> list[tuple[str, dict[str, Any]]]:
    return list(results.read_results(BENCHMARKS / "results" / f"{name}.json").items())


def _of_each(name: str, table: Callable[[dict[str, Any]], str]) -> str:
    """Return a table for each machine on which a benchmark ran, below a line that names it."""
    return "\n\n".join(
        f"{_head(machine, found)}\n\n{table(found)}" for machine, found in _measured(name)
    )


def _head(machine: str, found: dict[str, Any]) -> str:
    origin, load = found["provenance"], found.get("load")
    threads = "1 thread" if found["threads"] == 1 else f"{found['threads']} threads"
    said = f"**{machine}** ({origin['date']}, torch {origin['torch'].split('+')[0]}, {threads}"
    return said + (f", load {load:.1f})" if load is not None else ")")
