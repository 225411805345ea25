"""Which network a set of tensors belongs to, and why it does not fit another one."""

import re
from dataclasses import asdict, replace

import torch
from torch import Tensor

from r21d_lib.checkpoints.formats.named import NamedWeights
from r21d_lib.errors import CheckpointError, SettingsError
from r21d_lib.models.kinds import GROUPS, ConvKind, MidplaneRule, midplanes
from r21d_lib.models.networks import VideoResNet
from r21d_lib.models.settings import BLOCKS, BOTTLENECK_DEPTHS, NetworkSettings, Pool

_BATCH_COUNT = "num_batches_tracked"  # of torch's norms; Caffe2 has none, and nothing reads it


def infer_settings(weights: NamedWeights, *, pool1: Pool) -> NetworkSettings:
    """Read a network's settings off its tensors' names and shapes, which do not tell its bn_eps.

    Args:
        weights: under this project's names.
        pool1: the pooling after conv1, which no tensor tells.

    Raises:
        CheckpointError: if they are the tensors of no network that is built here.
    """
    tensors = weights.tensors
    _shape(weights, "stem.0.weight")  # what has no conv1 is something else altogether
    blocks = tuple(_count_blocks(tensors, group) for group in range(1, 5))
    bottleneck = "layer1.0.conv3.0.weight" in tensors
    depths = [d for d, n in BLOCKS.items() if n == blocks and (d in BOTTLENECK_DEPTHS) == bottleneck]
    if not depths:
        kind = "bottlenecks" if bottleneck else "blocks"
        raise CheckpointError(
            f"its groups have {', '.join(map(str, blocks))} {kind}, as no network of "
            f"{', '.join(map(str, BLOCKS))} layers has"
        )
    factorized_stem = "stem.3.weight" in tensors
    stem = _shape(weights, "stem.3.weight" if factorized_stem else "stem.0.weight")
    inner = 2 if bottleneck else 1
    kinds: list[ConvKind] = ["2+1d" if factorized_stem else "2d" if stem[2] == 1 else "3d"]
    for group in range(1, 5):
        conv = f"layer{group}.0.conv{inner}.0"
        if f"{conv}.0.weight" in tensors:
            kinds.append("2+1d")
            continue
        shape = _shape(weights, f"{conv}.weight")
        if shape[1] == 1 < shape[0]:
            raise CheckpointError(
                f"{weights.called(f'{conv}.weight')} is a depthwise convolution: channel-separated "
                "networks (CSN) are not built here"
            )
        kinds.append("2d" if shape[2] == 1 else "3d")
    name = _name(tuple(kinds), stem[2])
    width, clip_len, stem_mid = stem[0], None, None
    if name == "r2d":
        clip_len = stem[2]
    if factorized_stem:
        stem_mid = _shape(weights, "stem.0.weight")[0]
    settings = NetworkSettings(
        name=name,
        depth=depths[0],
        num_classes=_shape(weights, "fc.weight")[0],
        width=width,
        midplane_rule=_midplane_rule(weights) if name == "r2plus1d" else "conv",
        clip_len=clip_len,
        stem_t=3 if name in ("r2d", "fr2d") or kinds[0] == "2d" else stem[2],
        pool1=pool1,
        in_channels=_shape(weights, "stem.0.weight")[1],
    )
    # The released value stays unspoken, so that such settings equal those of `build_network`.
    usual = settings.resolved_stem_midplanes
    return settings if stem_mid in (None, usual) else replace(settings, stem_midplanes=stem_mid)


def with_a_head(weights: NamedWeights) -> NamedWeights:
    """Give a backbone, saved without its last layer, one of a single class, to be replaced."""
    norms = [name for name in weights.tensors if re.fullmatch(r"layer4\.0\.conv\d\.1\.weight", name)]
    if not norms or any(name.startswith("fc.") for name in weights.tensors):
        return weights
    features = weights.tensors[max(norms)].numel()
    head = {"fc.weight": torch.zeros(1, features), "fc.bias": torch.zeros(1)}
    return replace(weights, tensors={**weights.tensors, **head}, headless=True)


