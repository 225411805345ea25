"""The suite in other languages: no text missing or stale, formulas, numbers and links kept."""

import re
import shutil

import nbformat
import pytest

from r21d_lib.suite import languages, runner
from r21d_lib.suite.repository import NOTEBOOK_FOLDER, REPOSITORY

ENGLISH = """## Ten clips

Of 1,234 videos $T$ frames are `read`, see [01](01_videos_become_clips.ipynb), 0.5 s apart:

$$y = x$$

```python
assert 1 == 1
```"""
PORTUGUESE = """## Dez clipes

Dos 1.234 vídeos são `read` $T$ quadros, a cada 0,5 s, veja [01](01_videos_become_clips.ipynb):

{{1}}

{{2}}"""


def notebook(*sources):
    cells = [nbformat.v4.new_markdown_cell(source) for source in sources]
    return nbformat.v4.new_notebook(cells=[*cells, nbformat.v4.new_code_cell("1 + 1")])


@pytest.mark.parametrize("language", languages.LANGUAGES)
@pytest.mark.parametrize("name", runner.NOTEBOOKS)
def test_every_text_of_the_suite_is_there_in_every_language(name, language):
    stored = nbformat.read(NOTEBOOK_FOLDER / f"{name}.ipynb", as_version=4)
    found = languages.faults(stored, languages.read_catalogue(name, language))
    assert not found, f"{name} in {language}:\n" + "\n".join(found)


def test_code_and_formulas_are_shared_and_what_is_not_there_stays_english():
    made = languages.translate(notebook(ENGLISH, "More"), {languages.key(ENGLISH): PORTUGUESE})
    assert made.cells[0].source.endswith("```python\nassert 1 == 1\n```")
    assert "\n$$y = x$$\n" in made.cells[0].source
    assert made.cells[0].source.startswith("## Dez clipes")
    assert [cell.source for cell in made.cells[1:]] == ["More", "1 + 1"]


def test_a_good_text_has_no_fault():
    assert languages.faults(notebook(ENGLISH), {languages.key(ENGLISH): PORTUGUESE}) == []


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("1.234", "1.235", "numbers differ"),
        ("0,5", "0,6", "numbers differ"),
        ("0,5", "05", "numbers differ"),
        ("1.234", "12,34", "numbers differ"),
        ("$T$", "$N$", "formulas differ"),
        ("`read`", "lidos", "code differ"),
        ("(01_videos", "(02_videos", "links differ"),
        ("{{2}}", "", "it has the places [1] for 2 blocks"),
        ("{{1}}", "{{1}} $$z$$", "writes a block of code or a formula again"),
    ],
)
def test_what_a_translation_does_not_keep_is_named(before, after, message):
    assert before in PORTUGUESE
    text = PORTUGUESE.replace(before, after)
    (line,) = languages.faults(notebook(ENGLISH), {languages.key(ENGLISH): text})
    assert line.startswith("cell 0 (")
    assert message in line


def test_a_changed_source_makes_its_text_stale_and_the_cell_missing():
    (line,) = languages.faults(notebook(ENGLISH), {})
    assert line.startswith("cell 0 (")
    assert "has no text: ## Ten clips" in line
    changed = notebook(ENGLISH.replace("Ten", "Two"))
    stale, missing = languages.faults(changed, {languages.key(ENGLISH): PORTUGUESE})
    assert "its source was changed" in stale
    assert "has no text: ## Two clips" in missing


def test_the_skeleton_keeps_what_was_translated_and_shows_what_is_to_do(tmp_path):
    nbformat.write(notebook(ENGLISH, "More"), tmp_path / "x.ipynb")
    todo = languages.write_skeleton("x", "pt-BR", tmp_path)
    assert todo == [languages.key(ENGLISH), languages.key("More")]
    path = tmp_path / "pt-BR" / "x.md"
    text = path.read_text(encoding="utf-8")
    assert "{{1}}" in text
    assert "assert 1" not in text
    path.write_text(text.replace("\nMore\n", "\nMais\n"), encoding="utf-8")
    languages.write_skeleton("x", "pt-BR", tmp_path)
    assert languages.read_catalogue("x", "pt-BR", tmp_path)[languages.key("More")] == "Mais"


@pytest.mark.parametrize("language", languages.LANGUAGES)
@pytest.mark.parametrize("name", languages.PAGES)
def test_every_page_is_there_in_every_language(name, language):
    found = languages.page_faults(name, language)
    assert not found, f"{name} in {language}:\n" + "\n".join(found)


@pytest.fixture
def pages(tmp_path):
    """Return a root with the pages of docs/videos and what copies them anew, changed."""

    def change(before, after, language):
        for its in ("", "pt-BR"):
            file = languages.page("docs/videos", its)
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(REPOSITORY / file, tmp_path / file)
        file = tmp_path / languages.page("docs/videos", language)
        text = file.read_text()
        assert before in text
        file.write_text(text.replace(before, after, 1))
        return languages.page_faults("docs/videos", "pt-BR", tmp_path)

    return change


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("r21d doctor mine", "r21d doctor meus", "code differ"),
        ("<!-- findings: real_videos -->", "<!-- findings: race -->", "code differ"),
        ("430 para treinar", "43 para treinar", "numbers differ"),
        ("0,07", "0,08", "numbers differ"),
        ("../../figures/overlay.png", "../../figures/race.png", "links differ"),
        ("](../videos.md)", "](../student.md)", "links differ"),
    ],
)
def test_what_a_page_does_not_keep_is_named(pages, before, after, message):
    (line,) = pages(before, after, "pt-BR")
    assert line.startswith("section ")
    assert message in line


def test_a_comment_of_code_and_a_rendered_number_are_no_fault(pages):
    assert pages("# o que está quebrado", "# o que quebrou", "pt-BR") == []
    assert pages("| R3D | random weights | ", "| R3D | random weights | 9", "") == []


def test_a_changed_section_makes_its_text_stale_and_a_page_may_be_missing(pages, tmp_path):
    stale, missing = pages("are counted", "are numbered", "")
    assert "its source was changed" in stale
    assert "section 2 (" in missing
    assert "has no text: ## Your own videos" in missing
    (todo,) = languages.write_page_skeleton("docs/videos", "pt-BR", tmp_path)
    assert todo in missing
    (line,) = languages.page_faults("docs/videos", "pt-BR", tmp_path)
    assert "links differ" in line, "the English text leads elsewhere from there"
    text = (tmp_path / "docs/pt-BR/videos.md").read_text()
    assert "## Entra um vídeo" in text
    assert "are numbered" in text
    (tmp_path / "docs/pt-BR/videos.md").unlink()
    assert languages.page_faults("docs/videos", "pt-BR", tmp_path) == [
        "there is no docs/pt-BR/videos.md"
    ]


READ = [languages.page(name, its) for name in languages.PAGES for its in ("", *languages.LANGUAGES)]


@pytest.mark.parametrize("name", [*READ, "benchmarks/README.md", "data_splits/README.md"])
def test_the_links_of_a_page_lead_to_files_and_headings(name):
    file = REPOSITORY / name
    for link in re.findall(r"\]\(([^)\s]+)\)", file.read_text()):
        path, _, anchor = link.partition("#")
        if ":" in path:
            continue
        target = file.parent / path if path else file
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings}, (
                link
            )
