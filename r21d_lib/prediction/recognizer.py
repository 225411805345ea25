"""One video in, its likely actions out: the recogniser and its answer, over time, in bounded memory.

A video is decoded frame by frame, each frame is resized at once, and no more of them are kept than the
clips at hand need. So an hour of video takes no more memory than a minute.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from r21d_lib import checkpoints
from r21d_lib.data import flow, safe_decoder
from r21d_lib.data.clip_settings import MOST_CLIPS
from r21d_lib.data.clips import clip_indices, resize, to_network, uniform_starts
from r21d_lib.data.video import at_rate, last_gap
from r21d_lib.errors import CheckpointError, SettingsError, VideoError
from r21d_lib.models.fast import optimized
from r21d_lib.prediction.prediction import Prediction

FIGURES = "r2plus1d_10_figures"  # the shipped checkpoint, also called "figures"
_USUAL_FPS = 30.0
_PICTURES, _PICTURE_WIDTH = 6, 240


class Recognizer:
    """A network with all that is needed to ask it about a video.

    Args:
        checkpoint: "figures" is the shipped one; else whatever `checkpoints.load` takes.
        classes: names of the classes, where the checkpoint does not tell them or others are wanted.
        device: "cpu", "cuda", ...; a GPU where there is one, if not given.
        batch_size: clips that the network sees at once.

    Attributes:
        network: in evaluation mode; where no layer inside is asked for, its `fast.optimized` copy
            answers.
        card: what the checkpoint says of itself.
        source: its file.
        classes: class names.
        clips: how clips are cut and normalised.
        device: where the network is.

    Raises:
        CheckpointError: if there is no such checkpoint, or it has another number of classes.
        SettingsError: if there is no such device.

    Example:
        >>> Recognizer("figures").predict("clip.avi").top(1)
        [Answer(label='golf', probability=0.93, agreement=1.0)]
    """

    def __init__(
        self,
        checkpoint: str | Path = "figures",
        *,
        classes: Sequence[str] | None = None,
        device: str | None = None,
        batch_size: int = 8,
    ) -> None:
        if not 1 <= batch_size <= MOST_CLIPS:
            raise SettingsError(f"batch_size must be from 1 to {MOST_CLIPS}, got {batch_size}")
        self.device = _device(device)
        self.batch_size = batch_size
        network, report = checkpoints.load(
            FIGURES if checkpoint == "figures" else checkpoint,
            file_classes=None if classes is None else tuple(classes),
        )
        self.network: nn.Module = network.to(self.device)
        self._fast = optimized(network, engine="auto")
        self.card, self.source = report.card, report.source
        self.classes, self.clips = self.card.classes, self.card.clips

    @classmethod
    def from_pretrained(cls, name: str | Path, **options: Any) -> "Recognizer":
        """Load what `r21d publish` wrote.

        Args:
            name: its folder, or "owner/repo" on the Hugging Face Hub, also with "@revision".
            options: as for `Recognizer`, but for the checkpoint.

        Raises:
            CheckpointError, SettingsError: as `Recognizer`.
            HubError: if it cannot be had from the Hub.
        """
        if Path(name).is_dir():
            return cls(checkpoints.weights_in(Path(name)), **options)
        return cls(str(name) if checkpoints.is_on_hub(str(name)) else f"hf://{name}", **options)

    def score(self, clips: Tensor) -> np.ndarray:
        """Return (N, classes) float32, the softmax of each clip.

        Args:
            clips: (N, T, H, W, C) uint8, resized to `Recognizer.clips.resize`; C is 3, or 2 of flow as
                bytes (see `data.flow`).
        """
        return self.activations(clips, ("softmax",))["softmax"]

    @torch.inference_mode()
    def activations(self, clips: Tensor, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Return named activations of each clip.

        Args:
            clips: as for `score`.
            names: "softmax", "logits", "final_avg" (what the last layer sees), or a module's path
                such as "layer3" or "layer4.0.conv1".

        Returns:
            name to (N, ...) float32: (N, classes), (N, C), or a layer's (N, C, T', H', W').

        Raises:
            SettingsError: if the network has no such layer.
        """
        caught: dict[str, Tensor] = {}
        hooks = []
        modules = self.check_names(names)
        network = self.network if modules else self._fast
        for name, module in modules.items():

            def catch(_: nn.Module, __: Any, output: Tensor, name: str = name) -> None:
                # A copy: a ReLU that follows writes into its input.
                caught[name] = output.float().clone()

            hooks.append(module.register_forward_hook(catch))
        parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
        try:
            for batch in clips.split(self.batch_size):
                logits = network(to_network(batch.to(self.device), self.clips)).float()
                if not bool(torch.isfinite(logits).all()):
                    raise CheckpointError(
                        f"{self.source} gives scores that are not finite: check the checkpoint"
                    )
                caught |= {"logits": logits, "softmax": logits.softmax(1)}
                for name, kept in parts.items():
                    value = caught[name].flatten(1) if name == "final_avg" else caught[name]
                    kept.append(value.cpu().numpy())
        finally:
            for hook in hooks:
                hook.remove()
        return {name: np.concatenate(kept) for name, kept in parts.items()}

    def check_names(self, names: Sequence[str]) -> dict[str, nn.Module]:
        """Return the module of each activation, but for those that need none: softmax and logits.

        Raises:
            SettingsError: if the network has no such layer.
        """
        wanted = [name for name in names if name not in ("softmax", "logits")]
        modules = dict(self.network.named_modules()) if wanted else {}
        if "final_avg" in wanted:
            modules["final_avg"] = modules["avgpool"]
        for name in wanted:
            if not name or name not in modules:
                raise SettingsError(
                    f"the network has no activation {name!r}: choose softmax, logits, final_avg, or "
                    "a layer such as layer3"
                )
        return {name: modules[name] for name in wanted}

    def predict(
        self,
        video: str | Path | np.ndarray,
        *,
        num_clips: int = 10,
        every: float | None = None,
        features: Sequence[str] = (),
        progress: bool = True,
    ) -> Prediction:
        """Recognise what happens in a video, and when.

        A video that is shorter than `num_clips` clips one after the other gets `num_clips` of them,
        evenly spaced from its first frame to its last (the paper's protocol). A longer one gets a clip
        every half clip, to its end. Where the checkpoint has a rate, frames are counted at that rate;
        where it takes flow, a clip is of the flow between them.

        Args:
            video: a file, or (T, H, W, 3) uint8 RGB frames, taken as 30 a second.
            num_clips: clips of a short video.
            every: instead, a clip starts every so many seconds, however long the video is.
            features: activations to keep of each clip, see `activations`.
            progress: shows a bar when it takes more than two seconds.

        Raises:
            VideoError: if the file is missing, damaged or holds no picture.
            SettingsError: if an argument makes no sense.
        """
        if not 1 <= num_clips <= MOST_CLIPS:
            raise SettingsError(f"num_clips must be from 1 to {MOST_CLIPS}, got {num_clips}")
        if every is not None and not 0 < every < float("inf"):
            raise SettingsError(f"every must be some seconds, above 0, got {every}")
        gap, claimed = 1 / _USUAL_FPS, 0
        timed: Iterable[tuple[float, np.ndarray]]
        if isinstance(video, np.ndarray):
            if video.ndim != 4 or video.shape[3] != 3 or video.dtype != np.uint8 or not video.size:
                raise VideoError(
                    f"frames are {video.dtype} {video.shape}: give one or more, uint8 (T, H, W, 3)"
                )
            timed = ((number * gap, frame) for number, frame in enumerate(video))
            name, claimed = "", len(video)
        else:
            claimed = safe_decoder.probe(video).num_frames
            timed, name = safe_decoder.timed(video), str(video)
        strip, times, moments = _Strip(), list[float](), list[float]()
        bar = tqdm(
            timed, desc="watch", unit="frame", total=claimed or None, disable=not progress, delay=2
        )
        watched = strip.watch(_clocked(bar, times))
        if self.clips.fps is not None:
            watched = at_rate(watched, self.clips.fps)
        small = self._small(frame for _, frame in _clocked(watched, moments))
        if self.clips.modality == "flow":
            small = map(torch.from_numpy, flow.of_frames(frame.numpy() for frame in small))
        starts: list[int] = []
        parts: dict[str, list[np.ndarray]] = {key: [] for key in ("softmax", *features)}
        cut = self._cut(small, num_clips, None if every is None else _Every(every, moments))
        while batch := list(islice(cut, self.batch_size)):
            starts += [start for start, _ in batch]
            found = self.activations(torch.stack([clip for _, clip in batch]), tuple(parts))
            for key, kept in parts.items():
                kept.append(found[key])
        whole = {key: np.concatenate(kept) for key, kept in parts.items()}
        end = times[-1] + last_gap(times, gap)
        return Prediction(
            name=name,
            classes=self.classes,
            probabilities=whole["softmax"],
            starts=np.array(starts, np.int64),
            span=self.clips.span,
            times=np.array([*times, end]),
            moments=np.array([*moments, end]),
            pictures=strip.pictures(),
            features={key: whole[key] for key in features},
            knows=self.card.world,
        )

    def _small(self, frames: Iterable[np.ndarray]) -> Iterator[Tensor]:
        """Resize frames; one that comes again, as in a video of a lower rate, is not done again."""
        before, small = None, torch.empty(0)
        for frame in frames:
            if frame is not before:
                before, small = frame, resize(torch.from_numpy(frame[None]), self.clips.resize)[0]
            yield small

    def _cut(
        self, frames: Iterator[Tensor], num_clips: int, is_due: Callable[[int], bool] | None
    ) -> Iterator[tuple[int, Tensor]]:
        """Yield the start and the (clip_len, H, W, 3) frames of each clip as soon as it is complete.

        Args:
            frames: resized.
            num_clips: of a short video.
            is_due: tells, for one frame after the other, whether a clip starts there; None is the
                paper's protocol for a short video, and every half clip for a longer one.
        """
        span = self.clips.span
        if is_due is None:
            held = list(islice(frames, num_clips * span))
            if len(held) < num_clips * span:
                for start in uniform_starts(len(held), span, num_clips):
                    yield start, self._pick(held, start)
                return
            frames, step = chain(held, frames), max(1, span // 2)
            is_due = lambda start: start % step == 0  # noqa: E731
            del held
        window: deque[Tensor] = deque(maxlen=span)
        start, cut = 0, -1
        for start, frame in enumerate(frames, 1 - span):
            window.append(frame)
            if start >= 0 and is_due(start):
                cut = start
                yield start, self._pick(window)
        if cut < max(start, 0):  # a video shorter than a clip, or the end of another
            yield max(start, 0), self._pick(window)

    def _pick(self, frames: Sequence[Tensor], start: int = 0) -> Tensor:
        indices = clip_indices(start, self.clips.clip_len, self.clips.stride, len(frames))
        return torch.stack([frames[i] for i in indices.tolist()])


def _clocked(
    timed: Iterable[tuple[float, np.ndarray]], times: list[float]
) -> Iterator[tuple[float, np.ndarray]]:
    """Pass frames on and keep their times."""
    for seconds, frame in timed:
        times.append(seconds)
        yield seconds, frame


class _Every:
    """Tells of one frame after the other whether a clip starts there: one every so many seconds."""

    def __init__(self, seconds: float, times: Sequence[float]) -> None:
        self.seconds, self.times, self.due = seconds, times, 0.0

    def __call__(self, start: int) -> bool:
        time = self.times[start] + 1e-6
        if time < self.due:
            return False
        self.due = (time // self.seconds + 1) * self.seconds
        return True


class _Strip:
    """A few evenly spaced frames of a stream whose length nobody knows beforehand."""

    def __init__(self) -> None:
        self.count, self._step = 0, 1
        self._kept: list[np.ndarray] = []

    def watch(self, timed: Iterable[tuple[float, np.ndarray]]) -> Iterator[tuple[float, np.ndarray]]:
        """Pass all frames on, and keep a small copy of some."""
        for seconds, frame in timed:
            if self.count % self._step == 0:
                self._kept.append(_small(frame))
                if len(self._kept) > 4 * _PICTURES:
                    self._kept, self._step = self._kept[::2], 2 * self._step
            self.count += 1
            yield seconds, frame

    def pictures(self) -> tuple[np.ndarray, ...]:
        """Return the first, the last kept and what lies evenly between, fewer of a short video."""
        most = min(_PICTURES, len(self._kept))
        picked = np.linspace(0, len(self._kept) - 1, most).round().astype(int)
        return tuple(self._kept[i] for i in picked)


def _small(frame: np.ndarray) -> np.ndarray:
    """Return a frame no wider than a picture needs, with its aspect kept."""
    height, width = frame.shape[:2]
    if width <= _PICTURE_WIDTH:
        return frame.copy()
    size = (max(1, round(height * _PICTURE_WIDTH / width)), _PICTURE_WIDTH)
    return resize(torch.from_numpy(frame[None]), size)[0].numpy()


def _device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SettingsError(f"there is no device {name!r} here: choose cpu, or omit it") from error
    return device
