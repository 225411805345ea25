"""All notebooks in JupyterLab in a real Chromium: cells run, every control moves and redraws a picture.

It comes after test_notebooks, whose trainings it finds finished. Screenshots go to build/browser/.
"""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from r21d_lib.files import BUILD
from r21d_lib.reproduction import NOTEBOOKS
from r21d_lib.widgets import FIGURE_CLASS, SLIDER_CLASS

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium here: apt-get install chromium"),
]
ROOT = Path(__file__).resolve().parents[1]
SCREENSHOTS = BUILD / "browser"
# Without the last ones Chromium asks for hosts that a closed network refuses, many times a second.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    # Otherwise cells outside the window are not in the page, and their pictures cannot be found.
    "notebook-extension/tracker": {"windowingMode": "none"},
}
IDLE = "window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
ALL_RAN = """() => [...window.jupyterapp.shell.currentWidget.content.model.cells]
    .filter(cell => cell.type === 'code').every(cell => cell.executionCount !== null)"""


# With the least number of controls that move in each; those of a picture of one frame cannot.
CONTROLS = {"00": 1, "02": 7, "03": 2, "04": 2, "07": 6, "08": 2, "09": 2}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def served(command, port, log, environment):
    """Run a server until it listens, yield its address, and end it."""
    with open(log, "w") as output:
        server = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            cwd=ROOT / "notebooks",
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + 120
            while server.poll() is None and time.monotonic() < deadline:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.2)
            else:
                raise RuntimeError(f"the server did not start: {log.read_text()[-2000:]}")
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(30)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Serve a copy of the notebooks, because JupyterLab saves by itself; yield address and token."""
    root = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "notebooks", root / "root" / "notebooks")
    for setting, values in SETTINGS.items():
        file = root / "settings" / "@jupyterlab" / f"{setting}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(values))
    port, token = free_port(), secrets.token_hex(16)
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
        *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
        *(f"--ServerApp.root_dir={root / 'root'}", "--LabApp.expose_app_in_browser=True"),
        "--LabApp.extension_manager=readonly",
    ]
    environment = {
        "JUPYTER_TOKEN": token,
        "JUPYTER_CONFIG_DIR": str(root / "config"),
        "JUPYTERLAB_SETTINGS_DIR": str(root / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(root / "workspaces"),
        "R21D_RESULTS": str(root / "results"),
    }
    with served(command, port, root / "lab.log", environment) as address:
        yield address, token


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def sources(pictures):
    return [picture.get_attribute("src") for picture in pictures.all()]


def move_every_control(page):
    """Move each slider by a step, then each menu to its second entry; return how many redrew a picture.

    Sliders first: a menu may lead to a class that has nothing for the slider to choose from.
    """
    moved = 0
    for box in page.locator(f".widget-vbox:has(img.{FIGURE_CLASS})").all():
        box.scroll_into_view_if_needed()
        pictures = box.locator(f"img.{FIGURE_CLASS}")
        handles = box.locator(f".{SLIDER_CLASS} .noUi-handle").all()
        for control in [*handles, *box.locator("select").all()]:
            before = sources(pictures)
            if control in handles:
                if control.get_attribute("aria-valuemin") == control.get_attribute("aria-valuemax"):
                    continue
                control.focus()
                page.keyboard.press("ArrowRight")
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
    assert move_every_control(page) >= CONTROLS.get(name[:2], 0)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(SCREENSHOTS / f"{name}.png"))
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.close()


@pytest.mark.timeout(600)
def test_voila_serves_the_evaluation_as_a_page(browser, tmp_path):
    port = free_port()
    command = [
        *(sys.executable, "-m", "voila", "07_evaluate_hmdb51.ipynb", "--no-browser"),
        *("--Voila.ip=127.0.0.1", f"--port={port}"),
    ]
    environment = {"JUPYTER_CONFIG_DIR": str(tmp_path), "R21D_RESULTS": str(tmp_path / "results")}
    with served(command, port, tmp_path / "voila.log", environment) as address:
        page = browser.new_page(viewport={"width": 1300, "height": 1000})
        page.goto(address, timeout=300_000)  # the notebook runs during this request
        page.locator(f"img.{FIGURE_CLASS}").first.wait_for(timeout=120_000)
        assert page.locator(".jp-CodeCell .jp-InputArea-editor").count() == 0, "code is hidden"
        assert move_every_control(page) >= CONTROLS["07"]
        page.screenshot(path=str(SCREENSHOTS / "voila.png"))
        page.close()
