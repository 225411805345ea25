"""The decode-once cache: whole or not at all, right after kills and damage, readable by many."""

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from r21d_lib.data import cache as module
from r21d_lib.data import frame_store, safe_decoder, video
from r21d_lib.data.cache import prepare, store_of
from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.data.clips import resize
from r21d_lib.data.lists import VideoList
from r21d_lib.data.sampling import TestClips, TrainBatches, TrainClips
from r21d_lib.errors import DatasetError, VideoError

SIZE = (24, 32)
SETTINGS = ClipSettings(clip_len=4, stride=2, resize=SIZE, crop=16)


@pytest.fixture(scope="module")
def prepared(tiny_dataset, tmp_path_factory):
    return prepare(tiny_dataset, tmp_path_factory.mktemp("cache"), size=SIZE)


def ids(prepared):
    return [
        frame_store.find(store_of(prepared.folder, name), name).id for name in prepared.videos.names
    ]


def test_it_holds_what_was_decoded(prepared, tiny_dataset):
    for index in range(len(tiny_dataset)):
        frames = torch.from_numpy(video.decode(tiny_dataset.path(index)))
        np.testing.assert_array_equal(prepared.frames(index), resize(frames, SIZE).numpy())


def test_every_video_is_decoded_once_and_again_when_it_changed(copied, tmp_path):
    before = ids(prepare(copied, tmp_path / "cache", size=SIZE))
    assert ids(prepare(copied, tmp_path / "cache", size=SIZE)) == before
    copied.path(2).touch()
    after = ids(prepare(copied, tmp_path / "cache", size=SIZE))
    assert [one != other for one, other in zip(before, after, strict=True)] == [
        index == 2 for index in range(8)
    ]


def test_jpeg_frames_are_near_and_small(copied, tmp_path, prepared):
    small = prepare(copied, tmp_path / "cache", size=SIZE, quality=90)
    assert small.folder.name == "24x32-q90"
    for index in range(len(copied)):
        exact, near = prepared.frames(index).astype(int), small.frames(index)
        assert near.shape == exact.shape
        assert 0 < np.abs(near - exact).mean() < 6
        clips = TestClips(small, SETTINGS, num_clips=2)[index][0]
        np.testing.assert_array_equal(clips[0], near[[0, 2, 4, 6]])


def test_processes_prepare_the_same_and_stop_at_a_broken_video(copied, tmp_path, prepared):
    copied.path(7).write_bytes(b"garbage")
    with pytest.raises(VideoError, match=r"take\)!_3\.avi is not a readable video"):
        prepare(copied, tmp_path, size=SIZE, workers=2)
    rest = copied.subset(range(7))
    folder = tmp_path / module._place(rest.root) / "24x32"
    versions = {name: module._version(rest.path(k)) for k, name in enumerate(rest.names)}
    assert module._missing(rest, folder, versions) == []
    there = prepare(rest, tmp_path, size=SIZE)
    for index in range(7):
        np.testing.assert_array_equal(there.frames(index), prepared.frames(index))


def test_a_broken_video_stops_the_cache_which_goes_on_once_it_is_mended(copied, tmp_path):
    whole = copied.path(2).read_bytes()
    copied.path(2).write_bytes(b"garbage")
    with pytest.raises(VideoError, match=r"take\)!_2\.avi is not a readable video"):
        prepare(copied, tmp_path / "cache", size=SIZE)
    held = [frame_store.sources(path) for path in (tmp_path / "cache").rglob("*.sqlite")]
    assert sorted(name for its in held for name in its) == list(copied.names[:2])
    copied.path(2).write_bytes(whole)
    prepared = prepare(copied, tmp_path / "cache", size=SIZE)
    assert [len(prepared.frames(i)) for i in range(8)] == [16, 17, 18, 19] * 2


@pytest.mark.parametrize("workers", [1, 2])
def test_bad_videos_are_reported_by_name_and_left_out(copied, tmp_path, workers):
    copied.path(2).write_bytes(b"garbage")
    copied.path(6).unlink()
    prepared = prepare(copied, tmp_path / "cache", size=SIZE, on_bad_video="report", workers=workers)
    assert [name for name, _ in prepared.bad] == [copied.names[2], copied.names[6]]
    assert "is not a readable video" in prepared.bad[0][1]
    assert "no video" in prepared.bad[1][1]
    assert len(prepared) == 6
    assert prepared.videos.labels == (0, 0, 0, 1, 1, 1)
    assert all(len(prepared.frames(i)) for i in range(6))


def hang_at_the_third(file, *rest):
    if "_2.avi" in file.name:
        time.sleep(600)
    return decode_one(file, *rest)


