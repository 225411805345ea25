"""Which notebooks the site takes: none that failed, drifted ones only when asked, and marked."""

import nbformat
import pytest
from nbformat.v4 import new_markdown_cell, new_notebook

from r21d_lib.errors import SettingsError
from r21d_lib.publish import site, web_packages


@pytest.fixture
def copy(tmp_path):
    """Return what writes a notebook with a status."""

    def write(status):
        metadata = {"r21d": {"status": status, "comparison": "every digit"}} if status else {}
        notebook = new_notebook(cells=[new_markdown_cell("# A title")], metadata=metadata)
        nbformat.write(notebook, tmp_path / "99_test.ipynb")
        return tmp_path / "99_test.ipynb"

    return write


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("failed", "failed when it was run: run `r21d reproduce 99_test` again"),
        ("drifted", "numbers of 99_test drifted .* --allow-drift"),
        (None, "99_test.ipynb was not checked: run `r21d reproduce 99_test`"),
    ],
)
def test_what_is_not_right_is_not_published(copy, tmp_path, monkeypatch, status, message):
    monkeypatch.setattr(site, "EXECUTED", tmp_path)
    with pytest.raises(SettingsError, match=message):
        site.build(tmp_path / "site", notebooks=[copy(status)])
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize("status", ["passed", "drifted"])
def test_a_drifted_copy_is_marked_where_it_was_asked_for(copy, tmp_path, status):
    try:
        for package in web_packages.PACKAGES:
            web_packages.read_files(package, "package.json")
    except SettingsError as error:
        pytest.skip(str(error))
    (page,) = site.build(tmp_path / "site", notebooks=[copy(status)], allow_drift=True)
    assert page.drifted == (status == "drifted")
    index = (tmp_path / "site" / "index.html").read_text()
    assert ("drifted" in index) == (status == "drifted")