def build_filled(weights: NamedWeights, settings: NetworkSettings) -> tuple[VideoResNet, list[str]]:
    """Return a network with its tensors, checked one by one, and the names of those that it may lack.

    Nothing is allocated before every shape is known to fit: a file's word is not enough.

    Raises:
        CheckpointError: naming the tensor, what came and what was expected, and a network that fits.
    """
    try:
        with torch.device("meta"):
            network = VideoResNet(settings)
    except (RuntimeError, OverflowError, TypeError) as error:
        raise CheckpointError(f"no network can be built as described: {settings}") from error
    expected = network.state_dict()
    taken: dict[str, Tensor] = {}
    missing = []
    for name, model in expected.items():
        tensor = weights.tensors.get(name)
        if tensor is None:
            if not name.endswith(_BATCH_COUNT):
                raise CheckpointError(
                    f"{weights.called(name)} is missing, of shape {tuple(model.shape)}"
                    + _suggestion(weights, settings)
                )
            missing.append(name)
            tensor = torch.zeros((), dtype=torch.long)
        if tensor.shape != model.shape:
            raise CheckpointError(
                f"{weights.called(name)} has shape {tuple(tensor.shape)}, and "
                f"{_describe(settings)} expects {tuple(model.shape)}" + _suggestion(weights, settings)
            )
        if model.is_floating_point() != tensor.is_floating_point():
            raise CheckpointError(
                f"{weights.called(name)} holds {tensor.dtype}, not {model.dtype}: quantised or complex "
                "weights are another network"
            )
        # A copy of its own: tensors of a file may overlap in memory, and must not be trained as one.
        taken[name] = tensor.detach().to(model.dtype, copy=True).contiguous()
        # After the cast: what float64 holds may be infinite in float32.
        if model.is_floating_point() and not bool(torch.isfinite(taken[name]).all()):
            raise CheckpointError(f"{weights.called(name)} holds values that are not finite in float32")
        if name.endswith("running_var") and bool((taken[name] < 0).any()):
            raise CheckpointError(f"{weights.called(name)} holds a variance below 0")
    unknown = [name for name in weights.tensors if name not in expected]
    if unknown:
        raise CheckpointError(
            f"{weights.called(unknown[0])} has no place in {_describe(settings)}"
            + _suggestion(weights, settings)
        )
    network.load_state_dict(taken, assign=True)
    return network, missing


def _count_blocks(tensors: dict[str, Tensor], group: int) -> int:
    numbers = {
        int(match[1]) for name in tensors if (match := re.match(rf"layer{group}\.(\d{{1,4}})\.", name))
    }
    return len(numbers)


def _shape(weights: NamedWeights, name: str) -> tuple[int, ...]:
    """Return the shape of a weight that every network has; five numbers, two for the last layer."""
    if name not in weights.tensors:
        raise CheckpointError(f"{weights.called(name)} is missing: this is no network of the paper")
    shape = tuple(weights.tensors[name].shape)
    if len(shape) != (2 if name.startswith("fc") else 5) or 0 in shape:
        raise CheckpointError(f"{weights.called(name)} has shape {shape}: it is no such weight")
    return shape


def _name(kinds: tuple[ConvKind, ...], stem_frames: int) -> str:
    """Return the network whose groups have these convolutions."""
    if kinds[1:] == ("2d",) * 4 and stem_frames not in (1, 3):
        return "r2d"  # its conv1 spans the whole clip; one of three frames is taken for MC2
    names = [name for name, groups in GROUPS.items() if groups == kinds and name != "r2d"]
    if not names:
        raise CheckpointError(
            f"its five groups have {', '.join(kinds)} convolutions: this is no network of the paper"
        )
    return names[0]


def _midplane_rule(weights: NamedWeights) -> MidplaneRule:
    """Tell which rule gave the factorized convolutions of the blocks their middle widths."""
    found = {
        match[0].removesuffix(".0.0.weight"): _shape(weights, match[0])
        for name in weights.tensors
        if (match := re.fullmatch(r"layer\d\.\d+\.conv\d\.0\.0\.weight", name))
    }
    by_conv, by_block = True, True
    for conv, (mid, in_planes, *_) in found.items():
        block = conv.rsplit(".conv", 1)[0]
        out_planes = _shape(weights, f"{conv}.0.3.weight")[0]
        first = found.get(f"{block}.conv1", (0, in_planes))[1]
        if f"{block}.conv1.0.weight" in weights.tensors:  # a bottleneck's first convolution
            first = _shape(weights, f"{block}.conv1.0.weight")[1]
        by_conv &= mid == midplanes(in_planes, out_planes)
        by_block &= mid == midplanes(first, out_planes)
        if not by_conv and not by_block:
            raise CheckpointError(
                f"{weights.called(f'{conv}.0.0.weight')} has {mid} midplanes, where {in_planes} to "
                f"{out_planes} channels give {midplanes(in_planes, out_planes)} by the paper's rule "
                f"and {midplanes(first, out_planes)} by torchvision's"
            )
    return "conv" if by_conv else "block"


def _describe(settings: NetworkSettings) -> str:
    return f"{settings.name}_{settings.depth} ({settings.num_classes} classes)"


def _suggestion(weights: NamedWeights, settings: NetworkSettings) -> str:
    """Name the network that the file would fit, where there is one."""
    try:
        fitting = infer_settings(weights, pool1=settings.pool1)
    except (CheckpointError, SettingsError) as error:
        return f"; {error}"
    fitting = replace(fitting, bn_eps=settings.bn_eps)
    usual = asdict(NetworkSettings("r3d"))
    arguments = ", ".join(
        f"{key}={value!r}"
        for key, value in asdict(fitting).items()
        if key not in ("name", "depth")
        and (key in ("num_classes", "midplane_rule") or value != usual[key])
    )
    return f"; the file fits build_network({fitting.name!r}, {fitting.depth}, {arguments})"
