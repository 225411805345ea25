"""`r21d lab` in a real Chromium: what a reader saves is there when it is opened again."""

import json
import sys

import pytest
from browsing import ALL_RAN, IDLE, MARKS, SETTINGS, chromium, free_port, served

from r21d_lib.plots.widgets import FIGURE_CLASS, SLIDER_CLASS

pytestmark = [*MARKS, pytest.mark.timeout(300)]
PICTURE = f"img.{FIGURE_CLASS}"
CODE = """import numpy as np
from r21d_lib.plots import widgets
widgets.frame_slider(np.zeros((3, 20, 20, 3), np.uint8))"""


def opened(browser, address):
    page = browser.new_page(viewport={"width": 1366, "height": 768})
    page.set_default_timeout(60_000)
    page.goto(f"{address}&reset")
    page.wait_for_function(IDLE)
    return page


@pytest.mark.thorough
def test_a_saved_notebook_shows_its_pictures_when_it_is_opened_again(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    build, settings = tmp_path / "build", tmp_path / "settings" / "@jupyterlab"
    for setting, values in SETTINGS.items():
        (settings / setting).parent.mkdir(parents=True, exist_ok=True)
        (settings / f"{setting}.jupyterlab-settings").write_text(json.dumps(values))
    port = free_port()
    command = [
        *(sys.executable, "-m", "r21d_lib", "lab", "--", "--no-browser", "--allow-root"),
        *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
        *("--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly"),
    ]
    environment = {
        "R21D_BUILD": str(build),
        "JUPYTER_TOKEN": "secret",
        "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
        "JUPYTERLAB_SETTINGS_DIR": str(settings.parent),
        "JUPYTERLAB_WORKSPACES_DIR": str(tmp_path / "workspaces"),
    }
    with (
        served(command, port, tmp_path / "lab.log", environment, tmp_path) as address,
        chromium() as browser,
    ):
        notebook = build / "lab" / "notebooks" / "tiny.ipynb"
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
        cell = nbformat.v4.new_code_cell(CODE)
        nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), notebook)
        link = f"{address}/lab/tree/notebooks/tiny.ipynb?token=secret"
        page = opened(browser, link)
        page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
        assert page.evaluate(ALL_RAN)
        shown = page.locator(PICTURE).get_attribute("src")
        page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
        page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
        page.close()

        page = opened(browser, link)
        assert page.locator(PICTURE).get_attribute("src") == shown
        assert page.locator(f".{SLIDER_CLASS}").count() == 1
        page.close()
