"""All notebooks in JupyterLab in a real Chromium: cells run, every control moves and redraws a picture.

Those that train find that finished: these tests come after those of test_notebooks.py. Screenshots go
to build/browser/.
"""

import shutil
import sys
import time

import pytest
from browsing import ALL_RAN, IDLE, MARKS, ROOT, SCREENSHOTS, chromium, free_port, jupyterlab, served

from r21d_lib.plots.widgets import FIGURE_CLASS, SLIDER_CLASS
from r21d_lib.suite.runner import NOTEBOOKS

pytestmark = [*MARKS, pytest.mark.slow]

# With the least number of controls that move in each; those of a picture of one frame cannot.
CONTROLS = {"00": 1, "02": 7, "03": 2, "04": 2, "04b": 1, "07": 6, "07b": 2, "08": 2, "09": 2, "09b": 1}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with jupyterlab(tmp_path_factory.mktemp("lab"), ROOT / "notebooks") as address_and_token:
        yield address_and_token


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


def sources(pictures):
    return [picture.get_attribute("src") for picture in pictures.all()]


def move_every_control(page):
    """Move each slider to its other end, then each menu to its second entry; return how many redrew.

    Sliders first: a menu may lead to a class that has nothing for the slider to choose from. To the
    end, as a step, such as from ten clips to nine, may rightly change nothing.
    """
    moved = 0
    for box in page.locator(f".jp-OutputArea:has(img.{FIGURE_CLASS})").all():
        box.scroll_into_view_if_needed()
        pictures = box.locator(f"img.{FIGURE_CLASS}")
        assert box.locator(".jp-RenderedImage").count() == 0, "a frozen picture beside those that move"
        assert all(picture.get_attribute("alt") for picture in pictures.all())
        handles = box.locator(f".{SLIDER_CLASS} .noUi-handle").all()
        for control in [*handles, *box.locator("select").all()]:
            before = sources(pictures)
            if control in handles:
                if control.get_attribute("aria-valuemin") == control.get_attribute("aria-valuemax"):
                    continue
                at_its_end = control.get_attribute("aria-valuenow") == control.get_attribute(
                    "aria-valuemax"
                )
                control.focus()
                page.keyboard.press("Home" if at_its_end else "End")
            else:
                control.select_option(index=1)
            deadline = time.monotonic() + 60
            while sources(pictures) == before:
                assert time.monotonic() < deadline, "a control was moved and no picture changed"
                page.wait_for_timeout(100)
            moved += 1
    return moved


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_cells_run_and_every_control_redraws_a_picture(lab, browser, name):
    address, token = lab
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    page.set_default_timeout(120_000)
    page.goto(f"{address}/lab/tree/notebooks/{name}.ipynb?token={token}&reset")
    page.wait_for_function(IDLE)
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
    assert page.evaluate(ALL_RAN)
    assert page.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert move_every_control(page) >= CONTROLS.get(name.partition("_")[0], 0)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(SCREENSHOTS / f"{name}.png"))
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.close()


@pytest.mark.timeout(600)
def test_voila_serves_the_dashboard(browser, tmp_path):
    port = free_port()
    command = [
        *(sys.executable, "-m", "voila", "docs/dashboard.ipynb", "--no-browser"),
        *("--Voila.ip=127.0.0.1", f"--port={port}"),
    ]
    shutil.copytree(ROOT / "benchmarks" / "results" / "real_videos", tmp_path / "build" / "runs")
    environment = {"JUPYTER_CONFIG_DIR": str(tmp_path), "R21D_BUILD": str(tmp_path / "build")}
    with served(command, port, tmp_path / "voila.log", environment, ROOT) as address:
        page = browser.new_page(viewport={"width": 1366, "height": 768})
        page.goto(address, timeout=300_000)  # the notebook runs during this request
        page.locator(f"img.{FIGURE_CLASS}").nth(2).wait_for(timeout=120_000)
        assert page.locator(".jp-CodeCell .jp-InputArea-editor").count() == 0, "code is hidden"
        assert move_every_control(page) >= 5
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(SCREENSHOTS / "voila.png"))
        height = page.evaluate("() => document.documentElement.scrollHeight")
        assert height < 1100, "controls and pictures are seen together"
        page.close()
