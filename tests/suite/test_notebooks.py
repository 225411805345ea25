"""The notebooks: how they are built, and that all of them run and agree with the recorded numbers."""

import ast
import re

import nbformat
import numpy as np
import pytest

from r21d_lib.suite import comparison, copies, runner
from r21d_lib.suite.repository import NOTEBOOK_FOLDER

PATHS = sorted(NOTEBOOK_FOLDER.glob("*.ipynb"))


def number(stem):
    return stem.partition("_")[0]


def test_the_runner_knows_all_of_them():
    assert [p.stem for p in PATHS] == list(runner.NOTEBOOKS)
    for name, needs in runner.NOTEBOOKS.items():
        earlier = list(runner.NOTEBOOKS)[: list(runner.NOTEBOOKS).index(name)]
        assert set(needs) <= set(earlier)


@pytest.fixture(params=PATHS, ids=lambda p: p.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


def test_form(notebook, path):
    assert notebook.cells[0].source.startswith(f"# {number(path.stem)}. ")
    assert "**" in notebook.cells[0].source, "the question"
    text = sum(c.cell_type == "markdown" for c in notebook.cells)
    assert 0.4 <= text / len(notebook.cells) <= 0.65
    assert path.stat().st_size <= 1_000_000
    first = next(c for c in notebook.cells if c.cell_type == "code")
    assert first.metadata.get("tags") == ["parameters"]
    names = []
    for statement in ast.parse(first.source).body:
        assert isinstance(statement, ast.AnnAssign)
        assert isinstance(statement.value, ast.Constant)
        names.append(statement.target.id)
    assert names[:2] == ["profile", "seed"]
    for line in first.source.splitlines():
        assert line.count("=") == 1, "papermill reads no parameter whose comment holds '='"


def test_code_is_short_and_plain(notebook):
    for cell in (c for c in notebook.cells if c.cell_type == "code"):
        ast.parse(cell.source)  # no magics, no shell
        lines = cell.source.splitlines()
        assert len(lines) <= 30
        assert max(map(len, lines)) <= 88


def test_links_lead_somewhere(notebook, path):
    for cell in (c for c in notebook.cells if c.cell_type == "markdown"):
        for target in re.findall(r"\]\(([^)#:]+)\)", cell.source):
            assert (path.parent / target).exists(), target


def test_it_is_stored_as_published(notebook):
    stored = nbformat.writes(notebook)
    assert nbformat.writes(copies.clean(notebook)) == stored, "run r21d reproduce --publish"
    pictures = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if {"image/png", "image/jpeg"} & output.get("data", {}).keys()
    ]
    assert len(pictures) >= 2, "a reader without a kernel sees nothing"
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "error"


def test_its_outputs_are_of_its_code(notebook):
    stored = notebook.metadata.get("code_sha256")
    assert stored == copies.checksum(notebook), "run r21d reproduce --publish"


def test_it_opens_and_closes_as_all_do(notebook, path):
    texts = [c.source for c in notebook.cells if c.cell_type == "markdown"]
    for row in ("| You will |", "| You need |", "| Time |", "| Paper |"):
        assert row in texts[1]
    for other in runner.NOTEBOOKS:
        assert (f"**{number(other)}**" if other == path.stem else f"({other}.ipynb)") in texts[1]
    assert texts[-1].startswith("## Summary")
    assert f"build/results/{path.stem}.json" in texts[-1]
    code = [c.source for c in notebook.cells if c.cell_type == "code"]
    assert "write_results" in code[-1]
    assert np.median([len(source.splitlines()) for source in code]) <= 15


def test_the_factorized_convolution_of_the_notebook_is_the_librarys():
    import torch
    import torch.nn.functional as F

    from r21d_lib.models.convolutions import Conv2Plus1d

    path = NOTEBOOK_FOLDER / "02_spatiotemporal_convolutions.ipynb"
    cells = nbformat.read(path, as_version=4).cells
    source = next(c.source for c in cells if c.source.startswith("def conv2plus1d"))
    names = {"F": F}
    exec(source, names)
    module = Conv2Plus1d(5, 7).eval()
    space, norm, _, time = module
    norm.running_mean.uniform_(-1, 1)
    norm.running_var.uniform_(0.5, 2)
    x = torch.randn(2, 5, 6, 9, 9)
    statistics = (norm.running_mean, norm.running_var, norm.weight, norm.bias, norm.eps)
    mine = names["conv2plus1d"](x, space.weight, statistics, time.weight)
    torch.testing.assert_close(mine, module(x), rtol=1e-5, atol=1e-5)


def test_widgets_still_redraw_after_all_cells_have_run(notebook):
    """A slider's function reads names when it is moved, so no later cell may give them anew."""
    trees = [ast.parse(c.source) for c in notebook.cells if c.cell_type == "code"]
    bound = [
        {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        for tree in trees
    ]
    for index, tree in enumerate(trees):
        if "widgets.explore" not in ast.unparse(tree):
            continue
        for function in (n for n in tree.body if isinstance(n, ast.FunctionDef)):
            read = {n.id for n in ast.walk(function) if isinstance(n, ast.Name)}
            assert not read & set().union(*bound[index + 1 :]), function.name


def test_references_are_listed_with_a_year_and_each_is_cited():
    listed, cited = {}, set()
    for path in PATHS:
        for cell in nbformat.read(path, as_version=4).cells:
            for line in cell.source.splitlines():
                if entry := re.match(r'- <a id="(\w+)"></a>(.+)', line):
                    assert path.stem == "10_the_ledger"
                    listed[entry[1]] = entry[2]
            cited |= set(re.findall(r"\]\((?:10_the_ledger\.ipynb)?#(\w+)\)", cell.source))
    assert len(listed) >= 20
    assert cited == set(listed)
    for key, text in listed.items():
        assert text.endswith(f" {key[-4:]}."), "its year"


@pytest.mark.notebooks
@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(3000)
def test_all_run_and_agree_with_the_recorded_numbers():
    outcomes = runner.reproduce(progress=False)
    print(runner.table(outcomes))
    assert {o.name: (o.status, o.problems) for o in outcomes} == {
        name: ("passed", []) for name in runner.NOTEBOOKS
    }
    assert all(o.compared > 0 or o.comparison == comparison.NO_SPREAD for o in outcomes)
    assert max(o.peak_mb for o in outcomes) < runner.MEMORY_LIMIT_MB
    from r21d_lib.files import BUILD
    from r21d_lib.suite import results

    values = results.read_results(BUILD / "results" / "06_finetune_hmdb51.json")["values"]
    assert values["finetuned"]["video@1"] > values["from scratch"]["video@1"]
