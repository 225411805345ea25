"""The JavaScript that the site copies: from npm, checked, or from a folder, or one line."""

import shutil

import pytest

from r21d_lib.errors import SettingsError
from r21d_lib.publish import web_packages
from r21d_lib.publish.web_packages import MATHJAX, WebPackage

# Small, so that fetching it tests as much as fetching what the site needs.
REQUIREJS = WebPackage(
    "requirejs",
    "2.3.8",
    "7/cTSLOdYkNBNJcDMWf+luFvMriVm7eYxp4BcFCsAX0wF421Vyce5SXP17c+Jd5otXKGNehIonFlyQXSowL6Mw==",
)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(web_packages, "CACHE", tmp_path / "npm")
    return tmp_path / "npm"


def test_without_npm_one_line_names_the_way_out(cache, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(
        SettingsError, match=r"npm, which fetches requirejs@2.3.8, .* give --vendor FOLDER"
    ):
        web_packages.read_files(REQUIREJS, "require.js")


def test_a_vendor_folder_is_read_instead(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    file = tmp_path / "node_modules" / "requirejs" / "require.js"
    file.parent.mkdir(parents=True)
    file.write_text("define()")
    vendor = tmp_path / "node_modules"
    assert web_packages.read_files(REQUIREJS, "require.js", vendor=vendor) == {
        "require.js": b"define()"
    }
    with pytest.raises(SettingsError, match=r"tex-svg.js is missing: run `npm install mathjax"):
        web_packages.read_files(MATHJAX, "es5/tex-svg.js", vendor=vendor)


def test_npm_fetches_the_version_again_where_the_cached_one_is_damaged(cache):
    if not shutil.which("npm"):
        pytest.skip("npm is not installed here")
    cache.mkdir()
    (cache / "requirejs-2.3.8.tgz").write_bytes(b"half a file")
    try:
        code = web_packages.read_files(REQUIREJS, "require.js")["require.js"]
    except SettingsError as error:
        pytest.skip(str(error))
    assert b"requirejs.version" in code or b"2.3.8" in code
    assert [path.name for path in cache.iterdir()] == ["requirejs-2.3.8.tgz"]


def test_another_archive_than_the_published_one_is_refused(cache):
    import dataclasses

    if not shutil.which("npm"):
        pytest.skip("npm is not installed here")
    other = dataclasses.replace(REQUIREJS, sha512="AAAA")
    with pytest.raises(SettingsError, match=r"requirejs@2\.3\.8") as caught:
        web_packages.read_files(other, "require.js")
    if "could not fetch" in str(caught.value):
        pytest.skip(str(caught.value))
    assert "is not requirejs@2.3.8 as it was published" in str(caught.value)
    assert not cache.exists() or not list(cache.iterdir())
