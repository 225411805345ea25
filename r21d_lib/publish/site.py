"""The static site: executed notebooks as pages that work offline, and the network live in a browser.

A folder of plain files for any web server or none: no page asks for anything outside it, and each has a
Content-Security-Policy that makes the browser refuse. The live page gets all it needs, network and
runtime included, from one script, because a page opened as a file may load scripts but not fetch.
"""

import base64
import gzip
import html
import json
import re
import shutil
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from r21d_lib.checkpoints import Card
from r21d_lib.data import action_figures, video
from r21d_lib.data.action_figures.generation import Subset
from r21d_lib.errors import SettingsError, few
from r21d_lib.files import BUILD, whole_folder
from r21d_lib.models.networks import PAPER_NAMES
from r21d_lib.publish import export, web_packages
from r21d_lib.publish.web_packages import MATHJAX, ONNXRUNTIME, REQUIREJS, WIDGETS
from r21d_lib.suite import copies
from r21d_lib.suite.repository import FIGURES, NOTEBOOK_FOLDER
from r21d_lib.suite.runner import NOTEBOOKS

SOURCES = Path(__file__).parent / "static" / "site"
EXECUTED = BUILD / "executed"
# A page keeps the network as text, which browsers limit to about half a gigabyte.
_MOST_NETWORK_MB = 300
# People whom no split of ActionFigures shows: the shipped network was not trained on them.
_EXAMPLE_GROUP = 1000
_DRIFTED = (
    "<p><strong>Its numbers drifted from the recorded ones: do not rely on its text.</strong></p>"
)
_AS_THEY_ARE = ("site.css", "live_page.js", "mathjax_config.js")
_VENDOR = (
    (REQUIREJS, "require.js"),
    (WIDGETS, "dist/embed-amd.js"),
    (MATHJAX, "es5/tex-svg.js"),
)
_RUNTIME = (
    "dist/ort.wasm.min.js",
    "dist/ort-wasm-simd-threaded.mjs",
    "dist/ort-wasm-simd-threaded.wasm",
)


@dataclass(frozen=True)
class Page:
    """One notebook of the site.

    Attributes:
        name: the notebook's, without suffix.
        title: its first heading.
        question: what it answers.
        executed: true for a copy with its widgets, false for the published one.
        drifted: true if its numbers are not the recorded ones.
    """

    name: str
    title: str
    question: str
    executed: bool
    drifted: bool


def build(
    to: str | Path = BUILD / "site",
    *,
    checkpoint: str | Path = "figures",
    vendor: str | Path | None = None,
    notebooks: Sequence[Path] | None = None,
    allow_drift: bool = False,
) -> list[Page]:
    """Build the site, whole or not at all; an earlier one in the same place is replaced.

    Args:
        to: the folder; it must be new, empty or an earlier site to which nothing was added.
        checkpoint: the network of the live page: "figures", or whatever `checkpoints.load` takes.
        vendor: a node_modules folder with the packages of `web_packages`; None lets npm fetch them.
        notebooks: files to show; None takes the executed copies of `r21d reproduce`, and the published
            notebook where there is none.
        allow_drift: takes copies whose numbers drifted from the recorded ones; the index marks them.

    Returns:
        The notebooks' pages.

    Raises:
        SettingsError: if the folder holds something else, the packages cannot be had, a notebook is
            missing, failed or drifted, or the network is too large for a page.
        CheckpointError: if the checkpoint does not load.
    """
    to = Path(to)
    if notebooks is None:
        files = [EXECUTED / f"{name}.ipynb" for name in NOTEBOOKS]
        notebooks = [file if file.is_file() else NOTEBOOK_FOLDER / file.name for file in files]
    _check_copies(notebooks, allow_drift=allow_drift)
    vendor = None if vendor is None else Path(vendor)
    with whole_folder(to) as folder:
        (folder / "vendor").mkdir()
        (folder / "notebooks").mkdir()
        for file in _AS_THEY_ARE:
            shutil.copyfile(SOURCES / file, folder / file)
        shutil.copyfile(FIGURES / "map.svg", folder / "map.svg")
        for package, file in _VENDOR:
            for copied, data in web_packages.read_files(package, file, vendor=vendor).items():
                (folder / "vendor" / copied).write_bytes(data)
        pages = _write_notebooks(folder / "notebooks", notebooks)
        _write_live_page(folder, checkpoint, vendor)
        _write_index(folder, pages)
    return pages


def _check_copies(notebooks: Sequence[Path], *, allow_drift: bool) -> None:
    """Refuse notebooks that are missing, failed, were not checked, or whose numbers drifted."""
    import nbformat

    drifted = []
    for path in notebooks:
        if not path.is_file():
            raise SettingsError(f"no notebook {path}: restore it from git")
        status = copies.status_of(nbformat.read(path, as_version=4))
        if status == "failed" or (status is None and path.parent == EXECUTED):
            why = "failed when it was run" if status else "was not checked"
            raise SettingsError(f"{path} {why}: run `r21d reproduce {path.stem}` again")
        if status == "drifted":
            drifted.append(path.stem)
    if drifted and not allow_drift:
        raise SettingsError(
            f"numbers of {few(drifted)} drifted from the recorded ones, so texts may say what "
            "figures do not show: `r21d reproduce` tells what to do; --allow-drift publishes them so"
        )


