"""HMDB51's files: out of archives and folders, safely, again after a stop; and their check."""

import os
import re
import shutil
import stat
import struct
import zipfile
import zlib

import pytest
from typer.testing import CliRunner

from r21d_lib.cli.main import app
from r21d_lib.data import hmdb51, video
from r21d_lib.data.hmdb51 import archives
from r21d_lib.errors import DatasetError

NAMES = ("a_climb_f_nm_np1_ri_goo_0.avi", "(HQ)_b!#[]&+;~@_climb_f_cm_np1_le_med_1.avi")
RAR_READER = any(shutil.which(tool.program) for tool in archives._TOOLS)
needs_rar_reader = pytest.mark.skipif(
    not RAR_READER, reason="no program reads .rar here: apt-get install libarchive-tools"
)


def rar(files):
    """An archive of version 4 whose files are stored as they are: {name: bytes}."""

    def block(kind, flags, rest):
        body = struct.pack("<BHH", kind, flags, 7 + len(rest)) + rest
        return struct.pack("<H", zlib.crc32(body) & 0xFFFF) + body

    parts = [b"Rar!\x1a\x07\x00", block(0x73, 0, bytes(6))]
    for name, content in files.items():
        raw = name.encode()
        fields = struct.pack(
            "<IIBIIBBHI",
            len(content), len(content), 3, zlib.crc32(content),
            0x5A21_0000, 20, 0x30, len(raw), 0o100644,
        )  # fmt: skip
        parts += [block(0x74, 0x8000, fields + raw), content]
    return b"".join([*parts, block(0x7B, 0x4000, b"")])


def zipped(files):
    import io

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def of_class(name):
    return {f"{name}/{clip}": f"{name} {clip}".encode() for clip in NAMES}


CLASSES = ("climb", "climb_stairs", "wave")


def tree(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


EXPECTED = {key: content for name in CLASSES for key, content in of_class(name).items()}


def sources(tmp_path, kind):
    """Make one of the forms in which people have HMDB51."""
    place = tmp_path / "source"
    place.mkdir()
    pack, _, outer = kind.partition(" in ")
    if pack == "folders":
        for key, content in EXPECTED.items():
            (place / "hmdb51_org" / key).parent.mkdir(parents=True, exist_ok=True)
            (place / "hmdb51_org" / key).write_bytes(content)
        (place / "hmdb51_org" / "wave" / "._hidden.avi").write_bytes(b"of macOS")
        return place
    make = {"rars": rar, "zips": zipped}[pack]
    suffix = pack[:-1]
    members = {f"{name}.{suffix}": make(of_class(name)) for name in CLASSES}
    if outer == "folder":
        for name, content in members.items():
            (place / name).write_bytes(content)
        return place
    path = place / f"hmdb51_org.{outer}"
    path.write_bytes({"rar": rar, "zip": zipped}[outer](members))
    return path


@pytest.mark.parametrize(
    "kind",
    [
        "folders",
        "zips in folder",
        "zips in zip",
        *(
            pytest.param(kind, marks=needs_rar_reader)
            for kind in ("rars in folder", "rars in rar", "rars in zip")
        ),
    ],
)
def test_every_form_gives_the_same_folders(tmp_path, kind):
    source = sources(tmp_path, kind)
    made = hmdb51.prepare_files(source, tmp_path / "to", workers=2, progress=False)
    assert made == list(CLASSES)
    assert tree(tmp_path / "to") == EXPECTED
    assert hmdb51.prepare_files(source, tmp_path / "to", progress=False) == []


def test_a_plain_zip_of_folders(tmp_path):
    (tmp_path / "all.zip").write_bytes(zipped({f"hmdb51/{k}": v for k, v in EXPECTED.items()}))
    hmdb51.prepare_files(tmp_path / "all.zip", tmp_path / "to", progress=False)
    assert tree(tmp_path / "to") == EXPECTED


def test_an_interrupted_preparation_goes_on(tmp_path, monkeypatch):
    source = sources(tmp_path, "zips in folder")
    extract = archives.extract

    def stop_at_wave(archive, to):
        if archive.name == "wave.zip":
            raise KeyboardInterrupt
        extract(archive, to)

    monkeypatch.setattr(archives, "extract", stop_at_wave)
    with pytest.raises(KeyboardInterrupt):
        hmdb51.prepare_files(source, tmp_path / "to", workers=1, progress=False)
    assert set(tree(tmp_path / "to")) <= set(EXPECTED), "something half-made was left"
    monkeypatch.undo()
    made = hmdb51.prepare_files(source, tmp_path / "to", progress=False)
    assert "wave" in made
    assert tree(tmp_path / "to") == EXPECTED


@pytest.mark.parametrize("make", ["zip", pytest.param("rar", marks=needs_rar_reader)])
@pytest.mark.parametrize(
    "name", ["../evil.avi", "/tmp/evil.avi", "wave/../../evil.avi", "C:\\evil.avi"]
)
def test_names_that_leave_the_folder_are_refused(tmp_path, make, name):
    source = tmp_path / "source"
    source.mkdir()
    content = {"zip": zipped, "rar": rar}[make]({"wave/a.avi": b"x", name: b"evil"})
    (source / f"wave.{make}").write_bytes(content)
    with pytest.raises(DatasetError, match="would be written outside"):
        hmdb51.prepare_files(source, tmp_path / "to", progress=False)
    assert tree(tmp_path / "to") == {}
    assert not list(tmp_path.rglob("evil.avi"))


def test_links_in_archives_are_refused(tmp_path):
    (tmp_path / "source").mkdir()
    with zipfile.ZipFile(tmp_path / "source" / "wave.zip", "w") as archive:
        entry = zipfile.ZipInfo("wave/a.avi")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(DatasetError, match="is a link"):
        hmdb51.prepare_files(tmp_path / "source", tmp_path / "to", progress=False)


@pytest.mark.parametrize("suffix", ["zip", pytest.param("rar", marks=needs_rar_reader)])
def test_damaged_archives_are_named(tmp_path, suffix):
    (tmp_path / "source").mkdir()
    whole = {"zip": zipped, "rar": rar}[suffix](of_class("wave"))
    (tmp_path / "source" / f"wave.{suffix}").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match=rf"wave\.{suffix}.*copy it again"):
        hmdb51.prepare_files(tmp_path / "source", tmp_path / "to", progress=False)
    assert tree(tmp_path / "to") == {}


