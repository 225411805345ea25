"""The texts of the site as HTML: notebooks by nbconvert, the pages of docs/ by the same renderer.

All links, pictures and headings pass through one place, `_settle`: there addresses in the repository
become addresses in the site, and what a search needs is written down.
"""

import hashlib
import html
import posixpath
import re
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from r21d_lib import plots
from r21d_lib.errors import SettingsError
from r21d_lib.publish.about import About
from r21d_lib.publish.explorers import CELLS
from r21d_lib.suite import copies, languages
from r21d_lib.suite.repository import REPOSITORY

_PICTURES = ("image/png", "image/jpeg", "image/svg+xml")
_LONGEST_EXCERPT = 3000  # characters of a section that can be found
# In a page of docs/: the keys of a translation, and the way to the other language.
_ONLY_THERE = re.compile(r"^(?:<!-- cell \w+ -->|\*\[[^]]+\]\([^)]+\)\*)\n+", re.MULTILINE)
_LIVE = (
    '<p><a class="button" href="../live.html">Before your own camera: the live page</a> runs this '
    "network in your browser.</p>"
)


@dataclass(frozen=True)
class Page:
    """One notebook of the site.

    Attributes:
        name: the notebook's, without suffix.
        title: its first heading.
        question: what it answers.
        time: how long it takes to run, as it says itself.
        drifted: true if its numbers are not the recorded ones.
        elsewhere: a service where it can be opened to the address there.
    """

    name: str
    title: str
    question: str
    time: str
    drifted: bool
    elsewhere: dict[str, str]


@dataclass
class Site:
    """A site that is being written.

    Attributes:
        folder: where it is written.
        about: the project.
        notebooks: names of the notebooks that it has.
        texts: names of the pages of docs/ that it has.
        explorers: those whose numbers it has.
        found: a row a section for the search: page, heading, text and url.
        language: of the texts that are written, "" for English.
    """

    folder: Path
    about: About
    notebooks: tuple[str, ...]
    texts: tuple[str, ...]
    explorers: frozenset[str] = frozenset()
    found: list[dict[str, str]] = field(default_factory=list)
    language: str = ""

    def name(self, page: str) -> str:
        """Return a page's name in the site, in the language that is written."""
        return f"{page}.{self.language}" if self.language else page

    def pages(self) -> dict[str, str]:
        """Return the page that stands for each text of the repository, in all languages."""
        found = {}
        for language in ("", *languages.LANGUAGES):
            named = replace(self, language=language).name
            found[languages.page("README", language)] = f"{named('index')}.html"
            for text in self.texts:
                found[languages.page(f"docs/{text}", language)] = f"docs/{named(text)}.html"
        return found


def describe(path: Path, notebook: Any, site: Site) -> Page:
    """Read title, question and time from a notebook's first cells, where they stand."""
    opening = "\n".join(cell.source for cell in notebook.cells[:2] if cell.cell_type == "markdown")
    title = re.search(r"^# (.+)$", opening, re.MULTILINE)
    question = re.search(r"\*\*(.+?)\*\*", opening, re.DOTALL)
    time = re.search(r"^\| (?:Time|Tempo) \| (.+?) \|$", opening, re.MULTILINE)
    return Page(
        site.name(path.stem),
        title[1] if title else path.stem,
        " ".join(question[1].split()) if question else "",
        time[1] if time else "",
        copies.status_of(notebook) == "drifted",
        site.about.openers(f"notebooks/{path.name}"),
    )


def write_notebook(notebook: Any, page: Page, site: Site) -> tuple[str, list[str]]:
    """Return a notebook's text as HTML and the explorers in it; put the file to download beside it.

    Injected parameters, warnings and widgets that need a kernel are left out; solutions are folded.
    """
    import nbformat

    alts = [cell.metadata.get("alt") for cell in notebook.cells if not _injected(cell)]
    notebook = copies.clean(notebook)
    nbformat.write(notebook, site.folder / "notebooks" / f"{page.name}.ipynb")
    explorers = []
    section = page.title
    for cell, alt in zip(notebook.cells, alts, strict=True):
        if cell.cell_type == "markdown":
            section = (re.findall(r"^#+ (.+)$", cell.source, re.MULTILINE) or [section])[-1]
        elif cell.cell_type == "code":
            cell.metadata["alt"] = alt or _described(cell.source, section)
            explorers += _put_explorer(cell, site)
    return _settle(_rendered(notebook), f"notebooks/{page.name}.ipynb", page.title, site), explorers


def write_text(name: str, site: Site) -> tuple[str, str]:
    """Return the title of a page of docs/ and its text as HTML."""
    text = _read(name, site.language)
    title = text.partition("\n")[0].removeprefix("# ")
    source = languages.page(f"docs/{name}", site.language)
    return title, _settle(_rendered(_as_notebook(text)), source, title, site, site.pages()[source])


def part_of(name: str, heading: str, site: Site) -> str:
    """Return one section of a page of docs/, for the start page; it is not found twice by a search.

    Args:
        name: of the page.
        heading: the section's, in English.
        site: that it becomes a part of.

    Raises:
        SettingsError: if the page has no such heading.
    """
    parts, said = (re.split(r"^(?=## )", _read(name, its), flags=re.M) for its in ("", site.language))
    source = languages.page(f"docs/{name}", site.language)
    for part, text in zip(parts, said, strict=True):
        if part.startswith(f"## {heading}\n"):
            start = f"{site.name('index')}.html"
            return _settle(_rendered(_as_notebook(text)), source, None, site, to=start)
    raise SettingsError(f"docs/{name}.md has no heading {heading!r}, which the site's start page shows")


