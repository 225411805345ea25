"""HMDB51's files: out of archives and folders, safely, again after a stop; and their check."""

import dataclasses
import io
import os
import re
import shutil
import stat
import struct
import tarfile
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
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def of_class(name):
    return {f"{name}/{clip}": f"{name} {clip}".encode() for clip in NAMES}


def tarred(files, mode="w"):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


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
    make = {"rars": rar, "zips": zipped, "tars": tarred}[pack]
    suffix = pack[:-1]
    members = {f"{name}.{suffix}": make(of_class(name)) for name in CLASSES}
    if outer == "folder":
        for name, content in members.items():
            (place / name).write_bytes(content)
        return place
    path = place / f"hmdb51_org.{outer}"
    forms = {"rar": rar, "zip": zipped, "tar": tarred, "tar.gz": lambda f: tarred(f, "w:gz")}
    path.write_bytes(forms[outer](members))
    return path


@pytest.mark.parametrize(
    "kind",
    [
        "folders",
        "zips in folder",
        "zips in zip",
        "tars in folder",
        "zips in tar",
        "tars in tar.gz",
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


@needs_rar_reader
def test_rights_and_kinds_of_an_archives_entries_are_not_taken(tmp_path):
    """A .rar is opened by a program that goes by its content: here a tar."""
    source = tmp_path / "source"
    source.mkdir()
    for kind, message in ((tarfile.REGTYPE, None), (tarfile.FIFOTYPE, "is no plain file")):
        with tarfile.open(source / "wave.rar", "w") as archive:
            entry = tarfile.TarInfo("wave/a.avi")
            entry.type, entry.mode = kind, 0o6777
            entry.size = 1 if kind == tarfile.REGTYPE else 0
            archive.addfile(entry, io.BytesIO(b"x"))
        to = tmp_path / f"to {kind!r}"
        if message:
            with pytest.raises(DatasetError, match=message):
                hmdb51.prepare_files(source, to, progress=False)
            assert tree(to) == {}
        else:
            hmdb51.prepare_files(source, to, progress=False)
            assert stat.S_IMODE((to / "wave" / "a.avi").stat().st_mode) == 0o644


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
        (lambda p: p.write_text("x"), "neither a folder nor an archive"),
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


@pytest.mark.thorough
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
    assert "3 classes with 6 clips were made" in done.output
    done = run(app, ["doctor", "hmdb51", str(tmp_path / "to"), "--no-decode"])
    assert done.exit_code == 1
    assert "48 of 51 class folders are missing" in done.output
    done = run(app, ["doctor", "hmdb51", str(complete), "--no-decode"])
    assert done.exit_code == 0
    assert "holds all of HMDB51's three splits (not decoded)" in done.output
    for command in (["prepare", "ucf101", "x"], ["doctor", "hmdb51", str(tmp_path / "nowhere")]):
        assert run(app, command).exception is not None


@pytest.mark.parametrize("parts", [("train", "test"), ("train", "test", "other")])
def test_a_class_in_several_folders_is_gathered(tmp_path, parts):
    for number, part in enumerate(parts):
        file = tmp_path / "source" / part / "wave" / f"{number}.avi"
        file.parent.mkdir(parents=True)
        file.write_bytes(b"x")
    assert hmdb51.prepare_files(tmp_path / "source", tmp_path / "to", progress=False) == ["wave"]
    assert len(list((tmp_path / "to" / "wave").iterdir())) == len(parts)
    assert hmdb51.prepare_files(tmp_path / "source", tmp_path / "to", progress=False) == []


def test_what_came_later_is_added_to_a_class(tmp_path):
    for part in ("first", "second"):
        file = tmp_path / part / "wave" / f"{part}.avi"
        file.parent.mkdir(parents=True)
        file.write_bytes(part.encode())
    for part in ("first", "second"):
        assert hmdb51.prepare_files(tmp_path / part, tmp_path / "to", progress=False) == ["wave"]
    there = {file.name: file.read_text() for file in (tmp_path / "to" / "wave").iterdir()}
    assert there == {"first.avi": "first", "second.avi": "second"}


def test_what_a_class_folder_holds_stays_when_clips_are_added(tmp_path):
    mine, source = tmp_path / "to" / "wave", tmp_path / "source" / "wave"
    (mine / "sub").mkdir(parents=True)
    source.mkdir(parents=True)
    for name in ("notes.txt", "a.avi", "sub/b.avi", "._a.avi"):
        (mine / name).write_text("mine")
    before = tree(mine)
    for name in ("a.avi", "b.avi", "c.avi"):
        (source / name).write_text("other")
    assert hmdb51.prepare_files(tmp_path / "source", tmp_path / "to", progress=False) == ["wave"]
    assert tree(mine) == {**before, "c.avi": b"other"}
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["wave"]


@pytest.mark.parametrize("kind", ["relative", "absolute", "link to a link"])
def test_links_are_followed_to_their_files(tmp_path, kind):
    store, source = tmp_path / "source" / ".store", tmp_path / "source" / "wave"
    store.mkdir(parents=True)
    source.mkdir()
    (store / "blob").write_bytes(b"frames")
    (store / "two").symlink_to("blob")
    targets = {
        "relative": "../.store/blob",
        "absolute": store / "blob",
        "link to a link": "../.store/two",
    }
    (source / "a.avi").symlink_to(targets[kind])
    hmdb51.prepare_files(tmp_path / "source", tmp_path / "elsewhere" / "to", progress=False)
    made = tmp_path / "elsewhere" / "to" / "wave" / "a.avi"
    assert not made.is_symlink()
    assert made.read_bytes() == b"frames"


def test_the_doctor_tells_links_that_lead_nowhere(copied):
    name = next(iter(sorted(p for p in copied.rglob("*.avi"))))
    name.unlink()
    name.symlink_to("../nowhere.avi")
    told = " ".join(wrong(hmdb51.examine(copied, decode=False)))
    assert "is a link to a file that is not there" in told


def official(count):
    """The first clips of the official lists, each with a content of its own: {class/name: bytes}."""
    return {name: name.encode() for name in sorted(hmdb51.known_names())[:count]}


def rows(files):
    import pyarrow

    videos = [{"bytes": data, "path": name.rpartition("/")[2]} for name, data in files.items()]
    return pyarrow.table({"video": videos, "label": [0] * len(files)})


@pytest.mark.parametrize("kind", ["folders in shards", "names in shards", "parquet", "loose files"])
def test_forms_of_the_hub_give_the_official_names(tmp_path, kind):
    files, source = official(150), tmp_path / "source"
    source.mkdir()
    flat = {name.rpartition("/")[2]: data for name, data in files.items()}
    for number in range(3):
        of_shard = dict(list((files if "folders" in kind else flat).items())[number::3])
        if "shards" in kind:
            (source / f"shard-{number:05}.tar").write_bytes(tarred(of_shard))
        elif kind == "parquet":
            import pyarrow.parquet

            table = rows(dict(list(files.items())[number::3]))
            (source / "data").mkdir(exist_ok=True)
            pyarrow.parquet.write_table(table, source / "data" / f"test-{number}-of-3.parquet")
        else:
            for name, data in of_shard.items():
                (source / name).write_bytes(data)
    hmdb51.prepare_files(source, tmp_path / "to", progress=False)
    assert tree(tmp_path / "to") == files
    assert hmdb51.prepare_files(source, tmp_path / "to", progress=False) == []


def test_a_table_without_names_is_refused(tmp_path):
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"video": [{"bytes": b"x", "path": None}], "label": [0]})
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet")
    with pytest.raises(DatasetError, match="does not say the videos' names"):
        hmdb51.prepare_files(tmp_path / "rows.parquet", tmp_path / "to", progress=False)


