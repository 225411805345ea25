"""The static site in a real Chromium: live on camera and files, notebooks offline, no host asked.

Screenshots go to build/browser/.
"""

import base64
import sys

import av
import browsing
import numpy as np
import pytest
import torch

from r21d_lib import checkpoints
from r21d_lib.data import action_figures, video
from r21d_lib.data.clips import resize, to_network
from r21d_lib.errors import SettingsError
from r21d_lib.files import whole_folder
from r21d_lib.publish import site, web_packages

pytestmark = [*browsing.MARKS, pytest.mark.timeout(300)]
sync_api = pytest.importorskip("playwright.sync_api")
ACTION = "pullup"  # repeats itself, so that a camera may show it over and over
# A person and a place that the shipped network was not trained on.
FRAMES = action_figures.render("source", ACTION, 2000, 1)
OPENING = r"""# 99. A test

**Do formulas and controls work?** A rule:
$M_i = \lfloor \frac{t d^2 N_{i-1} N_i}{d^2 N_{i-1} + t N_i} \rfloor$.

$$ \sum_{t=1}^{L} x_t $$

See [the first one](99_test.ipynb#top) and [the text](../README.md)."""
CODE = """
from r21d_lib import plots
from r21d_lib.plots import widgets

widgets.explore(plots.factorized_block, n_in=(64, 1, 512), n_out=(64, 1, 512))
"""


def write_y4m(path, frames):
    """Write frames uncompressed, as Chromium's fake camera reads them, at 30 frames a second."""
    height, width = frames.shape[1:3]
    with open(path, "wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F30:1 Ip A1:1 C420jpeg\n".encode())
        for frame in frames:
            planes = av.VideoFrame.from_ndarray(frame, "rgb24").reformat(format="yuv420p")
            file.write(b"FRAME\n" + planes.to_ndarray().tobytes())


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """Return a folder with what a camera and a user would give, or skip where npm cannot fetch."""
    try:
        for package in web_packages.PACKAGES:
            web_packages.read_files(package, "package.json")
    except SettingsError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("material")
    write_y4m(folder / "camera.y4m", FRAMES)
    video.write(
        folder / "golf.webm", action_figures.render("source", "golf", 2001, 0), codec="libvpx-vp9"
    )
    video.write(
        folder / "climb.mp4", action_figures.render("source", "climb", 2002, 0), codec="libx264"
    )
    video.write(folder / "short.webm", FRAMES[:5], codec="libvpx")
    video.write(folder / "clip.avi", FRAMES)
    (folder / "notes.webm").write_text("no video")
    return folder


