"""Live recognition without a browser: rolling clips, bounded memory, sources, `r21d live`."""

import http.server
import io
import itertools
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from fractions import Fraction

import av
import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from r21d_lib.cli.main import app
from r21d_lib.data import action_figures, video
from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.errors import SettingsError, VideoError
from r21d_lib.live import sources, window
from r21d_lib.live.rolling import RollingClip, RollingRecognizer, replay
from r21d_lib.prediction.recognizer import Recognizer

SETTINGS = ClipSettings(clip_len=8, stride=3, resize=(4, 6), crop=4)
QUALITY = {"flags": "+qscale", "global_quality": "236"}


def grey(value, height=4, width=6):
    return np.full((height, width, 3), value, np.uint8)


def pushed(times, values, settings=SETTINGS):
    rolling = RollingClip(settings)
    for seconds, value in zip(times, values, strict=True):
        rolling.push(grey(value), seconds)
    return rolling


@pytest.fixture(scope="module")
def recognizer():
    return Recognizer("figures")


@pytest.fixture(scope="module")
def film():
    """Return a film of 80 frames: the same action twice."""
    return np.concatenate([action_figures.render("source", "push", 3, 0, seed=1)] * 2)


class SlowRecognizer:
    """Scores no faster than it is told to, and remembers the clips that it was shown."""

    classes = ("dark", "bright")
    clips = SETTINGS

    def __init__(self, seconds=0.0):
        self.seconds, self.seen = seconds, []

    def score(self, clips):
        time.sleep(self.seconds)
        self.seen.append(clips[0, :, 0, 0, 0].tolist())
        bright = clips.float().mean((1, 2, 3, 4)) / 255
        return torch.stack([1 - bright, bright], 1).numpy()


def test_at_the_trained_rate_a_clip_is_what_training_cuts():
    rolling = pushed([n / 30 for n in range(60)], range(60))
    assert rolling.clip()[:, 0, 0, 0].tolist() == list(range(38, 60, 3))


@pytest.mark.parametrize("fps", [10, 15, 24, 25, 60, 120, 144])
def test_other_rates_keep_the_speed(fps):
    """A frame's value is its time in hundredths of a second: neighbours must be 0.1 s apart."""
    times = [n / fps for n in range(2 * fps)]
    rolling = pushed(times, [round(100 * seconds) for seconds in times])
    values = np.array(rolling.clip()[:, 0, 0, 0].tolist())
    wanted = round(100 * times[-1]) - np.arange(8)[::-1] * 10
    assert values[-1] == round(100 * times[-1])
    assert np.abs(values - wanted).max() <= 100 / 2 / min(fps, 30) + 1


def test_it_is_ready_when_its_frames_reach_back_as_far_as_a_clip():
    rolling = RollingClip(SETTINGS)
    assert not rolling.ready
    for number in range(22):
        assert not rolling.ready
        rolling.push(grey(number), number / 30)
    assert rolling.ready
    with pytest.raises(IndexError):
        RollingClip(SETTINGS).clip()


def test_after_a_gap_old_frames_are_gone_and_a_clock_that_goes_back_starts_anew():
    rolling = pushed([*(n / 30 for n in range(30)), 60.0], [*range(30), 99])
    assert len(rolling) == 2
    rolling.push(grey(7), 3.0)
    assert len(rolling) == 1
    assert rolling.clip()[:, 0, 0, 0].tolist() == [7] * 8


def test_ten_minutes_before_a_slow_network_take_no_memory_and_the_newest_frames_win():
    slow = SlowRecognizer()
    rolling = RollingRecognizer(slow)
    process, resident = psutil.Process(), []
    for number in range(18_000):
        rolling.push(grey(number % 256), number / 30)
        if number % 30 == 29:  # a network that manages one clip a second
            answer = rolling.answer()
            assert len(rolling.rolling) <= 2 * SETTINGS.span + 2
            assert slow.seen[-1] == [n % 256 for n in range(number - 21, number + 1, 3)]
            assert len(answer.probabilities) <= 2
            slow.seen = slow.seen[-1:]
        if number in (3_000, 17_999):
            resident.append(process.memory_info().rss)
    assert resident[1] - resident[0] < 5e6
    assert answer.seconds == 17_999 / 30


