"""Video files in and out: probe, decode all frames in order, write.

Frames are always decoded from the first to the last, by PyAV (FFmpeg). Asking decord for single frames
by index returns wrong ones on HMDB51's own files, silently; decoded in order it agrees with PyAV.
"""

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from r21d_lib.data.containers import open_video
from r21d_lib.errors import SettingsError, VideoError
from r21d_lib.files import whole_file

if TYPE_CHECKING:
    from av import VideoFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.video.stream import VideoStream

Decoder = Literal["pyav", "decord"]
logger = logging.getLogger(__name__)

_USUAL_RATE = 30.0  # frames a second, where a file says nothing
_FASTEST = 120.0  # and what is more than cameras record is measured
_PACKETS = 100
SOUND_RATE = 48_000  # samples a second, of sound that is read or written
# FFmpeg's names of the containers whose index lists every frame; Matroska's lists key frames only.
_WHOLLY_INDEXED = frozenset({"avi", "mov,mp4,m4a,3gp,3g2,mj2"})


@dataclass(frozen=True)
class VideoInfo:
    """What a file's header says of its first video stream.

    Attributes:
        num_frames: the container's claim, 0 where it makes none; `decode` tells the truth.
        height: pixels, as stored: `decode` also turns a picture that asks for it.
        width: pixels.
        fps: frames a second; where that varies, the first frames' or the average, whichever is more.
        comment: what the writer left in it, or "".
    """

    num_frames: int
    height: int
    width: int
    fps: float
    comment: str = ""


def probe(path: str | Path) -> VideoInfo:
    """Read a video's size, rate and claimed length without decoding it.

    Raises:
        VideoError: if the file is missing, empty, or has no readable video stream.
    """
    container, stream = open_video(Path(path))
    with container:
        size = (stream.frames, stream.height, stream.width)
        comment = next((v for k, v in container.metadata.items() if k.lower() == "comment"), "")
        return VideoInfo(*size, _rate(container, stream), comment)


def _rate(container: "InputContainer", stream: "VideoStream") -> float:
    """Return the frames a second that a header claims, or those of the first packets' time stamps.

    Browsers record at no fixed rate and write 1000, the resolution of their clock.
    """
    rate = float(max(stream.average_rate or 0, stream.guessed_rate or 0))
    if 0 < rate <= _FASTEST:
        return rate
    stamps = [p.pts for p in islice(container.demux(stream), _PACKETS) if p.pts is not None]
    if len(stamps) < 2 or max(stamps) == min(stamps) or stream.time_base is None:
        return rate
    return (len(stamps) - 1) / float((max(stamps) - min(stamps)) * stream.time_base)


def stream(path: str | Path) -> Iterator[np.ndarray]:
    """Decode a video frame by frame, as `timed` does, without the times."""
    return (frame for _, frame in timed(path))


def timed(path: str | Path) -> Iterator[tuple[float, np.ndarray]]:
    """Decode a video frame by frame, in order, however long it is.

    Args:
        path: any container and codec that FFmpeg reads.

    Yields:
        Seconds since the first frame, by the stream's time stamps (frames may be shown for different
        times), and (H, W, 3) uint8, RGB, turned upright where the file says so (telephones do).

    Raises:
        VideoError: if the file is missing, empty, damaged, of absurd size, or holds no frame. Damage
            inside is noticed when its frame is reached, lost frames at the end. A flipped bit that
            still makes a valid picture is not noticed.
    """
    import av

    path = Path(path)
    container, video = open_video(path)
    # One converter for all frames: `frame.to_ndarray("rgb24")` builds one each, for half of the time.
    converter = av.video.reformatter.VideoReformatter()
    shape, packets = None, 0
    rate = float(video.average_rate or video.guessed_rate or _USUAL_RATE)
    first, seconds = None, -1 / rate
    with container:
        try:
            for packet in container.demux(video):
                packets += packet.size > 0
                for frame in packet.decode():
                    if frame.is_corrupt:
                        raise VideoError(f"{path} is damaged (a broken frame): copy the file again")
                    pixels = converter.reformat(frame, format="rgb24").to_ndarray()
                    if shape not in (None, pixels.shape):
                        raise VideoError(
                            f"{path} changes its picture size midway: encode it anew at one size"
                        )
                    shape, usual = pixels.shape, seconds + 1 / rate
                    if frame.time is not None and first is None:
                        first = frame.time
                    stamp = usual if frame.time is None or first is None else frame.time - first
                    seconds = (
                        stamp if stamp > seconds else usual
                    )  # a stamp that goes back tells nothing
                    yield seconds, upright(pixels, frame)
        except (av.FFmpegError, MemoryError) as error:
            raise VideoError(f"{path} is damaged ({error}): copy the file again") from error
        indexed = len(video.index_entries)
        if container.format.name in _WHOLLY_INDEXED and packets != indexed:
            raise VideoError(
                f"{path} is damaged ({packets} of {indexed} frames are there): copy the file again"
            )
    if shape is None:
        raise VideoError(f"{path} holds no frame that can be decoded: replace or delete the file")


