"""The residual networks of the paper's Table 2: R2D, f-R2D, R3D, MC2..5, rMC2..5 and R(2+1)D.

All share one skeleton (Table 1): conv1, four groups of residual blocks, a global average over time
and space, one linear layer. They differ only in the kind of convolution in each of the five groups.
The names of the parameters are torchvision's, so that published weights load as they are.
"""

import difflib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from r21d_lib.errors import SettingsError
from r21d_lib.models.ablations import ABLATIONS
from r21d_lib.models.blocks import Bottleneck, ResidualBlock
from r21d_lib.models.convolutions import (
    MIDPLANE_RULES,
    ConvKind,
    MidplaneRule,
    Stride,
    convolution,
)

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


def _kinds(first: ConvKind, num_first: int, then: ConvKind) -> tuple[ConvKind, ...]:
    """Name the convolution of the five groups: `num_first` of one kind, the rest of another."""
    return tuple(first if group < num_first else then for group in range(5))


# The kind of convolution in conv1, conv2_x, ..., conv5_x (paper, figure 1 and section 3.4).
GROUPS: dict[str, tuple[ConvKind, ...]] = {
    "r2d": _kinds("2d", 5, "2d"),
    "fr2d": _kinds("2d", 5, "2d"),
    "r3d": _kinds("3d", 5, "3d"),
    **{f"mc{x}": _kinds("3d", x - 1, "2d") for x in range(2, 6)},
    **{f"rmc{x}": _kinds("2d", x - 1, "3d") for x in range(2, 6)},
    "r2plus1d": _kinds("2+1d", 5, "2+1d"),
}
NETWORK_NAMES: tuple[str, ...] = tuple(GROUPS)
PAPER_NAMES: dict[str, str] = {
    name: {"r2d": "R2D", "fr2d": "f-R2D", "r3d": "R3D", "r2plus1d": "R(2+1)D"}.get(
        name, name.replace("mc", "MC")
    )
    for name in NETWORK_NAMES
}
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

    def check(self, clips: Tensor) -> None:
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


def _stem(settings: NetworkSettings) -> nn.Sequential:
    """Build conv1: 7x7 pixels with stride 2, and 1, 3 or all frames deep."""
    width, eps = settings.width, settings.bn_eps
    stride: Stride = (1, 2, 2)
    tail = (nn.BatchNorm3d(width, eps=eps), nn.ReLU(inplace=True))
    if settings.name == "r2d":
        # Without padding in time the kernel covers the whole clip once, and time is gone after it:
        # the same as folding the frames into 3 L channels (paper, section 3.1).
        assert settings.clip_len is not None  # checked by NetworkSettings
        kernel = (settings.clip_len, 7, 7)
        whole_clip = nn.Conv3d(
            settings.in_channels, width, kernel, stride=stride, padding=(0, 3, 3), bias=False
        )
        return nn.Sequential(whole_clip, *tail)
    kind = ALL_GROUPS[settings.name][0]
    first = convolution(
        kind,
        settings.in_channels,
        width,
        t=settings.stem_t,
        d=7,
        stride=stride,
        mid_planes=settings.resolved_stem_midplanes,
        bn_eps=eps,
    )
    # Unpacked, because published weights number the parts of a factorized stem 0, 1, 3, 4.
    parts = first if isinstance(first, nn.Sequential) else [first]
    return nn.Sequential(*parts, *tail)


