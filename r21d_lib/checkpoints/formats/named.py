"""Names of weights: Caffe2's blobs and kenshohara's modules in this project's (torchvision's) grammar.

The tables of VMZ's blobs: `comp_{i}` counts the residual blocks of all groups, `_middle` is the spatial
half of a (2+1)D convolution, `_s _b _rm _riv` are scale, shift, running mean and running variance.
"""

import re
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from r21d_lib.errors import CheckpointError, few

# What Caffe2's training leaves beside the weights.
_TRAINING_BLOBS = re.compile(
    r".*(_momentum|_sm|_siv|_grad)|(.*_)?(ITER|LR|iter|lr|optimizer_iteration|label|data|softmax|loss)"
)
_NORM_PARTS = {"s": "weight", "b": "bias", "rm": "running_mean", "riv": "running_var"}
_BLOB = re.compile(
    r"(?P<stem>conv1)(?P<stem_middle>_middle)?_(?P<stem_part>w|spatbn_relu_(?:s|b|rm|riv))"
    r"|comp_(?P<block>\d{1,4})_(?P<kind>conv|spatbn)_(?P<conv>\d)(?P<middle>_middle)?_(?P<part>w|s|b|rm|riv)"
    r"|shortcut_projection_(?P<short>\d{1,4})_(?P<short_part>w|spatbn_(?:s|b|rm|riv))"
    r"|last_out_L(?P<classes>\d+)_(?P<head_part>w|b)"
)
_BLOB_PARTS = {ours: theirs for theirs, ours in _NORM_PARTS.items()}
_BLOCK = re.compile(r"layer(\d)\.(\d{1,4})\.")
_KENSHOHARA = re.compile(
    r"(?P<block>layer\d\.\d+\.)?(?P<kind>conv|bn)(?P<conv>\d)(?P<half>_s|_t)?\.(?P<rest>\w+)"
)
_IN_A_GROUP = re.compile(r"((?:.*\.)?)layer[1-4]\.\d+\.")
_IN_A_SEQUENCE = re.compile(r"fc\.\d+\.(weight|bias)")  # a last layer behind a dropout


@dataclass(frozen=True)
class NamedWeights:
    """Tensors under this project's names.

    Attributes:
        tensors: by this project's name.
        origin: this project's name -> the file's own, for messages.
        unexpected: what the file holds besides weights, left alone.
        grammar: "Caffe2", "torchvision" or "kenshohara".
        headless: whether the file lacks the last layer, so that the one here is empty.
    """

    tensors: dict[str, Tensor]
    origin: dict[str, str]
    unexpected: tuple[str, ...] = ()
    grammar: str = "torchvision"
    headless: bool = False

    def called(self, name: str) -> str:
        """Return a name as a message gives it: this project's and, where it differs, the file's."""
        own = self.origin.get(name, name)
        return name if own == name else f"{own} ({name})"


def from_caffe2(blobs: dict[str, np.ndarray]) -> NamedWeights:
    """Rename Caffe2's blobs.

    Raises:
        CheckpointError: at a blob that no residual network of the paper has.
    """
    starts = _group_starts(blobs)
    factorized_stem = "conv1_middle_w" in blobs
    tensors, origin, unexpected = {}, {}, []
    for blob, values in blobs.items():
        match = _BLOB.fullmatch(blob)
        if match is None:
            if _TRAINING_BLOBS.fullmatch(blob):
                unexpected.append(blob)
                continue
            raise CheckpointError(
                f"blob {blob} belongs to no residual network of the paper: C3D, CSN and audio networks "
                "are not built here"
            )
        name = _from_blob(match, blobs, starts, factorized_stem)
        tensors[name] = torch.from_numpy(values)
        origin[name] = blob
    return NamedWeights(tensors, origin, tuple(unexpected), "Caffe2")


