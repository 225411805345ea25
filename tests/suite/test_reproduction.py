"""The runner, on small notebooks that it really executes: order, failures, drift, parameters."""

import json
import os
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from r21d_lib import files
from r21d_lib.errors import SettingsError
from r21d_lib.files import only_writer
from r21d_lib.suite import arithmetic, copies, draws, runner

TABLE = {"a_good": (), "b_bad": (), "c_needs_bad": ("b_bad",), "d_needs_good": ("a_good",)}
CODE = {
    "a_good": "from r21d_lib.suite.results import write_results\n"
    "write_results('a_good', {'twice': 2 * number}, profile=profile, seed=0)",
    "b_bad": "raise ValueError('it broke')",
    "c_needs_bad": "1",
    "d_needs_good": "from r21d_lib.suite.results import write_results\n"
    "write_results('d_needs_good', {'x': 0.5}, profile=profile, seed=0)",
}


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    root = tmp_path_factory.mktemp("suite")
    (root / "notebooks").mkdir()
    (root / "recorded").mkdir()
    for name, code in CODE.items():
        first = new_code_cell("profile: str = 'figures'\nnumber: int = 3")
        first.metadata["tags"] = ["parameters"]
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        notebook = new_notebook(cells=[first, new_code_cell(code)], metadata=kernel)
        nbformat.write(notebook, root / "notebooks" / f"{name}.ipynb")
    for name, values in (("a_good", {"twice": 6}), ("d_needs_good", {"x": 0.7})):
        (root / "recorded" / f"{name}.json").write_text(json.dumps({"values": values}))
    return root


def run(suite, names=None, **options):
    return runner.reproduce(
        names,
        notebooks=TABLE,
        folder=suite / "notebooks",
        output=suite / "build",
        recorded=suite / "recorded",
        progress=False,
        **options,
    )


def test_a_failure_stops_its_dependants_and_a_drift_is_seen(suite):
    outcomes = {o.name: o for o in run(suite)}
    assert {name: o.status for name, o in outcomes.items()} == {
        "a_good": "passed",
        "b_bad": "failed",
        "c_needs_bad": "skipped",
        "d_needs_good": "drifted",
    }
    assert "ValueError: it broke" in outcomes["b_bad"].problems[0]
    assert "x: recorded 0.7, measured 0.5" in outcomes["d_needs_good"].problems[0]
    assert outcomes["a_good"].compared == 1
    assert outcomes["a_good"].peak_mb > 20
    for folder, suffix in (("executed", "ipynb"), ("html", "html")):
        assert (suite / "build" / folder / f"a_good.{suffix}").stat().st_size > 500
    text = runner.table(list(outcomes.values()))
    assert "1 of 4 notebooks passed" in text
    fingerprint = arithmetic.fingerprint_of(native=False)
    assert text.count(f", threads 1, fingerprint {fingerprint}\n") == 1
    runner.write_suite(list(outcomes.values()), suite / "suite.json", profile="figures")
    assert json.loads((suite / "suite.json").read_text())["provenance"]["fingerprint"] == fingerprint
    (row,) = [line for line in text.splitlines() if line.startswith("d_needs_good ")]
    assert row.endswith("every digit")
    assert "What a drifted number may mean" in text
    assert "No spread recorded" not in text
    for name in ("a_good", "b_bad", "d_needs_good"):
        executed = nbformat.read(suite / "build" / "executed" / f"{name}.ipynb", as_version=4)
        assert copies.status_of(executed) == outcomes[name].status
    assert ": ValueError: it broke" in text


def test_numbers_of_another_arithmetic_are_compared_by_draws_if_there_are_any(suite, tmp_path):
    draws = [{"seed": k, "fingerprint": "there", "values": {"x": 0.7 + 0.01 * k}} for k in (1, 2)]
    for recorded, status, how in (
        ({"draws": draws}, "passed", "statistical, 3 draws"),
        ({}, "passed", "no spread recorded"),
        ({"draws": [{**d, "values": {"x": 0.7}} for d in draws]}, "drifted", "statistical, 3 draws"),
    ):
        content = {"values": {"x": 0.7}, "provenance": {"fingerprint": "there"}, "trained": ["x"]}
        (tmp_path / "d_needs_good.json").write_text(json.dumps({**content, **recorded}))
        (outcome,) = runner.reproduce(
            ["d_needs_good"],
            notebooks=TABLE,
            folder=suite / "notebooks",
            output=tmp_path / "build",
            recorded=tmp_path,
            progress=False,
        )
        assert (outcome.status, outcome.comparison) == (status, how), outcome.problems
        assert ("No spread recorded" in runner.table([outcome])) == (how == "no spread recorded")


