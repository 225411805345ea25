"""Which notebooks the site takes: none that failed, drifted ones only when asked, and marked."""

import shutil

import nbformat
import pytest
from hostile_videos import tree
from nbformat.v4 import new_markdown_cell, new_notebook

from r21d_lib.errors import SettingsError
from r21d_lib.publish import site, web_packages
from r21d_lib.suite import copies
from r21d_lib.suite.profiles import get_profile
from r21d_lib.suite.repository import BENCHMARKS
from r21d_lib.training.run_folder import RunFolder


@pytest.fixture
def copy(tmp_path):
    """Return what writes a notebook with a status."""

    def write(status, comparison="every digit"):
        metadata = {"r21d": {"status": status, "comparison": comparison}} if status else {}
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


def test_a_run_with_other_parameters_is_not_published(copy, tmp_path, monkeypatch):
    monkeypatch.setattr(site, "EXECUTED", tmp_path)
    changed = copy("passed", copies.UNCHECKED)
    with pytest.raises(SettingsError, match="was not checked: run `r21d reproduce 99_test` again"):
        site.build(tmp_path / "site", notebooks=[changed], allow_drift=True)


def test_the_page_of_scores_shows_those_of_a_checked_notebook(copy, tmp_path, monkeypatch, build):
    monkeypatch.setattr(site, "EXECUTED", tmp_path)
    run = RunFolder.of(get_profile("figures"))
    kept = BENCHMARKS / "results" / "real_videos" / "small_scratch_r3d_seed0" / "scores_split1.npz"
    run.path.mkdir(parents=True)
    shutil.copyfile(kept, run.scores_file(1))
    assert site._own_scores() == []
    for comparison, shown in (("every digit", 1), (copies.UNCHECKED, 0)):
        copy("passed", comparison).rename(tmp_path / "07_evaluate_hmdb51.ipynb")
        assert len(site._own_scores()) == shown


def needs_packages():
    try:
        for package in web_packages.PACKAGES:
            web_packages.read_files(package, "package.json")
    except SettingsError as error:
        pytest.skip(str(error))


@pytest.mark.thorough
@pytest.mark.parametrize("status", ["passed", "drifted"])
def test_a_drifted_copy_is_marked_where_it_was_asked_for(copy, tmp_path, monkeypatch, status):
    needs_packages()
    monkeypatch.setattr(site.explorers, "pairs", lambda: {"studies": {}, "colours": {}})  # takes long
    (page,) = site.build(tmp_path / "site", notebooks=[copy(status)], allow_drift=True, reference=False)
    assert page.drifted == (status == "drifted")
    index = (tmp_path / "site" / "index.html").read_text()
    assert ("drifted" in index) == (status == "drifted")


@pytest.mark.thorough
def test_a_run_and_the_videos_behind_it_are_read_only(copy, tiny_data, tmp_path, monkeypatch):
    from r21d_lib.training import recipes
    from r21d_lib.training.run import evaluate, train_recipe

    needs_packages()
    monkeypatch.setattr(site.explorers, "pairs", lambda: {"studies": {}, "colours": {}})  # takes long
    tiny = ["epochs=1", "batch_size=2", "width=2", "clip_len=4", "resize=16,20", "crop=16"]
    recipe = recipes.read("small_scratch", [f"data={tiny_data}", "num_clips=2", *tiny])
    train_recipe(recipe, run=tmp_path / "run", progress=False)
    scores = evaluate(str(tmp_path / "run")).file
    dense = shutil.copy(scores, scores.with_name("scores_dense.npz"))
    folders = (tmp_path / "run", tiny_data, tiny_data / "videos")
    before = [tree(folder) for folder in folders]
    files = {"notebooks": [copy("passed")], "scores": [scores, dense], "reference": False}
    for _ in range(2):  # the second replaces the first
        site.build(tmp_path / "site", **files)
        assert [tree(folder) for folder in folders] == before
    shown = (tmp_path / "site" / "data" / "scores.js").read_text()
    assert all(f'"R(2+1)D, run{rest}"' in shown for rest in ("", ", scores_dense"))
    (tmp_path / "site" / "CNAME").write_text("mine")
    with pytest.raises(SettingsError, match="CNAME, which r21d did not put there"):
        site.build(tmp_path / "site", **files)
    assert (tmp_path / "site" / "CNAME").read_text() == "mine"
