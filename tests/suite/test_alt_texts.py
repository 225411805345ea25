"""What a picture shows is said in words, in notebooks and pages."""

import base64

import ipywidgets
import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup
from IPython.core.interactiveshell import InteractiveShell

from r21d_lib import plots
from r21d_lib.plots import widgets
from r21d_lib.suite import copies, pictures
from r21d_lib.suite.repository import NOTEBOOK_FOLDER

PATHS = sorted(NOTEBOOK_FOLDER.glob("*.ipynb"))
FRAMES = np.zeros((8, 24, 32, 3), np.uint8)


def shown(figure):
    """Return a figure as a notebook stores it."""
    data, metadata = InteractiveShell.instance().display_formatter.format(figure)
    for kind in {"image/png", "image/jpeg"} & data.keys():
        if isinstance(data[kind], bytes):
            data[kind] = base64.b64encode(data[kind]).decode()
    return nbformat.v4.new_output("display_data", data, metadata=metadata)


@pytest.mark.parametrize(
    ("figure", "says"),
    [
        (plots.frame_strip(FRAMES, title="a $b$ golf"), ["Frames of a video", "a $b$ golf", "frame 0"]),
        (plots.named_values({"R3D": 1.0, "MC2": 2.0}, label="video@1"), ["R3D; MC2", "1.0; 2.0"]),
        (plots.kernels(), ["2D", "(2+1)D", "frames do not mix"]),
        (plots.confusion_matrix(np.eye(60, dtype=int), [f"class {k}" for k in range(60)]), ["class 3"]),
        (pictures.notebook_map(), ["boxes in three lanes", "the race"]),
    ],
)
def test_a_figure_says_what_it_is_and_what_is_written_in_it(figure, says):
    (described,) = shown(figure).metadata.values()
    assert all(words in described["alt"] for words in says), described["alt"]
    assert 20 < len(described["alt"]) <= 500


def test_a_page_has_the_texts_of_its_pictures(tmp_path):
    drawn = nbformat.v4.new_code_cell("draw()", outputs=[shown(plots.kernels())])
    other = shown(plots.frame_strip(FRAMES))
    other.metadata = {}
    moved = shown(widgets.Shown(ipywidgets.HTML(), plots.frame_strip(FRAMES, title="golf")))
    told = nbformat.v4.new_code_cell("show()", metadata={"alt": 'four "clips"'}, outputs=[other])
    explored = nbformat.v4.new_code_cell("explore()", outputs=[moved])
    notebook = nbformat.v4.new_notebook(cells=[drawn, told, explored])
    nbformat.write(notebook, tmp_path / "executed.ipynb")
    copies.write_page(tmp_path / "executed.ipynb", tmp_path / "page.html")
    page = BeautifulSoup((tmp_path / "page.html").read_text(encoding="utf-8"), "html.parser")
    alts = [plots.kernels().alt, 'four "clips"', plots.frame_strip(FRAMES, title="golf").alt]
    assert [image["alt"] for image in page.find_all("img")] == alts
    published = copies.clean(notebook)
    assert published.cells[1].outputs[0].metadata["image/jpeg"]["alt"] == 'four "clips"'
    assert copies.clean(published) == published


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_stored_picture_has_one(path):
    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", []):
            for kind in {"image/png", "image/jpeg"} & output.get("data", {}).keys():
                text = output.metadata.get(kind, {}).get("alt", "")
                assert len(text) > 20, f"{cell.id}: run r21d reproduce --publish"