def test_a_second_run_in_the_same_folder_is_refused_in_one_line(suite, tmp_path):
    message = r"another r21d command is writing into [^\n]*$"
    with only_writer(suite / "build"), pytest.raises(SettingsError, match=message):
        run(suite, ["a_good"])
    (outcome,) = run(suite, ["a_good"])
    assert outcome.status == "passed"


OTHER = """
import sys
from pathlib import Path
from r21d_lib.errors import R21DError
from r21d_lib.suite import runner
root = Path(sys.argv[1])
print("ready", flush=True)
try:
    runner.reproduce(
        notebooks={"a_good": ()},
        folder=root / "notebooks",
        output=root / "build",
        recorded=root / "recorded",
        progress=False,
    )
except R21DError as error:
    sys.exit(f"error: {error}")
"""


@pytest.mark.slow
def test_of_two_processes_at_once_one_is_refused_or_waits(suite, monkeypatch):
    monkeypatch.setattr(files, "_SECONDS_TO_WAIT", 0.1)
    other = subprocess.Popen(
        [sys.executable, "-c", OTHER, str(suite)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert other.stdout.readline() == "ready\n"
    told = []
    try:
        run(suite, ["a_good"])
    except SettingsError as error:
        told.append(str(error))
    _, said = other.communicate(timeout=120)
    assert "Traceback" not in said
    told += [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(told) < 2
    assert all("another r21d command is writing into" in line for line in told)
    assert (other.returncode == 0) == ("error: " not in said)
    executed = nbformat.read(suite / "build" / "executed" / "a_good.ipynb", as_version=4)
    assert copies.status_of(executed) == "passed"
    assert json.loads((suite / "build/results/a_good.json").read_text())["values"] == {"twice": 6}


def write_notebooks(folder, **codes):
    """Write notebooks of one parameters cell and one other."""
    folder.mkdir()
    for name, code in codes.items():
        first = new_code_cell(
            "profile: str = 'figures'\nseed: int = 0", metadata={"tags": ["parameters"]}
        )
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        notebook = new_notebook(cells=[first, new_code_cell(code)], metadata=kernel)
        nbformat.write(notebook, folder / f"{name}.ipynb")


def test_a_copy_is_not_in_its_place_before_it_is_whole(tmp_path):
    code = """from pathlib import Path
from r21d_lib.suite.results import write_results
there = [str(p) for p in Path('../build/executed').iterdir() if not p.name.startswith('.')]
write_results('one', {'there': there}, profile=profile, seed=seed)"""
    write_notebooks(tmp_path / "notebooks", one=code)
    (outcome,) = runner.reproduce(
        notebooks={"one": ()},
        folder=tmp_path / "notebooks",
        output=tmp_path / "build",
        compare=False,
        progress=False,
    )
    assert outcome.status == "passed", outcome.problems
    written = json.loads((tmp_path / "build" / "results" / "one.json").read_text())
    assert written["values"] == {"there": []}
    assert [p.name for p in (tmp_path / "build" / "executed").iterdir()] == ["one.ipynb"]


TRAINER = """from r21d_lib.files import BUILD
from r21d_lib.suite.results import write_results
(BUILD / 'runs').mkdir(exist_ok=True)
(BUILD / 'runs' / 'one').write_text(str(seed))
assert seed < 3
write_results('trainer', {'accuracy': 0.5 + seed / 100, 'videos': 7}, profile=profile, seed=seed)"""
READER = """from r21d_lib.files import BUILD
from r21d_lib.suite.results import write_results
found = int((BUILD / 'runs' / 'one').read_text())
write_results('reader', {'found': found}, profile=profile, seed=seed)"""


@pytest.mark.thorough
def test_draws_are_made_once_recorded_and_end_at_a_failure(tmp_path):
    write_notebooks(tmp_path / "notebooks", trainer=TRAINER, reader=READER, plain="1")
    (tmp_path / "recorded").mkdir()
    for name, values, trained in (
        ("trainer", {"accuracy": 0.5, "videos": 7}, ["accuracy"]),
        ("reader", {"found": 0}, ["found"]),
        ("plain", {}, []),
    ):
        content = {"values": values, "provenance": {}, "trained": trained}
        (tmp_path / "recorded" / f"{name}.json").write_text(json.dumps(content))

    def make(count, names=None):
        outcomes = draws.make_draws(
            count,
            names,
            notebooks={"plain": (), "trainer": ("plain",), "reader": ("trainer",)},
            folder=tmp_path / "notebooks",
            output=tmp_path / "build",
            recorded=tmp_path / "recorded",
            progress=False,
        )
        return [(o.name, o.status) for o in outcomes]

    def recorded(name):
        content = json.loads((tmp_path / "recorded" / f"{name}.json").read_text())
        return {draw["seed"]: draw["values"] for draw in content.get("draws", [])}

    assert make(1) == [("trainer, seed 1", "passed"), ("reader, seed 1", "passed")]
    assert make(3, ["reader"]) == [
        ("trainer, seed 2", "passed"),
        ("reader, seed 2", "passed"),
        ("trainer, seed 3", "failed"),
    ]
    assert recorded("trainer") == {1: {"accuracy": 0.51}, 2: {"accuracy": 0.52}}
    assert recorded("reader") == {1: {"found": 1}, 2: {"found": 2}}
    assert make(2) == []
    write_notebooks(tmp_path / "changed", reader=READER + "\n")
    (tmp_path / "changed" / "reader.ipynb").rename(tmp_path / "notebooks" / "reader.ipynb")
    assert make(2) == [("reader, seed 1", "passed"), ("reader, seed 2", "passed")]
    with pytest.raises(SettingsError, match="notebooks that train: choose trainer, reader"):
        make(2, ["plain"])
    with pytest.raises(SettingsError, match="--draws 0"):
        make(0)


def folded(code):
    return (
        f"1. A question?\n\n<details><summary>Solution</summary>\n\n```python\n{code}\n```\n</details>"
    )


@pytest.mark.parametrize(("code", "status"), [("assert number == 3", "passed"), ("assert 0", "failed")])
def test_solutions_are_run_after_the_notebook_and_stay_folded(suite, tmp_path, code, status):
    notebook = nbformat.read(suite / "notebooks" / "a_good.ipynb", as_version=4)
    notebook.cells.append(new_markdown_cell(folded(code)))
    (tmp_path / "notebooks").mkdir()
    nbformat.write(notebook, tmp_path / "notebooks" / "a_good.ipynb")
    assert copies.solutions(notebook) == [f"{code}\n"]
    (outcome,) = runner.reproduce(
        ["a_good"],
        notebooks={"a_good": ()},
        folder=tmp_path / "notebooks",
        output=tmp_path / "build",
        recorded=suite / "recorded",
        progress=False,
    )
    assert outcome.status == status, outcome.problems
    executed = nbformat.read(tmp_path / "build" / "executed" / "a_good.ipynb", as_version=4)
    appended = [c for c in executed.cells if "solution" in c.metadata.get("tags", [])]
    assert len(appended) == (status == "failed")


ARITHMETIC = """import os, torch
from r21d_lib.suite.results import write_results
names = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_CBWR", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
values = {name: os.environ.get(name, "") for name in names}
values["capability"] = torch.backends.cpu.get_cpu_capability()
values["threads"] = torch.get_num_threads()
write_results("arithmetic", values, profile=profile, seed=0)"""


@pytest.mark.parametrize("native", [False, True])
def test_kernels_compute_alike_everywhere_unless_asked_not_to(suite, tmp_path, monkeypatch, native):
    """The variables count only if they are there before torch is imported."""
    pinned = arithmetic.pinned()
    for name in ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_CBWR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("MKL_NUM_THREADS", "2")
    notebook = nbformat.read(suite / "notebooks" / "a_good.ipynb", as_version=4)
    notebook.cells[1].source = ARITHMETIC
    (tmp_path / "notebooks").mkdir()
    nbformat.write(notebook, tmp_path / "notebooks" / "arithmetic.ipynb")
    (outcome,) = runner.reproduce(
        notebooks={"arithmetic": ()},
        folder=tmp_path / "notebooks",
        output=tmp_path / "build",
        compare=False,
        native=native,
        progress=False,
    )
    assert outcome.status == "passed", outcome.problems
    values = json.loads((tmp_path / "build" / "results" / "arithmetic.json").read_text())["values"]
    assert values["threads"] == (2 if native else 1)
    for name in ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_CBWR"):
        assert values[name] == ("" if native else pinned.get(name, ""))
    if "ATEN_CPU_CAPABILITY" in pinned and not native:
        assert values["capability"] == "AVX2"
    assert os.environ["OMP_NUM_THREADS"] == "2"


def test_a_published_notebook_knows_the_code_that_was_run(suite, tmp_path):
    run(suite, ["a_good"])
    copies.publish_notebook(suite / "build" / "executed" / "a_good.ipynb", tmp_path)
    published = nbformat.read(tmp_path / "a_good.ipynb", as_version=4)
    assert published.metadata["code_sha256"] == copies.checksum(published)
    published.cells[1].source += "  # changed"
    assert published.metadata["code_sha256"] != copies.checksum(published)


def test_parameters_reach_the_notebook_and_switch_the_comparison_off(suite):
    (outcome,) = run(suite, ["a_good"], parameters={"number": 5})
    assert outcome.status == "passed"
    assert outcome.compared == 0
    written = json.loads((suite / "build" / "results" / "a_good.json").read_text())
    assert written["values"] == {"twice": 10}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(names=["nothing"]), "no notebook is called 'nothing'"),
        (dict(profile="demo"), "no profile is called 'demo': choose figures or hmdb51"),
        (dict(parameters={"nmber": 1}), "no notebook has a parameter 'nmber'"),
    ],
)
def test_wrong_requests_run_nothing(suite, options, message):
    with pytest.raises(SettingsError, match=message):
        run(suite, **options)


