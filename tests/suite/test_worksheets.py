"""Worksheets: all questions and no answers, and code that still runs."""

import nbformat
import pytest
from typer.testing import CliRunner

from r21d_lib.cli.main import app
from r21d_lib.errors import SettingsError
from r21d_lib.suite import copies, runner
from r21d_lib.suite.repository import NOTEBOOK_FOLDER


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    to = tmp_path_factory.mktemp("lesson")
    done = CliRunner().invoke(app, ["worksheets", "--to", str(to)])
    assert done.exit_code == 0, done.output
    return to


@pytest.mark.parametrize("name", runner.NOTEBOOKS)
def test_questions_stay_and_answers_go(folder, name):
    whole = nbformat.read(NOTEBOOK_FOLDER / f"{name}.ipynb", as_version=4)
    sheet = nbformat.read(folder / f"{name}.ipynb", as_version=4)
    nbformat.validate(sheet)
    text = "\n".join(cell.source for cell in sheet.cells)
    assert "<details>" not in text
    assert not any(cell.get("outputs") for cell in sheet.cells)
    for code in copies.solutions(whole):
        assert code not in text
    code = [c.source for c in whole.cells if c.cell_type == "code"]
    assert [c.source for c in sheet.cells if c.cell_type == "code"] == code
    checks = [cell for cell in sheet.cells if copies.CHECK in cell.metadata.get("tags", [])]
    assert len(checks) == len(copies.solutions(whole))
    for number, check in enumerate(checks, 1):
        assert f"def check_{number}(" in check.source
        assert f"**Exercise {number}" in sheet.cells[sheet.cells.index(check) - 1].source


def test_the_notebooks_themselves_are_not_overwritten():
    done = CliRunner().invoke(app, ["worksheets", "--to", str(NOTEBOOK_FOLDER)])
    assert isinstance(done.exception, SettingsError)
