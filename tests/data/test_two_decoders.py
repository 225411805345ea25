"""Several processes that want the same decoded videos at once: each video is decoded by one of them."""

import subprocess
import sys
import threading

import pytest

from r21d_lib import files
from r21d_lib.data import cache, video
from r21d_lib.data.lists import VideoList
from r21d_lib.errors import SettingsError
from r21d_lib.files import only_writer

SIZE = (24, 32)
NAMES = tuple(f"jump/{i:02}.avi" for i in range(40))
DECODE = """
import sys
import time
from pathlib import Path
from r21d_lib import files
from r21d_lib.data import cache
from r21d_lib.data.lists import VideoList

root, to, log = map(Path, sys.argv[1:4])
names = tuple(sorted(path.relative_to(root).as_posix() for path in root.rglob("*.avi")))
decode_one = cache._decode_one

def logged(file, name, *rest):
    with open(log, "a") as lines:
        lines.write(name + "\\n")
    time.sleep(0.02)
    return decode_one(file, name, *rest)

cache._decode_one = logged
cache._SECONDS_A_TRANSACTION = 0.0
files._SECONDS_TO_WAIT = 0.1
videos = VideoList("many", ("jump",), root, names, (0,) * len(names))
print("ready", flush=True)
sys.stdin.readline()
prepared = cache.prepare(videos, to, size=(24, 32), workers=1, progress=False)
for _ in range(3):
    for index in range(len(names)):
        assert len(prepared.frames(index)) == 8 + index % 5
"""


@pytest.fixture
def many(tmp_path, make_frames):
    for i, name in enumerate(NAMES):
        video.write(tmp_path / "videos" / name, make_frames(8 + i % 5))
    return VideoList("many", ("jump",), tmp_path / "videos", NAMES, (0,) * len(NAMES))


def test_the_second_waits_says_so_and_decodes_nothing_again(many, tmp_path):
    log = tmp_path / "log"
    command = [sys.executable, "-c", DECODE, *map(str, (many.root, tmp_path / "cache", log))]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    both = [subprocess.Popen(command, text=True, **pipes) for _ in range(2)]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:
        process.stdin.write("\n")
        process.stdin.flush()
    said = sorted(process.communicate(timeout=60)[1] for process in both)
    assert [process.returncode for process in both] == [0, 0], said
    assert sorted(log.read_text().split()) == list(NAMES)
    assert said[0] == ""
    (line,) = said[1].splitlines()
    assert line.startswith(f"another r21d command is writing into {tmp_path / 'cache'}")
    assert line.endswith(": this one goes on when it has ended")


@pytest.mark.parametrize("on_bad_video", ["fail", "report"])
def test_what_another_left_as_bad_is_not_tried_by_one_process_after_the_other(
    many, tmp_path, monkeypatch, on_bad_video
):
    """As by the processes of a launcher, which all leave bad videos out, each after minutes."""
    monkeypatch.setattr(files, "_SECONDS_TO_WAIT", 0.1)
    folder = tmp_path / "cache" / cache._place(many.root) / "24x32"
    held, found = threading.Event(), []

    def hold():
        with only_writer(folder):
            held.set()
            threading.Event().wait(0.5)

    def try_to_write():
        try:
            with only_writer(folder):
                found.append("free")
        except SettingsError:
            found.append("held")

    def decode_nothing(*_, **__):
        run(try_to_write).join()
        return {}

    def run(function):
        thread = threading.Thread(target=function)
        thread.start()
        return thread

    monkeypatch.setattr(cache, "_decode_all", decode_nothing)
    other = run(hold)
    assert held.wait(10)
    cache.prepare(many, tmp_path / "cache", size=SIZE, on_bad_video=on_bad_video)
    other.join()
    cache.prepare(many, tmp_path / "cache", size=SIZE, on_bad_video=on_bad_video)
    assert found == [{"fail": "held", "report": "free"}[on_bad_video], "held"]
