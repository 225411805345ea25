"""The residual blocks of the networks: of two convolutions as in the paper, and bottlenecks of three.

Their parts have torchvision's names, so that published weights load as they are. Axes: N clips, C
channels, T frames, H and W pixels.
"""

from torch import Tensor, nn

from r21d_lib.models.convolutions import Stride, convolution
from r21d_lib.models.kinds import ConvKind, MidplaneRule, midplanes


class ResidualBlock(nn.Module):
    """Two convolutions and a shortcut: conv, BN, ReLU, conv, BN, add, ReLU.

    Input (N, in_planes, T, H, W), output (N, out_planes, T / stride, H / stride, W / stride).
    The shortcut is the identity, or a strided 1x1x1 convolution and BN where the shape changes.
    Source: paper, section 3 and figure 1 ("vanilla" residual blocks without bottleneck).
    """

    expansion = 1

    def __init__(
        self,
        in_planes: int,
        out_planes: int,
        *,
        kind: ConvKind,
        stride: Stride,
        midplane_rule: MidplaneRule,
        bn_eps: float,
    ) -> None:
        super().__init__()
        shared_mid = midplanes(in_planes, out_planes) if midplane_rule == "block" else None
        # Temporal striding exists only where the strided convolution itself spans time.
        stride = (1, *stride[1:]) if kind == "2d" else stride
        self.conv1 = nn.Sequential(
            convolution(
                kind, in_planes, out_planes, stride=stride, mid_planes=shared_mid, bn_eps=bn_eps
            ),
            nn.BatchNorm3d(out_planes, eps=bn_eps),
            nn.ReLU(inplace=True),
        )
        self.conv2 = nn.Sequential(
            convolution(
                kind, out_planes, out_planes, stride=(1, 1, 1), mid_planes=shared_mid, bn_eps=bn_eps
            ),
            nn.BatchNorm3d(out_planes, eps=bn_eps),
        )
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _projection(in_planes, out_planes, stride, bn_eps)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output, shape as in the class docstring."""
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(self.conv2(self.conv1(x)) + shortcut)


class Bottleneck(nn.Module):
    """Three convolutions and a shortcut: 1x1x1 to `planes`, one over space and time, 1x1x1 to 4 planes.

    Input (N, in_planes, T, H, W), output (N, 4 planes, T / stride, H / stride, W / stride). The stride
    is the middle convolution's. Source: VMZ's networks with 50 layers and more; the paper has none.
    """

    expansion = 4  # the output is this much wider than the inside

    def __init__(
        self,
        in_planes: int,
        planes: int,
        *,
        kind: ConvKind,
        stride: Stride,
        midplane_rule: MidplaneRule,
        bn_eps: float,
    ) -> None:
        super().__init__()
        out_planes = self.expansion * planes
        mid = midplanes(in_planes, planes) if midplane_rule == "block" else None
        stride = (1, *stride[1:]) if kind == "2d" else stride
        self.conv1 = nn.Sequential(
            nn.Conv3d(in_planes, planes, kernel_size=1, bias=False),
            nn.BatchNorm3d(planes, eps=bn_eps),
            nn.ReLU(inplace=True),
        )
        self.conv2 = nn.Sequential(
            convolution(kind, planes, planes, stride=stride, mid_planes=mid, bn_eps=bn_eps),
            nn.BatchNorm3d(planes, eps=bn_eps),
            nn.ReLU(inplace=True),
        )
        self.conv3 = nn.Sequential(
            nn.Conv3d(planes, out_planes, kernel_size=1, bias=False),
            nn.BatchNorm3d(out_planes, eps=bn_eps),
        )
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _projection(in_planes, out_planes, stride, bn_eps)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output, shape as in the class docstring."""
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(self.conv3(self.conv2(self.conv1(x))) + shortcut)


def _projection(in_planes: int, out_planes: int, stride: Stride, bn_eps: float) -> nn.Sequential | None:
    """Build a block's shortcut where the shape changes, None where it is the identity."""
    if stride == (1, 1, 1) and in_planes == out_planes:
        return None
    return nn.Sequential(
        nn.Conv3d(in_planes, out_planes, kernel_size=1, stride=stride, bias=False),
        nn.BatchNorm3d(out_planes, eps=bn_eps),
    )
