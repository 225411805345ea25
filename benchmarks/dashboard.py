"""How soon can the dashboard be used, from `voila docs/dashboard.ipynb` on?

    python benchmarks/dashboard.py

As after `make run`, over runs of one test list: the fifteen of real videos whose scores the repository
keeps. Counted are the seconds from the command until a Chromium shows the three pictures and a control
that was moved has redrawn one; the browser is started before. Beside them stand the processor's seconds
of server and kernel and the machine's load, as other work makes the former longer. The numbers go to
benchmarks/results/dashboard.json, and docs/student.md says the lowest and highest of the starts.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from r21d_lib.files import whole_file
from r21d_lib.plots.widgets import FIGURE_CLASS
from r21d_lib.suite import findings
from r21d_lib.suite.repository import BENCHMARKS, REPOSITORY
from r21d_lib.suite.results import provenance

RESULTS = BENCHMARKS / "results" / "dashboard.json"
RUNS = BENCHMARKS / "results" / "real_videos"
STARTS = 3
LONGEST_S = 180


def start(browser: Any, build: Path) -> dict[str, float]:
    """Serve the dashboard over the runs in `build`, use it, and end it.

    Returns:
        seconds, those of a processor that server and kernel took, and the machine's load before.
    """
    import psutil

    load = os.getloadavg()[0]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "voila", "docs/dashboard.ipynb", "--no-browser", f"--port={port}"]
    environment = {**os.environ, "R21D_BUILD": str(build), "JUPYTER_CONFIG_DIR": str(build / "jupyter")}
    quiet = subprocess.DEVNULL
    page = browser.new_page(viewport={"width": 1366, "height": 768})
    began = time.monotonic()
    server = subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdout=quiet, stderr=quiet, start_new_session=True
    )
    try:
        while not _listens(port):
            if server.poll() is not None or time.monotonic() - began > LONGEST_S:
                raise RuntimeError(f"{' '.join(command)} does not listen")
            time.sleep(0.05)
        page.goto(f"http://127.0.0.1:{port}", timeout=1000 * LONGEST_S)  # the notebook runs meanwhile
        pictures = page.locator(f"img.{FIGURE_CLASS}")
        pictures.nth(2).wait_for(timeout=1000 * LONGEST_S)
        before = pictures.first.get_attribute("src")
        page.get_by_label("beside").select_option(index=1)
        while pictures.first.get_attribute("src") == before:
            if time.monotonic() - began > LONGEST_S:
                raise RuntimeError("a control was moved and no picture changed")
            page.wait_for_timeout(20)
        seconds = time.monotonic() - began
        family = [process := psutil.Process(server.pid), *process.children(recursive=True)]
        spent = [one.cpu_times() for one in family]
        processor = sum(one.user + one.system for one in spent)
        return {"seconds": round(seconds, 1), "processor": round(processor, 1), "load": round(load, 1)}
    finally:
        page.close()
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main() -> None:
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        shutil.copytree(RUNS, Path(folder) / "runs")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        starts = [start(browser, Path(folder)) for _ in range(STARTS)]
        browser.close()
    found = {"starts": starts, "runs": len([*RUNS.iterdir()]), "provenance": provenance()}
    with whole_file(RESULTS) as partial:
        partial.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(starts)
    findings.fill()


if __name__ == "__main__":
    main()
