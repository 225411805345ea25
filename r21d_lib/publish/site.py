"""The static site: a course page of the executed notebooks, and the network live in a browser.

A folder of plain files for any web server or none: no page asks for anything outside it, and each has a
Content-Security-Policy that makes the browser refuse. What a page gets besides its text comes as
scripts, because a page opened as a file may load scripts but not fetch.
"""

import base64
import gzip
import json
import pkgutil
import re
import shutil
import tomllib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from r21d_lib.checkpoints import Card
from r21d_lib.data import action_figures
from r21d_lib.data.action_figures.generation import Subset
from r21d_lib.errors import SettingsError, few
from r21d_lib.files import BUILD, whole_folder
from r21d_lib.models.settings import LABELS
from r21d_lib.publish import about, explorers, export, films, pages, web_packages
from r21d_lib.publish.pages import Page, Site
from r21d_lib.publish.web_packages import MATHJAX, ONNXRUNTIME
from r21d_lib.suite import copies, languages, pictures
from r21d_lib.suite.profiles import get_profile
from r21d_lib.suite.repository import BENCHMARKS, NOTEBOOK_FOLDER, REPOSITORY
from r21d_lib.suite.runner import NOTEBOOKS
from r21d_lib.training.run_folder import RunFolder
from r21d_lib.training.scored import ScoredList, same_videos, titles

SOURCES = Path(__file__).parent / "static" / "site"
EXECUTED = BUILD / "executed"
# A page keeps the network as text, which browsers limit to about half a gigabyte.
_MOST_NETWORK_MB = 300
# People whom no split of ActionFigures shows: the shipped network was not trained on them.
_EXAMPLE_GROUP = 1000
_AS_THEY_ARE = (
    *("site.css", "site.js", "explorers.js", "clips.js", "live_page.js", "mathjax_config.js"),
)
_RUNTIME = (
    "dist/ort.wasm.min.js",
    "dist/ort-wasm-simd-threaded.mjs",
    "dist/ort-wasm-simd-threaded.wasm",
)
# The pages of docs/, by the words of the way on every page, and what the start page shows of them.
TEXTS = {
    "install": "Ways in",
    "student": "Students",
    "teacher": "Teachers",
    "researcher": "Researchers",
    "videos": "Your videos",
}
PARTS = (("student", "Where to begin"), ("teacher", "Three lessons"))
# Where no run of this machine is at hand: scores of real videos that are part of the repository.
_KEPT_SCORES = ("small_scratch_seed0", "small_scratch_r3d_seed0")
_LIGHT, _DARK = "default", "github-dark"  # styles of Pygments