@pytest.mark.thorough
def test_a_video_that_hangs_is_given_up(copied, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_decode_one", hang_at_the_third)
    prepared = prepare(
        copied, tmp_path / "cache", size=SIZE, on_bad_video="report", seconds=5, workers=2
    )
    assert [name for name, _ in prepared.bad] == [copied.names[2], copied.names[6]]
    assert "was given up after 5 s" in prepared.bad[0][1]
    assert len(prepared) == 6


def test_without_other_processes_a_long_video_is_given_up_too(copied, tmp_path, monkeypatch):
    def slow(path):
        for frame in stream(path):
            time.sleep(0.3 if "_2.avi" in path.name else 0)
            yield frame

    stream = video.stream
    monkeypatch.setattr(module, "stream", slow)
    monkeypatch.setattr(module, "_BYTES_AT_ONCE", 1)
    started = time.monotonic()
    prepared = prepare(
        copied, tmp_path / "cache", size=SIZE, on_bad_video="report", seconds=1, workers=1
    )
    assert [name for name, _ in prepared.bad] == [copied.names[2], copied.names[6]]
    assert "take)!_2.avi was given up after 1 s" in prepared.bad[0][1]
    assert time.monotonic() - started < 5  # all frames of the two would take 11 s
    assert len(prepared) == 6
    monkeypatch.setattr(safe_decoder, "_SECONDS_A_BYTE", 1.0)  # as if these few kilobytes were hours
    assert not prepare(copied, tmp_path / "patient", size=SIZE, seconds=1, workers=1).bad


def test_decoded_frames_are_held_by_bytes_not_by_number(copied, tmp_path, monkeypatch, make_frames):
    held = []

    def seen(frames, size):
        held.append(frames.numel())
        return resize(frames, size)

    video.write(copied.path(0), make_frames(30, 1080, 1920))
    monkeypatch.setattr(module, "resize", seen)
    assert len(prepare(copied, tmp_path / "cache", size=SIZE).frames(0)) == 30
    assert max(held) <= 2**24 + 1080 * 1920 * 3


def crash_at_the_third(file, *rest):
    if "_2.avi" in file.name:
        os.kill(os.getpid(), signal.SIGSEGV)
    return decode_one(file, *rest)


decode_one = module._decode_one


@pytest.mark.thorough
def test_a_decoder_that_crashes_takes_nothing_else_with_it(copied, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_decode_one", crash_at_the_third)
    prepared = prepare(copied, tmp_path / "cache", size=SIZE, on_bad_video="report", workers=2)
    assert [name for name, _ in prepared.bad] == [copied.names[2], copied.names[6]]
    assert "makes the decoder crash" in prepared.bad[0][1]
    assert len(prepared) == 6


@pytest.mark.parametrize("damage", ["flip", "cut", "text"])
def test_a_damaged_store_is_an_error(copied, tmp_path, damage):
    prepared = prepare(copied, tmp_path / "cache", size=SIZE)
    file = store_of(prepared.folder, copied.names[0])
    content = bytearray(file.read_bytes())
    if damage == "flip":  # of a pixel: SQLite itself would not notice
        frame = prepared.frames(0)[5].tobytes()
        content = content.replace(frame, bytes([frame[0] ^ 1]) + frame[1:])
    frame_store.forget_readers()
    file.write_bytes({"flip": content, "cut": content[:70000], "text": b"no database" * 99}[damage])
    with pytest.raises(DatasetError, match=rf"{file.name} is damaged .*: delete it, and it is"):
        TestClips(prepared, SETTINGS)[0]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files as Linux does")
def test_reading_keeps_at_most_a_file_a_store_open(prepared):
    dataset = TrainClips(prepared, SETTINGS)
    frame_store.forget_readers()
    before = len(os.listdir("/proc/self/fd"))
    assert len([dataset[i % 8] for i in range(200)]) == 200
    assert len(os.listdir("/proc/self/fd")) <= before + 8


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_many_workers_read_at_once(prepared, start):
    """Also after this process has read: a child must not use its parent's open files."""
    dataset = TrainClips(prepared, SETTINGS)
    expected = [dataset[i][0] for i in range(64)]
    sampler = TrainBatches(8, 4, 16)
    numbers = [n for batch in sampler for n in batch]
    loader = DataLoader(dataset, batch_sampler=sampler, num_workers=2, multiprocessing_context=start)
    clips = torch.cat([frames for frames, _ in loader])
    for number, clip in zip(numbers, clips, strict=True):
        assert torch.equal(clip, expected[number])


def test_a_place_that_cannot_be_written(copied, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(DatasetError, match="cannot be written"):
        prepare(copied, tmp_path / "cache", size=SIZE)


@pytest.fixture
def small_disk(tmp_path):
    """Return a folder on a disk of its own, of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    frame_store.forget_readers()
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_one_clear_line_and_loses_nothing(copied, small_disk, monkeypatch):
    monkeypatch.setattr(module, "_SECONDS_A_TRANSACTION", 0.0)
    monkeypatch.setattr(module, "_STORES", 1)
    with pytest.raises(DatasetError, match=r"cannot be written .*: free space or choose") as caught:
        prepare(copied, small_disk, size=(64, 85))
    assert "\n" not in str(caught.value)
    (store,) = small_disk.rglob("64x85/00.sqlite")
    held = frame_store.sources(store)
    assert 0 < len(held) < 8
    first = copied.subset(range(1))
    frames = resize(torch.from_numpy(video.decode(copied.path(0))), (64, 85))
    kept = prepare(first, small_disk, size=(64, 85)).frames(0)
    np.testing.assert_array_equal(kept, frames.numpy())
    # With space, the rerun finishes and does not decode again what is there.
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    decoded = []
    monkeypatch.setattr(module, "_decode_one", lambda *job: decoded.append(job) or decode_one(*job))
    prepared = prepare(copied, small_disk, size=(64, 85))
    assert [len(prepared.frames(i)) for i in range(8)] == [16, 17, 18, 19] * 2
    assert len(decoded) == 8 - len(held)


def test_a_read_only_disk_is_one_clear_line_and_can_be_read(copied, small_disk):
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    first = copied.subset(range(3))
    prepare(first, small_disk, size=SIZE)
    frame_store.forget_readers()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert [len(prepare(first, small_disk, size=SIZE).frames(i)) for i in range(3)] == [16, 17, 18]
    with pytest.raises(DatasetError, match="cannot be written") as caught:
        prepare(copied, small_disk, size=SIZE)
    assert "\n" not in str(caught.value)


PREPARE = """
import sys
from pathlib import Path
from r21d_lib.data import cache as prepared
from r21d_lib.data.lists import VideoList
prepared._SECONDS_A_TRANSACTION = 0.0  # so that a kill often hits the writing
root, cache = map(Path, sys.argv[1:3])
names = tuple(sorted(str(p.relative_to(root)) for p in root.rglob("*.avi")))
videos = VideoList("many", ("jump",), root, names, (0,) * len(names))
prepared.prepare(videos, cache, size=(24, 32), workers=1, progress=False)
"""


@pytest.mark.thorough
def test_kills_at_ten_random_moments(tmp_path, make_frames):
    root, cache = tmp_path / "videos", tmp_path / "cache"
    names = tuple(f"jump/{i:03}.avi" for i in range(300))
    for i, name in enumerate(names):
        video.write(root / name, make_frames(8 + i % 5))
    listed = VideoList("many", ("jump",), root, names, (0,) * 300)
    command = [sys.executable, "-c", PREPARE, str(root), str(cache)]
    moments = random.Random(0)
    folder = cache / module._place(root) / "24x32"
    paths = [folder / f"{number:02}.sqlite" for number in range(16)]

    def last_written():
        return max((path.stat().st_mtime_ns for path in paths if path.is_file()), default=0)

    counts = []
    for kill in range(10):
        process = subprocess.Popen(command)
        before = last_written()
        until = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < until:
            if last_written() != before:
                break  # it has begun to write
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.08))
        process.kill()
        process.wait()
        counts.append(sum(len(frame_store.sources(path)) for path in paths))
        assert counts == sorted(counts), f"kill {kill} lost videos: {counts}"
    assert 0 < counts[0] < 300, f"the kills came too early or too late: {counts}"
    prepared = prepare(listed, cache, size=SIZE)
    for index in range(0, 300, 7):
        frames = resize(torch.from_numpy(video.decode(listed.path(index))), SIZE)
        np.testing.assert_array_equal(prepared.frames(index), frames.numpy())


def test_two_at_once_share_a_cache(tmp_path, make_frames):
    root, cache = tmp_path / "videos", tmp_path / "cache"
    names = tuple(f"jump/{i:03}.avi" for i in range(60))
    for i, name in enumerate(names):
        video.write(root / name, make_frames(8 + i % 5))
    command = [sys.executable, "-c", PREPARE, str(root), str(cache)]
    both = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    prepared = prepare(VideoList("many", ("jump",), root, names, (0,) * 60), cache, size=SIZE)
    for index in range(60):
        frames = resize(torch.from_numpy(video.decode(root / names[index])), SIZE)
        np.testing.assert_array_equal(prepared.frames(index), frames.numpy())


def test_two_folders_of_one_name_never_share_frames(tmp_path, make_frames):
    """Data sets that are called alike, in one cache: each keeps its own frames, whoever opens last."""
    opened = {}
    for side, length in (("first", 9), ("second", 14)):
        root = tmp_path / side / "same name"
        video.write(root / "jump/a.avi", make_frames(length))
        listed = VideoList("same name split 1 train", ("jump",), root, ("jump/a.avi",), (0,))
        opened[side] = prepare(listed, tmp_path / "cache", size=SIZE)
    assert [len(opened[side].frames(0)) for side in ("first", "second")] == [9, 14]
    assert opened["first"].folder != opened["second"].folder


def test_a_video_that_changes_under_an_open_list_is_an_error(copied, tmp_path, make_frames):
    opened = prepare(copied, tmp_path / "cache", size=SIZE)
    video.write(copied.path(0), make_frames(33))
    assert len(prepare(copied, tmp_path / "cache", size=SIZE).frames(0)) == 33
    with pytest.raises(DatasetError, match="was changed and decoded again") as caught:
        opened.frames(0)
    assert "\n" not in str(caught.value)
    assert len(opened.frames(1)) == 17


def test_a_flipped_bit_in_the_frame_count_is_noticed(copied, tmp_path):
    opened = prepare(copied, tmp_path / "cache", size=SIZE)
    path = store_of(opened.folder, copied.names[0])
    with contextlib.closing(sqlite3.connect(path)) as store, store:
        store.execute("update videos set frames = frames - 1 where name = ?", (copied.names[0],))
    frame_store.forget_readers()
    with pytest.raises(DatasetError, match="is damaged"):
        opened.frames(0)
    again = prepare(copied, tmp_path / "cache", size=SIZE)
    assert len(again.frames(0)) == 16


def test_a_store_that_another_process_holds_is_not_called_damaged(copied, tmp_path, monkeypatch):
    monkeypatch.setattr(frame_store, "_SECONDS_TO_WAIT", 0.1)
    prepared = prepare(copied, tmp_path / "cache", size=SIZE)
    store = store_of(prepared.folder, copied.names[0])
    frames = frame_store.Frames(tmp_path, [bytes(SIZE[0] * SIZE[1] * 3)])
    stored = frame_store.StoredVideo("new", *SIZE, 0, 1, 1, frames)
    frame_store.forget_readers()
    with contextlib.closing(sqlite3.connect(store)) as other:
        other.execute("begin exclusive")
        for use in (lambda: prepared.frames(0), lambda: frame_store.write(store, [stored])):
            with pytest.raises(DatasetError, match="held by another process: wait") as caught:
                use()
            assert "damaged" not in str(caught.value)
    prepared.frames(0)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_long_video_waits_on_disk_and_leaves_nothing_there(copied, tmp_path, monkeypatch, workers):
    whole = [
        frames.copy() for frames in map(prepare(copied, tmp_path / "a", size=SIZE).frames, range(8))
    ]
    monkeypatch.setattr(frame_store, "_HELD_BYTES", 3000)  # a frame has 2,304 bytes
    frames = frame_store.Frames(tmp_path, [bytes([n]) * 2000 for n in range(4)])
    frames.extend([bytes([4]) * 2000])
    assert frames.bytes_held == 2000
    assert [frame[0] for frame in frames] == [0, 1, 2, 3, 4]
    frames.discard()
    prepared = prepare(copied, tmp_path / "b", size=SIZE, workers=workers)
    for index, expected in enumerate(whole):
        np.testing.assert_array_equal(prepared.frames(index), expected)
    assert {path.suffix for path in prepared.folder.iterdir()} == {".sqlite"}
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "videos"}


HOURS = """
import sys
import numpy as np
from fractions import Fraction
from pathlib import Path
from r21d_lib.data import video
from r21d_lib.data.cache import prepare
from r21d_lib.data.lists import VideoList
from r21d_lib.prediction.recognizer import Recognizer
from r21d_lib.suite.results import peak_mb
root, frames = Path(sys.argv[1]), int(sys.argv[2])
picture = np.random.default_rng(0).integers(256, size=(24, 32, 3), dtype=np.uint8)
pictures = (np.roll(picture, n, 1) for n in range(frames))
video.write(root / "a/long.avi", pictures, fps=5, options={"g": "300"})
videos = VideoList("long", ("a",), root, ("a/long.avi",), (0,))
prepared = prepare(videos, root / "cache", size=(128, 171), progress=False)
assert len(prepared.clips(0, __import__("r21d_lib").data.clips.ClipSettings(), lambda n: [n - 16]))
said = Recognizer("figures").predict(root / "a/long.avi", every=60.0, progress=False)
assert said.num_frames == frames
print(peak_mb())
"""


@pytest.mark.slow
def test_three_hours_of_video_take_less_than_two_gigabytes(tmp_path):
    """Five pictures a second, as a camera on a wall records: raw, as they are kept, 3.5 GB."""
    done = subprocess.run(
        [sys.executable, "-c", HOURS, tmp_path, str(3 * 3600 * 5)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 2000