@pytest.fixture(scope="module")
def folder(material):
    """Build the site with one executed notebook."""
    import nbformat
    from nbclient import NotebookClient

    cells = [nbformat.v4.new_markdown_cell(OPENING), nbformat.v4.new_code_cell(CODE)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    nbformat.write(notebook, material / "99_test.ipynb")
    with whole_folder(material / "site") as earlier:
        (earlier / "stale.html").write_text("of an earlier site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site.explorers, "pairs", lambda: {"studies": {}, "colours": {}})  # takes long
        site.build(material / "site", notebooks=[material / "99_test.ipynb"], reference=False)
    assert not (material / "site" / "stale.html").exists()
    assert [path.name for path in material.iterdir() if path.name.startswith(".")] == []
    return material / "site"


@pytest.fixture(scope="module")
def address(folder):
    port = browsing.free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    with browsing.served(command, port, folder.parent / "server.log", {}, folder) as address:
        yield address


@pytest.fixture(scope="module")
def browser(material):
    with browsing.chromium(
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={material / 'camera.y4m'}",
    ) as browser:
        yield browser


@pytest.fixture
def page(browser, address):
    """Yield a page that may reach the server only; none of its requests may try more, or go wrong."""
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.set_default_timeout(30_000)
    asked, wrong = [], []
    allowed = (address, f"blob:{address}", "data:")
    page.on("request", lambda request: asked.append(request.url))
    page.on("requestfailed", lambda request: wrong.append(request.url))
    page.on("console", lambda message: message.type == "error" and wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.route(lambda url: not url.startswith(allowed), lambda route: route.abort())
    yield page
    assert asked, "the page was loaded"
    assert [url for url in asked if not url.startswith(allowed)] == []
    assert wrong == []
    page.close()


def shot(page, name):
    browsing.SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(browsing.SCREENSHOTS / f"{name}.png"), full_page=True)


def open_live(page, url):
    page.goto(url)
    page.evaluate("() => r21d.ready")
    sync_api.expect(page.locator("#status")).to_have_text("Ready.")


def expect_answer(page, label, seconds):
    sync_api.expect(page.locator("#answer")).to_have_text(label, timeout=1000 * seconds)


def encoded(data):
    return base64.b64encode(data).decode()


def drop(page, path):
    """Drop a file on the page as a mouse would."""
    page.evaluate(
        """([name, text]) => {
            const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([bytes], name, { type: "video/webm" }));
            const options = { dataTransfer, bubbles: true, cancelable: true };
            document.getElementById("stage").dispatchEvent(new DragEvent("drop", options));
        }""",
        [path.name, encoded(path.read_bytes())],
    )


def test_the_page_computes_what_torch_does(page, address):
    open_live(page, f"{address}/live.html")
    clip = FRAMES[4 : 4 + 24 : 3]
    score = """async ([text, height, width]) => {
        const frames = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
        const milliseconds = [];
        let scored;
        for (let i = 0; i < 6; i++) {
            scored = await r21d.scoreFrames(frames, height, width);
            milliseconds.push(scored.milliseconds);
        }
        const first = frames.slice(0, 3 * height * width);
        const small = Array.from(r21d.resizeFrame(first, height, width, 3));
        return { probabilities: scored.probabilities, milliseconds, small };
    }"""
    network, report = checkpoints.load("r2plus1d_10_figures")
    for frames in (clip, np.repeat(np.repeat(clip, 3, 1), 4, 2)[:, 7:, 5:]):
        done = page.evaluate(score, [encoded(frames.tobytes()), *frames.shape[1:3]])
        small = resize(torch.from_numpy(np.ascontiguousarray(frames)), report.card.clips.resize)
        assert done["small"] == small[0].flatten().tolist()
        with torch.inference_mode():
            expected = network(to_network(small[None], report.card.clips)).softmax(1)[0]
        np.testing.assert_allclose(done["probabilities"], expected, atol=1e-3)
        assert min(done["milliseconds"]) < 300


def test_a_camera_and_files_are_recognised(page, address, material):
    open_live(page, f"{address}/live.html")
    for attempt in range(3):  # five seconds, but not against a machine that is busy with something else
        page.click("#camera")
        try:
            expect_answer(page, ACTION, 5)
            break
        except AssertionError:
            if attempt == 2:
                raise
            page.click("#stop")
    page.wait_for_timeout(1500)
    assert int(page.locator("#latency").inner_text().removesuffix(" ms")) < 1000
    assert page.locator("#bars li").count() == 5
    shot(page, "site_camera")

    drop(page, material / "golf.webm")
    expect_answer(page, "golf", 8)
    shot(page, "site_dropped_file")
    drop(page, material / "short.webm")  # shorter than a clip: looped
    expect_answer(page, "pullup", 8)

    page.set_input_files("#file", material / "climb.mp4")
    if page.evaluate(
        "() => document.createElement('video').canPlayType('video/mp4; codecs=avc1.64000b')"
    ):
        expect_answer(page, "climb", 8)
    else:
        sync_api.expect(page.locator("#error")).to_contain_text("climb.mp4 cannot be played")
    page.click("#stop")
    assert page.locator("#stage.playing").count() == 0


@pytest.mark.parametrize("name", ["clip.avi", "notes.webm"])
def test_a_file_that_cannot_be_played_gives_one_line(page, address, material, name):
    open_live(page, f"{address}/live.html")
    page.set_input_files("#file", material / name)
    line = f'{name} cannot be played by this browser: convert it by "r21d webm", or to .mp4 with H.264.'
    sync_api.expect(page.locator("#error")).to_have_text(line)
    assert page.locator("#bars").inner_text().strip() == "", "nothing of the film before stays"
    sync_api.expect(page.locator("#answer")).to_have_text("")
    page.select_option("#example", "situp")
    expect_answer(page, "situp", 8)
    sync_api.expect(page.locator("#error")).to_have_text("")


def test_it_works_as_a_file_and_says_that_the_camera_was_refused(browser, folder):
    flags = ["--use-fake-ui-for-media-stream=deny", "--use-fake-device-for-media-stream"]
    with browser.browser_type.launch(
        executable_path=browsing.CHROMIUM, args=[*browsing.FLAGS, *flags]
    ) as refusing:
        page = refusing.new_page(viewport={"width": 420, "height": 900})
        open_live(page, (folder / "live.html").as_uri())
        page.click("#camera")
        sync_api.expect(page.locator("#error")).to_contain_text("The camera was refused: allow it")
        page.select_option("#example", "golf")
        expect_answer(page, "golf", 8)
        shot(page, "site_as_a_file_narrow")
        page.goto((folder / "notebooks" / "99_test.html").as_uri())
        page.locator("[data-explorer] select").first.wait_for()
        page.locator("mjx-container svg").first.wait_for()


def test_an_executed_notebook_shows_formulas_and_explorers_offline(page, address, folder):
    page.goto(address)
    sync_api.expect(page.locator(".cards p").first).to_have_text("Do formulas and controls work?")
    page.click(".cards a")
    page.locator("mjx-container svg").nth(1).wait_for()
    assert page.locator("mjx-container").count() == 2
    assert page.locator("mjx-merror, [data-mjx-error]").count() == 0
    block = page.locator("[data-explorer=midplanes]")
    block.get_by_label("channels in").select_option(label="128")
    sync_api.expect(block).to_contain_text("M = 164 and 144")
    assert page.locator(".jupyter-widgets").count() == 0, "nothing is shown that does not move"
    links = page.locator(".text_cell a")
    addresses = links.evaluate_all("(links) => links.map((link) => link.getAttribute('href'))")
    assert addresses == ["99_test.html#top", "../index.html"]
    page.click("nav >> text=Live")
    sync_api.expect(page.locator("#status")).to_have_text("Ready.")


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(SettingsError, match=r"holds letter\.txt, which r21d did not put there"):
        site.build(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
