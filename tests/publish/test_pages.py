"""Notebooks and texts as pages: what is left out, folded, linked, described, and found by a search."""

import math
import posixpath
import shutil
from dataclasses import replace

import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from r21d_lib.errors import SettingsError
from r21d_lib.models.kinds import midplanes
from r21d_lib.publish import about, explorers, pages
from r21d_lib.publish.pages import Site
from r21d_lib.publish.site import PARTS, TEXTS
from r21d_lib.suite import copies, languages
from r21d_lib.suite.repository import NOTEBOOK_FOLDER, REPOSITORY
from r21d_lib.suite.runner import NOTEBOOKS

KNOWN = about.read(REPOSITORY / "CITATION.cff")
SOLUTION = """1. How many?

<details><summary>Solution</summary>

Two.

```python
assert 1 + 1 == 2
```
</details>
"""


@pytest.fixture
def site(tmp_path):
    (tmp_path / "notebooks").mkdir()
    every = frozenset(explorers.CELLS)
    return Site(tmp_path, KNOWN, tuple(NOTEBOOKS), tuple(TEXTS), every)


def written(notebook, site, name="00_start_here"):
    page = pages.describe(NOTEBOOK_FOLDER / f"{name}.ipynb", notebook, site)
    body, found = pages.write_notebook(notebook, page, site)
    return BeautifulSoup(body, "html.parser"), found


def test_what_only_a_run_leaves_is_not_in_a_page(site):
    stderr = new_output("stream", name="stderr", text="PerformanceWarning: slow")
    widget = new_output("display_data", data={"application/vnd.jupyter.widget-view+json": {}})
    cells = [
        new_markdown_cell("# A title\n\n**A question?**\n\n| Time | a minute |"),
        new_code_cell("fresh = True", metadata={"tags": ["injected-parameters"]}),
        new_code_cell("print('kept')", outputs=[stderr, widget, new_output("stream", text="kept")]),
        new_markdown_cell(SOLUTION),
    ]
    soup, _ = written(new_notebook(cells=cells), site)
    text = soup.get_text()
    assert "kept" in text
    assert not any(word in text for word in ("fresh", "PerformanceWarning", "In [", "Out["))
    (details,) = soup.find_all("details")
    assert not details.has_attr("open")
    assert "assert" in details.get_text()
    assert "assert" not in str(site.found), "a search does not give solutions away"
    kept = nbformat.read(site.folder / "notebooks" / "00_start_here.ipynb", as_version=4)
    assert len(kept.cells) == 3


def test_a_picture_says_what_it_shows(site):
    def picture(**metadata):
        data = {"image/png": "AAAA", "text/plain": "Figure"}
        return new_output("display_data", data=data, metadata=metadata)

    cells = [
        new_markdown_cell("# Title\n\n## A section"),
        new_code_cell("plots.kernels()", outputs=[picture()]),
        new_code_cell("x", outputs=[picture(**{"image/png": {"alt": "given"}})]),
        new_code_cell("y", metadata={"alt": "of the cell"}, outputs=[picture()]),
    ]
    soup, _ = written(new_notebook(cells=cells), site)
    first, *others = [image["alt"] for image in soup.find_all("img")]
    assert first.startswith("A section. Draw what one output value is computed from")
    assert others == ["given", "of the cell"]


def test_every_notebook_becomes_a_page_whose_links_lead_somewhere(site):
    seen = set()
    for name in NOTEBOOKS:
        notebook = nbformat.read(NOTEBOOK_FOLDER / f"{name}.ipynb", as_version=4)
        solutions = len(copies.solutions(notebook))
        soup, found = written(notebook, site, name)
        seen |= set(found)
        assert len(soup.find_all("details")) >= solutions
        assert not soup.find_all("details", open=True)
        for image in soup.find_all("img"):
            assert image["alt"]
            assert "No description" not in image["alt"]
        check_links(soup, f"notebooks/{name}.html", site)
        if "LiveRecognizer(" in str(soup):
            assert soup.find("a", href="../live.html", class_="button")
        places = [place["data-explorer"] for place in soup.select("[data-explorer]")]
        assert sorted(places) == sorted(found)
        assert all(place.img for place in soup.select("[data-explorer]")), "a picture without scripts"
    assert seen == set(explorers.CELLS), "an explorer does not find its cell: see explorers.CELLS"
    start = (site.folder / "notebooks" / "00_start_here.ipynb").read_text()
    assert "live.html" not in start, "the copy to download is the notebook itself"
    (puzzle,) = (row for row in site.found if row["heading"] == "The puzzle of 2017")
    assert puzzle["url"] == "notebooks/00_start_here.html#The-puzzle-of-2017"


