"""Where live frames come from on this machine: a camera, a stream's address, or a file as if live.

`watch` reads them on one thread and scores them on another, so that neither waits for the other: what
is shown is the newest frame, what is scored the newest clip, and what came too fast is counted.
"""

import contextlib
import itertools
import sys
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from r21d_lib.data import safe_decoder
from r21d_lib.data.video import upright
from r21d_lib.errors import SettingsError, VideoError
from r21d_lib.live.rolling import TRAINED_FPS, LiveAnswer, RollingRecognizer

if TYPE_CHECKING:
    from r21d_lib.prediction.recognizer import Recognizer

_WAITING = 8  # frames read and not yet shown; the next drops the oldest
_PATIENCE = 10.0  # seconds without a frame after which a stream is given up
_BAD_PACKETS = 100  # one after another, after which a stream is given up


@dataclass(frozen=True)
class Source:
    """Frames with their times.

    Attributes:
        name: for messages.
        fps: frames a second, as announced; 30 where it is not.
        frames: (H, W, 3) uint8 frames, each with when it was taken [s].
        recorded: true for a file, whose frames could be had faster than they were taken.
    """

    name: str
    fps: float
    frames: Iterator[tuple[np.ndarray, float]]
    recorded: bool


@dataclass(frozen=True)
class Seen:
    """A frame to show, with what is known when it is shown.

    Attributes:
        frame: (H, W, 3) uint8.
        seconds: when it was taken.
        answer: the newest answer, None until there is one.
        dropped: frames so far that came too fast to be shown.
    """

    frame: np.ndarray
    seconds: float
    answer: LiveAnswer | None
    dropped: int


def open_source(name: str | Path) -> Source:
    """Open a file or a stream's address (rtsp, http, ...).

    Raises:
        VideoError: if it is missing, unreadable, or does not answer.
    """
    if "://" in str(name):
        return _open_device(str(name), name=str(name))
    fps = safe_decoder.probe(name).fps or TRAINED_FPS
    frames = ((frame, seconds) for seconds, frame in safe_decoder.timed(name))
    return Source(str(name), fps, frames, recorded=True)


def open_camera(number: int) -> Source:
    """Open one of this machine's cameras by Video4Linux.

    Raises:
        VideoError: if there is none of that number, or another program holds it.
        SettingsError: on other systems than Linux.
    """
    if not sys.platform.startswith("linux"):
        raise SettingsError(
            "cameras are opened on Linux only: use the widget of notebook 00, or a stream's address"
        )
    device = f"/dev/video{number}"
    if not Path(device).exists():
        there = sorted(path.name.removeprefix("video") for path in Path("/dev").glob("video*"))
        others = f"there are {', '.join(there)}" if there else "this machine has none"
        raise VideoError(f"no camera {number} ({others}): give another number, a file or an address")
    return _open_device(
        device,
        name=f"camera {number}",
        format="v4l2",
        options={"framerate": "30", "video_size": "640x480"},
    )


def watch(
    source: Source, recognizer: "Recognizer", *, seconds: float | None = None, fast: bool = False
) -> Iterator[Seen]:
    """Yield frames to show, with the newest answer.

    Args:
        source: closed at the end.
        recognizer: network, classes and clip settings.
        seconds: of the source's time, after which to stop.
        fast: reads a file as fast as it can be scored, every frame, instead of in its own time.

    Raises:
        VideoError: if a frame cannot be read.
        SettingsError: if `fast` is asked of a camera.
    """
    if fast and not source.recorded:
        raise SettingsError(f"{source.name} cannot be read fast: it is live")
    seen = _each(source, recognizer) if fast else _newest(source, recognizer)
    first: float | None = None
    with contextlib.closing(seen):
        for one in seen:
            first = one.seconds if first is None else first
            if seconds is not None and one.seconds - first >= seconds:
                return
            yield one


def _each(source: Source, recognizer: "Recognizer") -> Generator[Seen]:
    """Yield every frame; an answer for as many of them as lie between two frames of a clip."""
    rolling = RollingRecognizer(recognizer)
    answer: LiveAnswer | None = None
    while frames := list(itertools.islice(source.frames, recognizer.clips.stride)):
        for frame, seconds in frames:
            rolling.push(frame, seconds)
        answer = rolling.answer() or answer
        for frame, seconds in frames:
            yield Seen(frame, seconds, answer, 0)


