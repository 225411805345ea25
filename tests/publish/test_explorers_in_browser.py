"""What the explorers of a page do with scores that have not the same number of clips."""

import json

import browsing
import pytest

from r21d_lib.publish import site

pytestmark = browsing.MARKS
sync_api = pytest.importorskip("playwright.sync_api")


def scores(title, clips):
    """Return what `explorers.of_scores` says of two right videos, of 1 to `clips` clips."""
    return {
        "title": title,
        "names": ["golf", "run"],
        "labels": [0, 1],
        "videos": ["golf/0.avi", "run/1.avi"],
        "total": [[number / 10, 0, 1, 2] for number in range(1, clips + 1)],
        "classes": [[[1, 1, 0, 1, 1]] * 2] * clips,
        "said": [[0, 1]] * clips,
    }


def test_the_dashboard_says_how_many_clips_it_uses(tmp_path):
    lists = [scores("ten", 10), scores("one", 1)]
    data = json.dumps({"scores": {"lists": lists, "films": {}}})
    script = (site.SOURCES / "explorers.js").read_text(encoding="utf-8")
    page_file = tmp_path / "page.html"
    page_file.write_text(
        f'<div data-explorer="dashboard"></div><script>window.r21dData = {data};</script>'
        f"<script>{script}</script>",
        encoding="utf-8",
    )
    with browsing.chromium() as browser:
        page = browser.new_page(viewport={"width": 1366, "height": 768})
        page.goto(page_file.as_uri())
        said, slider = page.locator(".key"), page.get_by_label("clips used")
        sync_api.expect(said).to_contain_text("ten: video@1 100.0% [0.0%, 100.0%], 2 groups, 10 clips")
        sync_api.expect(said).to_contain_text("one: video@1 10.0% [0.0%, 100.0%], 2 groups, 1 clip")
        page.locator("select").first.select_option(label="one")
        sync_api.expect(slider).to_have_attribute("max", "1")
        sync_api.expect(page.locator("output")).to_have_text("1")
        page.locator("select").first.select_option(label="ten")
        sync_api.expect(slider).to_have_value("10")
        slider.fill("3")
        sync_api.expect(said).to_contain_text("2 groups, 3 clips")
