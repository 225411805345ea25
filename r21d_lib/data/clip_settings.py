"""How clips are cut and normalised: length, stride, size, modality and statistics."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from r21d_lib.errors import SettingsError

Modality = Literal["rgb", "flow"]

# Of Kinetics, RGB, as fractions of 255: the statistics of VMZ's, IG-65M's and torchvision's weights.
KINETICS_MEAN = (0.43216, 0.394666, 0.37645)
KINETICS_STD = (0.22803, 0.22145, 0.216989)
# Of Farneback's flow (x, y) of 128 x 171 frames [pixels a frame]: those of VMZ's flow networks.
FLOW_MEAN = (0.0046635, 0.0046261)
FLOW_STD = (0.972347, 0.755146)
_STATISTICS: dict[Modality, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "rgb": (KINETICS_MEAN, KINETICS_STD),
    "flow": (FLOW_MEAN, FLOW_STD),
}

MOST_CLIPS = 10_000  # of a video, or in a batch
_MOST_FPS = 1000
_LARGEST = 8192  # frames, or pixels of a side: no clip that fits into memory has more


@dataclass(frozen=True)
class ClipSettings:
    """How clips are cut and normalised; stored with every checkpoint.

    Attributes:
        clip_len: frames in a clip, L in the paper.
        stride: distance between them in the video's frames; 1 takes consecutive frames.
        resize: (height, width) that every frame is resized to, aspect ignored [pixels].
        crop: side of the square that the network sees [pixels].
        mean: of each channel: RGB as a fraction of 255, flow in pixels a frame. () takes what released
            networks of the modality have.
        std: likewise.
        fps: frames a second that clips are counted in: of a video at another rate, the frames nearest
            in time are taken. None counts the video's own frames, whatever their rate.
        modality: what a clip's frames are: "rgb" pictures, or the optical "flow" (x, y) from each to
            the next.
    """

    clip_len: int = 16
    stride: int = 1
    resize: tuple[int, int] = (128, 171)
    crop: int = 112
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    fps: float | None = None
    modality: Modality = "rgb"

    def __post_init__(self) -> None:
        if self.modality not in _STATISTICS:
            raise SettingsError(f"modality {self.modality!r} is unknown: choose rgb or flow")
        for name, usual in zip(("mean", "std"), _STATISTICS[self.modality], strict=True):
            object.__setattr__(self, name, getattr(self, name) or usual)
        for name in ("clip_len", "stride", "crop"):
            value = getattr(self, name)
            if not 1 <= value <= _LARGEST:
                raise SettingsError(f"{name} must be from 1 to {_LARGEST}, got {value}")
        if len(self.resize) != 2 or max(self.resize) > _LARGEST:
            raise SettingsError(
                f"resize must be a height and a width up to {_LARGEST}, got {self.resize}"
            )
        if not 1 <= self.crop <= min(self.resize):
            raise SettingsError(
                f"a crop of {self.crop} does not fit into frames of {self.resize}: lower crop"
            )

        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != self.channels or not all(math.isfinite(value) for value in values):
                raise SettingsError(
                    f"{name} must be {('two', 'three')[self.channels - 2]} finite numbers, one a "
                    f"channel of {self.modality}, got {values}"
                )
        if min(self.std) <= 0:
            raise SettingsError(f"std must be above 0, got {self.std}")
        if self.fps is not None and not 1 <= self.fps <= _MOST_FPS:
            raise SettingsError(f"fps must be from 1 to {_MOST_FPS}, or none, got {self.fps}")

    @property
    def channels(self) -> int:
        """Channels of a clip: 3 of RGB, 2 of flow."""
        return len(_STATISTICS[self.modality][0])

    @property
    def span(self) -> int:
        """Frames of video between the first and the last frame of a clip, both included."""
        return (self.clip_len - 1) * self.stride + 1

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values, for JSON, with a rate and flow only where they are."""
        values = asdict(self)
        if self.fps is None:
            del values["fps"]
        if self.modality == "rgb":
            del values["modality"]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ClipSettings":
        """Build settings from what `to_dict` gave, also after JSON made lists of the tuples."""
        typed: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**typed)