def to_caffe2(state: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """Return a network's tensors as Caffe2 names them, float32: what VMZ's tools read.

    Args:
        state: the `state_dict` of one of this project's networks.
    """
    blocks = sorted({(int(m[1]), int(m[2])) for name in state if (m := _BLOCK.match(name))})
    number = {block: i for i, block in enumerate(blocks)}
    classes = len(state["fc.bias"])
    blobs = {}
    for name, tensor in state.items():
        *path, part = name.split(".")
        if part == "num_batches_tracked":
            continue
        # A convolution's weight has five axes; a norm's four values have one.
        suffix = "w" if tensor.ndim == 5 else _BLOB_PARTS[part]
        match path:
            case ["fc"]:
                blob = f"last_out_L{classes}_{'w' if part == 'weight' else 'b'}"
            case ["stem", place]:
                middle = "_middle" if place in "01" and "stem.3.weight" in state else ""
                blob = f"conv1{middle}_{suffix if suffix == 'w' else f'spatbn_relu_{suffix}'}"
            case [layer, block, "downsample", _]:
                i = number[int(layer[-1]), int(block)]
                blob = f"shortcut_projection_{i}_{suffix if suffix == 'w' else f'spatbn_{suffix}'}"
            case [layer, block, conv, *places]:
                i = number[int(layer[-1]), int(block)]
                middle = "_middle" if places in (["0", "0"], ["0", "1"]) else ""
                kind = "conv" if suffix == "w" else "spatbn"
                blob = f"comp_{i}_{kind}_{conv[-1]}{middle}_{suffix}"
        blobs[blob] = tensor.detach().cpu().float().numpy()
    return blobs


def from_torch(state: dict[str, Tensor]) -> NamedWeights:
    """Rename a state dict of kenshohara's networks; torchvision's grammar is this project's own.

    What a wrapper wrote before every name ("module.", "_orig_mod.", "model.backbone.") is left off, and
    what stands outside of the wrapped network is left alone.

    Raises:
        CheckpointError: if the state holds two networks.
    """
    prefixes = {match[1] for name in state if (match := _IN_A_GROUP.match(name))}
    if len(prefixes) > 1:
        raise CheckpointError(
            f"it holds {len(prefixes)} networks, at {few(tuple(sorted(prefixes)))}: save one of them"
        )
    prefix = prefixes.pop() if prefixes else ""
    inside = {key.removeprefix(prefix): key for key in state if key.startswith(prefix)}
    beside = tuple(key for key in state if not key.startswith(prefix))
    kenshohara = "conv1.weight" in inside or "conv1_s.weight" in inside
    tensors, origin = {}, {}
    for inner, key in inside.items():
        match = _KENSHOHARA.fullmatch(inner) if kenshohara else None
        name = _from_kenshohara(match) if match else _IN_A_SEQUENCE.sub(r"fc.\1", inner)
        tensors[name], origin[name] = state[key], key
    return NamedWeights(tensors, origin, beside, "kenshohara" if kenshohara else "torchvision")


def _group_starts(blobs: dict[str, np.ndarray]) -> list[int]:
    """Return the number of the first block of conv2_x, ..., conv5_x, read off the projections."""
    projections = {
        int(match["short"]) for blob in blobs if (match := _BLOB.fullmatch(blob)) and match["short"]
    }
    starts = sorted(projections | {0})
    if len(starts) != 4:
        raise CheckpointError(
            f"the file has projections at blocks {sorted(projections)}, and a network of the paper has "
            "three, at the starts of conv3_x, conv4_x and conv5_x (bottlenecks: four)"
        )
    return starts


def _from_blob(
    match: re.Match[str], blobs: dict[str, np.ndarray], starts: list[int], factorized_stem: bool
) -> str:
    """Return this project's name of a blob."""
    if match["stem"]:
        place = 0 if match["stem_middle"] or not factorized_stem else 3
        return f"stem.{_weight_or_norm(match['stem_part'], place, place + 1)}"
    if match["classes"]:
        return "fc.weight" if match["head_part"] == "w" else "fc.bias"
    number = int(match["block"] or match["short"])
    group = max(g for g, start in enumerate(starts) if start <= number)
    block = f"layer{group + 1}.{number - starts[group]}"
    if match["short"]:
        return f"{block}.downsample.{_weight_or_norm(match['short_part'], 0, 1)}"
    conv = f"{block}.conv{match['conv']}"
    part = match["part"]
    if match["middle"]:
        return f"{conv}.0.{_weight_or_norm(part, 0, 1)}"
    if part != "w":
        return f"{conv}.1.{_NORM_PARTS[part]}"
    factorized = f"comp_{number}_conv_{match['conv']}_middle_w" in blobs
    # A bottleneck's outer convolutions and whatever is not factorized have one weight.
    return f"{conv}.0.3.weight" if factorized else f"{conv}.0.weight"


def _weight_or_norm(part: str, weight_place: int, norm_place: int) -> str:
    if part == "w":
        return f"{weight_place}.weight"
    return f"{norm_place}.{_NORM_PARTS[part.rsplit('_', 1)[-1]]}"


def _from_kenshohara(match: re.Match[str]) -> str:
    """Return this project's name of one of kenshohara's: conv1_s, bn1_s, conv1_t, bn1_t, conv1, bn1."""
    norm = match["kind"] == "bn"
    place = {"_s": 0, "_t": 3, None: 0}[match["half"]] + norm
    if not match["block"]:
        return f"stem.{place}.{match['rest']}"
    if match["half"] is None or (match["half"] == "_t" and norm):
        # The norm behind the temporal half stands outside of the factorized convolution.
        return f"{match['block']}conv{match['conv']}.{int(norm)}.{match['rest']}"
    return f"{match['block']}conv{match['conv']}.0.{place}.{match['rest']}"
