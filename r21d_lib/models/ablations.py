"""Changes to R3D and R(2+1)D that tell the reasons for factorizing apart, for "Why factorize?".

The paper names two advantages of a (2+1)D block over a 3D one (section 3.5): twice as many ReLUs at the
same number of weights, and an easier optimisation. Each network here takes one thing away from
R(2+1)D, or gives one to R3D, at weights that match as nearly as whole channels allow.
"""

from dataclasses import dataclass

from r21d_lib.models.kinds import ConvKind


@dataclass(frozen=True)
class Ablation:
    """One changed network.

    Attributes:
        label: as tables and figures name it.
        groups: the convolution of conv1, conv2_x, ..., conv5_x.
        base: the network that it is a change of.
        asks: what the comparison with `base` would tell.
    """

    label: str
    groups: tuple[ConvKind, ...]
    base: str
    asks: str


def _all(kind: ConvKind) -> tuple[ConvKind, ...]:
    return (kind,) * 5


ABLATIONS: dict[str, Ablation] = {
    "r3d_factorized_stem": Ablation(
        "R3D, (2+1)D stem",
        ("2+1d", *_all("3d")[1:]),
        "r3d",
        "whether factorizing the first layer alone is enough",
    ),
    "r2plus1d_3d_stem": Ablation(
        "R(2+1)D, 3D stem",
        ("3d", *_all("2+1d")[1:]),
        "r2plus1d",
        "whether it is needed in the first layer",
    ),
    "r2plus1d_linear": Ablation(
        "R(2+1)D, no middle ReLU",
        _all("2+1d linear"),
        "r2plus1d",
        "what the additional ReLUs give: without them a pair is a 3D kernel of lower rank",
    ),
    "r2plus1d_no_norm": Ablation(
        "R(2+1)D, no middle norm",
        _all("2+1d no norm"),
        "r2plus1d",
        "what the additional norms give to the optimisation",
    ),
    "r2plus1d_time_first": Ablation(
        "R(2+1)D, time first", _all("1+2d"), "r2plus1d", "whether the order of the two steps matters"
    ),
    "r3d_more_relus": Ablation(
        "R3D, more ReLUs",
        _all("3d 1x1x1"),
        "r3d",
        "whether as many ReLUs help where nothing is split into space and time",
    ),
    "r2plus1d_half_m": Ablation(
        "R(2+1)D, half M", _all("2+1d half"), "r2plus1d", "what half of the midplanes and weights cost"
    ),
    "r2plus1d_double_m": Ablation(
        "R(2+1)D, double M", _all("2+1d double"), "r2plus1d", "what twice as many give"
    ),
}