def _read(name: str, language: str) -> str:
    text = (REPOSITORY / languages.page(f"docs/{name}", language)).read_text(encoding="utf-8")
    return _ONLY_THERE.sub("", text)


def _as_notebook(text: str) -> Any:
    import nbformat

    mark = hashlib.sha256(text.encode()).hexdigest()[:8]  # drawn by chance otherwise
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text, id=mark)])


def _injected(cell: Any) -> bool:
    return "injected-parameters" in cell.metadata.get("tags", [])


def _rendered(notebook: Any) -> Any:
    """Return a notebook as a parsed fragment of HTML."""
    from bs4 import BeautifulSoup
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(
        template_name="basic",
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    body, _ = exporter.from_notebook_node(notebook)
    return BeautifulSoup(body, "html.parser")


def _described(source: str, section: str) -> str:
    """Say what a cell's picture shows, by what the drawing function says of itself."""
    for name in re.findall(r"\bplots\.(\w+)", source):
        drawing = getattr(plots, name, None)
        if callable(drawing) and drawing.__doc__:
            return f"{section}. {drawing.__doc__.strip().splitlines()[0]}"
    return f"{section}: what the cell above draws."


def _put_explorer(cell: Any, site: Site) -> list[str]:
    """Put an explorer around the picture of the cell that draws it, which stays without scripts."""
    import nbformat

    if "LiveRecognizer(" in cell.source and "import" not in cell.source:
        cell.outputs.append(nbformat.v4.new_output("display_data", data={"text/html": _LIVE}))
    for name in site.explorers & CELLS.keys():
        drawn = [o for o in cell.outputs if any(kind in o.get("data", {}) for kind in _PICTURES)]
        if not drawn or not CELLS[name].search(cell.source):
            continue
        ((kind, picture),) = ((k, drawn[0].data[k]) for k in _PICTURES if k in drawn[0].data)
        alt = html.escape(drawn[0].metadata.get(kind, {}).get("alt") or cell.metadata["alt"])
        image = f'<img src="data:{kind};base64,{picture}" alt="{alt}">'
        place = f'<div data-explorer="{name}">{image}</div>'
        new = nbformat.v4.new_output("display_data", data={"text/html": place})
        cell.outputs = [new if output is drawn[0] else output for output in cell.outputs]
        return [name]
    return []


def _settle(soup: Any, source: str, title: str | None, site: Site, to: str = "") -> str:
    """Make a page of a fragment: its addresses those of the site, wide things scroll, images described.

    Args:
        soup: the fragment.
        source: where it comes from, relative to the repository.
        title: under which its sections can be found; None leaves them out.
        site: that it becomes a part of.
        to: the page that it goes to, relative to the site, where that is not `source`'s own.
    """
    to = to or posixpath.splitext(source)[0] + ".html"
    for sign in soup.find_all("a", class_="anchor-link"):
        sign.decompose()
    for tag, key in (("a", "href"), ("img", "src")):
        for element in soup.find_all(tag, **{key: True}):
            moved = _address(element[key], source, to, site)
            if moved is not None:
                element[key] = moved
            elif tag == "a":
                element.unwrap()  # a file that the site does not have, and no public address
    for wide in soup.find_all(["table", "pre"]):
        holder = wide if wide.name == "pre" else wide.wrap(soup.new_tag("div", **{"class": "scroll"}))
        holder["tabindex"] = "0"
    if title is not None:
        site.found += _sections(soup, title, to)
    return str(soup)


def _address(link: str, source: str, to: str, site: Site) -> str | None:
    """Return where a link or picture of the repository is in the site; None where nowhere."""
    parts = urlsplit(link)
    if parts.scheme or not parts.path:
        return link
    file = posixpath.normpath(posixpath.join(posixpath.dirname(source), unquote(parts.path)))
    stem, suffix = posixpath.splitext(file)
    folder, _, name = stem.rpartition("/")
    target = None
    if file in (known := site.pages()):
        target = known[file]
    elif file == "live.html":
        target = file
    elif (folder, suffix) == ("notebooks", ".ipynb") and name in site.notebooks:
        target = f"{site.name(stem)}.html"
    elif folder == "figures" and (REPOSITORY / file).is_file():
        target = file
        (site.folder / "figures").mkdir(exist_ok=True)
        shutil.copyfile(REPOSITORY / file, site.folder / file)
    if target is None:
        return site.about.source(file)
    anchor = f"#{parts.fragment}" if parts.fragment else ""
    return posixpath.relpath(target, posixpath.dirname(to) or ".") + anchor


def _sections(soup: Any, title: str, to: str) -> list[dict[str, str]]:
    """Return a row a section: its heading, the text below it, without solutions, and its address."""
    rows = [{"page": title, "heading": title, "text": "", "url": to}]
    for element in soup.find_all(["h1", "h2", "h3", "p", "li", "td", "th"]):
        if element.find_parent(["details", "li", "td"]) or element.find_parent(class_="output_area"):
            continue
        text = " ".join(element.get_text(" ").split())
        if element.name in ("h2", "h3"):
            anchor = f"{to}#{element['id']}" if element.get("id") else to
            rows.append({"page": title, "heading": text, "text": "", "url": anchor})
        elif element.name != "h1":
            rows[-1]["text"] = f"{rows[-1]['text']} {text}".strip()[:_LONGEST_EXCERPT]
    return [row for row in rows if row["text"]]