def build(
    to: str | Path = BUILD / "site",
    *,
    checkpoint: str | Path = "figures",
    scores: Sequence[str | Path] = (),
    vendor: str | Path | None = None,
    notebooks: Sequence[Path] | None = None,
    allow_drift: bool = False,
    reference: bool = True,
) -> list[Page]:
    """Build the site, whole or not at all; an earlier one in the same place is replaced.

    Args:
        to: the folder; it must be new, empty or an earlier site to which nothing was added.
        checkpoint: the network of the live page: "figures", or whatever `checkpoints.load` takes.
        scores: scores files of one test list for the dashboard. () takes those of notebook 06's
            network, and where it has not run, those of real videos that the repository keeps.
        vendor: a node_modules folder with the packages of `web_packages`; None lets npm fetch them.
        notebooks: files to show; None takes the executed copies of `r21d reproduce`, and the published
            notebook where there is none.
        allow_drift: takes copies whose numbers drifted from the recorded ones; the index marks them.
        reference: writes the library's reference from its docstrings, too.

    Returns:
        The notebooks' pages.

    Raises:
        SettingsError: if the folder holds something else, the packages cannot be had, a notebook is
            missing, failed or drifted, the network is too large for a page, or the scores are of
            several test lists.
        CheckpointError: if the checkpoint does not load.
        DatasetError: if a scores file cannot be read.
    """
    import nbformat

    to = Path(to)
    if notebooks is None:
        files = [EXECUTED / f"{name}.ipynb" for name in NOTEBOOKS]
        notebooks = [file if file.is_file() else NOTEBOOK_FOLDER / file.name for file in files]
    _check_copies(notebooks, allow_drift=allow_drift)
    own = _own_scores()
    lists = [ScoredList.load(file) for file in scores] or own or _kept_scores()
    for one in lists[1:]:
        same_videos(lists[0], one)
    vendor = None if vendor is None else Path(vendor)
    with whole_folder(to) as folder:
        for name in ("vendor", "notebooks", "docs", "data"):
            (folder / name).mkdir()
        for file in _AS_THEY_ARE:
            shutil.copyfile(SOURCES / file, folder / file)
        (folder / "code.css").write_text(_code_style(), encoding="utf-8")
        for copied, data in web_packages.read_files(MATHJAX, "es5/tex-svg.js", vendor=vendor).items():
            (folder / "vendor" / copied).write_bytes(data)
        known = {"square": explorers.square(), "midplanes": explorers.midplanes()}
        known |= {"pairs": explorers.pairs()}
        read = [
            {**explorers.of_scores(one), "title": title}
            for one, title in zip(lists, titles(lists), strict=True)
        ]
        if own:  # notebook 07 speaks of no other network
            known |= {"clips": {"lists": read[:1] if lists == own else [explorers.of_scores(own[0])]}}
        (folder / "films").mkdir()
        mistakes = films.write_mistakes(lists, folder / "films")
        shown = {name: f"films/{file}" for name, file in mistakes.items()}
        for name, values in {**known, "scores": {"lists": read, "films": shown}}.items():
            _write_data(folder / "data" / f"{name}.js", name, values)
        site = Site(
            folder,
            about.read(REPOSITORY / "CITATION.cff"),
            tuple(path.stem for path in notebooks),
            tuple(TEXTS),
            frozenset(known),
        )
        write = _Writer()
        english = [nbformat.read(path, as_version=4) for path in notebooks]
        made = _write_texts(site, write, notebooks, english)
        for language in languages.LANGUAGES:
            translated = [
                languages.translate(notebook, languages.read_catalogue(path.stem, language))
                for path, notebook in zip(notebooks, english, strict=True)
            ]
            _write_texts(replace(site, language=language), write, notebooks, translated)
        _write_live_page(site, write, checkpoint, vendor)
        write(
            *(site, "dashboard", "dashboard.html.j2"),
            translated=False,
            title="Dashboard",
            about_scores=_origin(lists),
        )
        if reference:
            _write_reference(folder / "api")
        (folder / "search_index.js").write_text(
            f"window.r21dSearch = {json.dumps(site.found, ensure_ascii=False)};\n", encoding="utf-8"
        )
    return made


