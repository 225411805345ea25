"""What decides a network's shape: its name, depth, widths and the rules of its convolutions."""

import difflib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal

from r21d_lib.errors import SettingsError
from r21d_lib.models.ablations import ABLATIONS
from r21d_lib.models.kinds import GROUPS, MIDPLANE_RULES, NETWORK_NAMES, PAPER_NAMES, MidplaneRule

if TYPE_CHECKING:
    from torch import Tensor

Pool = Literal["none", "space", "space-time"]
POOLS: tuple[Pool, ...] = ("none", "space", "space-time")

# Blocks in conv2_x..conv5_x (VMZ's block configurations; the paper's own study uses 18 and 34).
BLOCKS: dict[int, tuple[int, int, int, int]] = {
    10: (1, 1, 1, 1),
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
BOTTLENECK_DEPTHS = (50, 101, 152)

# With those that the paper does not have: the changed ones of `ablations`.
ALL_GROUPS = GROUPS | {name: changed.groups for name, changed in ABLATIONS.items()}
LABELS: dict[str, str] = PAPER_NAMES | {name: changed.label for name, changed in ABLATIONS.items()}


# Far beyond any network of the paper, and little enough to be described without being built.
_HIGHEST = {
    "num_classes": 1_000_000,
    "width": 8192,
    "stem_midplanes": 8192,
    "clip_len": 8192,
    "stem_t": 8191,
}


@dataclass(frozen=True)
class NetworkSettings:
    """Everything that decides a network's shape; stored with every checkpoint.

    Attributes:
        name: one of `NETWORK_NAMES`, or of `ablations.ABLATIONS`.
        depth: 10, 18 or 34 of two-convolution blocks, 50, 101 or 152 of bottlenecks.
        num_classes: size of the last linear layer.
        width: channels after conv1; the groups have 1, 2, 4 and 8 times as many (bottlenecks inside;
            their outputs are 4 times wider). 64 in the paper.
        midplane_rule: "conv" applies the (2+1)D rule to every convolution (paper, VMZ, IG-65M),
            "block" once per residual block, to its input and its width (torchvision).
        stem_midplanes: channels between the two steps of R(2+1)D's conv1; None is 45, the released
            networks' value, scaled by width / 64.
        bn_eps: epsilon of every batch norm: 1e-3 in the released networks, 1e-5 in torchvision.
        clip_len: frames in a clip; only R2D needs it, because its conv1 takes them all in.
        stem_t: frames that a 3D or (2+1)D conv1 spans: 3 in the paper, 7 in kenshohara's networks.
        pool1: max-pooling after conv1: "none" in the paper; "space" halves height and width (an
            option of VMZ for large pictures), "space-time" the frames too (kenshohara).
        in_channels: of a clip: 3 for RGB, 2 for optical flow (x, y).
    """

    name: str
    depth: int = 18
    num_classes: int = 400
    width: int = 64
    midplane_rule: MidplaneRule = "conv"
    stem_midplanes: int | None = None
    bn_eps: float = 1e-3
    clip_len: int | None = None
    stem_t: int = 3
    pool1: Pool = "none"
    in_channels: int = field(default=3, repr=False)  # out of the text that kept scores are known by

    def __post_init__(self) -> None:
        if self.name not in ALL_GROUPS:
            near = difflib.get_close_matches(self.name, ALL_GROUPS, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise SettingsError(
                f"no network is called {self.name!r}: {hint}choose {_or(NETWORK_NAMES)}"
            )
        if self.depth not in BLOCKS:
            raise SettingsError(
                f"depth {self.depth} is not available for {self.name}: choose {_or(BLOCKS)}"
            )
        if self.midplane_rule not in MIDPLANE_RULES:
            raise SettingsError(
                f"midplane_rule {self.midplane_rule!r} is unknown: choose {_or(MIDPLANE_RULES)}"
            )
        if self.pool1 not in POOLS:
            raise SettingsError(f"pool1 {self.pool1!r} is unknown: choose {_or(POOLS)}")
        for name, highest in _HIGHEST.items():
            value = getattr(self, name)
            if value is not None and not 1 <= value <= highest:
                raise SettingsError(f"{name} must be from 1 to {highest}, got {value}")
        if self.in_channels not in (2, 3):
            raise SettingsError(
                f"in_channels must be 3 (RGB) or 2 (optical flow), got {self.in_channels}"
            )
        if not 0 < self.bn_eps <= 1:  # NaN is in no range
            raise SettingsError(f"bn_eps must be above 0 and at most 1, got {self.bn_eps}")
        if self.stem_t % 2 == 0:
            raise SettingsError(f"stem_t must be odd, got {self.stem_t}")
        if self.name == "r2d" and self.clip_len is None:
            raise SettingsError("r2d folds all frames into conv1: give it clip_len, 1 or more")

    @property
    def bottleneck(self) -> bool:
        """Tell whether the blocks have three convolutions, the outer two 1x1x1."""
        return self.depth in BOTTLENECK_DEPTHS

    @property
    def resolved_stem_midplanes(self) -> int:
        """The stem's middle width as a number, never None."""
        if self.stem_midplanes is not None:
            return self.stem_midplanes
        return max(1, round(45 * self.width / 64))

    def to_dict(self) -> dict[str, object]:
        """Return the settings as plain values, for JSON, with in_channels only where it is not 3."""
        values = asdict(self)
        if self.in_channels == 3:
            del values["in_channels"]
        return values

    def check(self, clips: "Tensor") -> None:
        """Raise SettingsError for clips that are not (N, C, T, H, W), or not of an R2D's length."""
        if clips.ndim != 5 or clips.shape[1] != self.in_channels:
            raise SettingsError(
                f"a network takes clips of (N, {self.in_channels}, frames, height, width) and got "
                f"{tuple(clips.shape)}"
            )
        if self.name == "r2d" and clips.shape[2] != self.clip_len:
            raise SettingsError(
                f"this r2d was built for clips of {self.clip_len} frames and got {clips.shape[2]}: "
                "build it with that clip_len"
            )


def _or(choices: Iterable[object]) -> str:
    *first, last = map(str, choices)
    return f"{', '.join(first)} or {last}"
