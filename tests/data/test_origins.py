"""The cache notices files whose content changed under the same time and size, and reads few of them."""

import dataclasses
import os
import shutil

import numpy as np
import pytest
import torch

from r21d_lib.data import cache as module
from r21d_lib.data import origins, video
from r21d_lib.data.cache import prepare
from r21d_lib.data.clips import resize
from r21d_lib.data.lists import VideoList
from r21d_lib.errors import DatasetError, SettingsError

SIZE = (24, 32)


def write_raw(file, seed):
    """Write a video whose size and time say nothing of what is in it."""
    pixels = np.random.default_rng(seed).integers(0, 255, (5, *SIZE, 3), np.uint8)
    video.write(file, pixels, codec="rawvideo")
    os.utime(file, (10**9, 10**9))


@pytest.fixture
def raw(tmp_path) -> VideoList:
    names = ("a/x.avi", "b/y.avi")
    for seed, name in enumerate(names):
        write_raw(tmp_path / "raw" / name, seed)
    return VideoList("raw", ("a", "b"), tmp_path / "raw", names, (0, 1))


@pytest.fixture
def decoded(monkeypatch):
    """Return the names of the videos that are decoded."""
    names = []

    def noting(file, name, *rest):
        names.append(name)
        return decode_one(file, name, *rest)

    decode_one = module._decode_one
    monkeypatch.setattr(module, "_decode_one", noting)
    return names


@pytest.fixture
def looked_at(monkeypatch):
    """Return the files that are read to be compared."""
    files = []
    of_file = origins.of_file
    monkeypatch.setattr(origins, "of_file", lambda file: files.append(file) or of_file(file))
    return files


def frames_of(listed, index):
    return resize(torch.from_numpy(video.decode(listed.path(index))), SIZE).numpy()


def test_other_content_of_the_same_time_and_size_is_decoded_again(raw, tmp_path, decoded):
    old = prepare(raw, tmp_path / "cache", size=SIZE).frames(0)
    before = raw.path(0).stat()
    write_raw(raw.path(0), 7)
    after = raw.path(0).stat()
    assert (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    decoded.clear()
    now = prepare(raw, tmp_path / "cache", size=SIZE)
    assert decoded == ["a/x.avi"]
    np.testing.assert_array_equal(now.frames(0), frames_of(raw, 0))
    assert not np.array_equal(now.frames(0), old)
    decoded.clear()
    prepare(raw, tmp_path / "cache", size=SIZE)
    assert decoded == []


def test_files_that_did_not_change_are_not_read(raw, tmp_path, looked_at):
    prepare(raw, tmp_path / "cache", size=SIZE)
    looked_at.clear()
    prepare(raw, tmp_path / "cache", size=SIZE)
    assert looked_at == []


def test_a_copy_of_the_same_content_is_compared_once_and_not_decoded(raw, tmp_path, decoded, looked_at):
    prepare(raw, tmp_path / "cache", size=SIZE)
    for index in range(2):  # as a restored backup
        shutil.copy2(raw.path(index), tmp_path / "copy")
        os.replace(tmp_path / "copy", raw.path(index))
    decoded.clear()
    looked_at.clear()
    prepare(raw, tmp_path / "cache", size=SIZE)
    assert (decoded, len(looked_at)) == ([], 2)
    looked_at.clear()
    prepare(raw, tmp_path / "cache", size=SIZE)
    assert looked_at == []


def test_a_cache_of_before_stays_valid_and_is_completed(raw, tmp_path, decoded):
    (prepare(raw, tmp_path / "cache", size=SIZE).folder / "origins.sqlite").unlink()
    decoded.clear()
    prepare(raw, tmp_path / "cache", size=SIZE)
    assert decoded == []
    write_raw(raw.path(1), 7)
    now = prepare(raw, tmp_path / "cache", size=SIZE)
    assert decoded == ["b/y.avi"]
    np.testing.assert_array_equal(now.frames(1), frames_of(raw, 1))


def test_damage_and_a_place_that_cannot_be_written(raw, tmp_path, monkeypatch):
    folder = prepare(raw, tmp_path / "cache", size=SIZE).folder
    (folder / "origins.sqlite").write_bytes(b"no database" * 99)
    with pytest.raises(DatasetError, match=r"origins\.sqlite is damaged .*: delete it"):
        prepare(raw, tmp_path / "cache", size=SIZE)
    (folder / "origins.sqlite").unlink()
    (folder / "origins.sqlite").mkdir()  # cannot be opened, as on a disk that is read-only
    assert len(prepare(raw, tmp_path / "cache", size=SIZE).frames(0)) == 5


@pytest.mark.parametrize("quality", [-1, 0, 101])
def test_jpeg_has_no_such_quality(raw, tmp_path, quality):
    with pytest.raises(SettingsError, match=f"no quality {quality}: choose 1 to 100"):
        prepare(raw, tmp_path / "cache", size=SIZE, quality=quality)
    assert not (tmp_path / "cache").exists()


def test_rates_that_differ_in_the_seventh_digit_have_caches_of_their_own(tiny_dataset, tmp_path):
    first = dataclasses.replace(tiny_dataset.subset([0]), classes=tiny_dataset.classes)
    names = [
        prepare(first, tmp_path, size=SIZE, fps=fps).folder.name
        for fps in (23.976, 24000 / 1001, 12, 12.5, 29.97)
    ]
    assert names[0] == "24x32-23.976fps"
    assert names[1] == "24x32-23.976023976023978fps"
    assert names[2:] == ["24x32-12fps", "24x32-12.5fps", "24x32-29.97fps"]
