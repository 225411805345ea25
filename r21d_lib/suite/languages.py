"""The suite's texts in other languages, keyed by the checksums of the English ones.

notebooks/<language>/<name>.md holds, after a line `<!-- cell <key> -->` each, the text of a Markdown
cell; the key is the first digits of the English text's checksum, so that a text whose source has
changed is known to be stale. Blocks of code and displayed formulas are not written again: `{{1}}`
stands for the first of the source's.

README.<language>.md and docs/<language>/<name>.md are the pages, such a text a section. They are read
as they are, so they hold their code, with its comments translated; numbers between marks are rendered.
"""

import copy
import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import Any

from r21d_lib.errors import SettingsError
from r21d_lib.files import whole_file
from r21d_lib.suite.repository import NOTEBOOK_FOLDER, REPOSITORY

LANGUAGES = {"pt-BR": "Português (Brasil)"}
# The pages of the repository, in the order in which a newcomer meets them.
PAGES = ("README", "docs/install", "docs/student", "docs/teacher", "docs/researcher", "docs/videos")

_HEAD = re.compile(r"^<!-- cell ([0-9a-f]{12}) -->\n", re.MULTILINE)
_SHARED = re.compile(r"```.*?```|\$\$.*?\$\$", re.DOTALL)
_PLACE = re.compile(r"\{\{(\d+)\}\}")
_SECTION = re.compile(r"^(?=## )", re.MULTILINE)
_RENDERED = re.compile(r"(<!-- findings: \w+ -->\n).*?(<!-- end -->)", re.DOTALL)
_CODE = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"(?:^|(?<=\s))# .*$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
# What a translation must keep as it is: formulas, code in a line, links, numbers.
_KEPT = {
    "formulas": re.compile(r"\$[^$\n]+\$"),
    "code": re.compile(r"`[^`\n]+`"),
    "links": _LINK,
    "numbers": re.compile(r"(?<![\w.])\d+(?:[.,]\d+)*"),
}


def key(source: str) -> str:
    """Return 12 hexadecimal digits of an English text."""
    return hashlib.sha256(source.strip().encode()).hexdigest()[:12]


def read_catalogue(name: str, language: str, folder: Path = NOTEBOOK_FOLDER) -> dict[str, str]:
    """Return a notebook's texts in a language by key; none where there is no catalogue.

    Raises:
        SettingsError: if the language is not known.
    """
    if language not in LANGUAGES:
        raise SettingsError(f"no texts in the language {language!r}: choose {', '.join(LANGUAGES)}")
    path = folder / language / f"{name}.md"
    if not path.is_file():
        return {}
    return _read(path)


def _read(path: Path) -> dict[str, str]:
    _, *parts = _HEAD.split(path.read_text(encoding="utf-8"))
    return {key: text.strip() for key, text in zip(parts[::2], parts[1::2], strict=True)}


def page(name: str, language: str = "") -> str:
    """Return the file of one of `PAGES` in a language, "" for English, relative to the repository."""
    folder, _, stem = name.rpartition("/")
    if not language:
        return f"{name}.md"
    return f"{folder}/{language}/{stem}.md" if folder else f"{stem}.{language}.md"


def translate(notebook: Any, texts: Mapping[str, str]) -> Any:
    """Return a copy of a notebook with the texts of a catalogue; what it lacks stays English."""
    translated = copy.deepcopy(notebook)
    for cell in translated.cells:
        if cell.cell_type == "markdown" and (text := texts.get(key(cell.source))) is not None:
            cell.source = _filled(text, _SHARED.findall(cell.source))
    return translated


def faults(notebook: Any, texts: Mapping[str, str]) -> list[str]:
    """Return what is wrong with a notebook's catalogue, a line each, naming the cell.

    A text may be missing, be of a source that is gone, or not keep formulas, code, links and numbers.
    """
    sources = {
        key(cell.source): (f"cell {number}", cell.source)
        for number, cell in enumerate(notebook.cells)
        if cell.cell_type == "markdown"
    }
    return _faults(sources, texts)


def page_faults(name: str, language: str, root: Path = REPOSITORY) -> list[str]:
    """Return what is wrong with a page in a language, a line each, naming the section; see `faults`."""
    english, translated = page(name), page(name, language)
    if not (root / translated).is_file():
        return [f"there is no {translated}"]
    sources = {
        key(_without_findings(section)): (f"section {number}", _comparable(section, english))
        for number, section in enumerate(_sections(root / english))
    }
    texts = _read(root / translated)
    return _faults(sources, {k: _comparable(text, translated) for k, text in texts.items()})


