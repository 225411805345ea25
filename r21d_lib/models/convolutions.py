"""The three clip convolutions of the paper, 2D, 3D and (2+1)D, and changed ones to compare with.

Axes: N clips, C channels, T frames, H and W pixels; kernels t x d x d, strides (time, height,
width). Every convolution here is bias-free, because a batch normalisation follows it.
"""

from torch import nn

from r21d_lib.models.kinds import ConvKind, midplanes

__all__ = ["Conv2Plus1d", "Conv2d", "Conv3d", "Stride", "convolution", "midplanes"]

Stride = tuple[int, int, int]


class Conv2d(nn.Conv3d):
    """A d x d convolution on every frame by itself: kernel 1 x d x d, the frames do not mix.

    Input (N, in_planes, T, H, W), output (N, out_planes, T, H / stride, W / stride).
    Source: paper, section 3.1 (f-R2D) and the 2D groups of MCx and rMCx (section 3.4).
    """

    def __init__(
        self, in_planes: int, out_planes: int, *, d: int = 3, stride: Stride = (1, 1, 1)
    ) -> None:
        # A 2D convolution cannot stride in time: what the stage asks for there is dropped.
        super().__init__(
            in_planes,
            out_planes,
            kernel_size=(1, d, d),
            stride=(1, *stride[1:]),
            padding=(0, d // 2, d // 2),
            bias=False,
        )


class Conv3d(nn.Conv3d):
    """A full t x d x d convolution over time and space.

    Input (N, in_planes, T, H, W), output (N, out_planes, T / stride, H / stride, W / stride).
    Source: paper, section 3.3 (R3D).
    """

    def __init__(
        self,
        in_planes: int,
        out_planes: int,
        *,
        t: int = 3,
        d: int = 3,
        stride: Stride = (1, 1, 1),
    ) -> None:
        super().__init__(
            in_planes,
            out_planes,
            kernel_size=(t, d, d),
            stride=stride,
            padding=(t // 2, d // 2, d // 2),
            bias=False,
        )


class Conv2Plus1d(nn.Sequential):
    """A 3D convolution in two steps: 1 x d x d in space, batch norm, ReLU, then t x 1 x 1 in time.

    The stride is split as well: the spatial step takes the one in space, the temporal step the one
    in time. The ReLU between them doubles the number of non-linearities of a 3D convolution.

    Input (N, in_planes, T, H, W), output (N, out_planes, T / stride, H / stride, W / stride).
    The entries 0, 1 and 3 (spatial, norm, temporal) are the names that published weights use.
    Source: paper, section 3.5, figure 2.

    Args:
        in_planes: input channels.
        out_planes: output channels.
        mid_planes: channels between the two steps; None takes the paper's rule, `midplanes`.
        t: extent of the kernel in time [frames].
        d: extent of the kernel in space [pixels].
        stride: (time, height, width).
        bn_eps: epsilon of the batch norm between the two steps.
    """

    def __init__(
        self,
        in_planes: int,
        out_planes: int,
        *,
        mid_planes: int | None = None,
        t: int = 3,
        d: int = 3,
        stride: Stride = (1, 1, 1),
        bn_eps: float = 1e-3,
    ) -> None:
        mid = midplanes(in_planes, out_planes, t=t, d=d) if mid_planes is None else mid_planes
        super().__init__(
            Conv2d(in_planes, mid, d=d, stride=stride),
            nn.BatchNorm3d(mid, eps=bn_eps),
            nn.ReLU(inplace=True),
            nn.Conv3d(
                mid,
                out_planes,
                kernel_size=(t, 1, 1),
                stride=(stride[0], 1, 1),
                padding=(t // 2, 0, 0),
                bias=False,
            ),
        )


def convolution(
    kind: ConvKind,
    in_planes: int,
    out_planes: int,
    *,
    t: int = 3,
    d: int = 3,
    stride: Stride = (1, 1, 1),
    mid_planes: int | None = None,
    bn_eps: float = 1e-3,
) -> nn.Module:
    """Build a convolution of any kind, (N, in_planes, T, H, W) to (N, out_planes, T', H', W').

    Args:
        kind: "2d", "3d" and "2+1d" are the paper's; the others are those of
            `ablations.ABLATIONS`.
        in_planes, out_planes, t, d, stride, mid_planes, bn_eps: see `Conv2Plus1d`.
    """
    if kind == "2d":
        return Conv2d(in_planes, out_planes, d=d, stride=stride)
    if kind == "3d":
        return Conv3d(in_planes, out_planes, t=t, d=d, stride=stride)
    if kind == "1+2d":
        return _time_first(in_planes, out_planes, t, d, stride, bn_eps)
    if kind == "3d 1x1x1":
        # a planes in the middle: t d^2 in a + a out weights, as many as one 3D convolution has
        each = t * d * d * in_planes
        a = max(1, each * out_planes // (each + out_planes))
        return nn.Sequential(
            Conv3d(in_planes, a, t=t, d=d, stride=stride),
            nn.BatchNorm3d(a, eps=bn_eps),
            nn.ReLU(inplace=True),
            nn.Conv3d(a, out_planes, kernel_size=1, bias=False),
        )
    mid = midplanes(in_planes, out_planes, t=t, d=d) if mid_planes is None else mid_planes
    times = {"2+1d half": 0.5, "2+1d double": 2.0}.get(kind, 1.0)
    pair = Conv2Plus1d(
        in_planes,
        out_planes,
        mid_planes=max(1, int(times * mid)),
        t=t,
        d=d,
        stride=stride,
        bn_eps=bn_eps,
    )
    if kind == "2+1d linear":
        pair[2] = nn.Identity()
    if kind == "2+1d no norm":
        pair[1] = nn.Identity()
    return pair


def _time_first(
    in_planes: int, out_planes: int, t: int, d: int, stride: Stride, bn_eps: float
) -> nn.Sequential:
    """Build t x 1 x 1, norm, ReLU, 1 x d x d, with as many weights as one 3D convolution."""
    mid = max(1, t * d * d * in_planes * out_planes // (t * in_planes + d * d * out_planes))
    return nn.Sequential(
        nn.Conv3d(
            in_planes, mid, (t, 1, 1), stride=(stride[0], 1, 1), padding=(t // 2, 0, 0), bias=False
        ),
        nn.BatchNorm3d(mid, eps=bn_eps),
        nn.ReLU(inplace=True),
        Conv2d(mid, out_planes, d=d, stride=stride),
    )