def test_answers_are_averaged_over_the_last_second_and_ordered():
    rolling = RollingRecognizer(SlowRecognizer(), memory=1.0)
    for number in range(90):
        rolling.push(grey(255 if number >= 45 else 0), number / 30)
        answer = rolling.answer()
        assert (answer is None) == (number < 21)
    assert len(answer.probabilities) in (30, 31)
    assert [a.label for a in answer.top()] == ["bright", "dark"]
    assert answer.top(1)[0].agreement == 1.0
    assert sum(a.probability for a in answer.top()) == pytest.approx(1)


def test_a_replayed_film_is_recognised_all_the_way(recognizer, film):
    answers = list(replay(recognizer, film))
    assert {answer.top(1)[0].label for answer in answers} == {"push"}
    assert np.diff([answer.seconds for answer in answers]) == pytest.approx(0.1)


def endless(rate):
    """Yield numbered frames at a rate, as a camera does."""
    began = time.monotonic()
    for number in itertools.count():
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        yield grey(number % 256), number / rate


def test_a_slow_viewer_gets_the_newest_frames_in_order_and_the_rest_is_counted():
    source = sources.Source("test", 200.0, endless(200), recorded=False)
    seen, before = [], threading.active_count()
    for one in sources.watch(source, SlowRecognizer(0.05), seconds=1.0):
        seen.append(one)
        time.sleep(0.02)
    times = [one.seconds for one in seen]
    assert times == sorted(set(times))
    assert 0 < len(seen) <= 60
    assert seen[-1].dropped + len(seen) == pytest.approx(200 * seen[-1].seconds, abs=60)
    assert seen[-1].answer is not None
    assert threading.active_count() <= before


def test_what_stops_the_reader_reaches_the_viewer(film, tmp_path):
    path = tmp_path / "cut.avi"
    video.write(path, film, options=QUALITY)
    damaged = bytearray(path.read_bytes())
    middle = len(damaged) // 2
    damaged[middle : middle + 4000] = bytes(4000)
    path.write_bytes(damaged)
    for fast in (True, False):
        with pytest.raises(VideoError, match="damaged"):
            for _ in sources.watch(sources.open_source(path), SlowRecognizer(), fast=fast):
                pass


