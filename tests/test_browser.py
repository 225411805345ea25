"""A notebook in JupyterLab in a real Chromium: all cells run, a slider moves, the picture changes."""

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

from r21d_lib.widgets import FIGURE_CLASS, SLIDER_CLASS

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium here: apt-get install chromium"),
]
ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = "02_spatiotemporal_convolutions.ipynb"
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


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def lab(tmp_path):
    """Serve a copy of the notebooks, because JupyterLab saves by itself; yield address and token."""
    shutil.copytree(ROOT / "notebooks", tmp_path / "root" / "notebooks")
    for setting, values in SETTINGS.items():
        file = tmp_path / "settings" / "@jupyterlab" / f"{setting}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(values))
    port, token = free_port(), secrets.token_hex(16)
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
        *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
        *(f"--ServerApp.root_dir={tmp_path / 'root'}", "--LabApp.expose_app_in_browser=True"),
        "--LabApp.extension_manager=readonly",
    ]
    environment = {
        **os.environ,
        "JUPYTER_TOKEN": token,
        "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
        "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(tmp_path / "workspaces"),
        "R21D_RESULTS": str(tmp_path / "results"),
    }
    log = tmp_path / "lab.log"
    with open(log, "w") as output:
        server = subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            deadline = time.monotonic() + 90
            while server.poll() is None and time.monotonic() < deadline:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.2)
            else:
                raise RuntimeError(f"JupyterLab did not start: {log.read_text()[-2000:]}")
            yield f"http://127.0.0.1:{port}", token
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(20)


@pytest.mark.timeout(420)
def test_cells_run_and_a_slider_redraws_the_picture(lab):
    address, token = lab
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1300, "height": 1000})
        page.set_default_timeout(120_000)
        page.goto(f"{address}/lab/tree/notebooks/{NOTEBOOK}?token={token}&reset")
        page.wait_for_function(IDLE)
        page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
        assert page.evaluate(ALL_RAN)
        assert page.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
        picture = page.locator(f"img.{FIGURE_CLASS}").first
        picture.scroll_into_view_if_needed()
        picture.wait_for(state="visible")
        before = picture.get_attribute("src")
        handle = page.locator(f".{SLIDER_CLASS} .noUi-handle").first
        handle.focus()
        for _ in range(5):
            page.keyboard.press("ArrowRight")
        page.wait_for_function(
            "([name, before]) => document.querySelector(`img.${name}`).src !== before",
            arg=[FIGURE_CLASS, before],
        )
        (ROOT / "build").mkdir(exist_ok=True)
        page.screenshot(path=str(ROOT / "build" / "browser.png"))
        browser.close()
