"""This project's own weight files: safetensors whose metadata holds a card.

The card says all that is needed to use the weights: the network's settings, the class names, how a clip
must be cut and normalised, how it was trained and how accurate it was.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.errors import CheckpointError, SettingsError, few
from r21d_lib.files import LONGEST_NAME, whole_file
from r21d_lib.models.networks import VideoResNet
from r21d_lib.models.settings import NetworkSettings

METADATA_KEY = "r21d"
_NO_NAME = f"a class name has no text, or more than {LONGEST_NAME} characters"
_SUM_KEY = "r21d_sha256"  # of card and tensors: a flipped bit would be another network, in silence


@dataclass(frozen=True)
class Card:
    """What a checkpoint says of itself.

    Attributes:
        network: the settings that build the network.
        clips: how clips are cut, resized, cropped and normalised for it, and whether they are RGB or
            optical flow: `clips.modality`.
        classes: class names; the position is the label. See `unnamed` for files that name none.
        training: the recipe and the data it was trained on, as plain values.
        accuracy: measured accuracies by name, as fractions of 1.
    """

    network: NetworkSettings
    clips: ClipSettings
    classes: tuple[str, ...]
    training: dict[str, Any] = field(default_factory=dict)
    accuracy: dict[str, float] = field(default_factory=dict)

    @property
    def world(self) -> str:
        """In words, what the network knows; "" where the card does not say what it was trained on."""
        data = str(self.training.get("data", ""))
        count = f"knows {len(self.classes)}"
        if data.startswith("ActionFigures"):
            return (
                f"{count} drawn actions: {', '.join(self.classes)}; a real video will be named wrongly"
            )
        known = f"{count} classes of {data}: {few(self.classes)}; all else is named as one of them"
        return known if data else ""

    def to_json(self, **more: Any) -> str:
        """Return the card as indented JSON, with `more` entries added."""
        values = {"network": self.network.to_dict(), "clips": self.clips.to_dict()}
        return json.dumps({**asdict(self), **values, **more}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Card":
        """Read what `to_json` wrote; entries it does not know are ignored.

        Raises:
            KeyError, TypeError, ValueError: if the text is something else.
        """
        raw = json.loads(text)
        classes = tuple(raw["classes"])
        if not all(map(_is_name, classes)):
            raise ValueError(_NO_NAME)
        return cls(
            network=NetworkSettings(**raw["network"]),
            clips=ClipSettings.from_dict(raw["clips"]),
            classes=classes,
            training=raw["training"],
            accuracy=raw["accuracy"],
        )

    def __post_init__(self) -> None:
        if self.network.in_channels != self.clips.channels:
            raise SettingsError(
                f"a network of {self.network.in_channels} channels does not take "
                f"{self.clips.modality}: give it in_channels={self.clips.channels}"
            )


def _is_name(name: object) -> bool:
    return isinstance(name, str) and 0 < len(name) <= LONGEST_NAME


def unnamed(num_classes: int) -> tuple[str, ...]:
    """Return stand-ins for the class names that a file does not tell; they equal no real names."""
    return tuple(f"class {number}" for number in range(num_classes))


def save(path: str | Path, network: VideoResNet, card: Card) -> None:
    """Write weights and card to a safetensors file, whole or not at all.

    Raises:
        CheckpointError: if the card does not describe this network, or names a class by nothing.
    """
    if card.network != network.settings or len(card.classes) != network.settings.num_classes:
        raise CheckpointError(
            f"{path} is not written: its card describes another network "
            f"({len(card.classes)} classes) than the one given ({network.settings})"
        )
    if not all(map(_is_name, card.classes)):  # no card with such a name could be read again
        raise CheckpointError(f"{path} is not written: {_NO_NAME}")
    tensors = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    text = card.to_json()
    metadata = {METADATA_KEY: text, _SUM_KEY: _sum(text, tensors)}
    with whole_file(path) as partial:
        safetensors.torch.save_file(tensors, partial, metadata=metadata)


def _sum(card: str, tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of a card and of every tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(card.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_own_card(path: Path) -> Card | None:
    """Return the card of a safetensors file without reading its weights; None where it has none.

    Raises:
        CheckpointError: if the file is damaged or its card makes no sense.
    """
    metadata = _metadata(path)
    if METADATA_KEY not in metadata:
        return None
    try:
        return Card.from_json(metadata[METADATA_KEY])
    except Exception as error:  # settings, types, keys and JSON can be wrong in as many ways
        raise CheckpointError(
            f"{path} has a card that makes no sense ({error}): write it again"
        ) from error


def read_own_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file.

    Raises:
        CheckpointError: if it is damaged: also if it states a sum, and card and tensors have another.
    """
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a whole safetensors file ({error})") from error
    metadata = _metadata(path)
    stated = metadata.get(_SUM_KEY)
    if stated is not None and stated != _sum(metadata.get(METADATA_KEY, ""), tensors):
        raise CheckpointError(
            f"{path} is damaged: its weights or its card are not those that were written; copy or "
            "train it again"
        )
    return tensors


def _metadata(path: Path) -> dict[str, str]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is not a whole safetensors file ({error}): copy or train it again"
        ) from error
