"""Recipes: whole trainings described by typed values, as data in the .toml files of this folder."""

import dataclasses
import difflib
import inspect
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r21d_lib.data.catalog import open_videos, title
from r21d_lib.data.clip_settings import MOST_CLIPS, ClipSettings
from r21d_lib.data.lists import SPLITS, Part, VideoList
from r21d_lib.errors import CheckpointError, SettingsError
from r21d_lib.files import BUILD
from r21d_lib.models.settings import LABELS, NetworkSettings
from r21d_lib.training.settings import TrainingSettings

if TYPE_CHECKING:
    from r21d_lib.data.cache import BadVideo, PreparedVideos
    from r21d_lib.models.networks import VideoResNet

FOLDER = Path(__file__).parent
_NONE = "none"  # TOML has no word for it
_HIGHEST = {"split": max(SPLITS), "num_clips": MOST_CLIPS, "quality": 100}


@dataclass(frozen=True)
class Recipe:
    """What is trained, on what, and how.

    Attributes:
        name: of the recipe's file, without suffix.
        description: one line for the list of recipes.
        data: "action_figures", "hmdb51", or a data set that `r21d prepare listed` made: its folder,
            or its name below build/data. None where the user must give one.
        split: 1, 2 or 3.
        network: one of the twelve names of the paper.
        depth: layers of the network.
        width: channels after its conv1, 64 in the paper.
        checkpoint: where finetuning starts: a file, a name of `r21d weights`, or hf://owner/repo on
            the Hugging Face Hub. None trains from random weights.
        num_clips: clips a video at test time.
        quality: JPEG quality of the decoded frames that are kept on disk; None keeps them exact,
            in ten times the space. Flow is always kept exact.
        clips: modality, length, size and statistics of a clip.
        training: optimizer, schedule and the rest of the loop's settings.
    """

    name: str
    description: str
    data: str | None
    network: str
    depth: int
    width: int
    checkpoint: str | None
    split: int = 1
    num_clips: int = 10
    quality: int | None = None
    clips: ClipSettings = field(default_factory=ClipSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)

    def __post_init__(self) -> None:
        # These refuse a network that there is none of.
        NetworkSettings(self.network, self.depth, width=self.width, clip_len=self.clips.clip_len)
        for name, highest in _HIGHEST.items():
            value = getattr(self, name)
            if value is not None and not 1 <= value <= highest:
                raise SettingsError(f"{name} must be from 1 to {highest}, got {value}")
        for name in ("data", "checkpoint"):
            if getattr(self, name) == "":
                raise SettingsError(f"{name} is empty: give {name}=NAME, or {name}={_NONE}")

    @property
    def dataset(self) -> str:
        """The data set's name as a heading prints it."""
        return title(self._data())

    def video_list(self, part: Part, *, split: int | None = None) -> VideoList:
        """Return the train or test list of a split, this recipe's where none is given."""
        return open_videos(self._data(), split=split or self.split, part=part)

    def videos(
        self, part: Part, *, split: int | None = None, on_bad_video: "BadVideo" = "fail"
    ) -> "PreparedVideos":
        """Return the decoded videos of a list; each video is decoded once and then kept on disk.

        Raises:
            DatasetError: if the data set is not there or not whole.
            VideoError: at a video that cannot be decoded, unless `on_bad_video` is "report".
        """
        return self.decoded(self.video_list(part, split=split), on_bad_video=on_bad_video)

    def decoded(self, videos: VideoList, *, on_bad_video: "BadVideo" = "fail") -> "PreparedVideos":
        """Return the decoded videos of a list that is already read, as `videos` does."""
        from r21d_lib.data.cache import prepare

        return prepare(
            videos,
            BUILD / "cache",
            size=self.clips.resize,
            quality=self.quality,
            fps=self.clips.fps,
            modality=self.clips.modality,
            on_bad_video=on_bad_video,
        )

    def build(self, num_classes: int, *, network: str | None = None, seed: int = 0) -> "VideoResNet":
        """Build the network, or another of the paper's at the same depth and width, untrained."""
        from r21d_lib.models.networks import build_network

        return build_network(
            network or self.network,
            self.depth,
            num_classes=num_classes,
            width=self.width,
            clip_len=self.clips.clip_len,
            in_channels=self.clips.channels,
            seed=seed,
        )

    def start(self, classes: tuple[str, ...]) -> "VideoResNet":
        """Return the network that training starts from: of random weights, or a checkpoint's.

        Raises:
            CheckpointError: if the checkpoint holds another network than the recipe says.
        """
        if self.checkpoint is None:
            return self.build(len(classes), seed=self.training.seed)
        from r21d_lib import checkpoints

        network, report = checkpoints.load(
            self.checkpoint, classes=classes, replace_head=True, seed=self.training.seed
        )
        held, clips = network.settings, report.card.clips
        if clips.modality != self.clips.modality:
            raise CheckpointError(
                f"{report.source} holds a network of {clips.modality}, and the recipe is of "
                f"{self.clips.modality}: give modality={clips.modality}, or other weights"
            )
        # R2D's first layer takes all frames of a clip at once, and no other number of them.
        asked = {"network": self.network, "depth": self.depth, "width": self.width}
        found = {"network": held.name, "depth": held.depth, "width": held.width}
        if held.name == "r2d":
            asked["clip_len"], found["clip_len"] = self.clips.clip_len, held.clip_len
        if found != asked:
            other = [name for name in found if found[name] != asked[name]]
            raise CheckpointError(
                f"{report.source} holds {LABELS[held.name]} of {held.depth} layers and width "
                f"{held.width}, and the recipe is of another network: give "
                f"{' '.join(f'{name}={found[name]}' for name in other)}, or checkpoint=none to train "
                "from random weights"
            )
        return network

    def _data(self) -> str:
        if self.data is None:
            raise SettingsError(
                f"recipe {self.name} needs a data set: give data=FOLDER, made by `r21d prepare listed`"
            )
        return self.data

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as plain values, for JSON; `from_dict` reads them."""
        return {**dataclasses.asdict(self), "clips": self.clips.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Recipe":
        """Build a recipe from what `to_dict` gave.

        Raises:
            SettingsError: naming the field that is unknown, missing or of a wrong type.
        """
        from pydantic import TypeAdapter, ValidationError

        source = f"recipe {values.get('name', '?')}"
        _check_names(values, source)
        try:
            return TypeAdapter(cls).validate_python(dict(values))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"][:2])
            raise SettingsError(
                f"{source}, {place}: {first['msg'].lower()}, got {first['input']!r}"
            ) from error


_SECTIONS: dict[str, type] = {"clips": ClipSettings, "training": TrainingSettings}
# Every leaf's name occurs once, so that `epochs=3` needs no section before it.
_SECTION_OF: dict[str, str | None] = {
    **{field.name: None for field in dataclasses.fields(Recipe) if field.name not in _SECTIONS},
    **{f.name: section for section, kind in _SECTIONS.items() for f in dataclasses.fields(kind)},
}


def names() -> list[str]:
    """Return the names of the recipes that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read(name_or_file: str | Path, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe and change single values of it.

    A table [learning_rates] in the file gives single networks a rate of their own; a change of
    learning_rate counts for whatever network.

    Args:
        name_or_file: one of `names()`, or a .toml file of the same form.
        changes: "key=value", such as "epochs=3", "resize=128,171" or "checkpoint=none".

    Raises:
        SettingsError: naming what does not exist or has a wrong type, and what could be meant.
    """
    path = Path(name_or_file)
    if path.suffix != ".toml":
        path = FOLDER / f"{name_or_file}.toml"
        if not path.is_file():
            raise SettingsError(
                f"no recipe is called {str(name_or_file)!r}: choose {', '.join(names())}, "
                "or give a .toml file"
            )
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        for table in (*_SECTIONS, "learning_rates"):
            if not isinstance(values.get(table, {}), dict):
                raise ValueError(f"{table} is a table, with its values below [{table}]")
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(f"{path} cannot be read as a recipe ({error}): mend the file") from error
    rates = values.pop("learning_rates", {})  # of single networks, where they differ
    values = {**values, "name": path.stem}
    for change in changes:
        key, equals, text = change.partition("=")
        key = key.strip().removeprefix("training.").removeprefix("clips.")
        if not equals:
            raise SettingsError(f"{change!r} changes nothing: give key=value, such as epochs=3")
        part = _SECTION_OF.get(key)
        target = values.setdefault(part, {}) if part else values
        target[key] = text.split(",") if "," in text else text.strip()
        if key == "learning_rate":
            rates = {}
    if values.get("network") in rates:
        values.setdefault("training", {})["learning_rate"] = rates[values["network"]]
    return Recipe.from_dict(_without_none(values))


def describe(recipe: Recipe) -> str:
    """Return a recipe field by field, each with its value and what it means."""
    lines = [f"{recipe.name}: {recipe.description}"]
    for kind, values in (
        (Recipe, recipe),
        (ClipSettings, recipe.clips),
        (TrainingSettings, recipe.training),
    ):
        meanings = _meanings(kind)
        for field_ in dataclasses.fields(kind):
            if field_.name not in ("name", "description", *_SECTIONS):
                value = getattr(values, field_.name)
                shown = _NONE if value is None else value
                text = ",".join(map(str, shown)) if isinstance(shown, tuple) else str(shown)
                lines.append(f"{field_.name + ' = ' + text}\n    {meanings[field_.name]}")
    return "\n".join(lines)


def _meanings(kind: type) -> dict[str, str]:
    """Read what each field means out of the part "Attributes:" of a class's docstring."""
    text = inspect.getdoc(kind) or ""
    entries = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", text, flags=re.MULTILINE)
    return {name: re.sub(r"\s+", " ", meaning) for name, meaning in entries}


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the word "none" by None, in the sections too."""
    return {
        key: _without_none(value) if isinstance(value, Mapping) else (None if value == _NONE else value)
        for key, value in values.items()
    }


def _check_names(values: Mapping[str, Any], source: str) -> None:
    """Check that every value has a field of its own, in its own section."""
    for key, value in values.items():
        if key in _SECTIONS and isinstance(value, Mapping):
            for name in value:
                if _SECTION_OF.get(name) != key:
                    _refuse(name, source)
        elif _SECTION_OF.get(key, "") is not None:
            _refuse(key, source)


def _refuse(key: str, source: str) -> None:
    near = difflib.get_close_matches(key, _SECTION_OF, n=1)
    hint = f"did you mean {near[0]}?" if near else f"choose {', '.join(_SECTION_OF)}"
    raise SettingsError(f"{source} has no field {key!r}: {hint}")