def test_a_missing_program_is_named(tmp_path, monkeypatch):
    (tmp_path / "hmdb51_org.rar").write_bytes(rar(of_class("wave")))
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(DatasetError, match="apt-get install libarchive-tools"):
        hmdb51.prepare_files(tmp_path / "hmdb51_org.rar", tmp_path / "to", progress=False)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda p: None, "no HMDB51 at"),
        (lambda p: p.mkdir(), "holds none of HMDB51's classes"),
        (lambda p: p.write_text("x"), "neither a folder nor a .rar or .zip"),
        (lambda p: (p / "wave").mkdir(parents=True), "holds no .avi file"),
    ],
)
def test_sources_that_are_none(tmp_path, prepare, message):
    prepare(tmp_path / "source")
    with pytest.raises(DatasetError, match=message):
        hmdb51.prepare_files(tmp_path / "source", tmp_path / "to", progress=False)
    assert not list((tmp_path / "to").glob("*")) if (tmp_path / "to").exists() else True


def test_a_target_in_its_own_source(tmp_path):
    source = sources(tmp_path, "folders")
    with pytest.raises(DatasetError, match="lies in its own source"):
        hmdb51.prepare_files(source, source / "to", progress=False)


# The check ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def complete(tmp_path_factory, small_frames):
    """All listed names with small DX50-like clips behind them; the lengths are not HMDB51's."""
    folder = tmp_path_factory.mktemp("hmdb51")
    clip = folder / "clip.avi"
    video.write(clip, small_frames, max_b_frames=1)
    for name in hmdb51.known_names():
        path = folder / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(clip, path)
    return folder / "videos"


@pytest.fixture(scope="module")
def small_frames():
    from conftest import square_frames

    return square_frames(16, 32, 40)


@pytest.fixture
def copied(complete, tmp_path):
    shutil.copytree(complete, tmp_path / "copy", copy_function=os.link)
    return tmp_path / "copy"


def wrong(findings):
    return [finding.text for finding in findings if finding.level == "wrong"]


def test_nothing_is_wrong_with_a_complete_set(complete):
    assert len(hmdb51.known_names()) == 6371
    findings = hmdb51.examine(complete, progress=False)
    assert wrong(findings) == []
    notes = " ".join(finding.text for finding in findings)
    assert "HMDB51 has 6766; all listed are there" in notes
    # The stand-in's clips have 16 frames, HMDB51's have not.
    assert "other lengths than listed" in notes


def test_missing_and_renamed_clips_are_named(copied):
    shutil.rmtree(copied / "wave")
    clip = next((copied / "climb").glob("*(HQ)*"))
    clip.rename(clip.with_name(clip.name.replace("(", "_").replace(")", "_")))
    (copied / "juggle").mkdir()
    found = hmdb51.examine(copied, decode=False)
    text = "\n".join(wrong(found))
    assert "1 of 51 class folders are missing (wave)" in text
    # Of the class wave 70, and the renamed clip where it is in this split's training part.
    assert re.search("split 1 has 3,(500|499) of its 3,570 train clips", text)
    assert "listed clips are absent (climb/(HQ)" in text
    assert "may be one of them under another name" in text
    assert any("juggle" in finding.text for finding in found if finding.level == "note")


def test_broken_clips_are_named(copied):
    broken = sorted((copied / "kick").iterdir())[:2]
    for path in broken:
        path.unlink()
    broken[0].write_bytes(b"")
    broken[1].write_text("not a video")
    text = wrong(hmdb51.examine(copied, progress=False))
    assert len(text) == 2
    assert f"{broken[0]} is empty" in text[0]
    assert f"{broken[1]} is not a readable video" in text[1]


def test_the_commands(tmp_path, complete):
    run = CliRunner().invoke
    source = sources(tmp_path, "folders")
    done = run(app, ["prepare", "hmdb51", str(source), "--to", str(tmp_path / "to")])
    assert done.exit_code == 0
    assert "3 classes were added" in done.output
    done = run(app, ["doctor", "hmdb51", str(tmp_path / "to"), "--no-decode"])
    assert done.exit_code == 1
    assert "48 of 51 class folders are missing" in done.output
    done = run(app, ["doctor", "hmdb51", str(complete), "--no-decode"])
    assert done.exit_code == 0
    assert "holds all of HMDB51's three splits (not decoded)" in done.output
    for command in (["prepare", "ucf101", "x"], ["doctor", "hmdb51", str(tmp_path / "nowhere")]):
        assert run(app, command).exception is not None
