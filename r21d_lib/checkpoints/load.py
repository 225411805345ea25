"""One function for every weight file: recognise it, build its network, load it, say what was done."""

import difflib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from r21d_lib.checkpoints.assumed import usual_bn_eps, usual_clips, usual_pool
from r21d_lib.checkpoints.cards import Card, read_own_card, read_own_tensors, save, unnamed
from r21d_lib.checkpoints.formats.named import NamedWeights, from_caffe2, from_torch
from r21d_lib.checkpoints.formats.pickles import file_kind, read_caffe2, read_torch
from r21d_lib.checkpoints.infer_network import build_filled, infer_settings, with_a_head
from r21d_lib.checkpoints.on_hub import fetch_weights, is_on_hub
from r21d_lib.checkpoints.published import Published, by_file, fetch, published
from r21d_lib.errors import CheckpointError, SettingsError, few, printable
from r21d_lib.files import sha256
from r21d_lib.models.networks import VideoResNet
from r21d_lib.models.settings import NetworkSettings, Pool

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

SHIPPED = Path(__file__).parents[1] / "weights"
# As `training.run_folder` calls them.
_OF_A_RUN = ("last.safetensors", "best.safetensors")


@dataclass(frozen=True)
class LoadReport:
    """What `load` did: nothing of it happens silently.

    Attributes:
        source: the file that was read.
        grammar: how its weights were named: "r21d", "torchvision", "kenshohara" or "Caffe2".
        card: what the file says of itself, or what is known of it.
        loaded: names of the tensors that were taken over.
        replaced: names of those that were drawn anew, with the head.
        missing: names of those that the file lacks and that nothing depends on (batch counters).
        unexpected: names of what the file holds besides weights, such as momentum.
        assumed: what neither the file nor the caller tells, and was taken from the code that wrote such
            files: of bn_eps, pool1, mean and std. Empty where there is a card or a published entry.
    """

    source: Path
    grammar: str
    card: Card
    loaded: tuple[str, ...]
    replaced: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    assumed: dict[str, Any] = field(default_factory=dict)

    @property
    def head(self) -> str:
        """ "kept", or "replaced" where the target's classes are others."""
        return "replaced" if self.replaced else "kept"

    def __str__(self) -> str:
        classes = f"{len(self.card.classes)} classes"
        if self.head == "kept":
            head = f"head for its {classes} kept"
        else:
            what = f"head for its {classes} replaced by" if self.card.classes else "no head in it:"
            head = f"{what} a new one, randomly initialised"
        parts = [f"{self.source.name} ({self.grammar}): {len(self.loaded)} tensors loaded", head]
        if self.missing:
            parts.append(f"{len(self.missing)} batch counters missing and set to 0")
        if self.unexpected:
            parts.append(f"{len(self.unexpected)} other entries left alone ({few(self.unexpected)})")
        if self.assumed:
            told = [f"{name} {_in_short(value)}" for name, value in self.assumed.items()]
            parts.append(f"assumed {', '.join(told)}")
        return printable(", ".join(parts))


def _in_short(value: object) -> str:
    return " ".join(f"{v:.4g}" for v in value) if isinstance(value, tuple) else str(value)


