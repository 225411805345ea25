"""Runs the notebooks in order, headlessly, and checks their numbers: what `r21d reproduce` does."""

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

from tqdm.auto import tqdm

from r21d_lib.errors import R21DError, SettingsError
from r21d_lib.files import BUILD, only_writer, whole_file
from r21d_lib.models.fast import ENGINE_VARIABLE
from r21d_lib.suite import arithmetic, comparison, copies, results
from r21d_lib.suite.outcomes import Outcome, table, write_suite
from r21d_lib.suite.profiles import get_profile
from r21d_lib.suite.repository import NOTEBOOK_FOLDER, RECORDED

# In the order in which they are read; each with the notebooks whose files it reads.
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
LEDGER = "10_the_ledger"  # runs last: it reads what the others measured, or else what was recorded
SUITE = BUILD / "suite.json"
MEMORY_LIMIT_MB = 2500
_MEMORY_OF_ONE_MB = 5000  # free: a notebook's kernel, and the two processes in which it trains
CELL_TIMEOUT_S = {"figures": 1800, "hmdb51": 7 * 24 * 3600}
_ARITHMETIC = ("instruction_set", "threads", "fingerprint")  # of a results file's provenance


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
    jobs: int | None = None,
    progress: bool = True,
) -> list[Outcome]:
    """Execute notebooks, each in its own kernel, and compare the numbers they write.

    Several run at a time, none before those it needs. A failure stops the notebooks that need the
    failed one, not the others. Executed copies go to `output`/executed, pages to `output`/html, numbers
    to `output`/results.

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
        jobs: notebooks at a time; None takes `jobs_here`. The numbers are the same with any.
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
    output.mkdir(parents=True, exist_ok=True)
    numbers, changed = output / "results", _changed(parameters)
    with only_writer(output):
        variables = {
            **({} if native else arithmetic.pinned()),
            # The recorded numbers are torch's; another engine would round otherwise.
            ENGINE_VARIABLE: "torch",
            results.FINGERPRINT_VARIABLE: arithmetic.fingerprint_of(native=native),
            results.RESULTS_VARIABLE: str(numbers.resolve()),
            results.PARAMETERS_VARIABLE: json.dumps(changed),
        }
        stop = threading.Event()
        with mock.patch.dict(os.environ, variables):
            return _run_in_turn(
                {name: [need for need in notebooks[name] if need in chosen] for name in chosen},
                lambda name: _run(
                    folder,
                    name,
                    given[name],
                    output,
                    recorded if compare and profile == "figures" and not changed else None,
                    timeout=CELL_TIMEOUT_S[profile],
                    progress=progress,
                    stop=stop,
                ),
                jobs or jobs_here(),
                stop,
            )


def jobs_here() -> int:
    """Return how many notebooks to run at a time: one where there is a GPU, or one core.

    Otherwise half as many as cores, at least two, since those that train use two processes each; and
    no more than fit into the memory that is free.
    """
    import psutil
    import torch

    cores = os.cpu_count() or 1
    fit = psutil.virtual_memory().available // (_MEMORY_OF_ONE_MB * 2**20)
    alone = torch.accelerator.is_available() or cores == 1
    return 1 if alone else max(min(max(cores // 2, 2), fit), 1)


def _run_in_turn(
    needs: Mapping[str, Sequence[str]],
    run: Callable[[str], Outcome],
    jobs: int,
    stop: threading.Event,
) -> list[Outcome]:
    """Run notebooks, `jobs` at a time, each after those it needs; one whose need fell is skipped.

    Interrupted, it sets `stop` and ends their kernels.

    Returns:
        Their outcomes, in the order of `needs`.
    """
    import psutil

    others = set(psutil.Process().children(recursive=True))
    outcomes: dict[str, Outcome] = {}
    running: dict[Future[Outcome], str] = {}
    # What others wait for starts first, so that no long notebook is left to run alone at the end.
    waiting = sorted(needs, key=lambda name: -sum(name in needed for needed in needs.values()))
    with ThreadPoolExecutor(jobs) as pool:
        try:
            while waiting or running:
                for name in list(waiting):
                    known = [outcomes[need] for need in needs[name] if need in outcomes]
                    fallen = [o.name for o in known if o.status in ("failed", "skipped")]
                    early = name == LEDGER and len(outcomes) < len(needs) - 1
                    if fallen:
                        problem = f"it needs {fallen[0]}, which did not pass"
                        outcomes[name] = Outcome(name, "skipped", problems=[problem])
                    elif len(known) == len(needs[name]) and len(running) < jobs and not early:
                        running[pool.submit(run, name)] = name
                    else:
                        continue
                    waiting.remove(name)
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    outcomes[running.pop(future)] = future.result()
        except BaseException:
            stop.set()
            # A thread that waits for its kernel, or is just starting it, cannot be ended otherwise.
            while wait(running, timeout=0.5).not_done:
                for child in set(psutil.Process().children(recursive=True)) - others:
                    with suppress(psutil.NoSuchProcess):
                        child.kill()
            raise
    return [outcomes[name] for name in needs]


def main(
    names: Sequence[str] | None = None,
    *,
    profile: str = "figures",
    parameters: Mapping[str, Any] | None = None,
    record: bool = False,
    publish: bool = False,
    native: bool = False,
    jobs: int | None = None,
) -> int:
    """Run `reproduce`, print its table, and return the exit status: 0 if all passed, 1 otherwise.

    A run of all notebooks leaves times and memory in build/suite.json, for benchmarks/suite.py.
    """
    other = profile != "figures" or _changed(parameters)
    if (record or publish) and (other or (record and native)):
        raise SettingsError(
            "only the unchanged profile figures is recorded or published: leave --record, --publish out"
        )
    outcomes = reproduce(
        names, profile=profile, parameters=parameters, compare=not record, native=native, jobs=jobs
    )
    for outcome in outcomes:
        if outcome.status == "passed" and record:
            file = f"{outcome.name}.json"
            made_by = copies.identity(outcome.name, NOTEBOOKS[outcome.name], NOTEBOOK_FOLDER)
            dropped = comparison.record(BUILD / "results" / file, RECORDED / file, made_by=made_by)
            if dropped:
                print(f"{outcome.name}: numbers changed, so {dropped} draws of the old ones are gone")
            executed = BUILD / "executed" / f"{outcome.name}.ipynb"
            copies.finish(executed, status=outcome.status, comparison="recorded")
        if outcome.status == "passed" and publish:
            copies.publish_notebook(BUILD / "executed" / f"{outcome.name}.ipynb", NOTEBOOK_FOLDER)
    if not names:
        write_suite(outcomes, SUITE, profile=profile)
    print(table(outcomes))
    return exit_status(outcomes)


def exit_status(outcomes: Sequence[Outcome]) -> int:
    """Return 0 if all notebooks passed, 1 otherwise."""
    return int(any(outcome.status != "passed" for outcome in outcomes))


def _changed(parameters: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the parameters that make a run another than the recorded one: all but `fresh`."""
    return {key: value for key, value in (parameters or {}).items() if key != "fresh"}


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
    stop: threading.Event,
) -> Outcome:
    """Execute one notebook, check its numbers, and put its copy and its page in place, whole.

    Raises:
        CancelledError: if `stop` was set meanwhile; copy and page stay what they were.
    """
    executed = output / "executed" / f"{name}.ipynb"
    stale = output / "results" / f"{name}.json"
    stale.unlink(missing_ok=True)
    tqdm.write(f"running {name}")
    started = time.perf_counter()
    with whole_file(executed) as partial:
        copies.write_with_solutions(folder / f"{name}.ipynb", partial)
        outcome = Outcome(name, "passed", started=started)
        _execute(partial, outcome, folder, parameters, timeout, progress)
        outcome.seconds = time.perf_counter() - started
        if stop.is_set():
            raise CancelledError
        if outcome.status == "passed":
            _check(outcome, output, recorded)
        copies.finish(partial, status=outcome.status, comparison=outcome.comparison)
    copies.write_page(executed, output / "html" / f"{name}.html")
    tqdm.write(f"{name} {outcome.status} after {outcome.seconds:.0f} s")
    return outcome


def _execute(
    copy: Path,
    outcome: Outcome,
    folder: Path,
    parameters: dict[str, Any],
    timeout: int,
    progress: bool,
) -> None:
    """Run a notebook's copy in place, in a kernel of its own; the outcome says if it failed."""
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from traitlets.config import Config

    logging.getLogger("papermill").setLevel(logging.ERROR)
    try:
        papermill.execute_notebook(
            str(copy.resolve()),
            str(copy.resolve()),
            parameters=parameters,
            kernel_name="python3",
            # papermill's own `cwd` would change the folder of this process, in which others run.
            resources={"metadata": {"path": str(folder.resolve())}},
            # Without it a kernel of ipykernel 7.4 warns that others may read what it is sent.
            config=Config(KernelManager={"transport_encryption": "auto"}),
            progress_bar={"desc": outcome.name, "leave": False} if progress else False,
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
