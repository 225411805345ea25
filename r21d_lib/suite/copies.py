"""Copies of notebooks: executed with their solutions, marked with what became of them, published."""

import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from r21d_lib.files import only_writer, sha256, whole_file
from r21d_lib.suite import languages, profiles
from r21d_lib.training import recipes

# In a notebook's metadata: in a published one, and in an executed one.
CHECKSUM = "code_sha256"
STATUS = "r21d"
UNCHECKED = "-"  # the comparison of a run whose numbers were not compared with the recorded ones
# The tags of cells that no number comes out of: one checks a reader's answer to an exercise, the other
# installs on Colab and Kaggle.
CHECK = "check"
SETUP = "setup"
# In a picture's metadata: what it shows, for readers who do not see it. A figure of `plots` says so
# itself; where a cell shows another picture, the cell's metadata do.
ALT = "alt"
_SUMS = ".copies.json"  # beside working copies: how they were written
_PICTURES = ("image/png", "image/jpeg")
_WIDGET = "application/vnd.jupyter.widget-view+json"
# The solutions of the exercises are folded away in the text. They are run after the last cell.
_SOLUTION = re.compile(r"<details>.*?```python\n(.*?)```.*?</details>", re.DOTALL)

_FOLDED = re.compile(r"<details><summary>Solution</summary>.*?</details>", re.DOTALL)


def publish_notebook(executed: Path, folder: Path) -> None:
    """Write an executed notebook back into `folder` with its texts and pictures, without its noise.

    It keeps a checksum of its code, so that a later change without a run is noticed.
    """
    import nbformat

    notebook = clean(nbformat.read(executed, as_version=4))
    notebook.metadata[CHECKSUM] = checksum(notebook)
    with whole_file(folder / executed.name) as partial:
        nbformat.write(notebook, partial)


def checksum(notebook: Any) -> str:
    """Return the SHA-256 of a notebook's code, its solutions included."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\n\n".join([*code, *solutions(notebook)]).encode()).hexdigest()


def identity(name: str, needs: Sequence[str], folder: Path) -> str:
    """Return 16 hexadecimal digits of what a notebook's numbers depend on: code, and two recipes.

    Cells that check a reader's answer or install something are left out.

    Args:
        name: the notebook's.
        needs: the notebooks whose runs it reads.
        folder: where the notebooks are.
    """
    import nbformat

    digest = hashlib.sha256()
    for used in (*needs, name):
        notebook = nbformat.read(folder / f"{used}.ipynb", as_version=4)
        cells = [c for c in notebook.cells if not {CHECK, SETUP} & set(c.metadata.get("tags", []))]
        code = "\n\n".join(cell.source for cell in cells if cell.cell_type == "code")
        digest.update(code.encode())
    for recipe in (profiles.PROFILES["figures"], profiles.RACES["figures"]):
        digest.update((recipes.FOLDER / f"{recipe}.toml").read_bytes())
    return digest.hexdigest()[:16]


def clean(notebook: Any) -> Any:
    """Remove from a notebook what changes from run to run: counts, times, widget states, bars."""
    kept_metadata = {k: v for k, v in notebook.metadata.items() if k == CHECKSUM}
    notebook.metadata = {
        **kept_metadata,
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    kept = []
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if "injected-parameters" in tags:
            continue
        cell.metadata = {key: cell.metadata[key] for key in ("tags", ALT) if cell.metadata.get(key)}
        if cell.cell_type == "code":
            cell.execution_count = None
            cell.outputs = [o for o in _without_widgets(cell.outputs) if _is_kept(o)]
            for output in cell.outputs:
                output.pop("execution_count", None)
                if output.output_type == "execute_result":
                    output["execution_count"] = None
        kept.append(cell)
    notebook.cells = kept
    describe_pictures(notebook)
    return notebook


def describe_pictures(notebook: Any) -> dict[str, str]:
    """Give each picture of a notebook its text; return those of all, by the picture's base64 data.

    A picture without one, whose cell has none either, is left as it is.
    """
    texts = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            for kind in set(_PICTURES) & output.get("data", {}).keys():
                described = output.metadata.get(kind, {})
                text = described.get(ALT) or cell.metadata.get(ALT)
                if text:
                    output.metadata[kind] = {**described, ALT: text}
                    texts[output.data[kind].strip()] = text
    return texts


def _is_kept(output: Any) -> bool:
    """Tell a result from noise: standard error holds bars."""
    return output.output_type != "stream" or output.name == "stdout"


def _without_widgets(outputs: Sequence[Any]) -> list[Any]:
    """Return outputs without what only a kernel moves: of a widget, the picture that stands for it."""
    kept = []
    for output in outputs:
        data = output.get("data", {})
        if data.pop(_WIDGET, None) is None or data.keys() & set(_PICTURES):
            kept.append(output)
    return kept


def solutions(notebook: Any) -> list[str]:
    """Return the code of the exercises' solutions, in order."""
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    return [code for text in texts for code in _SOLUTION.findall(text)]


def write_with_solutions(path: Path, to: Path) -> None:
    """Copy a notebook and append a cell for each solution, whose assertions are thereby checked."""
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    for code in solutions(notebook):
        cell = nbformat.v4.new_code_cell(code.rstrip(), metadata={"tags": ["solution"]})
        notebook.cells.append(cell)
    nbformat.write(notebook, to)