def sound(path: str | Path) -> Iterator[tuple[float, np.ndarray]]:
    """Decode a video's sound piece by piece, if it has any.

    Yields:
        Seconds since the first frame, and (N, 2) int16 samples, `SOUND_RATE` of them a second.

    Raises:
        VideoError: if the video cannot be opened, or where its sound is damaged.
    """
    import av

    container, film = open_video(Path(path))
    with container:
        track = next(iter(container.streams.audio), None)
        if track is None or track.codec_context is None:
            return
        first = float((film.start_time or 0) * (film.time_base or 0))
        even = av.AudioResampler(format="s16", layout="stereo", rate=SOUND_RATE)
        try:
            for frame in container.decode(track):
                if frame.time is None or frame.time < first:
                    continue
                for piece in even.resample(frame):
                    yield frame.time - first, piece.to_ndarray().reshape(-1, 2)
        except (av.FFmpegError, ValueError, MemoryError) as error:
            raise VideoError(f"{path} is damaged (its sound: {error}): copy the file again") from error


def at_rate(
    timed: Iterable[tuple[float, np.ndarray]], fps: float
) -> Iterator[tuple[float, np.ndarray]]:
    """Yield a video's frames at an even rate: for each moment k / fps the one nearest in time.

    Args:
        timed: seconds and frame, as `timed` gives them; the last frame is shown for `last_gap` at
            most. A video of that very rate comes back frame by frame.
        fps: frames a second.
    """
    moment = 0
    before: tuple[float, np.ndarray] | None = None
    times, gap = list[float](), 1 / fps
    for seconds, frame in timed:
        times.append(seconds)
        if before is not None:
            while moment / fps < (before[0] + seconds) / 2:
                yield moment / fps, before[1]
                moment += 1
            gap = seconds - before[0]
        before = seconds, frame
    if before is None:
        return
    # A quarter of a frame less, as time stamps are rounded; and no moment lies past the video's end.
    until = min(before[0] + gap - 0.25 / fps, before[0] + last_gap(times, gap))
    while moment / fps < until:
        yield moment / fps, before[1]
        moment += 1


def last_gap(times: Sequence[float], otherwise: float) -> float:
    """Return how long a video's last frame is shown [s], which no stamp tells: as long as most others.

    Where every few frames one is shown twice as long (films of 24 frames a second shown at 30, as
    HMDB51 has them), and the one before the last was, so is the last. A longer gap is a still, as at
    the end of a screen's recording: it says nothing of the last frame.

    Args:
        times: when each frame is shown [s], one or more, increasing.
        otherwise: what a video of one frame gets [s].
    """
    if len(times) < 2:
        return otherwise
    usual, last = float(np.median(np.diff(times))), times[-1] - times[-2]
    return last if 1.25 * usual < last < 2.25 * usual else usual


def decode(path: str | Path, *, decoder: Decoder = "pyav") -> np.ndarray:
    """Decode every frame of a video, in order.

    Args:
        path: any container and codec that FFmpeg reads.
        decoder: "pyav" is the reference, and notices damage. "decord", where it is installed, takes
            about half of the time, but repeats, drops or refuses frames of some files.

    Returns:
        (T, H, W, 3) uint8, RGB, turned upright where the file says so.

    Raises:
        VideoError: if the file is missing, empty, damaged, of absurd size, or holds no frame.
        SettingsError: if no decoder has that name.
    """
    if decoder not in ("pyav", "decord"):
        raise SettingsError(f"decoder {decoder!r} is unknown: choose pyav or decord")
    if decoder == "decord":
        open_video(Path(path))[0].close()
        return _decode_with_decord(Path(path))
    return np.stack(list(stream(path)))


