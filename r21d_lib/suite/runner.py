"""Runs the notebooks in order, headlessly, and checks their numbers: what `r21d reproduce` does."""

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from r21d_lib.errors import R21DError, SettingsError
from r21d_lib.files import BUILD, only_writer, whole_file
from r21d_lib.models.fast import ENGINE_VARIABLE
from r21d_lib.suite import arithmetic, comparison, copies, results
from r21d_lib.suite.profiles import get_profile
from r21d_lib.suite.repository import NOTEBOOK_FOLDER, RECORDED

# In the order in which they run; each with the notebooks whose files it reads.
NOTEBOOKS: dict[str, tuple[str, ...]] = {
    "00_start_here": (),
    "01_videos_become_clips": (),
    "02_spatiotemporal_convolutions": (),
    "03_the_networks": (),
    "04_the_race": ("00_start_here",),
    "04b_why_factorize": ("00_start_here",),
    "05_checkpoints": (),
    "06_finetune_hmdb51": ("00_start_here",),
    "07_evaluate_hmdb51": ("06_finetune_hmdb51",),
    "07b_films_and_clip_length": (),
    "08_does_it_see_motion": ("04_the_race",),
    "09_inside_the_network": ("04_the_race",),
    "09b_two_streams": (),
    "10_the_ledger": (),
}
SUITE = BUILD / "suite.json"
MEMORY_LIMIT_MB = 2500
CELL_TIMEOUT_S = {"figures": 1800, "hmdb51": 7 * 24 * 3600}
_ARITHMETIC = ("instruction_set", "threads", "fingerprint")  # of a results file's provenance


@dataclass
class Outcome:
    """What became of one notebook: "passed", "failed", "drifted" or "skipped", and why."""

    name: str
    status: str
    seconds: float = 0.0
    peak_mb: int | None = None
    compared: int = 0
    comparison: str = "-"
    arithmetic: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def reproduce(
    names: Sequence[str] | None = None,
    *,
    profile: str = "figures",
    parameters: Mapping[str, Any] | None = None,
    notebooks: Mapping[str, tuple[str, ...]] = NOTEBOOKS,
    folder: Path = NOTEBOOK_FOLDER,
    output: Path = BUILD,
    recorded: Path = RECORDED,
    compare: bool = True,
    native: bool = False,
    progress: bool = True,
) -> list[Outcome]:
    """Execute notebooks, each in its own kernel, and compare the numbers they write.

    A failure stops the notebooks that need the failed one, not the others. Executed copies go to
    `output`/executed, pages to `output`/html, numbers to `output`/results.

    Args:
        names: which to run; None runs all.
        profile: "figures" or "hmdb51".
        parameters: further parameters, for every notebook that has them.
        notebooks: the table of names and needs.
        folder: where the notebooks are; also their working folder.
        output: where everything is written.
        recorded: the folder of recorded numbers.
        compare: compares with them. They were measured with the profile figures and no further
            parameters, so nothing else is compared.
        native: gives the kernels all threads and instructions of this machine; without it they have
            those of `arithmetic.pinned`, which the numbers were recorded with.
        progress: shows a bar a notebook, by cells.

    Raises:
        SettingsError: for an unknown notebook, profile or parameter, or if another run writes into
            `output`, before anything runs.
    """
    get_profile(profile)
    unknown = sorted(set(names or ()) - set(notebooks))
    if unknown:
        raise SettingsError(f"no notebook is called {unknown[0]!r}: choose {', '.join(notebooks)}")
    chosen = [name for name in notebooks if not names or name in names]
    given = {name: _parameters(folder, name, profile, parameters or {}) for name in chosen}
    unused = set(parameters or ()) - {key for values in given.values() for key in values}
    if unused:
        raise SettingsError(
            f"no notebook has a parameter {sorted(unused)[0]!r}: see their first code cell"
        )
    outcomes: list[Outcome] = []
    stopped: set[str] = set()
    output.mkdir(parents=True, exist_ok=True)
    with only_writer(output):
        variables = {
            **({} if native else arithmetic.pinned()),
            # The recorded numbers are torch's; another engine would round otherwise.
            ENGINE_VARIABLE: "torch",
            results.FINGERPRINT_VARIABLE: arithmetic.fingerprint_of(native=native),
        }
        for name in chosen:
            needed = [need for need in notebooks[name] if need in stopped]
            if needed:
                outcome = Outcome(
                    name, "skipped", problems=[f"it needs {needed[0]}, which did not pass"]
                )
            else:
                with environment(variables):
                    outcome = _run(
                        folder,
                        name,
                        given[name],
                        output,
                        recorded if compare and profile == "figures" and not parameters else None,
                        timeout=CELL_TIMEOUT_S[profile],
                        progress=progress,
                    )
            if outcome.status in ("failed", "skipped"):
                stopped.add(name)
            outcomes.append(outcome)
    return outcomes