def worksheet(path: Path) -> str:
    """Return a notebook for a class: no outputs, no solutions; the cells that check answers stay."""
    import nbformat

    notebook = clean(nbformat.read(path, as_version=4))
    cells = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cells.append(nbformat.v4.new_code_cell(cell.source, metadata=cell.metadata))
        elif text := _FOLDED.sub("", cell.source).strip():
            cells.append(nbformat.v4.new_markdown_cell(text))
    notebook.cells = cells
    notebook.metadata.pop(CHECKSUM, None)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"  # drawn by chance otherwise
    return nbformat.writes(notebook) + "\n"


def write_working_copies(repository: Path, to: Path, language: str | None = None) -> Path:
    """Copy the notebooks to where they may be run and changed, and return the copies' folder.

    Beside them stands what their texts lead to: copies of docs/, and links. A copy that a reader has
    changed stays, until its original or its translation changes: then it is kept beside the new copy as
    NAME.earlier.ipynb, the next one as NAME.earlier-2.ipynb, and so on.

    Args:
        repository: its root.
        to: the folder to fill; it becomes an image of the repository.
        language: one of `languages.LANGUAGES` for the texts; None leaves them English.

    Raises:
        SettingsError: if another process fills it, and still does after a few seconds.
    """
    notebooks = repository / "notebooks"
    with only_writer(to):
        to.mkdir(parents=True, exist_ok=True)
        sums = _read_sums(to / _SUMS)
        for original in sorted(notebooks.glob("*.ipynb")):
            content = original.read_bytes() if language is None else _translated(original, language)
            _renew(to, original.relative_to(repository), content, sums)
        for original in sorted((repository / "docs").rglob("*")):
            if original.is_file():
                _renew(to, original.relative_to(repository), original.read_bytes(), sums)
        with whole_file(to / _SUMS) as partial:
            partial.write_text(json.dumps(sums, indent=2) + "\n")
        beside = [
            path for path in repository.iterdir() if path.name not in ("notebooks", "docs", "build")
        ]
        beside += [path for path in notebooks.iterdir() if path.suffix == ".py"]
        for path in beside:
            link = to / path.relative_to(repository)
            if not path.name.startswith(".") and not os.path.lexists(link):
                link.symlink_to(path)
    return to / "notebooks"


def _translated(original: Path, language: str) -> bytes:
    """Return a notebook with its texts in another language."""
    import nbformat

    texts = languages.read_catalogue(original.stem, language)
    notebook = languages.translate(nbformat.read(original, as_version=4), texts)
    return (nbformat.writes(notebook) + "\n").encode()


def _read_sums(file: Path) -> dict[str, str]:
    """Return the SHA-256 of each working copy as it was written; without one it counts as changed."""
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _renew(folder: Path, name: Path, content: bytes, sums: dict[str, str]) -> None:
    """Write a working copy if its content is new, after putting aside what a reader made of the old."""
    copy, before = folder / name, sums.get(str(name))
    there = sha256(copy) if copy.is_file() else None
    sums[str(name)] = new = hashlib.sha256(content).hexdigest()
    if there is not None and new in (there, before):
        return
    if there not in (None, before):
        _set_aside(copy)
    with whole_file(copy) as partial:
        partial.write_bytes(content)


def _set_aside(file: Path) -> None:
    """Rename a file to the first of NAME.earlier, NAME.earlier-2, ... that is free."""
    number, kept = 1, file.with_suffix(f".earlier{file.suffix}")
    while os.path.lexists(kept):
        number += 1
        kept = file.with_suffix(f".earlier-{number}{file.suffix}")
    file.rename(kept)


def finish(executed: Path, *, status: str, comparison: str) -> None:
    """Write into a copy what became of it, and take the appended cells away unless one of them failed.

    A reader finds the solutions where the questions are.
    """
    import nbformat

    notebook = nbformat.read(executed, as_version=4)
    if status != "failed":
        kept = [c for c in notebook.cells if "solution" not in c.metadata.get("tags", [])]
        notebook.cells = kept
    notebook.metadata[STATUS] = {"status": status, "comparison": comparison}
    nbformat.write(notebook, executed)


def status_of(notebook: Any) -> str | None:
    """Return what became of an executed copy, None for any other notebook.

    "passed", "drifted" or "failed"; "unchecked" where it passed, but with other parameters than the
    recorded numbers are of.
    """
    found = notebook.metadata.get(STATUS, {})
    unchecked = found.get("status") == "passed" and found.get("comparison") == UNCHECKED
    return "unchecked" if unchecked else found.get("status")


def write_page(executed: Path, page: Path) -> None:
    """Write a copy as an HTML page, with the pictures' texts, which nbconvert's template leaves out."""
    import nbformat
    from bs4 import BeautifulSoup
    from nbconvert import HTMLExporter

    notebook = nbformat.read(executed, as_version=4)
    for cell in notebook.cells:
        if "outputs" in cell:
            cell.outputs = _without_widgets(cell.outputs)
    texts = describe_pictures(notebook)
    body, _ = HTMLExporter().from_notebook_node(notebook, {"metadata": {"name": executed.stem}})
    soup = BeautifulSoup(body, "html.parser")
    for image in soup.find_all("img"):
        data = str(image.get("src", "")).partition("base64,")[2].strip()
        image["alt"] = texts.get(data) or str(image.get("alt") or "")
    with whole_file(page) as partial:
        partial.write_text(str(soup), encoding="utf-8")
