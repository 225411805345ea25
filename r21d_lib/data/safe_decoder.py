"""Videos decoded in a process of their own, with limits of time and memory, whoever made the file.

A few hundred bytes can keep FFmpeg busy for hours, take all memory, or make it crash; nothing inside
one process stops that. The process here imports neither torch nor a user's script, serves one video
after the other, and ends with the one that started it. A worker of `safe_pool` has such limits itself,
and decodes directly.
"""

import atexit
import contextlib
import json
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO, cast

import numpy as np

from r21d_lib.data import video
from r21d_lib.data.video import VideoInfo
from r21d_lib.errors import VideoError

# Of waiting for the decoder; what is done with the frames meanwhile does not count.
_SECONDS_A_FRAME = 60.0
_SECONDS_A_VIDEO, _SECONDS_A_BYTE = 120.0, 1e-4  # 100 s a megabyte: a still screen packs well
_BYTES = 2**31  # of memory, beside what the process takes without a video
_PIPE_BYTES = 2**20
_MESSAGE = struct.Struct("<cdIII")  # its kind, seconds, height, width, bytes that follow
_FRAME, _SOUND, _INFO, _ERROR, _END = b"F", b"S", b"I", b"E", b"Z"
_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); from r21d_lib.data.safe_decoder import serve; serve()"
)
_guarded = False  # whether this process may hang or crash without harm
_idle: dict[int, "_Decoder"] = {}  # by the process that started it: a fork must not share it
_lock = threading.Lock()


def timed(path: str | Path) -> Iterator[tuple[float, np.ndarray]]:
    """Decode a video as `video.timed` does: seconds, and (H, W, 3) uint8 RGB.

    Raises:
        VideoError: as `video.timed`, and if the decoder crashes, takes more than 2 GiB, gives no frame
            for a minute, or keeps its caller waiting for longer than a file of that size may.
    """
    if _guarded:
        yield from video.timed(path)
        return
    with _decoder() as decoder:
        for kind, seconds, shape, content in decoder.ask("timed", Path(path)):
            if kind == _FRAME:
                yield seconds, content.reshape(shape)


def stream(path: str | Path) -> Iterator[np.ndarray]:
    """Decode a video frame by frame, as `timed` does, without the times."""
    return (frame for _, frame in timed(path))


def sound(path: str | Path) -> Iterator[tuple[float, np.ndarray]]:
    """Decode a video's sound as `video.sound` does: seconds, and (N, 2) int16 samples.

    Raises:
        VideoError: as `timed`.
    """
    with _decoder() as decoder:
        for kind, seconds, _, content in decoder.ask("sound", Path(path)):
            if kind == _SOUND:
                yield seconds, content.view(np.int16).reshape(-1, 2)


def probe(path: str | Path) -> VideoInfo:
    """Read a header as `video.probe` does.

    Raises:
        VideoError: as `timed`.
    """
    if _guarded:
        return video.probe(path)
    with _decoder() as decoder:
        told = [content for kind, _, _, content in decoder.ask("probe", Path(path)) if kind == _INFO]
    return VideoInfo(**json.loads(told[0].tobytes()))


def patience(path: Path, seconds: float) -> float:
    """Return how long a video may take: `seconds`, and of a large file longer [s]."""
    return max(seconds, _size(path) * _SECONDS_A_BYTE)


def start() -> None:
    """Start the process that decodes, so that it is ready when a video is asked for.

    It takes a quarter of a second to start, which other imports can fill.
    """
    if not _guarded:
        with _decoder():
            pass


def guard_this_process() -> None:
    """Limit the memory of a process that may crash, and let it decode by itself."""
    global _guarded
    _guarded = True
    if sys.platform != "linux":  # others count what is only reserved, or nothing
        return
    import resource

    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        taken = next(int(line.split()[1]) for line in lines if line.startswith("VmData:"))
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (1024 * taken + _BYTES, most))


