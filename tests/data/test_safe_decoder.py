"""Whoever made a video: it takes bounded time and memory, and the process that asked goes on."""

import os
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
import psutil
import pytest
from hostile_videos import FILES, write_films, write_specials

from r21d_lib.data import decoding_check, safe_decoder, video
from r21d_lib.data.cache import prepare
from r21d_lib.data.lists import VideoList
from r21d_lib.errors import VideoError
from r21d_lib.live.sources import open_source

NOISE = np.random.default_rng(0).integers(0, 255, (30, 48, 64, 3), np.uint8)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    video.write(tmp_path / "film.mp4", NOISE, fps=12)
    return tmp_path / "film.mp4"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_decoder, "_SECONDS_A_FRAME", 2.0)
    monkeypatch.setattr(safe_decoder, "_SECONDS_A_VIDEO", 4.0)
    monkeypatch.setattr(safe_decoder, "_SECONDS_A_BYTE", 0.0)


def decoders() -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if "safe_decoder" in " ".join(one.cmdline())]


def test_frames_and_times_are_those_of_this_process(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = list(video.timed(film))
    for _ in range(2):
        found = list(safe_decoder.timed(film))
        assert [seconds for seconds, _ in found] == [seconds for seconds, _ in expected]
        np.testing.assert_array_equal([frame for _, frame in found], [frame for _, frame in expected])
        assert safe_decoder.probe(film) == video.probe(film)
        assert len(decoders()) == 1
    monkeypatch.chdir(film.parent)
    assert sum(1 for _ in safe_decoder.stream(film.name)) == len(expected)


def test_several_are_read_side_by_side_and_not_to_their_end(film: Path) -> None:
    expected = list(video.stream(film))
    both = [safe_decoder.stream(film) for _ in range(2)]
    for frames in zip(*both, strict=True):
        assert np.array_equal(*frames)
    for count in (1, 29):
        found = list(islice(safe_decoder.stream(film), count))
        np.testing.assert_array_equal(found, expected[:count])
    assert len(decoders()) <= 1


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_decoder_that_crashes_is_one_line_and_the_next_video_is_read(film: Path, number: int) -> None:
    video.write(film, NOISE.repeat(5, 1).repeat(5, 2))  # more than the pipe holds
    frames = safe_decoder.stream(film)
    next(frames)
    (decoder,) = decoders()
    decoder.send_signal(number)
    with pytest.raises(VideoError, match=r"film.mp4 makes the decoder crash \(it ended with -"):
        list(frames)
    assert len(list(safe_decoder.stream(film))) == len(NOISE)
    (decoder,) = decoders()  # and one that ended meanwhile is noticed before it is asked
    decoder.kill()
    decoder.wait()
    assert len(list(safe_decoder.stream(film))) == len(NOISE)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("kind", "message"),
    [("hidden.mov", "after 2 s without a frame"), ("pictures.mp4", "after 4 s, which is long for")],
)
def test_a_decoder_that_spins_is_given_up(film: Path, kind: str, message: str) -> None:
    path = film.with_name(kind)
    path.write_bytes(FILES[kind]())
    assert path.stat().st_size < 200_000
    listed = VideoList("two", ("a",), film.parent, ("film.mp4", kind), (0, 0))
    started = time.monotonic()
    with pytest.raises(VideoError, match=message):
        list(safe_decoder.timed(path))
    (bad,) = prepare(
        listed, film.parent / "cache", size=(24, 32), on_bad_video="report", workers=1, progress=False
    ).bad
    assert message in bad[1]
    with pytest.raises(VideoError, match=message):
        list(open_source(path).frames)
    _, (finding,) = decoding_check.decode_all({"a": film, "b": path}, workers=1, progress=False)
    assert message in finding.text
    assert time.monotonic() - started < 60
    assert decoders() == [] or all(one.cpu_percent(0.2) < 50 for one in decoders())


MEASURE = """
import resource, sys
from r21d_lib.data import safe_decoder
from r21d_lib.errors import VideoError
try:
    print(sum(1 for _ in safe_decoder.stream(sys.argv[1])), "frames")
except VideoError:
    print("refused")
safe_decoder._stop_idle()
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is limited on Linux")
def test_a_file_of_a_few_hundred_bytes_takes_no_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "samples.mp4"
    path.write_bytes(FILES["samples.mp4"]())
    assert path.stat().st_size < 1000
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, path], capture_output=True, text=True, check=True
    )
    said, megabytes = done.stdout.splitlines()
    assert said == "refused"
    assert int(megabytes) < 2000


def test_a_process_that_was_started_early_serves_the_first_video(film: Path) -> None:
    safe_decoder._stop_idle()
    safe_decoder.start()
    (early,) = decoders()
    safe_decoder.start()
    assert safe_decoder.probe(film).num_frames == len(NOISE)
    assert decoders() == [early]


def test_no_module_of_the_users_folder_is_imported(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("av", "numpy", "json", "r21d_lib"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    safe_decoder._stop_idle()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)  # with ".", the user would ask for it
    assert len(list(safe_decoder.stream(film))) == len(NOISE)
    assert not (tmp_path / "ran").exists()


ASK = """
import sys
from r21d_lib.data import safe_decoder
for frame in safe_decoder.stream(sys.argv[1]):
    print("frame", flush=True)
"""


def test_the_decoder_ends_with_the_one_that_asks(tmp_path: Path) -> None:
    (tmp_path / "hidden.mov").write_bytes(FILES["hidden.mov"]())
    asking = subprocess.Popen([sys.executable, "-c", ASK, tmp_path / "hidden.mov"])
    try:
        until = time.monotonic() + 60
        while not (children := psutil.Process(asking.pid).children()) and time.monotonic() < until:
            time.sleep(0.1)
        (decoder,) = children
        while decoder.cpu_times().user < 1 and time.monotonic() < until:  # in the midst of it
            time.sleep(0.1)
    finally:
        asking.kill()
        asking.wait()
    decoder.wait(timeout=20)


def read(path: Path) -> None:
    safe_decoder.probe(path)  # a header may be whole
    watch(path)


def watch(path: Path) -> None:
    assert list(safe_decoder.stream(path))


def test_what_is_no_video_is_one_line_and_takes_no_time(tmp_path: Path) -> None:
    write_films(tmp_path)
    for name, content in FILES.items():
        if name not in ("pictures.mp4", "hidden.mov"):
            (tmp_path / name).write_bytes(content())
    places = [tmp_path / name for name in sorted(os.listdir(tmp_path)) if name != "good.avi"]
    places += write_specials(tmp_path)
    # What FFmpeg would take for an address, a pattern or a device.
    odd = ["frames%03d.jpg", "concat:good.avi|good.avi", "pipe:0", "-", "http://127.0.0.1:9/a.avi"]
    places += [tmp_path / name for name in (*odd, "/dev/stdin", "/dev/tty", "/dev/zero", "/proc/kmsg")]
    for path in places:
        started = time.monotonic()
        for use in (read, watch):
            with pytest.raises(VideoError) as caught:
                use(path)
            assert "\n" not in str(caught.value)
            assert path.name in str(caught.value)
        assert time.monotonic() - started < 15, path
    assert len(list(safe_decoder.timed(tmp_path / "good.avi"))) == 20
