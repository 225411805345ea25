"""HMDB51 out of archives that are damaged, locked or of something else, and onto a full disk."""

import contextlib
import errno
import io
import os
import re
import resource
import zipfile

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from test_hmdb51_files import of_class, rows, tarred, tree, zipped

from r21d_lib.data import hmdb51
from r21d_lib.data.hmdb51 import archives, preparation
from r21d_lib.errors import DatasetError


def packed(form, files):
    """An archive of one of Python's forms and compressions: {name: bytes}."""
    kind, _, how = form.partition(" ")
    stream = io.BytesIO()
    if kind == "tar":
        return tarred(files, f"w:{how}")
    with zipfile.ZipFile(stream, "w", getattr(zipfile, f"ZIP_{how}")) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


FORMS = [
    *(f"zip {how}" for how in ("STORED", "DEFLATED", "BZIP2", "LZMA")),
    *(f"tar {how}" for how in ("gz", "bz2", "xz")),
]


def texts(count, size=20_000):
    """Videos that compress, but not to nothing."""
    letters = np.random.default_rng(0)
    return {f"wave/{n}.avi": bytes(letters.integers(97, 105, size, np.uint8)) for n in range(count)}


@pytest.mark.parametrize("form", FORMS)
def test_bytes_that_changed_make_an_archive_damaged_in_every_form(tmp_path, form):
    whole = packed(form, texts(3))
    path = tmp_path / f"hmdb51.{form.partition(' ')[0]}"
    for start in range(100, len(whole) - 400, len(whole) // 8):
        path.write_bytes(whole[:start] + bytes(range(1, 251)) + whole[start + 250 :])
        with pytest.raises(DatasetError, match=r"hmdb51\.\w+ is damaged \(.+\): copy it again$"):
            hmdb51.prepare_files(path, tmp_path / "to", progress=False)
        assert tree(tmp_path / "to") == {}


def test_a_damaged_header_in_the_middle_of_a_tar_does_not_end_it(tmp_path):
    whole = bytearray(tarred(texts(3)))
    whole[whole.index(b"wave/1.avi")] ^= 1
    (tmp_path / "hmdb51.tar").write_bytes(whole)
    with pytest.raises(DatasetError, match=r"hmdb51\.tar is damaged"):
        hmdb51.prepare_files(tmp_path / "hmdb51.tar", tmp_path / "to", progress=False)


@contextlib.contextmanager
def full_above(size):
    """Let no file of this process grow larger, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("form", [*FORMS, "parquet"])
def test_a_full_disk_is_no_damage(tmp_path, form):
    path = tmp_path / f"hmdb51.{form.partition(' ')[0]}"
    if form == "parquet":
        pyarrow.parquet.write_table(rows(texts(3)), path)
    else:
        path.write_bytes(packed(form, texts(3)))
    with full_above(10_000), pytest.raises(DatasetError, match=r"to cannot be filled .+: free space"):
        hmdb51.prepare_files(path, tmp_path / "to", progress=False)
    assert tree(tmp_path / "to") == {}


def test_a_full_disk_is_no_damage_of_a_rar(tmp_path, monkeypatch):
    program = tmp_path / "unpacks"
    said = f"'a.avi: Write failed: {os.strerror(errno.ENOSPC)}' 'Errors came before.'"
    program.write_text(
        f"#!/bin/sh\n[ $1 = -xf ] || {{ echo wave/a.avi; exit; }}\nprintf '%s\\n' {said} >&2\nexit 1\n"
    )
    program.chmod(0o755)
    tool = archives._Tool(
        str(program), (str(program), "-tf"), str.splitlines, lambda a, to: [str(program), "-xf"]
    )
    monkeypatch.setattr(archives, "_TOOLS", (tool,))
    (tmp_path / "hmdb51_org.rar").write_bytes(b"x")
    with pytest.raises(DatasetError, match=r"to cannot be filled .+: free space"):
        hmdb51.prepare_files(tmp_path / "hmdb51_org.rar", tmp_path / "to", progress=False)


def test_an_archive_with_a_password_is_not_called_damaged(tmp_path):
    whole = bytearray(zipped(of_class("wave")))
    for place in (m.start() for m in re.finditer(rb"PK(?=\x03\x04|\x01\x02)", whole)):
        whole[place + (6 if whole[place + 2] == 3 else 8)] |= 1  # the flag of encryption
    (tmp_path / "wave.zip").write_bytes(whole)
    with pytest.raises(DatasetError, match=r"password.*: unpack it with another program"):
        hmdb51.prepare_files(tmp_path / "wave.zip", tmp_path / "to", progress=False)


@pytest.mark.parametrize("column", ["path", "bytes"])
def test_a_table_with_a_damaged_page_is_named(tmp_path, column):
    pyarrow.parquet.write_table(rows(texts(3)), tmp_path / "rows.parquet", use_dictionary=False)
    whole = bytearray((tmp_path / "rows.parquet").read_bytes())
    group = pyarrow.parquet.read_metadata(tmp_path / "rows.parquet").row_group(0)
    columns = (group.column(n) for n in range(group.num_columns))
    (page,) = (c for c in columns if c.path_in_schema == f"video.{column}")
    end = page.data_page_offset + page.total_compressed_size
    whole[end - 20 : end] = bytes(range(230, 250))
    (tmp_path / "rows.parquet").write_bytes(whole)
    with pytest.raises(DatasetError, match=r"rows\.parquet is damaged \(.+\): copy it again"):
        hmdb51.prepare_files(tmp_path / "rows.parquet", tmp_path / "to", progress=False)


@pytest.mark.parametrize("table", [{"video": ["a.avi"]}, {"film": [1]}])
def test_a_table_of_something_else_is_refused(tmp_path, table):
    pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / "rows.parquet")
    with pytest.raises(DatasetError, match="is no table with a column video of bytes and path"):
        hmdb51.prepare_files(tmp_path / "rows.parquet", tmp_path / "to", progress=False)


def test_a_table_that_names_videos_without_holding_them_is_refused(tmp_path):
    video = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    column = pyarrow.array([{"bytes": None, "path": "wave/a.avi"}], video)
    pyarrow.parquet.write_table(pyarrow.table({"video": column}), tmp_path / "rows.parquet")
    with pytest.raises(DatasetError, match=r"names wave/a\.avi but does not hold the video"):
        hmdb51.prepare_files(tmp_path / "rows.parquet", tmp_path / "to", progress=False)


@pytest.mark.parametrize("place", ["source", "source/wave/a.avi"])
def test_a_source_that_may_not_be_read_is_not_the_targets_fault(tmp_path, monkeypatch, place):
    (tmp_path / "source" / "wave").mkdir(parents=True)
    (tmp_path / "source" / "wave" / "a.avi").write_bytes(b"x")

    def refused(*_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(tmp_path / place))

    monkeypatch.setattr(preparation, "_link" if place.endswith(".avi") else "_class_sources", refused)
    with pytest.raises(DatasetError, match=rf"{place} cannot be read \(Permission denied\)"):
        hmdb51.prepare_files(tmp_path / "source", tmp_path / "to", progress=False)
