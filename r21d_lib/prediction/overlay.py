"""Labels and bars drawn onto frames with PIL, and a whole video with them."""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from functools import cache
from itertools import repeat
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm.auto import tqdm

from r21d_lib.data import safe_decoder
from r21d_lib.data import video as videos
from r21d_lib.errors import SettingsError
from r21d_lib.prediction.prediction import Answer, Prediction, clock

COMMENT = "drawn by r21d"  # in the videos that are written here
LINES = 3  # classes in each picture
_SHADE, _INK, _EMPTY = (16, 24, 36), (255, 255, 255), (70, 82, 98)
_FIRST, _OTHER = (230, 159, 0), (141, 160, 179)  # of diagrams.TIME and PLAIN
_OPACITY = 0.72
_MOST_FPS = 60.0  # of an overlay of a video whose frames come at uneven times
_LEAST_SIDE = 360  # smaller pictures have no room for text, and are enlarged [pixels]


def draw(frame: np.ndarray, answers: Sequence[Answer], *, note: str = "") -> np.ndarray:
    """Draw classes with bars of their probability into the lower left corner of a frame.

    Args:
        frame: (H, W, 3) uint8 RGB; it is not changed. Text is a 24th of its shorter side.
        answers: one line each, from top to bottom; the first has the loudest colour.
        note: a short line below them, such as the time.

    Returns:
        (H, W, 3) uint8.
    """
    height, width = frame.shape[:2]
    size = max(6, min(height, width) // 24)
    line, pad = round(1.5 * size), size // 2
    # The longest of 400 classes must fit into a portrait too.
    panel = min(width, round(21 * size))
    rows = len(answers) + bool(note)
    box = np.array((0, height - rows * line - 2 * pad, panel, height)).clip(0)
    image = frame.copy()
    shaded = image[box[1] :, :panel]
    shaded[:] = (1 - _OPACITY) * shaded + _OPACITY * np.array(_SHADE)
    picture = Image.fromarray(image)
    pen, font = ImageDraw.Draw(picture), _font(size)
    bar_left, bar_right = panel - round(8.2 * size), panel - round(3.2 * size)
    for row, answer in enumerate(answers):
        top = int(box[1]) + pad + row * line
        middle, colour = top + line // 2, _OTHER if row else _FIRST
        label = _shortened(answer.label, font, bar_left - 2 * pad)
        pen.text((pad, middle), label, _INK, font, anchor="lm")
        low, high = middle - size // 3, middle + size // 3
        pen.rectangle((bar_left, low, bar_right, high), _EMPTY)
        full = bar_left + round((bar_right - bar_left) * answer.probability)
        pen.rectangle((bar_left, low, full, high), colour)
        pen.text((panel - pad, middle), f"{answer.probability:.0%}", _INK, font, anchor="rm")
    if note:
        middle = int(box[1]) + pad + len(answers) * line + line // 2
        pen.text((pad, middle), note, _OTHER, font, anchor="lm")
    return np.asarray(picture)


def write(
    video: str | Path, prediction: Prediction, path: str | Path, *, progress: bool = True
) -> None:
    """Write a video again with the best classes of each moment drawn into it.

    It has the same frames at the same times; where those are uneven, frames are repeated at an even
    rate, up to 60 a second (what comes faster is thinned). Small videos are enlarged. The sound is
    kept.

    Args:
        video: the file that was recognised.
        prediction: what was said of it.
        path: an .mp4 or .mkv (H.264), or an .avi (MPEG-4); written whole or not at all.
        progress: shows a bar when it takes more than two seconds.

    Raises:
        SettingsError: for another suffix, or the video itself.
        VideoError: if the video is damaged, or this one cannot be encoded.
    """
    if Path(path).exists() and Path(path).samefile(video):
        raise SettingsError(f"{path} is the video itself: write the overlay elsewhere")
    frames = tqdm(
        safe_decoder.stream(video),
        "draw",
        prediction.num_frames,
        unit="frame",
        disable=not progress,
        delay=2,
    )
    times = prediction.times
    # Even are times at which each frame is shown once; else the shortest frame has room for itself.
    once = np.array_equal(np.rint(times[1:] * prediction.fps), np.arange(1, len(times)))
    fps = prediction.fps if once else min(1 / float(np.diff(times).min()), _MOST_FPS)
    pictures = _in_time(drawn(frames, prediction), times, fps)
    encode(path, pictures, fps=fps, sound=safe_decoder.sound(video))


def _in_time(pictures: Iterable[np.ndarray], times: np.ndarray, fps: float) -> Iterator[np.ndarray]:
    """Yield each picture as often as it is shown at an even rate: once, where the times are even."""
    written = 0
    for picture, end in zip(pictures, times[1:], strict=False):
        due = round(float(end) * fps)
        due += due == written  # once more, rather than lost by rounding; the next ones make up for it
        yield from repeat(picture, due - written)
        written = max(written, due)


def encode(
    path: str | Path,
    frames: Iterable[np.ndarray],
    *,
    fps: float,
    sound: Iterable[tuple[float, np.ndarray]] = (),
) -> None:
    """Write frames with text in them, by a codec that keeps it readable.

    Args:
        path: an .mp4 or .mkv (H.264), or an .avi (MPEG-4); written whole or not at all.
        frames: (H, W, 3) uint8 of one size, both sides even.
        fps: frames a second.
        sound: to go with them, see `video.write`.

    Raises:
        SettingsError: for another suffix.
        VideoError: if there is no frame, or they cannot be encoded.
    """
    codec, options = encoder(path)
    rate = Fraction(fps).limit_denominator(1001)
    videos.write(path, frames, fps=rate, codec=codec, options=options, sound=sound, comment=COMMENT)


def encoder(path: str | Path) -> tuple[str, dict[str, str]]:
    """Return FFmpeg's encoder for a file's suffix, and its options.

    Raises:
        SettingsError: for a suffix that is not written here.
    """
    h264 = ("libx264", {"crf": "20", "preset": "veryfast"})
    known = {".mp4": h264, ".mkv": h264, ".avi": ("mpeg4", {"qmin": "2", "qmax": "5"})}
    suffix = Path(path).suffix.lower()
    if suffix not in known:
        raise SettingsError(f"{path} is no .mp4, .mkv or .avi: name the overlay so")
    return known[suffix]


def drawn(frames: Iterable[np.ndarray], prediction: Prediction) -> Iterator[np.ndarray]:
    """Yield every frame with what is said of it: (H', W', 3) uint8, both even, large enough to read."""
    for seconds, frame in zip(prediction.times.tolist(), frames, strict=False):
        note = f"{clock(seconds)}  {prediction.knows.partition(':')[0]}".rstrip()
        yield draw(enlarged(frame), prediction.at(seconds, LINES), note=note)


def enlarged(frame: np.ndarray) -> np.ndarray:
    """Enlarge a small picture by a whole number, and make both sides even, as encoders want them."""
    height, width = frame.shape[:2]
    factor = max(1, -(-_LEAST_SIDE // min(height, width)))
    tall, wide = factor * height, factor * width
    size = (wide + wide % 2, tall + tall % 2)
    if size == (width, height):
        return frame
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC))


@cache
def _font(size: int) -> "ImageFont.FreeTypeFont | ImageFont.ImageFont":
    """Return Pillow's own font: the same letters on every machine."""
    return ImageFont.load_default(size)


def _shortened(text: str, font: "ImageFont.FreeTypeFont | ImageFont.ImageFont", width: int) -> str:
    """Cut a text that is wider than `width` pixels, and tell so by dots."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
