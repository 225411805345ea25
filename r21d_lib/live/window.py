"""Shows a live source on this machine: in a window, in a video with the answers drawn, and in lines.

`r21d live` calls `show`; notebooks have `live_widget`, whose camera is the browser's.
"""

import contextlib
import os
import signal
import statistics
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from r21d_lib.errors import SettingsError, VideoError
from r21d_lib.live.sources import Seen, Source, watch
from r21d_lib.prediction import overlay
from r21d_lib.prediction.prediction import clock

if TYPE_CHECKING:
    from r21d_lib.prediction.recognizer import Recognizer

_LONGEST_PAUSE = 600  # frames that a still picture may fill in the file, then its clock starts anew


@dataclass
class Watched:
    """What was seen, in numbers.

    Attributes:
        frames: shown or written.
        dropped: frames that came too fast for that.
        compute_seconds: of the network, for each of the newest 1,000 answers.
    """

    frames: int = 0
    dropped: int = 0
    compute_seconds: deque[float] = field(default_factory=lambda: deque(maxlen=1000))

    def __str__(self) -> str:
        text = f"{self.frames:,} frames shown, {self.dropped:,} dropped"
        if not self.compute_seconds:
            return f"{text}; no answer: that is shorter than a clip"
        return f"{text}; an answer takes {1000 * statistics.median(self.compute_seconds):.0f} ms"


def show(
    source: Source,
    recognizer: "Recognizer",
    *,
    output: str | Path | None = None,
    window: bool = False,
    seconds: float | None = None,
    fast: bool = False,
    say: Callable[[str], None] = print,
) -> Watched:
    """Show a source with what the network says of it, until it ends, or Ctrl-C, or the window closes.

    Args:
        source: of `live_sources`.
        recognizer: network, classes and clip settings.
        output: a video to write, .mp4, .mkv or .avi; whole also after Ctrl-C, and where a live source
            broke off.
        window: opens one.
        seconds: of the source's time, after which to stop.
        fast: reads a file as fast as it can be scored, every frame, instead of in its own time.
        say: gets a line for every new best class.

    Raises:
        VideoError: if a frame cannot be read, or the video not written.
        SettingsError: if the output's suffix is unknown, there is no display, or `fast` is asked of
            a camera.
    """
    read = Path(source.name)
    if output is not None and read.exists() and Path(output).exists() and read.samefile(output):
        raise SettingsError(f"{output} is the video that is read: write the overlay elsewhere")
    watched, broken = Watched(), list[VideoError]()
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(_stopped_by_interrupt())
        seen = watch(source, recognizer, seconds=seconds, fast=fast)
        pictures: Iterator[tuple[np.ndarray, float]] = _drawn(seen, watched, stop, say)
        if window:
            pictures = _in_window(pictures, stack.enter_context(_Window(source.name)))
        if output is not None and not source.recorded:
            pictures = _until_broken(pictures, broken)
        if output is None:
            deque(pictures, maxlen=0)
        else:
            every = fast and source.recorded
            overlay.encode(output, _on_grid(pictures, source.fps, every=every), fps=source.fps)
    if broken:
        raise VideoError(f"{broken[0]}; {output} has what came before") from broken[0]
    return watched


def can_open_a_window() -> bool:
    """Tell whether there is a display, and tkinter to draw on it."""
    if os.name == "posix" and not os.environ.get("DISPLAY"):
        return False
    try:
        with _Window("r21d"):
            return True
    except SettingsError:
        return False


def _drawn(
    seen: Iterator[Seen], watched: Watched, stop: threading.Event, say: Callable[[str], None]
) -> Generator[tuple[np.ndarray, float]]:
    """Yield pictures with the newest answer in them, and their times; tell of new best classes."""
    best, last, first = "", None, None
    for one in seen:
        first = one.seconds if first is None else first
        note = clock(one.seconds - first)
        watched.frames += 1
        watched.dropped = one.dropped
        if one.answer and one.answer is not last:
            last = one.answer
            watched.compute_seconds.append(last.compute_seconds)
            label, probability, _ = last.top(1)[0]
            if label != best:
                best = label
                say(f"{note}  {label} {probability:.2f}")
        answers = one.answer.top(overlay.LINES) if one.answer else []
        yield overlay.draw(overlay.enlarged(one.frame), answers, note=note), one.seconds
        if stop.is_set():
            return


def _until_broken(
    pictures: Iterator[tuple[np.ndarray, float]], broken: list[VideoError]
) -> Iterator[tuple[np.ndarray, float]]:
    """Yield pictures until a source breaks off, and keep the reason; before the first it is raised."""
    shown = False
    try:
        for picture in pictures:
            yield picture
            shown = True
    except VideoError as error:
        if not shown:
            raise
        broken.append(error)


def _on_grid(
    pictures: Iterator[tuple[np.ndarray, float]], fps: float, *, every: bool
) -> Iterator[np.ndarray]:
    """Repeat pictures where others were dropped, so that the file runs as fast as what was seen.

    Args:
        pictures: and when each was taken [s].
        fps: of the file.
        every: none is left out, though pictures that come faster than the file's rate run slower so.
    """
    began, written = None, 0
    for picture, seconds in pictures:
        began = seconds if began is None else began
        due = round((seconds - began) * fps) + 1
        due = max(due, written + 1) if every else due
        if not 0 <= due - written <= _LONGEST_PAUSE:
            began, due = seconds - written / fps, written + 1
        for _ in range(written, due):
            yield picture
        written = max(written, due)


def _in_window(
    pictures: Iterator[tuple[np.ndarray, float]], window: "_Window"
) -> Iterator[tuple[np.ndarray, float]]:
    for picture, seconds in pictures:
        if not window.show(picture):
            return
        yield picture, seconds


@contextlib.contextmanager
def _stopped_by_interrupt() -> Iterator[threading.Event]:
    """Let the first Ctrl-C set an event, so that a video is finished; the second interrupts."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread hears signals
        return
    before = signal.getsignal(signal.SIGINT)

    def finish(*_: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, finish)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


class _Window:
    """A window with one picture; closing it, Escape or q ends the show."""

    def __init__(self, title: str) -> None:
        self._title = title

    def __enter__(self) -> "_Window":
        try:
            import tkinter
        except ImportError as error:
            raise SettingsError("this Python has no tkinter: give --output instead") from error
        try:
            self._root = tkinter.Tk()
        except tkinter.TclError as error:
            raise SettingsError(f"no window can be opened ({error}): give --output instead") from error
        self._root.title(f"{self._title} - r21d live")
        self._label = tkinter.Label(self._root, borderwidth=0)
        self._label.pack()
        self._open = True
        self._root.protocol("WM_DELETE_WINDOW", self._close)
        for key in ("<Escape>", "q"):
            self._root.bind(key, self._close)
        return self

    def __exit__(self, *_: object) -> None:
        self._root.destroy()

    def _close(self, *_: Any) -> None:
        self._open = False

    def show(self, picture: np.ndarray) -> bool:
        """Show a (H, W, 3) uint8 picture; False once the window was closed."""
        from PIL import ImageTk

        # Tk shows only what something still refers to.
        self._picture = ImageTk.PhotoImage(Image.fromarray(picture), master=self._root)
        self._label.configure(image=self._picture)
        self._root.update()
        return self._open
