"""Copies of notebooks: executed with their solutions, marked with what became of them, published."""

import hashlib
import re
from pathlib import Path
from typing import Any

from r21d_lib.files import whole_file

# In a notebook's metadata: in a published one, and in an executed one.
CHECKSUM = "code_sha256"
STATUS = "r21d"
# The solutions of the exercises are folded away in the text. They are run after the last cell.
_SOLUTION = re.compile(r"<details>.*?```python\n(.*?)```.*?</details>", re.DOTALL)


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
        cell.metadata = {"tags": tags} if tags else {}
        if cell.cell_type == "code":
            cell.execution_count = None
            cell.outputs = [o for o in cell.outputs if _is_kept(o)]
            for output in cell.outputs:
                output.pop("execution_count", None)
                if output.output_type == "execute_result":
                    output["execution_count"] = None
        kept.append(cell)
    notebook.cells = kept
    return notebook


def _is_kept(output: Any) -> bool:
    """Tell a result from noise: standard error holds bars, a widget shows nothing without a kernel."""
    if output.output_type == "stream":
        return output.name == "stdout"
    return "application/vnd.jupyter.widget-view+json" not in output.get("data", {})


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
    """Return "passed", "drifted" or "failed" for an executed copy, None for any other notebook."""
    return notebook.metadata.get(STATUS, {}).get("status")


def write_page(executed: Path, page: Path) -> None:
    """Write a copy as an HTML page."""
    from nbconvert import HTMLExporter

    html, _ = HTMLExporter().from_filename(str(executed))
    with whole_file(page) as partial:
        partial.write_text(html, encoding="utf-8")
