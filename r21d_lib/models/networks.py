"""The residual networks of the paper's Table 2: R2D, f-R2D, R3D, MC2..5, rMC2..5 and R(2+1)D.

All share one skeleton (Table 1): conv1, four groups of residual blocks, a global average over time
and space, one linear layer. They differ only in the kind of convolution in each of the five groups.
The names of the parameters are torchvision's, so that published weights load as they are.
"""

from dataclasses import asdict

import torch
from torch import Tensor, nn

from r21d_lib.models.blocks import Bottleneck, ResidualBlock
from r21d_lib.models.convolutions import Stride, convolution
from r21d_lib.models.kinds import GROUPS, NETWORK_NAMES, PAPER_NAMES, MidplaneRule
from r21d_lib.models.settings import ALL_GROUPS, BLOCKS, LABELS, NetworkSettings, Pool

# The names and settings of networks need no torch and live in modules of their own; a reader who builds
# networks finds them here too.
__all__ = [
    "BLOCKS",
    "GROUPS",
    "LABELS",
    "NETWORK_NAMES",
    "PAPER_NAMES",
    "NetworkSettings",
    "VideoResNet",
    "build_network",
    "list_networks",
]


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
