"""Seconds come from a video's time stamps: in answers, timelines, overlays and features."""

import dataclasses
from fractions import Fraction

import av
import numpy as np
import pytest

from r21d_lib.data import video
from r21d_lib.prediction import features, overlay
from r21d_lib.prediction.prediction import Prediction
from r21d_lib.prediction.recognizer import Recognizer

MILLISECOND = Fraction(1, 1000)
# Milliseconds at which frames are shown: a telephone that slows down in the dark, a browser that never
# keeps a rate, a camera that lost three seconds.
PHONE = [*range(0, 8000, 200), *range(8000, 9500, 33)]
BROWSER = np.cumsum(np.random.default_rng(0).integers(20, 47, 90)).tolist()
LOST = [*range(0, 800, 40), *range(3800, 6200, 40)]
# A screen that is recorded while nothing moves any more.
STILL = [*(round(k * 100 / 3) for k in range(60)), 4000]


def write(path, times, codec="libx264", base=MILLISECOND):
    """Write a moving square, a frame at each of the times."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=1 / base)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.time_base = stream.codec_context.time_base = base
        for number, time in enumerate(times):
            pixels = np.full((48, 64, 3), 30, np.uint8)
            pixels[10:24, number % 50 : number % 50 + 14] = 220
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = round(time * MILLISECOND / base), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def recognizer():
    return Recognizer("figures")


@pytest.fixture(params=["phone.mp4", "browser.webm", "lost.avi", "still.mp4"])
def film(request, tmp_path):
    """A video's path and the seconds of its frames, from the first."""
    times, codec, base = {
        "phone.mp4": (PHONE, "libx264", MILLISECOND),
        "browser.webm": (BROWSER, "libvpx", MILLISECOND),
        "still.mp4": (STILL, "libx264", MILLISECOND),
        "lost.avi": (LOST, "mpeg4", Fraction(1, 25)),
    }[request.param]
    return write(tmp_path / request.param, times, codec, base), (np.array(times) - times[0]) / 1000


def test_every_frame_has_its_time(film):
    path, seconds = film
    np.testing.assert_allclose([second for second, _ in video.timed(path)], seconds, atol=2e-3)


def test_answers_are_told_at_their_time(film, recognizer, tmp_path):
    path, seconds = film
    said = recognizer.predict(path, features=["logits"], progress=False)
    assert said.num_frames == len(seconds)
    # The checkpoint's clips are cut at 30 frames a second, whatever the film's rate.
    np.testing.assert_allclose(said.timeline()["start"], said.starts / 30, atol=2e-3)
    assert said.spells()[-1].end == pytest.approx(said.times[-1])
    assert (np.diff(said.moments) > 0).all()
    assert (said.timeline()["end"] <= said.times[-1]).all()
    assert seconds[-1] < said.times[-1] < seconds[-1] + 0.3
    assert said.fps == pytest.approx(len(seconds) / said.times[-1])
    ((file, _),) = features.extract(recognizer, {"a": path}, tmp_path, ["logits"], progress=False)
    import safetensors.numpy

    kept = safetensors.numpy.load_file(file)
    np.testing.assert_allclose(kept["seconds"], kept["starts"] / 30, atol=2e-3)


def test_a_checkpoint_without_a_rate_counts_the_films_own_frames(film, recognizer, monkeypatch):
    path, seconds = film
    monkeypatch.setattr(recognizer, "clips", dataclasses.replace(recognizer.clips, fps=None))
    said = recognizer.predict(path, progress=False)
    np.testing.assert_allclose(said.timeline()["start"], seconds[said.starts], atol=2e-3)


def test_an_overlay_lasts_as_long_as_the_film(film, recognizer, tmp_path):
    path, _ = film
    said = recognizer.predict(path, progress=False)
    overlay.write(path, said, tmp_path / "seen.mp4", progress=False)
    last = [second for second, _ in video.timed(tmp_path / "seen.mp4")][-1]
    assert last == pytest.approx(said.times[-1], abs=0.1)


@pytest.mark.parametrize(("slow", "fast"), [(24, 30), (15, 30), (30, 60), (29.97, 59.94), (10, 25)])
@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("clock", [None, 1000, 90_000])
def test_an_overlay_shows_every_frame_in_its_time_where_the_rate_changes(
    slow, fast, order, clock, monkeypatch
):
    gaps = [*[1 / slow] * 203, *[1 / fast] * 101, 0.7][::order]
    times = np.cumsum([0.0, *gaps, gaps[-1]])
    times = times if clock is None else np.round(times * clock) / clock
    shown, rate = drawn_frames(times, monkeypatch)
    assert np.unique(shown).tolist() == list(range(len(times) - 1))
    assert (np.diff(shown) >= 0).all()
    first = np.searchsorted(shown, np.arange(len(times) - 1)) / rate
    assert np.abs(first - times[:-1]).max() < 1.6 / rate
    assert rate <= 60


def test_an_overlay_of_more_than_60_frames_a_second_is_thinned_and_lasts_as_long(monkeypatch):
    times = np.cumsum([0.0, *[1 / 20] * 40, *[1 / 240] * 480, *[1 / 20] * 40])
    shown, rate = drawn_frames(times, monkeypatch)
    assert len(shown) / rate == pytest.approx(times[-1], abs=0.03)
    assert rate == 60


@pytest.mark.parametrize("rate", [10, 24000 / 1001, 25, 29.97, 30, 60, 120, 240])
def test_an_overlay_of_an_even_video_has_its_frames_and_its_rate(rate, monkeypatch):
    times = np.round(np.arange(501) / rate, 3)
    shown, written = drawn_frames(times, monkeypatch)
    assert shown.tolist() == list(range(500))
    assert written == 500 / times[-1]


def drawn_frames(times, monkeypatch):
    """Return which frame each of an overlay's is, and the rate, of a video with these times."""
    said = Prediction("", ("a",), np.ones((1, 1), np.float32), np.array([0]), 8, times, times)
    written = {}

    def encode(path, frames, *, fps, sound):
        written.update(shown=np.array(list(frames)), fps=fps)

    monkeypatch.setattr(overlay, "encode", encode)
    monkeypatch.setattr(overlay, "drawn", lambda frames, prediction: frames)
    monkeypatch.setattr(overlay.safe_decoder, "stream", lambda video: iter(range(len(times) - 1)))
    monkeypatch.setattr(overlay.safe_decoder, "sound", lambda video: ())
    overlay.write("film.mp4", said, "none.mp4", progress=False)
    return written["shown"], written["fps"]


def test_a_clip_every_second_is_one_by_the_clock(film, recognizer):
    path, _ = film
    said = recognizer.predict(path, every=1.0, progress=False)
    starts = said.timeline()["start"].to_numpy()
    for due in range(1, int(starts[-1])):
        assert starts[starts >= due - 2e-3].min() == pytest.approx(due, abs=2e-3)


@pytest.mark.parametrize(("times", "rate"), [(BROWSER, 30), (list(range(0, 1000, 4)), 250)])
def test_a_rate_of_a_thousand_is_measured(tmp_path, times, rate):
    assert video.probe(write(tmp_path / "a.webm", times, "libvpx")).fps == pytest.approx(rate, rel=0.1)