def _newest(source: Source, recognizer: "Recognizer") -> Generator[Seen]:
    threads = _Threads(source, recognizer)
    try:
        while (frames := threads.take()) is not None:
            for frame, seconds in frames:
                yield Seen(frame, seconds, threads.answer, threads.dropped)
    finally:
        threads.stop()


class _Threads:
    """One that reads and one that scores; what is between them and the viewer is bounded."""

    def __init__(self, source: Source, recognizer: "Recognizer") -> None:
        self.answer: LiveAnswer | None = None
        self.dropped = 0
        self._source, self._rolling = source, RollingRecognizer(recognizer)
        self._waiting: deque[tuple[np.ndarray, float]] = deque()
        self._changed = threading.Condition()
        self._unscored = False
        self._over = False
        self._error: Exception | None = None
        self._running = [
            threading.Thread(target=self._guarded, args=(work,), daemon=True)
            for work in (self._reading, self._scoring)
        ]
        for thread in self._running:
            thread.start()

    def take(self) -> list[tuple[np.ndarray, float]] | None:
        """Return the frames that came since, waiting for one; None at the end.

        Raises:
            Exception: whatever stopped one of the threads.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._over)
            if self._error:
                raise self._error
            frames = list(self._waiting)
            self._waiting.clear()
            return frames or None

    def stop(self) -> None:
        """End both threads; one that waits for a frame that never comes is left behind."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
        for thread in self._running:
            thread.join(1.0)

    def _guarded(self, work: Any) -> None:
        try:
            work()
        except Exception as error:
            self._error = error
        finally:
            with self._changed:
                self._over = True
                self._changed.notify_all()

    def _reading(self) -> None:
        began: float | None = None
        for frame, seconds in self._source.frames:
            if self._source.recorded:
                began = time.monotonic() - seconds if began is None else began
                with self._changed:
                    late = began + seconds - time.monotonic()
                    self._changed.wait_for(lambda: self._over, timeout=max(late, 0.0))
            if self._over:
                return
            self._rolling.push(frame, seconds)
            with self._changed:
                if len(self._waiting) == _WAITING:
                    self._waiting.popleft()
                    self.dropped += 1
                self._waiting.append((frame, seconds))
                self._unscored = True
                self._changed.notify_all()

    def _scoring(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._unscored or self._over)
                if self._over:
                    return
                self._unscored = False
            self.answer = self._rolling.answer() or self.answer


def _open_device(address: str, *, name: str, **options: Any) -> Source:
    """Open what FFmpeg reads by an address, and wait no longer than `_PATIENCE` for any frame."""
    import av

    try:
        container = av.open(address, timeout=_PATIENCE, **options)
    except (av.FFmpegError, ValueError) as error:
        raise VideoError(f"{name} does not open ({_reason(error)}): check the address") from error
    if not container.streams.video:
        container.close()
        raise VideoError(f"{name} has no video stream: give one with pictures")
    stream = container.streams.video[0]
    recorded = container.duration is not None
    # What comes late is of no use: no frame waits in the decoder for those after it.
    stream.codec_context.flags |= av.codec.context.Flags.low_delay.value

    def decoded() -> Iterator[av.VideoFrame]:
        bad = 0
        for packet in container.demux(stream):
            try:
                yield from stream.decode(packet)
                bad = 0
            except av.InvalidDataError:
                # A network loses packets; the next key frame mends it.
                bad += 1
                if recorded or bad > _BAD_PACKETS:
                    raise

    def frames() -> Iterator[tuple[np.ndarray, float]]:
        with container:
            try:
                for frame in decoded():
                    pixels = upright(frame.to_ndarray(format="rgb24"), frame)
                    yield pixels, time.monotonic() if frame.time is None else frame.time
            except av.FFmpegError as error:
                raise VideoError(f"{name} stopped ({_reason(error)}): open it again") from error

    return Source(name, float(stream.average_rate or TRAINED_FPS), frames(), recorded)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