def test_cleaning_keeps_results_and_drops_noise():
    outputs = [
        new_output("stream", name="stdout", text="kept"),
        new_output("stream", name="stderr", text="a bar"),
        new_output("display_data", data={"image/png": "AAAA"}),
        new_output("display_data", data={"application/vnd.jupyter.widget-view+json": {}}),
        new_output(
            "display_data", data={"application/vnd.jupyter.widget-view+json": {}, "image/png": "BBBB"}
        ),
        new_output("execute_result", data={"text/plain": "5"}, execution_count=7),
    ]
    cell = new_code_cell("x", outputs=outputs, execution_count=7)
    cell.metadata = {"tags": ["parameters"], "papermill": {"duration": 1}}
    injected = new_code_cell("y", metadata={"tags": ["injected-parameters"]})
    clean = copies.clean(new_notebook(cells=[cell, injected], metadata={"widgets": {}}))
    (only,) = clean.cells
    kinds = ["stream", "display_data", "display_data", "execute_result"]
    assert [o.output_type for o in only.outputs] == kinds
    assert only.outputs[2].data == {"image/png": "BBBB"}, "the picture that stands for a widget"
    assert only.execution_count is None
    assert only.metadata == {"tags": ["parameters"]}
    assert "widgets" not in clean.metadata
    nbformat.validate(clean)


def test_a_run_with_other_parameters_says_so_and_is_neither_recorded_nor_published(suite, tmp_path):
    copy, written = (tmp_path / place / "a_good" for place in ("executed", "results"))
    for parameters, status, origin in (
        ({}, "passed", None),
        ({"number": 4}, "unchecked", {"number": 4}),
        ({"profile": "hmdb51"}, "unchecked", None),
    ):
        (outcome,) = runner.reproduce(
            ["a_good"],
            notebooks=TABLE,
            folder=suite / "notebooks",
            output=tmp_path,
            recorded=suite / "recorded",
            progress=False,
            **({"parameters": parameters} if "number" in parameters else parameters),
        )
        assert outcome.status == "passed", outcome.problems
        executed = nbformat.read(copy.with_suffix(".ipynb"), as_version=4)
        assert copies.status_of(executed) == status
        content = json.loads(written.with_suffix(".json").read_text())
        assert content["provenance"].get("parameters") == origin
    for option in ("record", "publish"):
        with pytest.raises(SettingsError, match="only the unchanged profile figures is recorded or"):
            runner.main(["00_start_here"], parameters={"seed": 1}, **{option: True})