def shipped() -> list[str]:
    """Return the names of the checkpoints that come with the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.safetensors"))


def table() -> "pd.DataFrame":
    """Return a row a weight file that `load` takes by name, shipped ones first, by its name.

    Columns: network, classes, frames, fps, video@1 (fraction), trained on and seen (as of a
    `Published`); None where not known.
    """
    import pandas as pd

    rows: list[tuple[object, ...]] = []
    for name in shipped():
        card = read_card(name)
        network = f"{card.network.name}_{card.network.depth}"
        clips = card.clips
        data = card.training.get("data")
        rows.append(
            (name, network, len(card.classes), clips.clip_len, clips.fps, None, data, "shipped")
        )
    for entry in published().values():
        columns = (entry.num_classes, entry.clip_len, entry.fps, entry.accuracy.get("video@1"))
        rows.append((entry.name, entry.network, *columns, entry.trained_on, entry.seen))
    names = ["name", "network", "classes", "frames", "fps", "video@1", "trained on", "seen"]
    whole = dict.fromkeys(("classes", "frames", "fps"), "Int64")
    return pd.DataFrame(rows, columns=names).astype({**whole, "video@1": float}).set_index("name")


def read_card(path_or_name: str | Path) -> Card:
    """Return the card of one of this project's checkpoints without reading its weights.

    Raises:
        CheckpointError: if the file is missing, damaged or not one of this project's.
    """
    path, _ = _locate(path_or_name)
    card = read_own_card(path) if file_kind(path) == "safetensors" else None
    if card is None:
        raise CheckpointError(
            f"{path} carries no card of this project: make one with `r21d convert {path.name} OUT`"
        )
    return card


def load(
    path_or_name: str | Path,
    *,
    network: NetworkSettings | None = None,
    classes: tuple[str, ...] | None = None,
    replace_head: bool = False,
    file_classes: tuple[str, ...] | None = None,
    bn_eps: float | None = None,
    pool1: Pool | None = None,
    seed: int = 0,
) -> tuple[VideoResNet, LoadReport]:
    """Build the network that a weight file belongs to and load its weights.

    Args:
        path_or_name: a file of this project, of torchvision, IG-65M, VMZ (.pth), kenshohara or Caffe2
            (.pkl), the name of a shipped checkpoint, a published name (see `r21d weights`), or
            hf://owner/repo[@revision][/file] on the Hugging Face Hub.
        network: what the network must be; None takes what the file holds. Its bn_eps and pool1 are
            taken where they are not given here.
        classes: the classes that the network is wanted for; None takes the file's own. The head is
            kept only if they are the same names in the same order.
        replace_head: allows a new head, randomly initialised, where the classes differ.
        file_classes: names of the file's classes, in order, as many as it has. They take the place of
            those that its card tells, if it has one.
        bn_eps: epsilon of the batch norms, which no foreign file tells; None takes the value of the
            code that wrote such files: 1e-5 for kenshohara and what torchvision can have written, 1e-3
            for Caffe2, VMZ, IG-65M and the rest. A card tells it, and no other is taken then.
        pool1: pooling after conv1, likewise; None is kenshohara's "space-time" or "none".
        seed: draws the new head.

    Returns:
        The network on the CPU in evaluation mode, and a report of what was done.

    Raises:
        CheckpointError: if the file is missing, damaged, hostile, or made for something else.
        HubError: if it cannot be had from the Hub.
    """
    path, entry = _locate(path_or_name)
    if network is not None:  # it tells what the file may not
        bn_eps = network.bn_eps if bn_eps is None else bn_eps
        pool1 = network.pool1 if pool1 is None else pool1
        network = replace(network, bn_eps=bn_eps, pool1=pool1)
    weights, card, assumed = _read(path, entry, file_classes, bn_eps, pool1)
    try:
        net, missing = build_filled(weights, network or card.network)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    replaced: tuple[str, ...] = ()
    if weights.headless and (classes is None or not replace_head):
        raise CheckpointError(
            f"{path} has no last layer: it is a backbone and names no action before it is finetuned "
            f"(`r21d train RECIPE checkpoint={path}`)"
        )
    if classes is not None and (weights.headless or tuple(classes) != card.classes):
        if not replace_head:
            unnamed_hint = (
                " (the file names none)" if card.classes == unnamed(len(card.classes)) else ""
            )
            raise CheckpointError(
                f"{path} knows the {len(card.classes)} classes {few(card.classes)}{unnamed_hint}, not "
                f"the {len(classes)} classes {few(tuple(classes))}: finetune it on them first"
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net.replace_head(len(classes))
        replaced = ("fc.weight", "fc.bias")
    drawn = {*missing, *replaced}
    loaded = tuple(name for name in net.state_dict() if name not in drawn)
    report = LoadReport(
        path, weights.grammar, card, loaded, replaced, tuple(missing), weights.unexpected, assumed
    )
    logger.info("%s", report)
    return net.eval(), report


def convert(
    source: str | Path, target: str | Path, *, file_classes: tuple[str, ...] | None = None
) -> LoadReport:
    """Write any weight file that `load` takes as one of this project's, with its card.

    Args:
        source: a file or a name.
        target: a .safetensors file.
        file_classes: names of the source's classes, in order, for the target's card; None keeps those
            that the source tells.

    Raises:
        CheckpointError: if the source does not load or has another number of classes, or the target is
            not named .safetensors.
    """
    if Path(target).suffix != ".safetensors":
        raise CheckpointError(
            f"{target} is not named .safetensors: this is the one format written here"
        )
    network, report = load(source, file_classes=file_classes)
    origin = {"converted from": report.source.name, "sha256": sha256(report.source)}
    save(target, network, replace(report.card, training={**report.card.training, **origin}))
    return report


def _read(
    path: Path,
    entry: Published | None,
    file_classes: tuple[str, ...] | None,
    bn_eps: float | None,
    pool1: Pool | None,
) -> tuple[NamedWeights, Card, dict[str, Any]]:
    """Return a file's tensors under this project's names, its card, and what of it is assumed."""
    kind = file_kind(path)
    if kind == "safetensors":
        card = read_own_card(path)
        _check_shipped_sum(path)
        tensors = read_own_tensors(path)
        if card is not None:
            if len(card.classes) != card.network.num_classes:
                raise CheckpointError(
                    f"{path} has a card that names {len(card.classes)} classes for a network of "
                    f"{card.network.num_classes}: write it again"
                )
            for name, wanted in (("bn_eps", bn_eps), ("pool1", pool1)):
                told = getattr(card.network, name)
                if wanted not in (None, told):
                    raise CheckpointError(
                        f"{path} has a card that tells {name} {told}, not {wanted}: give that, or none"
                    )
            if file_classes is not None:
                card = replace(card, classes=_checked(path, file_classes, len(card.classes)))
            return NamedWeights(tensors, {}, (), "r21d"), card, {}
    rename: Callable[[], NamedWeights]
    if kind == "caffe2":
        rename = partial(from_caffe2, read_caffe2(path))
    else:
        rename = partial(from_torch, tensors if kind == "safetensors" else read_torch(path))
    try:
        weights = with_a_head(rename())
        settings = infer_settings(weights, pool1=pool1 or usual_pool(weights.grammar))
        usual_eps = entry.bn_eps if entry else usual_bn_eps(weights.grammar, settings)
        settings = replace(settings, bn_eps=usual_eps if bn_eps is None else bn_eps)
    except (CheckpointError, SettingsError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    of_entry = entry and (entry.num_classes or settings.num_classes, entry.clips.channels)
    if of_entry and of_entry != (settings.num_classes, settings.in_channels):
        entry = None  # another file of that name, such as a finetuned one
    num_classes = 0 if weights.headless else settings.num_classes
    if file_classes is not None:
        names = _checked(path, file_classes, num_classes)
    else:
        names = ((entry and entry.class_names()) or unnamed(num_classes)) if num_classes else ()
    if entry:
        training: dict[str, Any] = {"data": entry.trained_on, "frames per second": entry.fps}
        return weights, Card(settings, entry.clips, names, training, dict(entry.accuracy)), {}
    clips = usual_clips(weights.grammar, settings)
    given = {"bn_eps": bn_eps, "pool1": pool1}
    assumed = {name: getattr(settings, name) for name, value in given.items() if value is None}
    return weights, Card(settings, clips, names), {**assumed, "mean": clips.mean, "std": clips.std}


def _checked(path: Path, names: tuple[str, ...], num_classes: int) -> tuple[str, ...]:
    """Return given names of a file's classes; refuse another number of them than it has classes."""
    if not num_classes:
        raise CheckpointError(f"{path} has no last layer, so no classes to name: leave their names out")
    if len(names) != num_classes:
        raise CheckpointError(
            f"{path} has {num_classes} classes, and {len(names)} names were given ({few(names)}): give "
            "the names of its own classes, in its order"
        )
    return tuple(names)


