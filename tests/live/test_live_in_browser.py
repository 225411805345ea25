"""The live widget in a real Chromium whose camera shows a drawn action, served by Voila.

Screenshots go to build/browser/; figures/live_widget.png is made from one: R21D_DRAW=1 pytest THIS.
"""

import base64
import os
import shutil
import sys

import nbformat
import numpy as np
import pytest
from browsing import CHROMIUM, FLAGS, MARKS, ROOT, SCREENSHOTS, chromium, free_port, served
from PIL import Image

from r21d_lib.data import action_figures, video
from r21d_lib.suite.repository import FIGURES

sync_api = pytest.importorskip("playwright.sync_api")
pytestmark = [*MARKS, pytest.mark.timeout(300)]
CELL = "from r21d_lib.live.widget import LiveRecognizer\nLiveRecognizer(most_bytes=2_000_000)"
QUALITY = {"flags": "+qscale", "global_quality": "236"}


def looped(action, times=1, enlarge=1):
    film = np.concatenate([action_figures.render("source", action, 3, 0, seed=1)] * times)
    return [np.asarray(Image.fromarray(f).resize((160 * enlarge, 120 * enlarge))) for f in film]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Write what the camera shows, and two films to drop, of which the browser plays the second."""
    folder = tmp_path_factory.mktemp("films")
    video.write(folder / "camera.mjpeg", looped("climb", enlarge=4), codec="mjpeg")
    video.write(folder / "push.avi", looped("push"), options=QUALITY)
    video.write(folder / "situp.webm", looped("situp", enlarge=2), codec="libvpx", options={"b": "1M"})
    return folder


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder, port = tmp_path_factory.mktemp("page"), free_port()
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    nbformat.write(notebook, folder / "live.ipynb")
    command = [
        *(sys.executable, "-m", "voila", "live.ipynb", "--no-browser"),
        *("--Voila.ip=127.0.0.1", f"--port={port}"),
    ]
    environment = {"JUPYTER_CONFIG_DIR": str(folder), "PYTHONPATH": str(ROOT)}
    with served(command, port, folder / "voila.log", environment, folder) as address:
        yield address


@pytest.fixture(scope="module")
def browser(files):
    flags = (
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={files / 'camera.mjpeg'}",
        # A screen to share, without a person who chooses it.
        "--auto-select-desktop-capture-source=Entire screen",
    )
    with chromium(*flags) as browser:
        yield browser


@pytest.fixture(scope="module")
def widget(browser, address):
    page = browser.new_page(viewport={"width": 860, "height": 480})
    page.goto(address, timeout=120_000)
    root = page.locator(".r21d-live-root")
    root.wait_for(timeout=60_000)
    yield root
    page.close()


def best(widget, label, timeout):
    widget.page.locator(f".r21d-live-root[data-best='{label}']").wait_for(timeout=timeout)


def shot(widget, name):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    widget.screenshot(path=SCREENSHOTS / name)


def button(widget, name):
    return widget.get_by_role("button", name=name, exact=True)


def test_the_camera_is_recognised_within_five_seconds(widget):
    shot(widget, "live_before.png")
    for attempt in range(3):  # five seconds, but not against a machine that is busy with something else
        button(widget, "Camera").click()
        try:
            best(widget, "climb", 5_000)
            break
        except sync_api.TimeoutError:
            if attempt == 2:
                raise
            button(widget, "Stop").click()
    widget.page.wait_for_timeout(2_000)
    best(widget, "climb", 1_000)
    assert float(widget.get_attribute("data-latency")) < 2_000
    assert int(widget.get_attribute("data-sent")) > 10
    assert "frames sent" in widget.inner_text()
    shot(widget, "live_camera.png")
    if os.environ.get("R21D_DRAW"):
        shutil.copy(SCREENSHOTS / "live_camera.png", FIGURES / "live_widget.png")
    button(widget, "Stop").click()
    assert widget.get_attribute("data-best") == ""


def test_a_screen_is_watched_too(widget):
    button(widget, "Screen").click()
    # Chromium's stand-in for a screen shows no action that the network knows.
    widget.page.locator(".r21d-live-root[data-best]:not([data-best=''])").wait_for(timeout=10_000)
    button(widget, "Stop").click()


def drop(widget, path):
    """Let a file fall onto the stage, as the browser tells it to the page."""
    content = base64.b64encode(path.read_bytes()).decode()
    transfer = widget.page.evaluate_handle(
        """([name, content]) => {
            const transfer = new DataTransfer();
            const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
            transfer.items.add(new File([bytes], name));
            return transfer;
        }""",
        [path.name, content],
    )
    widget.locator(".r21d-live-stage").dispatch_event("drop", {"dataTransfer": transfer})


def test_files_are_recognised_whether_the_browser_plays_them_or_not(widget, files):
    widget.locator("input[type=file]").set_input_files(files / "situp.webm")
    best(widget, "situp", 15_000)
    shot(widget, "live_played.png")
    drop(widget, files / "push.avi")
    best(widget, "push", 15_000)
    assert "push.avi: 10 clips of 40 frames, decoded by the kernel" in widget.inner_text()
    shot(widget, "live_decoded.png")


def test_what_cannot_be_shown_is_said_in_a_line(widget, files):
    told = sync_api.expect(widget.get_by_role("status"))
    (files / "broken.avi").write_bytes(b"RIFF no video")
    drop(widget, files / "broken.avi")
    told.to_have_text("broken.avi is not a readable video: copy the file again")
    shot(widget, "live_broken.png")
    (files / "large.avi").write_bytes(bytes(2_100_000))
    drop(widget, files / "large.avi")
    told.to_have_text(
        "large.avi cannot be played by this browser and has 2.1 MB, and at most 2.0 are sent: "
        "use r21d predict."
    )


PAGE = """<script type="module">
import live from "./live.js";
const traits = { frame_size: [144, 192], rate: 10, most_waiting: 8, most_bytes: 1000 };
live.render({ model: { get: (name) => traits[name], on() {}, off() {} }, el: document.body });
</script>"""


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ((), "There is no camera here: connect one, or drop a video file."),
        (
            ("--use-fake-device-for-media-stream",),
            "The camera was refused: allow it beside the page's address, then press the button again.",
        ),
    ],
)
def test_a_camera_that_is_absent_or_refused_is_said_in_a_line(browser, flags, text):
    """No kernel is asked before there is a camera, so that the page alone will do."""
    other = browser.browser_type.launch(executable_path=CHROMIUM, args=[*FLAGS, *flags])
    page = other.new_page()
    page.route("**/live.js", lambda route: route.fulfill(path=ROOT / "r21d_lib/live/static/live.js"))
    page.route("**/page.html", lambda route: route.fulfill(body=PAGE, content_type="text/html"))
    page.goto("http://localhost/page.html")
    page.get_by_role("button", name="Camera", exact=True).click()
    sync_api.expect(page.get_by_role("status")).to_have_text(text)
    other.close()