def _faults(sources: Mapping[str, tuple[str, str]], texts: Mapping[str, str]) -> list[str]:
    found = [f"the text {k} is of nothing: its source was changed" for k in texts.keys() - sources]
    for k, (place, source) in sources.items():
        if k not in texts:
            found.append(f"{place} ({k}) has no text: {source.strip().splitlines()[0][:60]}")
        elif wrong := _not_kept(source, texts[k]):
            found.append(f"{place} ({k}): {wrong}")
    return found


def write_skeleton(name: str, language: str, folder: Path = NOTEBOOK_FOLDER) -> list[str]:
    """Bring a catalogue up to its notebook: in its order, no stale texts, missing ones English.

    Returns:
        The keys of texts that are to be translated.
    """
    import nbformat

    notebook = nbformat.read(folder / f"{name}.ipynb", as_version=4)
    known = read_catalogue(name, language, folder)
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    english = {key(source): _emptied(source) for source in sources}
    return _write_skeleton(folder / language / f"{name}.md", english, known)


def write_page_skeleton(name: str, language: str, root: Path = REPOSITORY) -> list[str]:
    """Bring a page in a language up to the English one, as `write_skeleton` does a catalogue."""
    path = root / page(name, language)
    known = _read(path) if path.is_file() else {}
    english = {key(_without_findings(text)): text for text in _sections(root / page(name))}
    return _write_skeleton(path, english, known)


def _write_skeleton(path: Path, english: Mapping[str, str], known: Mapping[str, str]) -> list[str]:
    lines = [f"<!-- cell {k} -->\n{known.get(k, text).strip()}\n" for k, text in english.items()]
    path.parent.mkdir(exist_ok=True)
    with whole_file(path) as partial:
        partial.write_text("\n".join(lines), encoding="utf-8")
    return [k for k in english if k not in known]


def _sections(path: Path) -> list[str]:
    return _SECTION.split(path.read_text(encoding="utf-8"))


def _without_findings(text: str) -> str:
    """Leave out what is rendered: a new number makes no text stale."""
    return _RENDERED.sub(r"\1\2", text)


def _comparable(text: str, file: str) -> str:
    """Return a section with what its translation may change taken away.

    Code becomes lines without their comments, links those of the English pages' files, and what is
    rendered leaves its mark as code.
    """

    def link(found: re.Match[str]) -> str:
        target = found[1]
        if not re.match(r"\w+:", target):
            target = normpath(join(dirname(file), target.partition("#")[0] or file.rpartition("/")[2]))
            for language in LANGUAGES:
                target = target.replace(f"docs/{language}/", "docs/").replace(f".{language}.md", ".md")
        return f"]({target})"

    def code(found: re.Match[str]) -> str:
        return "\n".join(f"`{line.strip()}`" for line in _COMMENT.sub("", found[1]).splitlines())

    text = _CODE.sub(code, _without_findings(text))
    return _LINK.sub(link, re.sub(r"<!-- (findings: \w+) -->\n<!-- end -->", r"`\1`", text))


def _emptied(source: str) -> str:
    """Return a text with {{1}}, {{2}} and so on for its blocks of code and formulas."""
    numbers = itertools.count(1)
    return _SHARED.sub(lambda _: f"{{{{{next(numbers)}}}}}", source)


def _filled(text: str, blocks: Sequence[str]) -> str:
    return _PLACE.sub(lambda place: blocks[int(place[1]) - 1], text)


def _not_kept(source: str, text: str) -> str | None:
    """Say what a translation did not keep of its source, None if all is there."""
    places = [int(place) for place in _PLACE.findall(text)]
    blocks = _SHARED.findall(source)
    if sorted(places) != list(range(1, 1 + len(blocks))):
        return f"it has the places {places} for {len(blocks)} blocks of code and formulas"
    if _SHARED.search(text):
        return "it writes a block of code or a formula again: put {{1}}, {{2}} and so on"
    source, text = _SHARED.sub("", source), _PLACE.sub("", text)
    for what, pattern in _KEPT.items():
        expected = Counter(map(_plain, pattern.findall(source)))
        got = Counter(_as_in_source(_plain(found), expected) for found in pattern.findall(text))
        if expected != got:
            return f"{what} differ: {list((expected - got) + (got - expected))}"
        source, text = pattern.sub(" ", source), pattern.sub(" ", text)
    return None


def _plain(found: str) -> str:
    """Write a link as both languages do."""
    return found.replace("README.pt-BR.md", "README.md").replace("docs/pt-BR/", "docs/")


def _as_in_source(found: str, expected: Counter[str]) -> str:
    """Write a number of a translation as its source does: 1.234,5 is 1,234.5 there."""
    if found in expected or not re.fullmatch(r"[\d.,]+", found):
        return found
    return found.translate(str.maketrans(".,", ",."))