def _locate(path_or_name: str | Path) -> tuple[Path, Published | None]:
    """Return the file of a path, a shipped or published name or a place on the Hub, and its entry."""
    name, path = str(path_or_name), Path(path_or_name).expanduser()
    if name in shipped():
        return SHIPPED / f"{name}.safetensors", None
    if name in published():
        entry = published()[name]
        return fetch(entry), entry
    if is_on_hub(name):
        path = fetch_weights(name)
        return path, by_file(path)
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder: give the weight file in it")
    if not path.is_file():
        known = [*shipped(), *published()]
        if path.name in _OF_A_RUN and not path.parent.is_dir():
            raise CheckpointError(
                f"no run {path.parent}: train it first. Of the notebooks, run 06 first for 07, and 04 "
                "first for 08 and 09"
            )
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise CheckpointError(
            f"no checkpoint {path_or_name}: {hint}give a file, a shipped name "
            f"({', '.join(shipped()) or 'none is installed'}), one that `r21d weights` lists, or "
            "hf://owner/repo on the Hugging Face Hub"
        )
    return path, by_file(path)


def _check_shipped_sum(path: Path) -> None:
    """Compare a shipped file with the SHA-256 beside it; a damaged clone must not give results."""
    beside = path.with_suffix(".json")
    if path.parent != SHIPPED or not beside.is_file():
        return
    try:
        expected = json.loads(beside.read_text())["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{beside} is damaged: restore it from git") from error
    if sha256(path) != expected:
        raise CheckpointError(
            f"{path} does not have the SHA-256 that {beside.name} states: restore it from git"
        )