class _Decoder:
    """A process that decodes one video after the other.

    Attributes:
        whole: whether the last answer came to its end, so that another question may be asked.
    """

    def __init__(self) -> None:
        import r21d_lib

        self.whole = True
        self._process = subprocess.Popen(
            # -P: a folder of videos that holds a numpy.py is no place to import from.
            [sys.executable, "-P", "-c", _START, Path(r21d_lib.__file__).parents[1]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        self._questions = cast(BinaryIO, self._process.stdin)
        self._answers = cast(BufferedReader, self._process.stdout)
        _widen(self._answers)
        self._waiting_since: float | None = None
        self._waited, self._slow = 0.0, ""

    def ask(
        self, what: str, path: Path
    ) -> Iterator[tuple[bytes, float, tuple[int, int, int], np.ndarray]]:
        """Yield the messages of an answer: kind, seconds, a frame's shape, and what else it says.

        Raises:
            VideoError: if that is what it says, or it was stopped, or ended by itself.
        """
        self.whole, self._waited, over = False, 0.0, threading.Event()
        watch = threading.Thread(target=self._watch, args=(_size(path), over), daemon=True)
        watch.start()
        try:
            question = {"what": what, "path": os.fspath(path), "at": os.getcwd()}
            with contextlib.suppress(BrokenPipeError):  # then it has ended, which is told below
                self._questions.write(json.dumps(question).encode() + b"\n")
                self._questions.flush()
            while True:
                head = self._read(_MESSAGE.size)
                if len(head) == _MESSAGE.size:
                    kind, seconds, height, width, length = _MESSAGE.unpack(head.data)
                    content = self._read(length)
                if len(head) < _MESSAGE.size or len(content) < length:
                    raise self._ended(path)
                if kind == _ERROR:
                    self.whole = True
                    raise VideoError(content.tobytes().decode("utf-8", "surrogateescape"))
                if kind == _END:
                    self.whole = True
                    return
                yield kind, seconds, (height, width, 3), content
        finally:
            over.set()

    @property
    def usable(self) -> bool:
        """Whether it waits for the next question."""
        return self.whole and not self._slow and self._process.poll() is None

    def stop(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.wait()
        self._answers.close()
        with contextlib.suppress(BrokenPipeError):
            self._questions.close()

    def _read(self, size: int) -> np.ndarray:
        """Return so many bytes, fewer where the process ended."""
        found = np.empty(size, np.uint8)
        began = self._waiting_since = time.monotonic()
        try:
            count = self._answers.readinto(found.data)
        finally:
            self._waiting_since = None
            self._waited += time.monotonic() - began
        return found[:count]

    def _watch(self, size: int, over: threading.Event) -> None:
        """Stop the process where it lets its caller wait for too long."""
        most = _SECONDS_A_VIDEO + size * _SECONDS_A_BYTE
        while not over.wait(0.2):
            since = self._waiting_since
            waiting = 0.0 if since is None else time.monotonic() - since
            if waiting > _SECONDS_A_FRAME or self._waited + waiting > most:
                self._slow = f"was given up after {min(_SECONDS_A_FRAME, most):g} s without a frame"
                if waiting <= _SECONDS_A_FRAME:
                    self._slow = f"was given up after {most:.0f} s, which is long for {size:,} bytes"
                self._process.kill()
                return

    def _ended(self, path: Path) -> VideoError:
        self._process.kill()
        code = self._process.wait()
        return VideoError(
            f"{path} {self._slow or f'makes the decoder crash (it ended with {code})'}: copy the file "
            "again"
        )


@contextlib.contextmanager
def _decoder() -> Iterator[_Decoder]:
    """Lend a process; afterwards one is kept for the next video, if it came to the end of this one."""
    with _lock:
        decoder = _idle.pop(os.getpid(), None)
    if decoder is None or not decoder.usable:
        decoder = _Decoder()
    try:
        yield decoder
    finally:
        with _lock:
            keep = decoder.usable and os.getpid() not in _idle
            if keep:
                _idle[os.getpid()] = decoder
        if not keep:
            decoder.stop()


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _widen(pipe: BinaryIO) -> None:
    """Let a pipe hold a few frames, where the system allows it."""
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


@atexit.register
def _stop_idle() -> None:
    decoder = _idle.pop(os.getpid(), None)
    if decoder is not None:
        decoder.stop()


def serve() -> None:
    """Answer the questions on the standard input, until that ends: what the process runs."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that asks
    answers = open(os.dup(1), "wb")  # noqa: SIM115
    os.dup2(2, 1)  # nothing that anybody prints is taken for an answer
    questions: SimpleQueue[bytes] = SimpleQueue()

    def listen() -> None:
        for line in sys.stdin.buffer:
            questions.put(line)
        os._exit(0)  # who asked is gone, whatever is being decoded

    threading.Thread(target=listen, daemon=True).start()
    import av  # noqa: F401 - before the limit counts what is taken

    guard_this_process()
    while True:
        question = json.loads(questions.get())
        os.chdir(question["at"])
        try:
            _answer(question["what"], Path(question["path"]), answers)
        except VideoError as error:
            content = str(error).encode("utf-8", "surrogateescape")
            _say(answers, _ERROR, content=content)
        answers.flush()


def _answer(what: str, path: Path, answers: BinaryIO) -> None:
    if what == "probe":
        told = json.dumps(vars(video.probe(path))).encode()
        _say(answers, _INFO, content=told)
    elif what == "sound":
        for seconds, samples in video.sound(path):
            _say(answers, _SOUND, seconds, content=samples.data.cast("B"))
            answers.flush()
    else:
        for seconds, frame in video.timed(path):
            _say(answers, _FRAME, seconds, frame.shape, frame.data.cast("B"))
            answers.flush()
    _say(answers, _END)


def _say(
    answers: BinaryIO,
    kind: bytes,
    seconds: float = 0.0,
    shape: tuple[int, ...] = (0, 0, 3),
    content: memoryview | bytes = b"",
) -> None:
    answers.write(_MESSAGE.pack(kind, seconds, shape[0], shape[1], len(content)))
    answers.write(content)
