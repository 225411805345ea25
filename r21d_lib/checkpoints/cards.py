"""This project's own weight files: safetensors whose metadata holds a card.

The card says all that is needed to use the weights: the network's settings, the class names, how a clip
must be cut and normalised, how it was trained and how accurate it was.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from r21d_lib.data.clips import ClipSettings
from r21d_lib.errors import CheckpointError
from r21d_lib.files import whole_file
from r21d_lib.models.networks import NetworkSettings, VideoResNet

METADATA_KEY = "r21d"


@dataclass(frozen=True)
class Card:
    """What a checkpoint says of itself.

    Attributes:
        network: the settings that build the network.
        clips: how clips are cut, resized, cropped and normalised for it.
        classes: class names; the position is the label. See `unnamed` for files that name none.
        training: the recipe and the data it was trained on, as plain values.
        accuracy: measured accuracies by name, as fractions of 1.
    """

    network: NetworkSettings
    clips: ClipSettings
    classes: tuple[str, ...]
    training: dict[str, Any] = field(default_factory=dict)
    accuracy: dict[str, float] = field(default_factory=dict)

    def to_json(self, **more: Any) -> str:
        """Return the card as indented JSON, with `more` entries added."""
        return json.dumps({**asdict(self), **more}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Card":
        """Read what `to_json` wrote; entries it does not know are ignored.

        Raises:
            KeyError, TypeError, ValueError: if the text is something else.
        """
        raw = json.loads(text)
        return cls(
            network=NetworkSettings(**raw["network"]),
            clips=ClipSettings.from_dict(raw["clips"]),
            classes=tuple(raw["classes"]),
            training=raw["training"],
            accuracy=raw["accuracy"],
        )


def unnamed(num_classes: int) -> tuple[str, ...]:
    """Return stand-ins for the class names that a file does not tell; they equal no real names."""
    return tuple(f"class {number}" for number in range(num_classes))


def save(path: str | Path, network: VideoResNet, card: Card) -> None:
    """Write weights and card to a safetensors file, whole or not at all.

    Raises:
        CheckpointError: if the card does not describe this network.
    """
    if card.network != network.settings or len(card.classes) != network.settings.num_classes:
        raise CheckpointError(
            f"{path} is not written: its card describes another network "
            f"({len(card.classes)} classes) than the one given ({network.settings})"
        )
    tensors = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    with whole_file(path) as partial:
        safetensors.torch.save_file(tensors, partial, metadata={METADATA_KEY: card.to_json()})


def read_own_card(path: Path) -> Card | None:
    """Return the card of a safetensors file without reading its weights; None where it has none.

    Raises:
        CheckpointError: if the file is damaged or its card makes no sense.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is not a whole safetensors file ({error}): copy or train it again"
        ) from error
    if METADATA_KEY not in metadata:
        return None
    try:
        return Card.from_json(metadata[METADATA_KEY])
    except Exception as error:  # settings, types, keys and JSON can be wrong in as many ways
        raise CheckpointError(
            f"{path} has a card that makes no sense ({error}): write it again"
        ) from error


def read_own_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file."""
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a whole safetensors file ({error})") from error
