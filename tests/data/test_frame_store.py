"""Kept frames: both libraries that decode them give the same pixels, and either alone serves."""

import contextlib
import multiprocessing
import sqlite3
import time
import zlib

import numpy as np
import pytest
import torch

from r21d_lib.data import frame_store
from r21d_lib.errors import DatasetError


def pictures():
    """Noise, slopes and edges, of sizes that JPEG's blocks of 8 and 16 pixels do and do not divide."""
    random = np.random.default_rng(0)
    for height, width in ((1, 1), (7, 9), (16, 17), (33, 31), (112, 112), (128, 171), (240, 320)):
        slope = np.linspace(0, 255, height * width * 3).reshape(height, width, 3)
        noise = random.integers(0, 256, (height, width, 3))
        blocks = np.kron(random.integers(0, 256, (height, width // 8 + 1, 3)), np.ones((1, 8, 1)))
        frames = np.stack([slope, noise, blocks[:, :width]]).astype(np.uint8)
        yield torch.from_numpy(frames)


@pytest.mark.parametrize("quality", [10, 75, 90, 100])
def test_simplejpeg_and_pil_decode_to_the_same_bits(quality, monkeypatch):
    pytest.importorskip("simplejpeg", reason="simplejpeg, of the extra [fast], is not installed")
    for frames in pictures():
        for encoded in frame_store.encode(frames, quality):
            got, wanted = (np.empty(frames.shape[1:], np.uint8) for _ in "ab")
            frame_store._decode_jpeg(encoded, got)
            with monkeypatch.context() as without:
                without.setattr(frame_store, "_simplejpeg", None)
                frame_store._decode_jpeg(encoded, wanted)
            np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("library", ["simplejpeg", "PIL"])
def test_frames_come_back_by_either_library(library, tmp_path, monkeypatch):
    if library == "PIL":
        monkeypatch.setattr(frame_store, "_simplejpeg", None)
    path = tmp_path / "store.sqlite"
    frames = torch.arange(6, dtype=torch.uint8)[:, None, None, None].expand(6, 20, 30, 3) * 40
    kept = frame_store.Frames(tmp_path, frame_store.encode(frames, 90))
    frame_store.write(path, [frame_store.StoredVideo("one", 20, 30, 90, 0, 0, kept)])
    read = frame_store.read(path, frame_store.find(path, "one"), np.array([0, 1, 4]))
    assert read.shape == (3, 20, 30, 3)
    assert (read.int() - frames[[0, 1, 4]].int()).abs().max() <= 1


def stored(folder, name="one", *, count=4, changed_at=0):
    """A video of so many frames, each of them a number."""
    frames = [bytes([number]) * 18 for number in range(count)]
    return frame_store.StoredVideo(name, 2, 3, 0, changed_at, 0, frame_store.Frames(folder, frames))


def numbers(path, entry, count=4):
    return frame_store.read(path, entry, np.arange(count))[:, 0, 0, 0].tolist()


def written_again(path, name="one"):
    """Let a video have another place, as a process did that decoded it without need."""
    with contextlib.closing(sqlite3.connect(path)) as store, store:
        row = store.execute("select * from videos where name = ?", (name,)).fetchone()
        frame_store._delete(store, name)
        store.execute(f"insert into videos values ({', '.join('?' * 9)})", (row[0] + 1, *row[1:]))
        for number in range(row[2]):
            data = bytes([number]) * 18
            frame = (((row[0] + 1) << 24) + number, zlib.crc32(data), data)
            store.execute("insert into frames values (?, ?, ?)", frame)


def test_a_video_that_is_there_just_so_keeps_its_place(tmp_path):
    path = tmp_path / "store.sqlite"
    frame_store.write(path, [stored(tmp_path), stored(tmp_path, "two")])
    entry = frame_store.find(path, "one")
    frame_store.write(path, [stored(tmp_path)])
    assert frame_store.find(path, "one") == entry
    assert numbers(path, entry) == [0, 1, 2, 3]


def test_one_that_was_written_again_since_it_was_found_is_found_again(tmp_path):
    path = tmp_path / "store.sqlite"
    frame_store.write(path, [stored(tmp_path)])
    entry = frame_store.find(path, "one")
    written_again(path)
    written_again(path)
    assert numbers(path, entry) == [0, 1, 2, 3]


def test_one_that_changed_since_it_was_found_never_gives_other_frames(tmp_path):
    path = tmp_path / "store.sqlite"
    frame_store.write(path, [stored(tmp_path)])
    entry = frame_store.find(path, "one")
    frame_store.write(path, [stored(tmp_path, changed_at=1)])
    with pytest.raises(DatasetError, match=r"^one was changed and decoded again .*: start again$"):
        numbers(path, entry)


def test_frames_that_are_gone_are_damage(tmp_path):
    path = tmp_path / "store.sqlite"
    frame_store.write(path, [stored(tmp_path)])
    with contextlib.closing(sqlite3.connect(path)) as store, store:
        store.execute("delete from frames where id & 3 = 3")
    with pytest.raises(DatasetError, match=r"is damaged \(1 frames are missing\): delete it, and"):
        numbers(path, frame_store.find(path, "one"))


def write_again_and_again(path, begun, enough):
    while not enough.is_set():
        written_again(path)
        begun.set()
        time.sleep(0.005)  # or the reader would hardly ever get the file


def test_a_reader_never_takes_another_process_s_writing_for_damage(tmp_path):
    path = tmp_path / "store.sqlite"
    frame_store.write(path, [stored(tmp_path)])
    entry = frame_store.find(path, "one")
    context = multiprocessing.get_context("fork")
    begun, enough = context.Event(), context.Event()
    writer = context.Process(target=write_again_and_again, args=(path, begun, enough))
    frame_store.forget_readers()
    writer.start()
    try:
        assert begun.wait(30)
        for _ in range(300):
            assert numbers(path, entry) == [0, 1, 2, 3]
            entry = frame_store.find(path, "one")
    finally:
        enough.set()
        writer.join()
    assert entry.id > 2