def write(
    path: str | Path,
    frames: Iterable[np.ndarray],
    *,
    fps: int | Fraction = 30,
    codec: str = "mpeg4",
    options: dict[str, str] | None = None,
    max_b_frames: int = 0,
    sound: Iterable[tuple[float, np.ndarray]] = (),
    comment: str = "",
) -> None:
    """Encode frames into a video file, whole or not at all; the same frames give the same bytes.

    Args:
        path: the suffix chooses the container (.avi, .mp4, ...).
        frames: one or more (H, W, 3) uint8 RGB frames of one size, or a (T, H, W, 3) array.
        fps: frames a second.
        codec: FFmpeg's name of the encoder.
        options: FFmpeg's options of the encoder, such as {"qscale": "4"}.
        max_b_frames: frames that may be reordered between two references.
        sound: pieces to encode beside the frames, as the function `sound` gives them; it ends with
            the last frame, or where it is damaged, which a log line says.
        comment: kept in the file, see `VideoInfo`.

    Raises:
        VideoError: if there is no frame or the encoder refuses them.
    """
    import av

    path = Path(path)
    with whole_file(path) as partial, ordinary_priority():
        try:
            with av.open(os.path.abspath(partial), "w") as container:
                container.flags |= cast(int, av.container.Flags.bitexact.value)
                if comment:
                    container.metadata["comment"] = comment
                stream: VideoStream | None = None
                heard: _Sound | None = None
                for number, frame in enumerate(frames, 1):
                    if stream is None or heard is None:
                        added = container.add_stream(codec, rate=fps, options=options or {})
                        stream = cast("VideoStream", added)
                        stream.height, stream.width = frame.shape[:2]
                        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
                        stream.codec_context.max_b_frames = max_b_frames
                        # One thread and no version stamps: bytes must not depend on the machine.
                        stream.codec_context.thread_count = 1
                        stream.codec_context.flags |= av.codec.context.Flags.bitexact.value
                        heard = _Sound(container, sound)  # adds its stream before anything is written
                    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24")
                    container.mux(stream.encode(picture))
                    heard.write_until(float(number / fps))
                if stream is None or heard is None:
                    raise VideoError(f"{path} is not written: there is no frame to write")
                container.mux(stream.encode())
                heard.end()
        except av.FFmpegError as error:
            raise VideoError(f"{path} cannot be written with codec {codec}: {error}") from error


class _Sound:
    """Sound in a file that is being written, no further than its pictures have come."""

    def __init__(self, to: "OutputContainer", pieces: Iterable[tuple[float, np.ndarray]]) -> None:
        self._to, self._pieces, self._written = to, iter(pieces), 0
        self._next = self._read()
        if self._next is not None:
            codec = "libmp3lame" if to.format.name == "avi" else "aac"
            added = to.add_stream(codec, rate=SOUND_RATE, layout="stereo")
            self._stream: AudioStream | None = cast("AudioStream", added)
        else:
            self._stream = None

    def write_until(self, seconds: float) -> None:
        """Encode what is heard before a moment, one sample after the other, whatever its times say."""
        import av

        until = round(seconds * SOUND_RATE)
        while self._stream is not None and self._next is not None:
            start, samples = self._next
            place = max(self._written, round(start * SOUND_RATE))
            now, later = samples[: max(0, until - place)], samples[max(0, until - place) :]
            if len(now):
                frame = av.AudioFrame.from_ndarray(now.reshape(1, -1), "s16", "stereo")
                frame.sample_rate, frame.time_base = SOUND_RATE, Fraction(1, SOUND_RATE)
                frame.pts, self._written = place, place + len(now)
                self._to.mux(self._stream.encode(frame))
            if len(later):
                self._next = max(place, until) / SOUND_RATE, later
                return
            self._next = self._read()

    def end(self) -> None:
        """Encode what the encoder still holds."""
        if self._stream is not None:
            self._to.mux(self._stream.encode(None))

    def _read(self) -> tuple[float, np.ndarray] | None:
        try:
            return next(self._pieces, None)
        except VideoError as error:
            logger.warning("the sound that is written ends: %s", error)
            return None


@contextlib.contextmanager
def ordinary_priority() -> Iterator[None]:
    """Put this thread's scheduling back at the end to what it was.

    The encoder SVT-AV1 takes the highest real-time priority for the thread that calls it, where it may
    (as root, so in most containers), and leaves it there: all that the process does or starts later
    would keep everything else from running.
    """
    if not hasattr(os, "sched_getscheduler"):  # Linux has it
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        if os.sched_getscheduler(0) != policy:
            os.sched_setscheduler(0, policy, parameters)


def upright(pixels: np.ndarray, frame: "VideoFrame") -> np.ndarray:
    """Turn and mirror a frame's pixels as its file or stream asks for: FFmpeg leaves it to its caller.

    Args:
        pixels: (H, W, 3).
        frame: what they were decoded from.

    Returns:
        (H, W, 3), or (W, H, 3) after a quarter turn, contiguous.
    """
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return np.ascontiguousarray(pixels)
    # A pixel at (x, y) is shown at (a x + c y, b x + d y).
    (a, b, _), (c, d, _), _ = np.frombuffer(cast(bytes, data), np.int32, 9).reshape(3, 3).tolist()
    if abs(b) > abs(a):
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def _decode_with_decord(path: Path) -> np.ndarray:
    try:
        import decord
    except ImportError as error:
        raise VideoError("decord is not installed here: decode with pyav") from error
    try:
        reader = decord.VideoReader(str(path), num_threads=1)
        return reader.get_batch(range(len(reader))).asnumpy()
    # decord's own error is no RuntimeError, but it raises both.
    except (RuntimeError, decord.DECORDError) as error:
        raise VideoError(f"{path} cannot be decoded by decord: decode with pyav") from error