class _Writer:
    """Writes pages of a site from the templates beside this module."""

    def __init__(self) -> None:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        self.environment = Environment(
            loader=FileSystemLoader(SOURCES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
        )

    def __call__(
        self, site: Site, name: str, template: str, *, translated: bool = True, **values: Any
    ) -> None:
        """Write a page in the site's language, with ways to the others if it is translated."""
        root = "../" * name.count("/")
        said = {"": "English", **languages.LANGUAGES}
        others = {
            other: (said[other], f"{root}{replace(site, language=other).name(name)}.html")
            for other in said
            if translated and other != site.language
        }
        given: dict[str, Any] = {"page": None, "explorers": (), "wide": False, "formulas": False}
        given |= {"root": root, "about": site.about, "texts": TEXTS, "others": others, **values}
        given |= {"language": site.language or "en", "here": site.name}
        text = self.environment.get_template(template).render(given, say=_words(site.language))
        (site.folder / f"{site.name(name)}.html").write_text(text, encoding="utf-8")


def _words(language: str) -> Callable[[str], str]:
    """Return what gives the templates' words in a language."""
    if not language:
        return lambda words: words
    table = tomllib.loads((SOURCES / f"words_{language}.toml").read_text(encoding="utf-8"))
    return lambda words: table[words]


def _own_scores() -> list[ScoredList]:
    """Return the scores of the network that notebook 07 evaluates, where it was checked here."""
    import nbformat

    file = RunFolder.of(get_profile("figures")).scores_file(1)
    copy = EXECUTED / "07_evaluate_hmdb51.ipynb"
    if not (file.is_file() and copy.is_file()):
        return []
    checked = copies.status_of(nbformat.read(copy, as_version=4)) in ("passed", "drifted")
    return [ScoredList.load(file)] if checked else []


def _kept_scores() -> list[ScoredList]:
    folder = BENCHMARKS / "results" / "real_videos"
    return [ScoredList.load(folder / run / "scores_split1.npz") for run in _KEPT_SCORES]


def _origin(lists: Sequence[ScoredList]) -> str:
    scores = lists[0].scores
    return f"{len(scores.names)} test videos of {len(scores.classes)} classes."


def _write_data(path: Path, name: str, values: Mapping[str, Any]) -> None:
    """Write numbers as a script, which a page from a file may load."""
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    path.write_text(f"(window.r21dData ??= {{}}).{name} = {text};\n", encoding="utf-8")


def _code_style() -> str:
    """Return the colours of code, light and dark."""
    from pygments.formatters import HtmlFormatter

    light, dark = (HtmlFormatter(style=style) for style in (_LIGHT, _DARK))
    return "\n".join(
        [light.get_style_defs(".highlight"), dark.get_style_defs("[data-colours=dark] .highlight")]
    )


def _map(site: Site) -> str:
    """Return the map as SVG whose boxes lead to the notebooks of the site."""
    links = {name: f"notebooks/{site.name(name)}.html" for name in site.notebooks}
    drawing = pictures.notebook_map(links, _words(site.language)).drawing().decode()
    # In the same window; a box has no name, and its words lead to the same page.
    drawing = re.sub(r' target="_blank">(\s*<path)', r' tabindex="-1" aria-hidden="true">\1', drawing)
    return drawing[drawing.index("<svg") :].replace(' target="_blank"', "")


def _write_reference(folder: Path) -> None:
    """Write the reference of the library from its docstrings."""
    import pdoc
    import pdoc.render

    import r21d_lib

    # A room whose __init__ names what it offers would hide its modules; what is imported lazily is
    # looked for in vain.
    found = pkgutil.walk_packages(r21d_lib.__path__, "r21d_lib.")
    modules = [module.name for module in found if not module.name.endswith("__main__")]
    pdoc.render.configure(docformat="google", template_directory=SOURCES / "pdoc", show_source=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pdoc.pdoc("r21d_lib", *modules, output_directory=folder)
    for page in folder.rglob("*.html"):
        # What a reader of the screen and one without a mouse lack: names of links, ways to scroll.
        text = page.read_text(encoding="utf-8")
        text = re.sub(r'(<a class="headerlink" href="#([^"]+)")>', r'\1 aria-label="Link to \2">', text)
        text = text.replace('<div class="attr ', '<div tabindex="0" class="attr ')
        page.write_text(text, encoding="utf-8")


def _check_copies(notebooks: Sequence[Path], *, allow_drift: bool) -> None:
    """Refuse notebooks that are missing, failed, were not checked, or whose numbers drifted."""
    import nbformat

    drifted = []
    for path in notebooks:
        if not path.is_file():
            raise SettingsError(f"no notebook {path}: restore it from git")
        status = copies.status_of(nbformat.read(path, as_version=4))
        if status in ("failed", "unchecked") or (status is None and path.parent == EXECUTED):
            why = "failed when it was run" if status == "failed" else "was not checked"
            raise SettingsError(f"{path} {why}: run `r21d reproduce {path.stem}` again")
        if status == "drifted":
            drifted.append(path.stem)
    if drifted and not allow_drift:
        raise SettingsError(
            f"numbers of {few(drifted)} drifted from the recorded ones, so texts may say what "
            "figures do not show: `r21d reproduce` tells what to do; --allow-drift publishes them so"
        )


def _write_texts(
    site: Site, write: _Writer, paths: Sequence[Path], notebooks: Sequence[Any]
) -> list[Page]:
    """Write all texts in the site's language: notebooks, each with its neighbours, docs, start page."""
    made = [pages.describe(*one, site) for one in zip(paths, notebooks, strict=True)]
    neighbours = zip(paths, [None, *made[:-1]], made, [*made[1:], None], notebooks, strict=True)
    for path, before, page, after, notebook in tqdm([*neighbours], desc="notebooks", delay=2):
        body, found = pages.write_notebook(notebook, page, site)
        write(
            *(site, f"notebooks/{path.stem}", "notebook.html.j2"),
            title=page.title,
            page=page,
            body=body,
            explorers=found,
            before=before,
            after=after,
            formulas="$" in body,
        )
    for name in TEXTS:
        title, body = pages.write_text(name, site)
        formulas = "$" in body
        write(site, f"docs/{name}", "notebook.html.j2", title=title, body=body, formulas=formulas)
    parts = [pages.part_of(name, heading, site) for name, heading in PARTS]
    title = _words(site.language)(site.about.title)
    write(site, "index", "index.html.j2", title=title, pages=made, parts=parts, map=_map(site))
    return made


def _write_live_page(site: Site, write: _Writer, checkpoint: str | Path, vendor: Path | None) -> None:
    """Write the live page and the script that holds its runtime, network and example clips."""
    folder = site.folder
    network = folder / "network.onnx"
    export.export(checkpoint, network)
    megabytes = network.stat().st_size / 1e6
    if megabytes > _MOST_NETWORK_MB:
        raise SettingsError(
            f"{checkpoint} has {megabytes:,.0f} MB, and a page takes {_MOST_NETWORK_MB}: "
            "choose a smaller network"
        )
    card = export.read_exported_card(network)
    if card.clips.modality != "rgb":
        raise SettingsError(f"{checkpoint} takes flow, which a page does not compute: give RGB weights")
    files = web_packages.read_files(ONNXRUNTIME, *_RUNTIME, vendor=vendor)
    files["live_worker.js"] = (SOURCES / "live_worker.js").read_bytes()
    files["network.onnx"] = network.read_bytes()
    examples = {name: _example(name, folder) for name in card.classes if _subset(name)}
    files.update({f"{name}.webm": data for name, data in examples.items()})
    packed = {
        name: base64.b64encode(gzip.compress(data, 6, mtime=0)).decode() for name, data in files.items()
    }
    about = {"classes": card.classes, "clips": card.clips.to_dict(), "examples": list(examples)}
    (folder / "live_files.js").write_text(
        "// What the live page runs: each file compressed (gzip) and written as base64.\n"
        f"window.r21dAbout = {json.dumps(about)};\nwindow.r21dFiles = {json.dumps(packed)};\n"
    )
    knows = card.world or f"knows {len(card.classes)} classes: {few(card.classes, 24)}"
    write(
        *(site, "live", "live.html.j2"),
        translated=False,
        title="R(2+1)D live in your browser",
        network=_network_name(card),
        knows=knows,
        examples=bool(examples),
    )


def _network_name(card: Card) -> str:
    return f"{LABELS[card.network.name]}, {card.network.depth} layers"


def _subset(action: str) -> Subset | None:
    """Return which set of ActionFigures has an action, None where neither does."""
    if action in action_figures.SOURCE_CLASSES:
        return "source"
    return "target" if action in action_figures.TARGET_CLASSES else None


def _example(action: str, folder: Path) -> bytes:
    """Draw one clip of an action and encode it as every browser plays it."""
    subset = _subset(action)
    assert subset is not None
    return films.encode_webm(action_figures.render(subset, action, _EXAMPLE_GROUP, 0), folder)
