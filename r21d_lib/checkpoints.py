"""Weight files with all that is needed to use them: safetensors in and out, heads replaced.

A checkpoint holds the weights and, in its metadata, a `Card`: the network's settings, the class
names, how a clip must be cut and normalised, how it was trained and how accurate it was.
"""

import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from r21d_lib.clips import ClipSettings
from r21d_lib.errors import CheckpointError
from r21d_lib.files import sha256, whole_file
from r21d_lib.networks import NetworkSettings, VideoResNet

logger = logging.getLogger(__name__)

METADATA_KEY = "r21d"
SHIPPED = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class Card:
    """What a checkpoint says of itself.

    Attributes:
        network: the settings that build the network.
        clips: how clips are cut, resized, cropped and normalised for it.
        classes: class names; the position is the label.
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


@dataclass(frozen=True)
class LoadReport:
    """What `load` did: nothing of it happens silently.

    Attributes:
        source: the file that was read.
        card: what the file says of itself.
        loaded: how many tensors were taken over.
        head: "kept", or "replaced" where the target's classes are others.
    """

    source: Path
    card: Card
    loaded: int
    head: str

    def __str__(self) -> str:
        classes = f"{len(self.card.classes)} classes"
        head = (
            f"head for its {classes} kept"
            if self.head == "kept"
            else f"head for its {classes} replaced by a new one, randomly initialised"
        )
        return f"{self.source.name}: {self.loaded} tensors loaded, {head}"


def shipped() -> list[str]:
    """Return the names of the checkpoints that come with the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.safetensors"))


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


def read_card(path_or_name: str | Path) -> Card:
    """Return the card of a checkpoint without reading its weights.

    Raises:
        CheckpointError: if the file is missing, damaged or not one of this project's.
    """
    path = _locate(path_or_name)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except safetensors.SafetensorError as error:
        raise CheckpointError(
            f"{path} is not a whole safetensors file ({error}): copy or train it again"
        ) from error
    try:
        return Card.from_json(metadata[METADATA_KEY])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} carries no card of this project: load a checkpoint that r21d wrote"
        ) from error


def load(
    path_or_name: str | Path,
    *,
    classes: tuple[str, ...] | None = None,
    replace_head: bool = False,
    seed: int = 0,
) -> tuple[VideoResNet, LoadReport]:
    """Build the network that a checkpoint describes and load its weights.

    Args:
        path_or_name: a file, or the name of a shipped checkpoint (see `shipped`).
        classes: the classes that the network is wanted for; None takes the checkpoint's own. The
            head is kept only if they are the same names in the same order.
        replace_head: allows a new head, randomly initialised, where the classes differ.
        seed: draws the new head.

    Returns:
        The network on the CPU in evaluation mode, and a report of what was done.

    Raises:
        CheckpointError: if the file is missing, damaged, altered or made for other classes.
    """
    path = _locate(path_or_name)
    card = read_card(path)
    _check_shipped_sum(path)
    network = VideoResNet(card.network)
    network.load_state_dict(safetensors.torch.load_file(path), strict=True)
    head = "kept"
    if classes is not None and tuple(classes) != card.classes:
        if not replace_head:
            raise CheckpointError(
                f"{path} knows the {len(card.classes)} classes {_few(card.classes)}, not the "
                f"{len(classes)} classes {_few(tuple(classes))}: finetune it on them first"
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network.replace_head(len(classes))
        head = "replaced"
    loaded = len(network.state_dict()) - (2 if head == "replaced" else 0)
    report = LoadReport(path, card, loaded, head)
    logger.info("%s", report)
    return network.eval(), report


def _locate(path_or_name: str | Path) -> Path:
    """Return the file of a path or of a shipped name."""
    path = Path(path_or_name)
    named = SHIPPED / f"{path_or_name}.safetensors"
    if str(path_or_name) in shipped():
        return named
    if not path.is_file():
        raise CheckpointError(
            f"no checkpoint {path_or_name}: give a .safetensors file that r21d wrote, "
            f"or a shipped name ({', '.join(shipped()) or 'none is installed'})"
        )
    return path


def _check_shipped_sum(path: Path) -> None:
    """Compare a shipped file with the SHA-256 beside it; a damaged clone must not give results."""
    beside = path.with_suffix(".json")
    if path.parent != SHIPPED or not beside.is_file():
        return
    expected = json.loads(beside.read_text())["sha256"]
    if sha256(path) != expected:
        raise CheckpointError(
            f"{path} does not have the SHA-256 that {beside.name} states: restore it from git"
        )


def _few(names: tuple[str, ...], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