def main(
    names: Sequence[str] | None = None,
    *,
    profile: str = "figures",
    parameters: Mapping[str, Any] | None = None,
    record: bool = False,
    publish: bool = False,
    native: bool = False,
) -> int:
    """Run `reproduce`, print its table, and return the exit status: 0 if all passed, 1 otherwise.

    A run of all notebooks leaves times and memory in build/suite.json, for benchmarks/suite.py.
    """
    if record and (parameters or profile != "figures" or native):
        raise SettingsError("only the unchanged profile figures is recorded: leave --record out")
    outcomes = reproduce(
        names, profile=profile, parameters=parameters, compare=not record, native=native
    )
    for outcome in outcomes:
        if outcome.status == "passed" and record:
            file = f"{outcome.name}.json"
            made_by = copies.identity(outcome.name, NOTEBOOKS[outcome.name], NOTEBOOK_FOLDER)
            dropped = comparison.record(BUILD / "results" / file, RECORDED / file, made_by=made_by)
            if dropped:
                print(f"{outcome.name}: numbers changed, so {dropped} draws of the old ones are gone")
        if outcome.status == "passed" and publish:
            copies.publish_notebook(BUILD / "executed" / f"{outcome.name}.ipynb", NOTEBOOK_FOLDER)
    if not names:
        write_suite(outcomes, SUITE, profile=profile)
    print(table(outcomes))
    return exit_status(outcomes)


def exit_status(outcomes: Sequence[Outcome]) -> int:
    """Return 0 if all notebooks passed, 1 otherwise."""
    return 0 if all(outcome.status == "passed" for outcome in outcomes) else 1


# What a newcomer is told below the table.
_MOST = f"{100 * comparison.COVERAGE:g}%"
_ABOUT_DRIFTS = f"""
What a drifted number may mean. Compared by every digit, it differs because code, a recipe, data or a
package has changed. Compared statistically, this run rounded otherwise than the recorded one (another
processor, or --native), and networks ended elsewhere, but {_MOST} of such runs stay within the
interval: one number may be outside by chance, several mean a change, too.
What to do. Look at the copies in build/executed/, at `git status`, and at `pip list` beside
constraints.txt. Until it is explained, do not rely on what a notebook's text says about that number. If
the new one is right, `r21d reproduce NAME --record` makes it the one to agree with.
"""
_ABOUT_SPREAD = f"""
No spread recorded: this run rounded otherwise than the recorded one (another processor, or --native),
and with fewer than {comparison.FEWEST_DRAWS} recorded draws nobody can tell how far off trained
numbers may be. They were not compared; all others were. `r21d reproduce --draws N` records N draws.
"""


def write_suite(outcomes: Sequence[Outcome], path: Path, *, profile: str) -> None:
    """Write what became of each notebook, its seconds and its kernel's peak memory, as JSON."""
    rows = {
        o.name: {"status": o.status, "seconds": round(o.seconds, 1), "peak_mb": o.peak_mb}
        for o in outcomes
    }
    origin = results.provenance(profile=profile)
    for outcome in outcomes:
        origin |= outcome.arithmetic  # the kernels', which is not this process's
    content = {"notebooks": rows, "provenance": origin}
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
    seconds = sum(o.seconds for o in outcomes)
    passed = sum(o.status == "passed" for o in outcomes)
    closing = f"{passed} of {len(outcomes)} notebooks passed in {seconds / 60:.1f} minutes"
    notes = []
    if any(o.status == "drifted" for o in outcomes):
        notes.append(_ABOUT_DRIFTS)
    if any(o.comparison == comparison.NO_SPREAD for o in outcomes):
        notes.append(_ABOUT_SPREAD)
    computed = dict.fromkeys(
        "instructions {instruction_set}, threads {threads}, fingerprint {fingerprint}".format(
            **o.arithmetic
        )
        for o in outcomes
        if o.arithmetic
    )
    return "\n".join([rows.to_string(index=False), *computed, *problems, *notes, closing])


