"""The course page in a real Chromium: every page at three sizes, explorers, search, dashboard, axe.

Screenshots go to build/browser/.
"""

import re
import tempfile

import browsing
import pytest

from r21d_lib.data import video
from r21d_lib.errors import SettingsError
from r21d_lib.publish import explorers, films, site, web_packages
from r21d_lib.publish.web_packages import WebPackage
from r21d_lib.suite.repository import NOTEBOOK_FOLDER
from r21d_lib.training.scored import ScoredList

pytestmark = [*browsing.MARKS, pytest.mark.slow, pytest.mark.timeout(1200)]
sync_api = pytest.importorskip("playwright.sync_api")
AXE = WebPackage(
    "axe-core",
    "4.14.1",
    "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
)
NOTEBOOKS = ("00_start_here", "02_spatiotemporal_convolutions", "04_the_race", "07_evaluate_hmdb51")
PAGES = (
    "index.html",
    *(f"notebooks/{name}.html" for name in NOTEBOOKS),
    "dashboard.html",
    "live.html",
    "docs/student.html",
    "docs/researcher.html",
    "index.pt-BR.html",
    "docs/student.pt-BR.html",
    "api/r21d_lib/models/convolutions.html",
)
SIZES = {
    "wide": ((1366, 768), "light"),
    "phone": ((390, 844), "light"),
    "dark": ((1366, 768), "dark"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Build the site with four notebooks, and one film of a mistake."""
    try:
        for package in (*web_packages.PACKAGES, AXE):
            web_packages.read_files(package, "package.json")
    except SettingsError as error:
        pytest.skip(str(error))
    to = tmp_path_factory.mktemp("course") / "site"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site.films, "write_mistakes", one_mistake)
        patch.setattr(site, "_own_scores", list)  # not what has run on this machine
        site.build(to, notebooks=[NOTEBOOK_FOLDER / f"{name}.ipynb" for name in NOTEBOOKS])
    return to


def one_mistake(lists: list[ScoredList], to) -> dict[str, str]:
    """Write a film for the first mistake; the repository keeps scores, and no videos."""
    from conftest import square_frames

    scores = lists[0].scores
    wrong = (scores.video_probabilities.argmax(1) != scores.labels).argmax()
    with tempfile.TemporaryDirectory() as place:
        video.write(f"{place}/film.avi", square_frames(20))
        films.write_webm(f"{place}/film.avi", to / "0.webm")
    return {scores.names[wrong]: "0.webm"}


@pytest.fixture(scope="module")
def browser():
    with browsing.chromium() as browser:
        yield browser


@pytest.fixture
def opened(browser, folder):
    """Return what opens a page as a file; nothing may go wrong on it, nor ask another host."""
    contexts, wrong = [], []

    def open_page(name, size="wide"):
        (width, height), colours = SIZES[size]
        viewport = {"width": width, "height": height}
        contexts.append(browser.new_context(viewport=viewport, color_scheme=colours))
        page = contexts[-1].new_page()
        page.on("console", lambda message: message.type == "error" and wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request",
            lambda request: re.match("file:|data:|blob:", request.url) or wrong.append(request.url),
        )
        page.goto(f"{folder.as_uri()}/{name}")
        if not name.startswith("api/"):  # which pdoc writes, without the switch
            page.locator("#colours").wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_its_window_and_axe_finds_nothing_serious(opened, name, size):
    page = opened(name, size)
    if "$" in page.content():
        page.wait_for_timeout(500)  # formulas
    browsing.SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    shot = f"course_{name.removesuffix('.html').replace('/', '_')}_{size}.png"
    page.screenshot(path=str(browsing.SCREENSHOTS / shot))
    wide = page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1], "it scrolls to the side"
    code = web_packages.read_files(AXE, "axe.min.js")["axe.min.js"].decode()
    page.evaluate(f"() => {{ {code} }}")  # not as a script, which the page's policy refuses
    found = page.evaluate("() => axe.run({ preload: false }).then(({ violations }) => violations)")
    serious = [
        f"{v['id']}: {v['help']}: {v['nodes'][0]['html'][:150]}"
        for v in found
        if v["impact"] in ("serious", "critical")
    ]
    assert serious == []
    dark = page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(18, 24, 31)"
    assert dark == (size == "dark")


def test_the_start_page_leads_by_its_map_and_the_switch_is_remembered(opened, folder):
    page = opened("index.html")
    page.locator(".map a").first.wait_for()
    links = page.locator(".map a").evaluate_all("(all) => all.map((a) => a.getAttribute('xlink:href'))")
    assert {link for link in links} == {f"notebooks/{name}.html" for name in NOTEBOOKS}
    page.click("#colours")
    assert page.evaluate("() => document.documentElement.dataset.colours") == "dark"
    page.locator(".map a").first.click()
    page.wait_for_url(re.compile("/notebooks/"))
    assert page.evaluate("() => document.documentElement.dataset.colours") == "dark"
    text = opened("index.html").locator("main").inner_text()
    for words in ("I have an hour", "What is a video to a network?", "To run: about ten minutes"):
        assert words in text
    assert (folder / "api" / "r21d_lib" / "models" / "convolutions.html").is_file()


def test_the_language_is_switched_and_kept_along_the_way(opened):
    page = opened("docs/student.html")
    page.click("nav >> text=Português (Brasil)")
    page.wait_for_url(re.compile(r"/docs/student.pt-BR.html"))
    assert page.evaluate("() => document.documentElement.lang") == "pt-BR"
    page.click("nav >> text=Cadernos")
    page.wait_for_url(re.compile(r"/index.pt-BR.html"))
    page.locator(".cards a").first.click()
    page.wait_for_url(re.compile(r"/notebooks/00_start_here.pt-BR.html"))
    page.fill("#search", "quadros certos")
    page.locator("#found a", has_text="Quadros certos").click()
    page.wait_for_url(re.compile(r"/docs/researcher.pt-BR.html"))
    page.fill("#search", "frames")
    sync_api.expect(page.locator("#found")).not_to_have_text("")
    assert all(".pt-BR.html" in a.get_attribute("href") for a in page.locator("#found a").all())
    page.click("nav >> text=English")
    page.wait_for_url(re.compile(r"/docs/researcher.html"))


def test_a_search_finds_a_section_from_any_page(opened):
    page = opened("docs/student.html")
    page.fill("#search", "wide middle")
    page.locator("#found a", has_text="How wide must the middle be?").click()
    page.wait_for_url(re.compile("/02_spatiotemporal_convolutions.html#How-wide"))
    sync_api.expect(page.locator("h2", has_text="How wide must the middle be?")).to_be_in_viewport()
    page.fill("#search", "zzzz")
    sync_api.expect(page.locator("#found")).to_have_text("Nothing found.")


def test_solutions_are_folded_and_the_camera_leads_to_the_live_page(opened):
    page = opened("notebooks/00_start_here.html")
    solution = page.locator("details .highlight").first
    sync_api.expect(solution).to_be_hidden()
    page.locator("summary").first.click()
    sync_api.expect(solution).to_be_visible()
    page.click("text=Before your own camera: the live page")
    sync_api.expect(page.locator("#status")).to_have_text("Ready.", timeout=60_000)


def test_the_explorers_move_without_a_kernel(opened):
    page = opened("notebooks/02_spatiotemporal_convolutions.html")
    pixels = "(all) => all.map((canvas) => canvas.toDataURL())"
    maps = page.locator("[data-explorer=square] canvas")
    before = maps.evaluate_all(pixels)
    page.locator("[data-explorer=square] input").fill("5")
    assert all(old != new for old, new in zip(before, maps.evaluate_all(pixels), strict=True))
    scale = explorers.square()["colours"]
    darkest = (
        "(all) => all.map((canvas) => Math.min(...canvas.getContext('2d').getImageData(0, 0, 12, 12)"
    )
    darkest += ".data.filter((_, place) => place % 4 === 2)))"
    blue = [int(scale[shade][5:], 16) for shade in (15, 20)]  # of a response of 1 and of the largest, 2
    assert maps.evaluate_all(darkest)[:3] == [blue[0], blue[0], blue[1]], "all have one scale"
    block = page.locator("[data-explorer=midplanes]")
    sync_api.expect(block).to_contain_text("M = 144 and 144")
    block.get_by_label("channels out").select_option(label="128")
    sync_api.expect(block).to_contain_text("M = 230 and 288")
    page = opened("notebooks/04_the_race.html")
    race = page.locator("[data-explorer=pairs]")
    race.get_by_role("button", name="R(2+1)D against R3D").click()
    sync_api.expect(race).to_contain_text("R(2+1)D against R3D: +")


def test_the_dashboard_compares_two_runs_and_opens_a_cell(opened):
    page = opened("dashboard.html")
    board = page.locator("[data-explorer=dashboard]")
    sync_api.expect(board.locator(".fill.other").first).to_be_visible()
    board.get_by_label("beside them").select_option(label="none")
    assert board.locator(".fill.other").count() == 0
    text = board.inner_text()
    board.get_by_label("clips used").fill("1")
    assert board.inner_text() != text
    board.get_by_label("clips used").fill("10")
    film = page.evaluate("() => Object.keys(r21dData.scores.films)[0]")
    cell = page.evaluate(
        """(film) => {
            const [list] = r21dData.scores.lists;
            const place = list.videos.indexOf(film);
            return `${list.labels[place]}|${list.said.at(-1)[place]}`;
        }""",
        film,
    )
    board.locator(f"button[data-cell='{cell}']").click()
    sync_api.expect(board.locator(".clips")).to_contain_text(film)
    played = board.locator("video").first
    played.evaluate("(video) => video.play()")
    assert played.evaluate("(video) => video.videoWidth") == 64


def test_on_a_phone_the_answer_is_seen_before_the_fold(opened):
    page = opened("live.html", "phone")
    sync_api.expect(page.locator("#status")).to_have_text("Ready.", timeout=60_000)
    page.select_option("#example", "golf")
    sync_api.expect(page.locator("#answer")).to_have_text("golf", timeout=60_000)
    box = page.locator("#bars").bounding_box()
    assert box["y"] + box["height"] < 844
    page.screenshot(path=str(browsing.SCREENSHOTS / "course_live_answer_phone.png"))
