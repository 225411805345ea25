"""Several notebooks at a time: none before its needs, each in its folder, an end to all at once."""

import signal
import subprocess
import sys
import time

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from r21d_lib.suite import runner
from r21d_lib.suite.results import read_results

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
RECORDS = (
    "from r21d_lib.suite.results import write_results\n"
    "write_results('{0}', {{}}, profile='figures', seed=0)"
)
MEETS = (
    "import time\nfrom pathlib import Path\nPath('{0}.here').touch()\n"
    "while not Path('{1}.here').exists(): time.sleep(0.02)\n" + RECORDS
)


def write(folder, **codes):
    folder.mkdir()
    for name, code in codes.items():
        nbformat.write(
            new_notebook(cells=[new_code_cell(code)], metadata=KERNEL), folder / f"{name}.ipynb"
        )


@pytest.mark.thorough
def test_two_run_at_once_in_their_folder_and_a_third_after_its_needs(tmp_path):
    after = "from pathlib import Path\nassert Path('a.here').exists()\n" + RECORDS
    write(
        tmp_path / "notebooks",
        a=MEETS.format("a", "b"),
        b=MEETS.format("b", "a"),
        c=after.format("c"),
        **{runner.LEDGER: RECORDS.format(runner.LEDGER)},
    )
    before = sys.path[:], tmp_path.cwd()
    outcomes = runner.reproduce(
        notebooks={runner.LEDGER: (), "a": (), "b": (), "c": ("a",)},
        folder=tmp_path / "notebooks",
        output=tmp_path / "build",
        compare=False,
        jobs=2,
    )
    names = [runner.LEDGER, "a", "b", "c"]
    assert [(o.name, o.status, o.problems) for o in outcomes] == [(n, "passed", []) for n in names]
    assert (sys.path[:], tmp_path.cwd()) == before
    ledger, a, _, c = outcomes
    assert c.started >= a.started + a.seconds
    assert ledger.started >= max(o.started + o.seconds for o in outcomes[1:])
    took = ledger.started + ledger.seconds - min(o.started for o in outcomes)
    assert took < sum(o.seconds for o in outcomes)
    runner.write_suite(outcomes, tmp_path / "suite.json", profile="figures")
    assert read_results(tmp_path / "suite.json")["minutes"] == round(took / 60, 1)


def test_one_at_a_time_if_asked_and_first_what_others_wait_for(tmp_path):
    write(tmp_path / "notebooks", **{name: RECORDS.format(name) for name in "abc"})
    outcomes = runner.reproduce(
        notebooks={"a": (), "b": (), "c": ("b",)},
        folder=tmp_path / "notebooks",
        output=tmp_path / "build",
        compare=False,
        progress=False,
        jobs=1,
    )
    assert [o.name for o in outcomes] == ["a", "b", "c"]
    b, a, c = sorted(outcomes, key=lambda o: o.started)
    assert (b.name, a.name, c.name) == ("b", "a", "c")
    assert b.started + b.seconds <= a.started
    assert a.started + a.seconds <= c.started


@pytest.mark.parametrize(
    ("cores", "gigabytes", "jobs"),
    [(1, 64, 1), (2, 64, 2), (2, 6, 1), (16, 64, 8), (16, 16, 3), (2, 1, 1)],
)
def test_as_many_as_cores_and_memory_hold(monkeypatch, cores, gigabytes, jobs):
    memory = psutil.virtual_memory()._replace(available=gigabytes * 2**30)
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
    assert runner.jobs_here() == jobs


INTERRUPTED = """
import sys
from pathlib import Path
from r21d_lib.suite import runner
root = Path(sys.argv[1])
runner.reproduce(notebooks={"a": (), "b": ()}, folder=root / "notebooks", output=root / "build",
                 compare=False, progress=False, jobs=2)
"""


@pytest.mark.thorough
def test_an_interruption_ends_all_and_keeps_earlier_copies(tmp_path):
    code = "import time\nfrom pathlib import Path\nPath('{0}.here').touch()\ntime.sleep(600)"
    write(tmp_path / "notebooks", a=code.format("a"), b=code.format("b"))
    earlier = tmp_path / "build" / "executed" / "a.ipynb"
    earlier.parent.mkdir(parents=True)
    earlier.write_text("an earlier run's")
    running = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not all((tmp_path / "notebooks" / f"{name}.here").exists() for name in "ab"):
        assert time.monotonic() < deadline
        assert running.poll() is None
        time.sleep(0.1)
    kernels = psutil.Process(running.pid).children(recursive=True)
    assert len(kernels) >= 2
    running.send_signal(signal.SIGINT)
    try:
        _, said = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode != 0
    assert "KeyboardInterrupt" in said
    _, alive = psutil.wait_procs(kernels, timeout=20)
    assert not alive
    assert earlier.read_text() == "an earlier run's"
    assert [p.name for p in earlier.parent.iterdir()] == ["a.ipynb"]