class VideoResNet(nn.Module):
    """A residual network over clips, built from `NetworkSettings`.

    Input: (N, C, T, H, W) floating point, normalised, C 3 for RGB and 2 for optical flow; T, H and W
    are free, but R2D needs T to be clip_len. Output: (N, num_classes) logits.
    Source: paper, Table 1.
    """

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.settings = settings
        self.stem = _stem(settings)
        self.pool1 = _pool(settings.pool1)
        planes = settings.width
        for group, num_blocks in enumerate(BLOCKS[settings.depth], start=1):
            group_width = settings.width * 2 ** (group - 1)
            blocks = []
            for index in range(num_blocks):
                strided = group > 1 and index == 0
                block = Bottleneck if settings.bottleneck else ResidualBlock
                blocks.append(
                    block(
                        planes,
                        group_width,
                        kind=ALL_GROUPS[settings.name][group],
                        stride=(2, 2, 2) if strided else (1, 1, 1),
                        midplane_rule=settings.midplane_rule,
                        bn_eps=settings.bn_eps,
                    )
                )
                planes = group_width * block.expansion
            setattr(self, f"layer{group}", nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool3d(1)
        self.fc = nn.Linear(planes, settings.num_classes)
        self.apply(_initialise)

    def stages(self) -> dict[str, nn.Module]:
        """Return the five groups in order, under the paper's names conv1, conv2_x, ..., conv5_x.

        Where there is a pool1, it stands between the first two.
        """
        pool = {} if self.pool1 is None else {"pool1": self.pool1}
        groups = {f"conv{g + 1}_x": self.get_submodule(f"layer{g}") for g in range(1, 5)}
        return {"conv1": self.stem, **pool, **groups}

    def forward_features(self, clips: Tensor) -> Tensor:
        """Return the map before pooling: (N, in_channels, T, H, W) to (N, C, T', H', W').

        C is 8 times the width, 32 times with bottlenecks.

        Raises:
            SettingsError: if the clips are not of this shape, or of another length than an R2D's.
        """
        self.settings.check(clips)
        for stage in self.stages().values():
            clips = stage(clips)
        return clips

    def forward(self, clips: Tensor) -> Tensor:
        """Return the logits: (N, in_channels, T, H, W) to (N, num_classes)."""
        return self.fc(self.avgpool(self.forward_features(clips)).flatten(1))

    def replace_head(self, num_classes: int) -> None:
        """Put a new, randomly initialised linear layer for `num_classes` in place of `fc`."""
        fc = nn.Linear(self.fc.in_features, num_classes)
        _initialise(fc)
        self.fc = fc.to(self.fc.weight.device)
        self.settings = NetworkSettings(**{**asdict(self.settings), "num_classes": num_classes})


def _pool(kind: Pool) -> nn.MaxPool3d | None:
    if kind == "none":
        return None
    t = 1 if kind == "space" else 3
    return nn.MaxPool3d((t, 3, 3), stride=(1 if t == 1 else 2, 2, 2), padding=(t // 2, 1, 1))


def _initialise(module: nn.Module) -> None:
    """Draw He-normal (fan-out) convolutions and N(0, 0.01) linear weights, as torchvision does."""
    weight = getattr(module, "weight", None)
    if weight is not None and weight.is_meta:
        return  # nothing to draw into, and torch would import its compiler to find that out
    if isinstance(module, nn.Conv3d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.01)
        nn.init.zeros_(module.bias)


def build_network(
    name: str,
    depth: int = 18,
    *,
    num_classes: int = 400,
    width: int = 64,
    midplane_rule: MidplaneRule = "conv",
    stem_midplanes: int | None = None,
    bn_eps: float = 1e-3,
    clip_len: int | None = None,
    stem_t: int = 3,
    pool1: Pool = "none",
    in_channels: int = 3,
    seed: int | None = None,
) -> VideoResNet:
    """Build a network of the paper with random weights.

    Args:
        name: r2d, fr2d, r3d, mc2..mc5, rmc2..rmc5 or r2plus1d; or one of `ablations.ABLATIONS`.
        depth, num_classes, width, midplane_rule, stem_midplanes, bn_eps, clip_len, stem_t, pool1,
            in_channels: see `NetworkSettings`; the defaults are the paper's network as released.
        seed: draws the weights from this seed without touching the global generator; None draws
            them from the global generator.

    Raises:
        SettingsError: naming the argument and its allowed values.

    Example:
        >>> net = build_network("r2plus1d", 18, num_classes=51)
        >>> net(torch.zeros(1, 3, 8, 112, 112)).shape
        torch.Size([1, 51])
    """
    settings = NetworkSettings(
        name=name,
        depth=depth,
        num_classes=num_classes,
        width=width,
        midplane_rule=midplane_rule,
        stem_midplanes=stem_midplanes,
        bn_eps=bn_eps,
        clip_len=clip_len,
        stem_t=stem_t,
        pool1=pool1,
        in_channels=in_channels,
    )
    if seed is None:
        return VideoResNet(settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return VideoResNet(settings)


def list_networks() -> list[str]:
    """Return every network by name and depth, such as "r2plus1d_34": what `hubconf.py` offers."""
    return [f"{name}_{depth}" for name in NETWORK_NAMES for depth in BLOCKS]
