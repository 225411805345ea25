"""A run's folder: its name, the one recipe that it followed, its weights, state and scores.

Each file is written whole or not at all, resume.pt last: it alone says how far the run has come.
"""

import glob
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.data.lists import VideoList
from r21d_lib.errors import DatasetError, R21DError, SettingsError, few
from r21d_lib.evaluation.scores import Scores
from r21d_lib.files import BUILD, UnwritableError, sha256, whole_file
from r21d_lib.training.recipes import Recipe

if TYPE_CHECKING:
    from r21d_lib.models.networks import VideoResNet


RUNS = BUILD / "runs"
_RECIPE = "recipe.json"
_STATE = "resume.pt"
_SUM_BYTES = 64  # of a SHA-256 in hexadecimal
_METRICS = "metrics.csv"
_LAST, _BEST = "last.safetensors", "best.safetensors"


class RunFolder:
    """The files of one training.

    recipe.json holds the recipe with every value resolved, the network's settings, the classes and the
    number of training videos; last.safetensors and best.safetensors the weights; metrics.csv a row an
    epoch; resume.pt what an interrupted run needs; scores_split<k>.npz the scores of a test list.

    Args:
        path: the folder; `begin` makes it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._begun: dict[str, Any] = {}  # by `begin`: what recipe.json holds
        self._clips = ClipSettings()  # by `begin`, too

    @classmethod
    def of(cls, recipe: Recipe) -> "RunFolder":
        """Return the folder that a recipe's run has where no other is asked for, below build/runs."""
        training = recipe.training
        parts = (
            recipe.name,
            Path(recipe.data or "").name,
            recipe.network,
            recipe.clips.modality.replace("rgb", ""),
            f"{training.epochs}epochs",
            f"split{recipe.split}",
            f"seed{training.seed}",
        )
        return cls(RUNS / "_".join(filter(None, parts)))

    @classmethod
    def find(cls, run: str | Path) -> "RunFolder":
        """Return the folder of a run: its path, or its name below build/runs or the beginning of it.

        Raises:
            DatasetError: if there is none, or several, or it holds no recipe: it is then not known on
                what its network was trained, and a score could be of videos that it has learnt from.
        """
        for path in (Path(run).expanduser(), RUNS / run):
            if path.is_dir():
                folder = cls(path)
                folder.recipe()
                return folder
        begun = list[str]()
        if Path(run).name == str(run):  # a path begins no name, and glob refuses an absolute one
            found = RUNS.glob(f"{glob.escape(str(run))}*/{_RECIPE}")
            begun = sorted(path.parent.name for path in found)
        if len(begun) == 1:
            return cls(RUNS / begun[0])
        if begun:
            raise DatasetError(f"{run} is the beginning of {len(begun)} runs: {few(begun)}")
        raise DatasetError(
            f"no run and no weights {run}: give a run's folder, the name of one in {RUNS}, a weight "
            "file, or a name that `r21d weights` lists"
        )

    @property
    def is_begun(self) -> bool:
        """Tell whether a run was begun here."""
        return (self.path / _RECIPE).is_file()

    @property
    def weights(self) -> Path:
        """The weights of the last whole epoch."""
        return self.path / _LAST

    def scores_file(self, split: int) -> Path:
        """Return the file for the scores of a split's test list."""
        return self.path / f"scores_split{split}.npz"

    def scores(self, split: int) -> Scores | None:
        """Return the kept scores of a split's test list, None where its last weights have none yet."""
        file = self.scores_file(split)
        if not file.is_file():
            return None
        weights = self.weights.stat().st_mtime_ns if self.weights.is_file() else 0
        return Scores.load(file) if file.stat().st_mtime_ns >= weights else None

    def metrics(self) -> pd.DataFrame:
        """Return what `train` returned after the last whole epoch; empty before the first."""
        file = self.path / _METRICS
        try:
            return pd.read_csv(file) if file.is_file() else pd.DataFrame()
        except ValueError as error:  # pandas' own errors are ValueErrors
            raise DatasetError(
                f"{file} is damaged ({str(error).splitlines()[0]}): start the run anew (--fresh, "
                "resume=False)"
            ) from error

    def recipe(self) -> Recipe:
        """Return the recipe that the run follows.

        Raises:
            DatasetError: if the folder holds no run, or its recipe is damaged.
        """
        return Recipe.from_dict(self._record()["recipe"])

    def learnt_from(self, listed: VideoList) -> list[str]:
        """Return which videos of a list the run was trained on, as another split's test list holds."""
        try:
            learnt = self.recipe().video_list("train")
        except R21DError:  # the run's data are not on this machine, so these are others
            return []
        return sorted(set(learnt.names) & set(listed.names)) if learnt.root == listed.root else []

    def _record(self) -> dict[str, Any]:
        file = self.path / _RECIPE
        try:
            record = json.loads(file.read_text())
            if not isinstance(record, dict) or not isinstance(record.get("recipe"), dict):
                raise ValueError("no recipe in it")
        except FileNotFoundError as error:
            raise DatasetError(
                f"{self.path} holds no run: it has no {_RECIPE}, so on what it was trained is not known"
            ) from error
        except (OSError, ValueError, RecursionError) as error:
            raise DatasetError(
                f"{file} is damaged ({error}): start the run anew (--fresh, resume=False)"
            ) from error
        return record

    def begin(
        self, recipe: Recipe, network: "VideoResNet", videos: VideoList, *, fresh: bool = False
    ) -> None:
        """Make the folder for a run, or find it as this run left it.

        Args:
            recipe: what is followed.
            network: what is trained.
            videos: what it is trained on.
            fresh: deletes an older run there, with its scores and events.

        Raises:
            SettingsError: if the folder holds another run, or the classes do not fit.
            UnwritableError: if it cannot be written.
        """
        classes = videos.classes
        if network.settings.num_classes != len(classes):
            raise SettingsError(
                f"the network has {network.settings.num_classes} classes and {videos.name} has "
                f"{len(classes)}: build or load it for these classes"
            )
        self._clips = recipe.clips
        self._begun = {
            "recipe": recipe.to_dict(),
            "network": network.settings.to_dict(),
            "data": {"name": videos.name, "videos": len(videos), "classes": list(classes)},
        }
        self._begun = json.loads(json.dumps(self._begun))  # tuples become lists, as in the file
        try:
            if fresh:
                self._clear()
            elif self.is_begun:
                self._check_same(self._record())
            elif any((self.path / name).exists() for name in (_LAST, _BEST, _METRICS, _STATE)):
                raise SettingsError(
                    f"{self.path} holds a run, or files named as a run's, without its {_RECIPE}: "
                    "choose another folder (--run), or start anew (--fresh, resume=False)"
                )
            with whole_file(self.path / _RECIPE) as partial:
                partial.write_text(json.dumps(self._begun, indent=2) + "\n")
        except OSError as error:
            raise UnwritableError(f"{self.path} cannot be written ({error}): choose another") from error

    def _clear(self) -> None:
        """Delete what an older run left, and nothing else: other weights beside it are a user's."""
        kinds = (_RECIPE, _METRICS, _STATE, _LAST, _BEST, "scores*.npz")
        for kind in (*kinds, "bad_videos.csv", "tensorboard/**/events.out.tfevents*"):
            for file in self.path.glob(kind):
                file.unlink()

    def _check_same(self, there: Mapping[str, Any]) -> None:
        """Refuse a folder that holds the run of another recipe, naming what differs."""
        here, begun = _flat(self._begun), _flat(there)
        different = [f"{key} {begun.get(key)}" for key in here if here[key] != begun.get(key)]
        if different:
            raise SettingsError(
                f"{self.path} holds a run with {few(different)}: choose another folder (--run), or "
                "start anew (--fresh, resume=False)"
            )

    def read_state(self) -> dict[str, Any] | None:
        """Return what `write_state` wrote, None before the first time.

        Raises:
            DatasetError: if it is damaged, by a single bit too.
        """
        import torch

        file = self.path / _STATE
        if not file.is_file():
            return None
        try:
            _check_sum(file)
            return dict(torch.load(file, weights_only=True, map_location="cpu"))
        except Exception as error:  # a damaged archive can raise anything
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise DatasetError(
                f"{file} is damaged ({reason}), so the run cannot go on: start it anew (--fresh, "
                f"resume=False), or finetune from {self.weights}"
            ) from error

    def write_state(self, state: Mapping[str, Any]) -> None:
        """Write all that an interrupted run needs to go on as if nothing had happened."""
        import torch

        # Through a file of Python's own, whose errors say what the disk said.
        with whole_file(self.path / _STATE) as partial:
            with open(partial, "wb") as file:
                torch.save(dict(state), file)
            total = sha256(partial)
            with open(partial, "ab") as file:
                file.write(total.encode())

    def write_epoch(self, network: "VideoResNet", history: list[dict[str, float]]) -> None:
        """Write the weights and metrics of a whole epoch."""
        from r21d_lib import checkpoints

        row = history[-1]
        data = self._begun["data"]
        training = {**self._begun["recipe"]["training"], "data": data["name"]}
        card = checkpoints.Card(
            network=network.settings,
            clips=self._clips,
            classes=tuple(data["classes"]),
            training={**training, "epoch": row["epoch"]},
            accuracy={k: v for k, v in row.items() if k.endswith("_accuracy")},
        )
        validation = [r["validation_accuracy"] for r in history if "validation_accuracy" in r]
        checkpoints.save(self.weights, network, card)
        if validation and validation[-1] > max(validation[:-1], default=-1.0):
            checkpoints.save(self.path / _BEST, network, card)
        with whole_file(self.path / _METRICS) as partial:
            pd.DataFrame(history).to_csv(partial, index=False)


def _check_sum(file: Path) -> None:
    """Compare a state with the SHA-256 sum that ends its file.

    The checksums inside the archive are not enough: torch and Python's zipfile find a member by
    different fields, so that a damage to one of them passes a check made with the other.

    Raises:
        ValueError: if it is damaged.
    """
    digest, left = hashlib.sha256(), file.stat().st_size - _SUM_BYTES
    with open(file, "rb") as stream:
        while left > 0 and (portion := stream.read(min(left, 1 << 20))):
            digest.update(portion)
            left -= len(portion)
        if stream.read() != digest.hexdigest().encode():
            raise ValueError("it is not as it was written")


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return every value of a record by its own name, but for what describes and never decides."""
    values: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, Mapping):
            values |= {
                inner if key in ("recipe", "training", "clips") else f"{key}.{inner}": entry
                for inner, entry in _flat(value).items()
            }
        else:
            values[key] = value
    return {key: value for key, value in values.items() if key not in ("name", "description")}