@pytest.mark.parametrize("kind", ["a link", "a device"])
def test_entries_of_a_tar_that_are_no_files_are_refused(tmp_path, kind):
    entry = tarfile.TarInfo("climb/a.avi")
    entry.type = tarfile.SYMTYPE if kind == "a link" else tarfile.CHRTYPE
    entry.linkname = "/etc/passwd"
    with tarfile.open(tmp_path / "hmdb51.tar", "w") as archive:
        archive.addfile(entry)
    with pytest.raises(DatasetError, match="is no plain file"):
        hmdb51.prepare_files(tmp_path / "hmdb51.tar", tmp_path / "to", progress=False)


@needs_rar_reader
def test_a_program_that_cannot_read_rar_gives_way_to_the_next(tmp_path, monkeypatch):
    broken = tmp_path / "bin" / "bsdtar"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho 'Unsupported Method' >&2\nexit 2\n")
    broken.chmod(0o755)
    real = next(tool for tool in archives._TOOLS if shutil.which(tool.program))
    first = dataclasses.replace(real, program=str(broken), list_command=(str(broken), "-tf"))
    monkeypatch.setattr(archives, "_TOOLS", (first, *archives._TOOLS))
    (tmp_path / "hmdb51_org.rar").write_bytes(rar({f"{n}.rar": rar(of_class(n)) for n in CLASSES}))
    hmdb51.prepare_files(tmp_path / "hmdb51_org.rar", tmp_path / "to", progress=False)
    assert tree(tmp_path / "to") == EXPECTED


@pytest.mark.timeout(30)
def test_links_to_folders_above_end(tmp_path):
    source = tmp_path / "source"
    for name in ("one", "two"):
        (source / name).mkdir(parents=True)
        for link in ("up", "over"):
            (source / name / link).symlink_to(source, target_is_directory=True)
    (source / "wave").mkdir()
    (source / "wave" / "a.avi").write_bytes(b"x")
    assert hmdb51.prepare_files(source, tmp_path / "to", progress=False) == ["wave"]
    assert len(list((tmp_path / "to" / "wave").iterdir())) == 1
