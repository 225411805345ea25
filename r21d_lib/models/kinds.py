"""The names of the paper's twelve networks, the convolutions in their groups, and the rule for M.

Plain names and numbers: what reads settings or draws results imports this without torch.
"""

from typing import Literal

MidplaneRule = Literal["conv", "block"]
MIDPLANE_RULES: tuple[MidplaneRule, ...] = ("conv", "block")

ConvKind = Literal[
    "2d", "3d", "2+1d", "2+1d linear", "2+1d no norm", "1+2d", "2+1d half", "2+1d double", "3d 1x1x1"
]


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


def midplanes(in_planes: int, out_planes: int, *, t: int = 3, d: int = 3) -> int:
    """Width M of the spatial convolution that gives a (2+1)D block the parameters of a 3D one.

    Args:
        in_planes: input channels, N_(i-1) in the paper.
        out_planes: output channels, N_i.
        t: extent of the kernel in time [frames].
        d: extent of the kernel in space [pixels].

    Returns:
        floor(t d^2 N_(i-1) N_i / (d^2 N_(i-1) + t N_i)), at least 1.

    Raises:
        ValueError: if an argument is smaller than 1.

    Example: midplanes(64, 64) is 144.
    Source: paper, section 3.5.
    """
    if min(in_planes, out_planes, t, d) < 1:
        raise ValueError(f"midplanes needs positive sizes, got {in_planes=}, {out_planes=}, {t=}, {d=}")
    return max(1, (t * d * d * in_planes * out_planes) // (d * d * in_planes + t * out_planes))