def _write_notebooks(folder: Path, notebooks: Sequence[Path]) -> list[Page]:
    """Write each notebook as a page."""
    import nbformat
    from jinja2 import FileSystemLoader
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(
        extra_loaders=[FileSystemLoader(SOURCES)],
        template_file="notebook.html.j2",
        require_js_url="../vendor/require.js",
        widget_renderer_url="../vendor/embed-amd.js",
        mathjax_url="../vendor/tex-svg.js",
        embed_images=True,
    )
    pages = []
    for path in tqdm(notebooks, desc="notebooks", delay=2):
        notebook = nbformat.read(path, as_version=4)
        pages.append(_describe(path, notebook))
        if _uses_anywidget(notebook):
            _copy_anywidget(folder)
        body, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": pages[-1].title}})
        linked = re.sub(r'href="([^":/]+)\.ipynb(#[^"]*)?"', r'href="\1.html\2"', body)
        linked = linked.replace('href="../README.md"', 'href="../index.html"')
        (folder / f"{path.stem}.html").write_text(linked, encoding="utf-8")
    return pages


def _describe(path: Path, notebook: Any) -> Page:
    """Read title and question from a notebook's first cell, where both stand."""
    opening = notebook.cells[0].source if notebook.cells else ""
    title = re.search(r"^# (.+)$", opening, re.MULTILINE)
    question = re.search(r"\*\*(.+?)\*\*", opening, re.DOTALL)
    return Page(
        path.stem,
        title[1] if title else path.stem,
        " ".join(question[1].split()) if question else "",
        "widgets" in notebook.metadata,
        copies.status_of(notebook) == "drifted",
    )


def _uses_anywidget(notebook: Any) -> bool:
    states = notebook.metadata.get("widgets", {}).values()
    models = [model for state in states for model in state.get("state", {}).values()]
    return any(model.get("model_module") == "anywidget" for model in models)


def _copy_anywidget(folder: Path) -> None:
    """Put anywidget's renderer where the pages look for a widget's module: beside them."""
    import anywidget

    renderer = Path(anywidget.__file__).parent / "nbextension" / "index.js"
    shutil.copyfile(renderer, folder / "anywidget.js")


def _write_live_page(folder: Path, checkpoint: str | Path, vendor: Path | None) -> None:
    """Write the live page and the script that holds its runtime, network and example clips."""
    network = folder / "network.onnx"
    export.export(checkpoint, network)
    megabytes = network.stat().st_size / 1e6
    if megabytes > _MOST_NETWORK_MB:
        raise SettingsError(
            f"{checkpoint} has {megabytes:,.0f} MB, and a page takes {_MOST_NETWORK_MB}: "
            "choose a smaller network"
        )
    card = export.read_exported_card(network)
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
    page = string.Template((SOURCES / "live.html").read_text(encoding="utf-8"))
    text = page.substitute(
        network=html.escape(_network_name(card)),
        classes=html.escape(", ".join(name.replace("_", " ") for name in card.classes[:24])),
        more=f" and {len(card.classes) - 24} more" if len(card.classes) > 24 else "",
        what="drawn figures, no people: try a drawn clip first"
        if examples
        else "what it was trained on",
    )
    (folder / "live.html").write_text(text, encoding="utf-8")


def _network_name(card: Card) -> str:
    return f"{PAPER_NAMES[card.network.name]}, {card.network.depth} layers"


def _subset(action: str) -> Subset | None:
    """Return which set of ActionFigures has an action, None where neither does."""
    if action in action_figures.SOURCE_CLASSES:
        return "source"
    return "target" if action in action_figures.TARGET_CLASSES else None


def _example(action: str, folder: Path) -> bytes:
    """Draw one clip of an action and encode it as every browser plays it."""
    subset = _subset(action)
    assert subset is not None
    path = folder / "example.webm"
    frames = action_figures.render(subset, action, _EXAMPLE_GROUP, 0)
    video.write(path, frames, codec="libvpx", options={"b": "400k", "crf": "10"})
    data = path.read_bytes()
    path.unlink()
    return data


def _write_index(folder: Path, pages: Sequence[Page]) -> None:
    items = [
        f'<li><a href="notebooks/{page.name}.html">{html.escape(page.title)}</a>'
        f"<p>{html.escape(page.question)}</p>{_DRIFTED if page.drifted else ''}</li>"
        for page in pages
    ]
    index = string.Template((SOURCES / "index.html").read_text(encoding="utf-8"))
    text = index.substitute(notebooks="\n".join(items))
    (folder / "index.html").write_text(text, encoding="utf-8")
