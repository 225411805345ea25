"""Runs the notebooks in order, headlessly, and checks their numbers: what `r21d reproduce` does."""

import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from r21d_lib.errors import R21DError, SettingsError
from r21d_lib.files import BUILD, REPOSITORY, whole_file
from r21d_lib.suite import arithmetic, results
from r21d_lib.suite.profiles import get_profile

NOTEBOOK_FOLDER = REPOSITORY / "notebooks"
# In the order in which they run; each with the notebooks whose files it reads.
NOTEBOOKS: dict[str, tuple[str, ...]] = {
    "00_start_here": (),
    "01_videos_become_clips": (),
    "02_spatiotemporal_convolutions": (),
    "03_the_networks": (),
    "04_the_race": ("00_start_here",),
    "05_checkpoints": (),
    "06_finetune_hmdb51": ("00_start_here",),
    "07_evaluate_hmdb51": ("06_finetune_hmdb51",),
    "08_does_it_see_motion": ("04_the_race",),
    "09_inside_the_network": ("04_the_race",),
    "10_the_ledger": (),
}
SUITE = BUILD / "suite.json"
MEMORY_LIMIT_MB = 2500
CHECKSUM = "code_sha256"  # in a published notebook's metadata
CELL_TIMEOUT_S = {"figures": 1800, "hmdb51": 7 * 24 * 3600}
# The solutions of the exercises are folded away in the text. They are run after the last cell.
_SOLUTION = re.compile(r"<details>.*?```python\n(.*?)```.*?</details>", re.DOTALL)


@dataclass
class Outcome:
    """What became of one notebook: "passed", "failed", "drifted" or "skipped", and why."""

    name: str
    status: str
    seconds: float = 0.0
    peak_mb: int | None = None
    compared: int = 0
    problems: list[str] = field(default_factory=list)


def reproduce(
    names: Sequence[str] | None = None,
    *,
    profile: str = "figures",
    parameters: Mapping[str, Any] | None = None,
    notebooks: Mapping[str, tuple[str, ...]] = NOTEBOOKS,
    folder: Path = NOTEBOOK_FOLDER,
    output: Path = BUILD,
    recorded: Path = results.RECORDED,
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
        SettingsError: for an unknown notebook, profile or parameter, before anything runs.
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
    variables = {
        **({} if native else arithmetic.pinned()),
        arithmetic.FINGERPRINT_VARIABLE: arithmetic.fingerprint_of(native=native),
    }
    outcomes: list[Outcome] = []
    stopped: set[str] = set()
    for name in chosen:
        needed = [need for need in notebooks[name] if need in stopped]
        if needed:
            outcome = Outcome(name, "skipped", problems=[f"it needs {needed[0]}, which did not pass"])
        else:
            with _environment(variables):
                outcome = _run(folder, name, given[name], output, CELL_TIMEOUT_S[profile], progress)
            if outcome.status == "passed":
                comparable = compare and profile == "figures" and not parameters
                _check(outcome, output, recorded if comparable else None)
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
            results.record(BUILD / "results" / file, results.RECORDED / file)
        if outcome.status == "passed" and publish:
            publish_notebook(BUILD / "executed" / f"{outcome.name}.ipynb", NOTEBOOK_FOLDER)
    if not names:
        write_suite(outcomes, SUITE, profile=profile)
    print(table(outcomes))
    return 0 if all(outcome.status == "passed" for outcome in outcomes) else 1


def write_suite(outcomes: Sequence[Outcome], path: Path, *, profile: str) -> None:
    """Write what became of each notebook, its seconds and its kernel's peak memory, as JSON."""
    rows = {
        o.name: {"status": o.status, "seconds": round(o.seconds, 1), "peak_mb": o.peak_mb}
        for o in outcomes
    }
    content = {"notebooks": rows, "provenance": results.provenance(profile=profile)}
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
        }
    )
    problems = [f"{o.name}: {problem}" for o in outcomes for problem in o.problems]
    seconds = sum(o.seconds for o in outcomes)
    passed = sum(o.status == "passed" for o in outcomes)
    closing = f"{passed} of {len(outcomes)} notebooks passed in {seconds / 60:.1f} minutes"
    return "\n".join([rows.to_string(index=False), *problems, closing])


def publish_notebook(executed: Path, folder: Path) -> None:
    """Write an executed notebook back into `folder` with its texts and pictures, without its noise.

    It keeps a checksum of its code, so that a later change without a run is noticed.
    """
    import nbformat

    notebook = clean(nbformat.read(executed, as_version=4))
    notebook.metadata[CHECKSUM] = checksum(notebook)
    with whole_file(folder / executed.name) as partial:
        nbformat.write(notebook, partial)


