"""What the browser tests share: servers on a free port, JupyterLab over a copy, a real Chromium."""

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

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
MARKS = [
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


@contextlib.contextmanager
def chromium(*flags):
    """Start a Chromium with more flags than `FLAGS`, yield it, and end it."""
    sync_api = pytest.importorskip("playwright.sync_api")
    sync_api.expect.set_options(timeout=30_000)  # as long as its pages wait; its own is 5 s
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *flags])
        yield browser
        browser.close()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def served(command, port, log, environment, folder=ROOT / "notebooks"):
    """Run a server in a folder until it listens, yield its address, and end it."""
    with open(log, "w", encoding="utf-8") as output:
        server = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            cwd=folder,
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


@contextlib.contextmanager
def jupyterlab(root, notebooks):
    """Serve a copy of some notebooks, as JupyterLab saves by itself; yield address and token.

    Args:
        root: an empty folder for the copy, the settings and the log.
        notebooks: they are served as the folder `notebooks`.
    """
    shutil.copytree(notebooks, root / "root" / "notebooks")
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