def check_links(soup, page, site):
    """Every relative address is that of a page or file of the site."""
    pages_ = {f"notebooks/{site.name(name)}.html" for name in site.notebooks}
    pages_ |= {"live.html", *site.pages().values()}
    links = [link["href"] for link in soup.find_all("a", href=True)]
    for link in [*links, *(image["src"] for image in soup.find_all("img"))]:
        if "://" in link or link.startswith(("#", "data:", "mailto:")):
            continue
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page), link.partition("#")[0]))
        assert target in pages_ or (site.folder / target).is_file(), f"{page} leads to {link}"


def test_a_notebook_in_portuguese_leads_to_others_in_portuguese(site):
    name = "02_spatiotemporal_convolutions"
    stored = nbformat.read(NOTEBOOK_FOLDER / f"{name}.ipynb", as_version=4)
    translated = languages.translate(stored, languages.read_catalogue(name, "pt-BR"))
    portuguese = replace(site, language="pt-BR")
    soup, _ = written(translated, portuguese, name)
    links = {link["href"].partition("#")[0] for link in soup.find_all("a", href=True)}
    assert "03_the_networks.pt-BR.html" in links
    assert "03_the_networks.html" not in links
    assert (site.folder / "notebooks" / f"{name}.pt-BR.ipynb").is_file()
    page = pages.describe(NOTEBOOK_FOLDER / f"{name}.ipynb", translated, portuguese)
    assert page.title.startswith("02. Convoluções")
    assert page.time
    assert soup.find("summary").get_text() == "Solução"


@pytest.mark.parametrize("language", ["", *languages.LANGUAGES])
def test_the_pages_of_docs_and_their_parts_are_carried(site, language):
    site = replace(site, language=language)
    for name in TEXTS:
        title, body = pages.write_text(name, site)
        assert title
        soup = BeautifulSoup(body, "html.parser")
        check_links(soup, f"docs/{site.name(name)}.html", site)
        assert "<!--" not in body.replace("<!-- findings", "").replace("<!-- end", "")
        assert not soup.find("a", string=["Em português", "In English"]), "each page has its switch"
    for name, heading in PARTS:
        part = BeautifulSoup(pages.part_of(name, heading, site), "html.parser")
        assert (part.h2.contents[0].strip() == heading) == (language == "")
        check_links(part, f"{site.name('index')}.html", site)
    with pytest.raises(SettingsError, match=r"docs/student.md has no heading 'Nothing'"):
        pages.part_of("student", "Nothing", site)


def test_services_are_offered_for_a_public_address_only(tmp_path):
    citation = tmp_path / "CITATION.cff"
    shutil.copyfile(REPOSITORY / "CITATION.cff", citation)
    text = citation.read_text()
    if "repository-code" not in text:
        assert KNOWN.openers("notebooks/00.ipynb") == {}
        assert KNOWN.source("README.md") is None
        citation.write_text(f"{text}\nrepository-code: https://github.com/some/one.git\n")
    known = about.read(citation)
    openers = known.openers("notebooks/00.ipynb")
    assert openers["Colab"].endswith("/blob/HEAD/notebooks/00.ipynb")
    assert openers["Binder"].endswith("/HEAD?labpath=notebooks/00.ipynb")
    assert known.source("README.md").endswith("/blob/HEAD/README.md")
    citation.write_text("title: [")
    with pytest.raises(SettingsError, match=r"CITATION.cff cannot be read as a citation"):
        about.read(citation)


def test_the_explorers_numbers_are_the_librarys():
    known = explorers.midplanes()
    sizes = [len(choice["options"]) for choice in known["choices"].values()]
    assert len(known["blocks"]) == math.prod(sizes)
    place = 0
    for name, value in {"n_in": 64, "n_out": 128, "t": 3, "d": 3, "stride": 1}.items():
        options = known["choices"][name]["options"]
        place = place * len(options) + options.index(value)
    place *= len(known["choices"]["rule"]["options"])
    first, second, *counts = known["blocks"][place]
    assert (first, second) == (midplanes(64, 128), midplanes(128, 128))
    assert counts[:2] == [27 * 64 * 128, 27 * 128 * 128]
    assert counts[2:4] == [9 * 64 * first, 3 * first * 128]
    square = explorers.square()["rows"]
    right, left = (maps["(2+1)D: motion"] for maps in square.values())
    assert [max(np.ravel(maps)) for maps in (right, left)] == [2, 1]