def _parameters(folder: Path, name: str, profile: str, more: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters for one notebook: the profile, a fresh run, and those given it has."""
    import papermill

    path = folder / f"{name}.ipynb"
    if not path.is_file():
        raise SettingsError(f"no notebook {path}: restore it from git")
    known = papermill.inspect_notebook(str(path))
    wanted = {"profile": profile, "fresh": True, **more}
    return {key: value for key, value in wanted.items() if key in known}


def _run(
    folder: Path,
    name: str,
    parameters: dict[str, Any],
    output: Path,
    recorded: Path | None,
    *,
    timeout: int,
    progress: bool,
) -> Outcome:
    """Execute one notebook, check its numbers, and put its copy and its page in place, whole."""
    executed = output / "executed" / f"{name}.ipynb"
    stale = output / "results" / f"{name}.json"
    stale.unlink(missing_ok=True)
    tqdm.write(f"running {name}")
    started = time.perf_counter()
    with whole_file(executed) as partial:
        copies.write_with_solutions(folder / f"{name}.ipynb", partial)
        outcome = Outcome(name, "passed")
        _execute(partial, outcome, folder, parameters, output / "results", timeout, progress)
        outcome.seconds = time.perf_counter() - started
        if outcome.status == "passed":
            _check(outcome, output, recorded)
        copies.finish(partial, status=outcome.status, comparison=outcome.comparison)
    copies.write_page(executed, output / "html" / f"{name}.html")
    return outcome


def _execute(
    copy: Path,
    outcome: Outcome,
    folder: Path,
    parameters: dict[str, Any],
    numbers: Path,
    timeout: int,
    progress: bool,
) -> None:
    """Run a notebook's copy in place, in a kernel of its own; the outcome says if it failed."""
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    logging.getLogger("papermill").setLevel(logging.ERROR)
    try:
        with environment({results.RESULTS_VARIABLE: str(numbers.resolve())}):
            papermill.execute_notebook(
                str(copy),
                str(copy),
                parameters=parameters,
                cwd=str(folder),
                kernel_name="python3",
                progress_bar=progress,
                execution_timeout=timeout,
                start_timeout=120,
            )
    except papermill.PapermillExecutionError as error:
        outcome.status = "failed"
        outcome.problems.append(f"cell {error.exec_count}: {error.ename}: {error.evalue}")
    except (CellTimeoutError, DeadKernelError) as error:
        outcome.status = "failed"
        outcome.problems.append(f"{type(error).__name__}: {str(error).splitlines()[0]}")


def _check(outcome: Outcome, output: Path, recorded: Path | None) -> None:
    """Check a passed notebook's memory and numbers; its status says if they are not right."""
    try:
        measured = results.read_results(output / "results" / f"{outcome.name}.json")
        origin = measured["provenance"]
        outcome.peak_mb = origin["peak_mb"]
        outcome.arithmetic = {key: origin[key] for key in _ARITHMETIC}
        if outcome.peak_mb is not None and outcome.peak_mb > MEMORY_LIMIT_MB and recorded is not None:
            outcome.problems.append(
                f"its kernel used {outcome.peak_mb} MB of {MEMORY_LIMIT_MB} allowed"
            )
        if recorded is not None:
            expected = results.read_results(recorded / f"{outcome.name}.json")
            compared = comparison.compare(expected, measured)
            outcome.comparison, outcome.compared = compared.how, compared.compared
            outcome.problems += compared.drifts
    except R21DError as error:
        outcome.problems.append(str(error))
    if outcome.problems:
        outcome.status = "drifted"


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables for the kernels that are started inside."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
