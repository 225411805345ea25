"""The sound of a film in its overlay: decoded elsewhere, and never longer than the film."""

import logging
from pathlib import Path

import av
import numpy as np
import psutil
import pytest

from r21d_lib.data import containers, safe_decoder, video
from r21d_lib.prediction import overlay

FPS, FRAMES = 30, 60
DARK = np.zeros((48, 64, 3), np.uint8)


def write_film(path: Path, *, seconds: float, rate: int = 44_100, codec: str = "pcm_s16le") -> Path:
    """Write a dark film of two seconds with a tone of 440 Hz that lasts as long as is asked for."""
    tone = (20_000 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)).astype(np.int16)
    with av.open(str(path), "w") as file:
        picture = file.add_stream("mpeg4", rate=FPS)
        sound = file.add_stream(codec, rate=rate, layout="mono")
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        for _ in range(FRAMES):
            file.mux(picture.encode(av.VideoFrame.from_ndarray(DARK, "rgb24")))
        file.mux(picture.encode())
        for start in range(0, len(tone), rate):
            samples = av.AudioFrame.from_ndarray(tone[None, start : start + rate], "s16", "mono")
            samples.sample_rate, samples.pts = rate, start
            file.mux(sound.encode(samples))
        file.mux(sound.encode())
    return path


def heard(path: Path) -> tuple[float, float]:
    """Return the seconds of a file's sound, and its pitch [Hz]."""
    with av.open(str(path)) as file:
        rate = file.streams.audio[0].rate
        waves = np.concatenate([f.to_ndarray()[0] for f in file.decode(audio=0)]).astype(float)
    return len(waves) / rate, np.abs(np.fft.rfft(waves)).argmax() * rate / len(waves)


def pictures(path: Path) -> int:
    with av.open(str(path)) as file:
        return sum(1 for _ in file.decode(video=0))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
@pytest.mark.parametrize(("seconds", "rate"), [(2, 44_100), (30, 5_000), (1, 192_000)])
def test_sound_is_decoded_elsewhere_and_ends_with_the_film(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, seconds: int, rate: int
) -> None:
    film = write_film(tmp_path / "film.mkv", seconds=seconds, rate=rate)

    def refuse(path: Path) -> None:
        raise AssertionError(f"{path} was opened in this process")

    monkeypatch.setattr(containers, "open_video", refuse)
    monkeypatch.setattr(video, "open_video", refuse)
    seen = tmp_path / f"seen{suffix}"
    overlay.encode(seen, safe_decoder.stream(film), fps=FPS, sound=safe_decoder.sound(film))
    assert pictures(seen) == FRAMES
    length, pitch = heard(seen)
    assert length == pytest.approx(min(seconds, FRAMES / FPS), abs=0.1)
    assert pitch == pytest.approx(440, abs=5)


def decoders() -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if "safe_decoder" in " ".join(one.cmdline())]


def test_where_the_decoder_of_the_sound_crashes_the_film_is_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    film = write_film(tmp_path / "film.mkv", seconds=200, rate=48_000)  # more than a pipe holds
    sound = safe_decoder.sound(film)

    def dark() -> "list[np.ndarray]":
        for number in range(FRAMES):
            if number == FRAMES // 2:
                for decoder in decoders():
                    decoder.kill()
                    decoder.wait()
            yield DARK

    with caplog.at_level(logging.WARNING):
        overlay.encode(tmp_path / "seen.mp4", dark(), fps=FPS / 100, sound=sound)  # of 200 seconds
    assert pictures(tmp_path / "seen.mp4") == FRAMES
    assert "makes the decoder crash" in caplog.text
    assert 50 < heard(tmp_path / "seen.mp4")[0] < 190


@pytest.mark.parametrize("times", [[0.0, 1e9], [0.0, -5.0, 0.0], [float(2**40)], []])
def test_times_that_lead_nowhere_make_no_longer_file(tmp_path: Path, times: list[float]) -> None:
    samples = np.zeros((video.SOUND_RATE, 2), np.int16)
    frames = [DARK] * FRAMES
    overlay.encode(tmp_path / "a.mp4", frames, fps=FPS, sound=((at, samples) for at in times))
    with av.open(str(tmp_path / "a.mp4")) as file:
        assert file.duration / av.time_base == pytest.approx(2, abs=0.1)
    assert pictures(tmp_path / "a.mp4") == FRAMES
