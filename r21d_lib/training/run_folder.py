"""A run's folder: config.json, metrics.csv, last and best weights, and resume.pt.

Each file is written whole or not at all, resume.pt last: it alone says how far the run has come.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from r21d_lib import checkpoints
from r21d_lib.data.cache import PreparedVideos
from r21d_lib.data.clips import ClipSettings
from r21d_lib.errors import R21DError, SettingsError
from r21d_lib.files import whole_file
from r21d_lib.models.networks import VideoResNet
from r21d_lib.training.settings import TrainingSettings

_FILES = ("config.json", "metrics.csv", "last.safetensors", "best.safetensors", "resume.pt")


class RunFolder:
    """The files of one training.

    Args:
        path: the folder; made where missing.
        network: what is trained.
        videos: what it is trained on.
        clips: how clips are cut.
        settings: the recipe of the loop.
        fresh: deletes an older run there.

    Raises:
        SettingsError: if the folder holds another run, or the classes do not fit.
        R21DError: if it cannot be written.
    """

    def __init__(
        self,
        path: Path,
        network: VideoResNet,
        videos: PreparedVideos,
        clips: ClipSettings,
        settings: TrainingSettings,
        *,
        fresh: bool,
    ) -> None:
        self.path = path
        classes = videos.videos.classes
        if network.settings.num_classes != len(classes):
            raise SettingsError(
                f"the network has {network.settings.num_classes} classes and {videos.videos.name} has "
                f"{len(classes)}: build or load it for these classes"
            )
        config = {
            "network": asdict(network.settings),
            "clips": asdict(clips),
            "training": asdict(settings),
            "data": {"name": videos.videos.name, "videos": len(videos), "classes": list(classes)},
        }
        self.config: dict[str, Any] = json.loads(json.dumps(config))  # tuples become lists, as in it
        file = path / "config.json"
        try:
            if fresh:
                for name in _FILES:
                    (path / name).unlink(missing_ok=True)
            if file.is_file():
                self._check_same(json.loads(file.read_text()))
            with whole_file(file) as partial:
                partial.write_text(json.dumps(self.config, indent=2) + "\n")
        except OSError as error:
            raise self._unwritable(error) from error

    def _check_same(self, there: Mapping[str, Any]) -> None:
        different = [key for key in self.config if there.get(key) != self.config[key]]
        if different:
            raise SettingsError(
                f"{self.path} holds a run with other settings ({', '.join(different)}): "
                "choose another folder, or start anew (--fresh, resume=False)"
            )

    def read_state(self) -> dict[str, Any] | None:
        """Return what `write_state` wrote, None before the first time."""
        file = self.path / "resume.pt"
        if not file.is_file():
            return None
        return torch.load(file, weights_only=True, map_location="cpu")

    def write_state(self, state: Mapping[str, Any]) -> None:
        """Write all that an interrupted run needs to go on as if nothing had happened."""
        try:
            with whole_file(self.path / "resume.pt") as partial:
                torch.save(dict(state), partial)
        # torch reports a full disk as a RuntimeError.
        except (OSError, RuntimeError) as error:
            raise self._unwritable(error) from error

    def write_epoch(self, network: VideoResNet, history: list[dict[str, float]]) -> None:
        """Write the weights and metrics of a whole epoch."""
        from safetensors import SafetensorError

        row = history[-1]
        training = {**self.config["training"], "data": self.config["data"]["name"]}
        card = checkpoints.Card(
            network=network.settings,
            clips=ClipSettings.from_dict(self.config["clips"]),
            classes=tuple(self.config["data"]["classes"]),
            training={**training, "epoch": row["epoch"]},
            accuracy={k: v for k, v in row.items() if k.endswith("_accuracy")},
        )
        validation = [r["validation_accuracy"] for r in history if "validation_accuracy" in r]
        try:
            checkpoints.save(self.path / "last.safetensors", network, card)
            if validation and validation[-1] > max(validation[:-1], default=-1.0):
                checkpoints.save(self.path / "best.safetensors", network, card)
            with whole_file(self.path / "metrics.csv") as partial:
                pd.DataFrame(history).to_csv(partial, index=False)
        except (OSError, SafetensorError) as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: Exception) -> R21DError:
        reason = str(error).splitlines()[0]
        return R21DError(
            f"{self.path} cannot be written ({reason}): free space or choose another folder; "
            "what was written before is whole"
        )