def checksum(notebook: Any) -> str:
    """Return the SHA-256 of a notebook's code, its solutions included."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\n\n".join([*code, *solutions(notebook)]).encode()).hexdigest()


def clean(notebook: Any) -> Any:
    """Remove from a notebook what changes from run to run: counts, times, widget states, bars."""
    kept_metadata = {k: v for k, v in notebook.metadata.items() if k == CHECKSUM}
    notebook.metadata = {
        **kept_metadata,
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    kept = []
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if "injected-parameters" in tags:
            continue
        cell.metadata = {"tags": tags} if tags else {}
        if cell.cell_type == "code":
            cell.execution_count = None
            cell.outputs = [o for o in cell.outputs if _is_kept(o)]
            for output in cell.outputs:
                output.pop("execution_count", None)
                if output.output_type == "execute_result":
                    output["execution_count"] = None
        kept.append(cell)
    notebook.cells = kept
    return notebook


def _is_kept(output: Any) -> bool:
    """Tell a result from noise: standard error holds bars, a widget shows nothing without a kernel."""
    if output.output_type == "stream":
        return output.name == "stdout"
    return "application/vnd.jupyter.widget-view+json" not in output.get("data", {})


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
    folder: Path, name: str, parameters: dict[str, Any], output: Path, timeout: int, progress: bool
) -> Outcome:
    """Execute one notebook and write its copy and its page."""
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    logging.getLogger("papermill").setLevel(logging.ERROR)
    executed = output / "executed" / f"{name}.ipynb"
    executed.parent.mkdir(parents=True, exist_ok=True)
    stale = output / "results" / f"{name}.json"
    stale.unlink(missing_ok=True)
    tqdm.write(f"running {name}")
    started = time.perf_counter()
    outcome = Outcome(name, "passed")
    _write_with_solutions(folder / f"{name}.ipynb", executed)
    try:
        with _environment({results.RESULTS_VARIABLE: str((output / "results").resolve())}):
            papermill.execute_notebook(
                str(executed),
                str(executed),
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
    outcome.seconds = time.perf_counter() - started
    if outcome.status == "passed":
        _remove_solutions(executed)
    _write_page(executed, output / "html" / f"{name}.html")
    return outcome


def solutions(notebook: Any) -> list[str]:
    """Return the code of the exercises' solutions, in order."""
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    return [code for text in texts for code in _SOLUTION.findall(text)]


def _write_with_solutions(path: Path, to: Path) -> None:
    """Copy a notebook and append a cell for each solution, whose assertions are thereby checked."""
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    for code in solutions(notebook):
        cell = nbformat.v4.new_code_cell(code.rstrip(), metadata={"tags": ["solution"]})
        notebook.cells.append(cell)
    nbformat.write(notebook, to)


def _remove_solutions(executed: Path) -> None:
    """Take the appended cells away again: a reader finds the solutions where the questions are."""
    import nbformat

    notebook = nbformat.read(executed, as_version=4)
    kept = [c for c in notebook.cells if "solution" not in c.metadata.get("tags", [])]
    notebook.cells = kept
    with whole_file(executed) as partial:
        nbformat.write(notebook, partial)


def _write_page(executed: Path, page: Path) -> None:
    from nbconvert import HTMLExporter

    html, _ = HTMLExporter().from_filename(str(executed))
    with whole_file(page) as partial:
        partial.write_text(html, encoding="utf-8")


def _check(outcome: Outcome, output: Path, recorded: Path | None) -> None:
    """Check a passed notebook's memory and numbers; its status says if they are not right."""
    try:
        measured = results.read_results(output / "results" / f"{outcome.name}.json")
        outcome.peak_mb = measured["provenance"]["peak_mb"]
        if outcome.peak_mb is not None and outcome.peak_mb > MEMORY_LIMIT_MB and recorded is not None:
            outcome.problems.append(
                f"its kernel used {outcome.peak_mb} MB of {MEMORY_LIMIT_MB} allowed"
            )
        if recorded is not None:
            expected = results.read_results(recorded / f"{outcome.name}.json")
            outcome.compared = results.count(expected)
            outcome.problems += results.compare(expected, measured)
    except R21DError as error:
        outcome.problems.append(str(error))
    if outcome.problems:
        outcome.status = "drifted"


@contextmanager
def _environment(variables: Mapping[str, str]):  # type: ignore[no-untyped-def]
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