class Camera(http.server.BaseHTTPRequestHandler):
    """Sends pictures without end, as network cameras do."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
        self.end_headers()
        for frame in itertools.cycle(self.server.film):
            file = io.BytesIO()
            Image.fromarray(frame).save(file, "JPEG", quality=90)
            picture = file.getvalue()
            self.server.sent += 1
            if self.server.sent > 30 and self.server.sent % self.server.lost == 0:
                picture = bytes(len(picture))
            head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
            try:
                self.wfile.write(head.encode() + picture + b"\r\n")
            except OSError:
                return
            time.sleep(1 / 30)

    def log_message(self, *_):
        pass


@pytest.fixture
def camera(film):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    server.film, server.daemon_threads = film, True
    server.sent, server.lost = 0, sys.maxsize  # every so many-th picture is zeros, after 30 whole ones
    server.address = f"http://127.0.0.1:{server.server_port}/"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_network_camera_is_written_in_its_own_time(camera, tmp_path):
    output = tmp_path / "seen.mp4"
    run = CliRunner().invoke(
        app, ["live", camera.address, "--seconds", "3", "--no-window", "--output", str(output)]
    )
    assert run.exit_code == 0, run.output
    assert "push" in run.output
    info = video.probe(output)
    assert info.num_frames / info.fps == pytest.approx(3, abs=0.3)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("quarters", range(4))
def test_a_turned_or_mirrored_stream_is_shown_as_a_file_is(tmp_path, make_frames, quarters, mirrored):
    frames, path = make_frames(3), tmp_path / "telephone.mp4"
    video.write(path, frames, codec="libx264")
    # The track header's matrix: cos, sin, -sin, cos, clockwise, after the picture was mirrored.
    cos, sin = [(1, 0), (0, 1), (-1, 0), (0, -1)][quarters]
    a, b = (-cos, -sin) if mirrored else (cos, sin)
    matrix = (a << 16, b << 16, 0, -sin << 16, cos << 16, 0, 0, 0, 1 << 30)
    content = bytearray(path.read_bytes())
    struct.pack_into(">9i", content, content.index(b"tkhd") + 44, *matrix)
    path.write_bytes(content)
    shown = np.stack([frame for frame, _ in sources.open_source(f"file://{path}").frames])
    np.testing.assert_array_equal(shown, video.decode(path))
    wanted = np.rot90(frames[:, :, ::-1] if mirrored else frames, -quarters, axes=(1, 2))
    assert shown.shape == wanted.shape
    assert np.abs(shown.astype(int) - wanted).mean() < 8


def test_a_lost_packet_is_passed_over(camera, film):
    camera.lost = 3
    source = sources.open_source(camera.address)
    frames = [frame for frame, _ in itertools.islice(source.frames, 60)]
    assert camera.sent > 70, "every third was lost"
    assert not any((frame == frame[0, 0]).all() for frame in frames)
    camera.lost = 1
    with pytest.raises(VideoError, match="stopped"):
        deque(source.frames, maxlen=0)


def test_what_came_before_a_live_source_broke_off_is_kept(film, recognizer, tmp_path):
    def frames():
        for number, frame in enumerate(itertools.islice(itertools.cycle(film), 90)):
            time.sleep(1 / 60)
            yield frame, number / 30
        raise VideoError("rtsp://door stopped (End of file): open it again")

    output = tmp_path / "seen.mp4"
    source = sources.Source("rtsp://door", 30.0, frames(), recorded=False)
    with pytest.raises(VideoError, match=r"stopped .*; .*seen.mp4 has what came before"):
        window.show(source, recognizer, output=output)
    assert len(video.decode(output)) > 60


def test_a_file_read_fast_becomes_a_video_with_every_frame_and_the_right_label(film, tmp_path):
    path, output = tmp_path / "film.avi", tmp_path / "seen.mp4"
    video.write(path, film, options=QUALITY)
    run = CliRunner().invoke(app, ["live", str(path), "--fast", "--output", str(output)])
    assert run.exit_code == 0, run.output
    assert "a real video will be named wrongly" in run.stderr
    lines = run.stdout.splitlines()
    assert lines[0].startswith("0:00.7  push 0.9")
    assert lines[1:] == [lines[1], f"wrote {output}"]
    assert lines[1].startswith(f"{len(film)} frames shown, 0 dropped; an answer takes ")
    written = video.decode(output)
    assert len(written) == len(film)
    orange = [(abs(frame.astype(int) - (230, 159, 0)).max(2) < 40).sum() for frame in written[[0, -1]]]
    assert orange[1] > orange[0] + 300, "the bar of the best class is drawn, once there is one"


@pytest.mark.parametrize(
    "gaps", [[100] * 10 + [25] * 40, [25] * 40 + [100] * 10, [100] * 90 + [25] * 8]
)
def test_a_file_of_uneven_times_read_fast_loses_no_frame(gaps, tmp_path):
    path, output = tmp_path / "uneven.mp4", tmp_path / "seen.mp4"
    shades = np.resize([60, 160], len(gaps)).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=40, width=64, height=64, pix_fmt="yuv420p")
        stream.codec_context.time_base = Fraction(1, 1000)
        for shade, time in zip(shades, np.cumsum([0, *gaps[:-1]]), strict=True):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), shade), format="rgb24")
            frame.pts, frame.time_base = int(time), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    source = sources.open_source(path)
    watched = window.show(source, SlowRecognizer(), output=output, fast=True)
    assert (watched.frames, watched.dropped) == (len(gaps), 0)
    seen = [float(frame[20:40, 20:40].mean()) for frame in video.decode(output)]
    assert sum(abs(np.diff(seen)) > 50) == len(gaps) - 1, "each frame is there"
    assert len(seen) / source.fps == pytest.approx(sum(gaps) / 1000, abs=0.15)


def test_what_comes_faster_than_its_file_claims_is_written_nevertheless():
    pictures = [(grey(value), value / 40) for value in range(20)]
    kept = window._on_grid(iter(pictures), 10, every=True)
    assert [int(picture[0, 0, 0]) for picture in kept] == list(range(20))
    thinned = list(window._on_grid(iter(pictures), 10, every=False))
    assert len(thinned) == 6, "of a camera's, those that have a place in the file's time"


def test_an_interrupted_video_is_whole(camera, tmp_path):
    output = tmp_path / "seen.mp4"
    command = [
        sys.executable,
        "-m",
        "r21d_lib",
        "live",
        camera.address,
        "--output",
        str(output),
        "--no-window",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert "push" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=30)[0]
    assert process.returncode == 0
    assert f"wrote {output}" in rest
    assert len(video.decode(output)) > 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--camera", "99"], "no camera 99"),
        (["rtsp://127.0.0.1:1/none"], "rtsp://127.0.0.1:1/none does not open (Connection refused)"),
        (["missing.avi"], "no video missing.avi"),
        (["{text}"], "is not a readable video"),
        (["{film}", "--camera", "0"], "two sources"),
        (["{film}", "--fast", "--output", "seen.txt"], "seen.txt is no .mp4, .mkv or .avi"),
        (["{film}", "--fast", "--output", "{film}"], "is one of the inputs"),
    ],
)
def test_what_cannot_be_shown_is_one_line(arguments, message, tmp_path):
    (tmp_path / "text.avi").write_text("no video")
    video.write(tmp_path / "film.avi", np.zeros((3, 48, 64, 3), np.uint8))
    names = {name: tmp_path / f"{name}.avi" for name in ("text", "film")}
    run = CliRunner().invoke(app, ["live", *(a.format(**names) for a in arguments)])
    assert isinstance(run.exception, (SettingsError, VideoError)), run.output
    assert message in str(run.exception)
    assert "\n" not in str(run.exception)
    assert not list(tmp_path.glob("*.partial*"))


def test_a_camera_cannot_be_read_fast(camera):
    with pytest.raises(SettingsError, match="it is live"):
        next(sources.watch(sources.open_source(camera.address), SlowRecognizer(), fast=True))


@pytest.mark.skipif(not shutil.which("Xvfb"), reason="no Xvfb here: apt-get install xvfb")
def test_a_window_shows_it_where_there_is_a_display(film, monkeypatch):
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "640x480x24"]
    screen = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
    try:
        display = ":" + os.read(read, 16).decode().strip()
        monkeypatch.delenv("DISPLAY", raising=False)
        assert not window.can_open_a_window()
        monkeypatch.setenv("DISPLAY", display)
        assert window.can_open_a_window()
        frames = ((frame, number / 30) for number, frame in enumerate(film[:40]))
        source = sources.Source("film", 30.0, frames, recorded=True)
        watched = window.show(source, SlowRecognizer(), window=True, fast=True)
        assert (watched.frames, watched.dropped) == (40, 0)
        assert str(watched).startswith("40 frames shown, 0 dropped; an answer takes ")
    finally:
        os.close(read)
        os.close(write)
        screen.terminate()
        screen.wait(10)
