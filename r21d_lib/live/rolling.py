"""What happens now: the newest moments of a camera, a screen or a playing file, scored as they come.

Frames arrive at any rate and with any delay. A clip is taken from them at the rate that the network
was trained at, so that a slow camera does not look like slow motion, and nothing grows with time.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.data.clips import resize
from r21d_lib.errors import SettingsError
from r21d_lib.prediction.prediction import Answer

if TYPE_CHECKING:
    from r21d_lib.prediction.recognizer import Recognizer

TRAINED_FPS = 30.0  # of HMDB51, ActionFigures and most of Kinetics, where a card names no other
_REMEMBERED = 64  # answers at most, whatever their rate


class RollingClip:
    """The clip that ends with the newest frame, out of frames of any rate.

    Args:
        clips: how the network wants its clips.
    """

    def __init__(self, clips: ClipSettings) -> None:
        self.clips, self.fps = clips, clips.fps or TRAINED_FPS
        # The trained rate's frames at twice their density, and what lies just outside the clip.
        self._kept: deque[tuple[float, Tensor]] = deque(maxlen=2 * clips.span + 2)

    def __len__(self) -> int:
        """Return how many frames are kept: never more than two for each that a clip spans, and two."""
        return len(self._kept)

    def push(self, frame: np.ndarray, seconds: float) -> None:
        """Add the newest frame; what is too old for any clip goes.

        Args:
            frame: (H, W, 3) uint8, of any size.
            seconds: when it was taken, by any clock. A clock that goes back starts another video.
        """
        if self._kept and seconds < self._kept[-1][0]:
            self._kept.clear()
        # A faster camera's frame replaces the one before; a trained rate that trembles loses none.
        if len(self._kept) > 1 and self._kept[-1][0] - self._kept[-2][0] < 0.6 / self.fps:
            self._kept.pop()
        small = resize(torch.from_numpy(np.ascontiguousarray(frame)[None]), self.clips.resize)[0]
        self._kept.append((seconds, small))
        oldest = seconds - self._span
        while len(self._kept) > 2 and self._kept[1][0] <= oldest:
            self._kept.popleft()

    @property
    def ready(self) -> bool:
        """True once the frames reach back as far as a clip does."""
        return bool(self._kept) and self._kept[-1][0] - self._kept[0][0] >= self._span - 0.5 / self.fps

    def clip(self) -> Tensor:
        """Return (clip_len, H, W, 3) uint8: for each of its moments the frame that is nearest in time.

        Before `ready` the first frame stands for what nobody has seen.

        Raises:
            IndexError: if there is no frame yet.
        """
        times = np.array([seconds for seconds, _ in self._kept])
        steps = np.arange(self.clips.clip_len)[::-1] * self.clips.stride
        wanted = self._kept[-1][0] - steps / self.fps
        nearest = np.abs(times[None] - wanted[:, None]).argmin(1)
        return torch.stack([self._kept[i][1] for i in nearest.tolist()])

    @property
    def newest(self) -> float:
        """When the newest frame was taken [s], by the clock of the frames."""
        return self._kept[-1][0]

    @property
    def _span(self) -> float:
        """Seconds from a clip's first frame to its last."""
        return (self.clips.span - 1) / self.fps


@dataclass(frozen=True)
class LiveAnswer:
    """What a network says of the last moments.

    Attributes:
        seconds: when its newest frame was taken, by the clock of the frames.
        classes: class names.
        probabilities: (clips, classes) float32, of the clips of the last second or so.
        compute_seconds: time that the network took for the newest clip.
    """

    seconds: float
    classes: tuple[str, ...]
    probabilities: np.ndarray
    compute_seconds: float

    def top(self, count: int = 5) -> list[Answer]:
        """Return the classes with the highest mean probability, the best first."""
        mean = self.probabilities.mean(0)
        best = np.bincount(self.probabilities.argmax(1), minlength=len(self.classes))
        share = best / len(self.probabilities)
        order = np.argsort(-mean, kind="stable")[:count]
        return [Answer(self.classes[i], float(mean[i]), float(share[i])) for i in order]


class RollingRecognizer:
    """Scores the newest clip whenever it is asked, and averages what it said of the last moments.

    One thread may push while another asks.

    Args:
        recognizer: network, classes and clip settings.
        memory: how far back answers are averaged [s]; 0 takes the newest alone.

    Raises:
        SettingsError: if the network does not take RGB.
    """

    def __init__(self, recognizer: "Recognizer", *, memory: float = 1.0) -> None:
        if recognizer.clips.modality != "rgb":
            raise SettingsError(
                f"{recognizer.source} takes flow, which is not computed live: give weights of RGB"
            )
        self.recognizer, self.memory = recognizer, memory
        self.rolling = RollingClip(recognizer.clips)
        self._said: deque[tuple[float, np.ndarray]] = deque(maxlen=_REMEMBERED)
        self._lock = threading.Lock()

    def push(self, frame: np.ndarray, seconds: float) -> None:
        """Add the newest (H, W, 3) uint8 frame, taken at `seconds`; costs no time of the network's."""
        with self._lock:
            self.rolling.push(frame, seconds)

    def answer(self) -> LiveAnswer | None:
        """Score the clip that ends now; None while the frames do not yet reach back that far."""
        with self._lock:
            if not self.rolling.ready:
                return None
            clip, newest = self.rolling.clip(), self.rolling.newest
        began = time.perf_counter()
        said = self.recognizer.score(clip[None])[0]
        took = time.perf_counter() - began
        if self._said and newest < self._said[-1][0]:  # another video
            self._said.clear()
        self._said.append((newest, said))
        while newest - self._said[0][0] > self.memory:
            self._said.popleft()
        recent = np.stack([probabilities for _, probabilities in self._said])
        return LiveAnswer(newest, self.recognizer.classes, recent, took)


def replay(
    recognizer: "Recognizer", frames: np.ndarray, *, fps: float = TRAINED_FPS, every: float = 0.1
) -> Iterator[LiveAnswer]:
    """Yield what a live viewer of a film would have been told, moment by moment.

    Args:
        recognizer: network, classes and clip settings.
        frames: (T, H, W, 3) uint8.
        fps: frames a second of the film.
        every: seconds from one answer to the next.
    """
    rolling = RollingRecognizer(recognizer)
    due = 0.0
    for number, frame in enumerate(frames):
        rolling.push(frame, number / fps)
        if number / fps >= due and (answer := rolling.answer()):
            due = number / fps + every - 0.5 / fps
            yield answer
