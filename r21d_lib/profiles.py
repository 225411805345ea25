"""The two profiles that drive every notebook and command, and the recipe of the shipped checkpoint.

`figures` is the default: ActionFigures, a small network, a laptop. `hmdb51` is the real thing:
HMDB51, the paper's 34-layer network on 32 frames, a GPU. Nothing else in a notebook depends on
the profile.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from r21d_lib.clips import ClipSettings
from r21d_lib.datasets import VideoList, action_figures, hmdb51
from r21d_lib.datasets.prepared import PreparedVideos, prepare
from r21d_lib.errors import DatasetError, SettingsError
from r21d_lib.files import BUILD
from r21d_lib.networks import VideoResNet, build_network
from r21d_lib.training import TrainingSettings

Part = Literal["train", "test"]


@dataclass(frozen=True)
class Profile:
    """One complete setting of data, network and recipe.

    Attributes:
        name: "figures" or "hmdb51".
        dataset: the data set's name as a heading prints it.
        clips: length, size and statistics of a clip.
        depth: layers of the R(2+1)D network.
        width: channels after its conv1.
        finetune: the recipe for finetuning, and for training from scratch in the same budget.
        checkpoint: where finetuning starts: a shipped name, or None where the reader must bring
            one.
        num_clips: clips a video at test time.
    """

    name: str
    dataset: str
    clips: ClipSettings
    depth: int
    width: int
    finetune: TrainingSettings
    checkpoint: str | None
    num_clips: int = 10

    def folder(self) -> Path:
        """Return the data set's folder: build/data/..., for HMDB51 $R21D_HMDB51 where it is set."""
        if self.name == "figures":
            return BUILD / "data" / "action_figures"
        folder = hmdb51.default_folder()
        if not folder.is_dir():
            raise DatasetError(
                f"profile hmdb51 needs HMDB51's videos, and there is no {folder}: set R21D_HMDB51 to "
                "the folder of its 51 class folders, or make it with `r21d prepare hmdb51 SOURCE`"
            )
        return folder

    def video_list(self, part: Part, *, split: int = 1) -> VideoList:
        """Return the train or test list of a split; draws ActionFigures if it is not there."""
        root = self.folder()
        if self.name == "hmdb51":
            return hmdb51.load(root, split=split, part=part)
        action_figures.generate(root)
        return action_figures.load(root, split=split, part=part)

    def videos(self, part: Part, *, split: int = 1) -> PreparedVideos:
        """Return the decoded videos of a list; each video is decoded once and then kept on disk."""
        return prepare(
            self.video_list(part, split=split),
            BUILD / "cache" / self.name,
            size=self.clips.resize,
        )

    def network(self, name: str, num_classes: int, *, seed: int) -> VideoResNet:
        """Build one of the paper's networks at this profile's depth and width, untrained."""
        return build_network(
            name,
            self.depth,
            num_classes=num_classes,
            width=self.width,
            clip_len=self.clips.clip_len,
            seed=seed,
        )


PROFILES: dict[str, Profile] = {
    "figures": Profile(
        name="figures",
        dataset="ActionFigures",
        clips=ClipSettings(clip_len=8, stride=3, resize=(72, 96), crop=64),
        depth=10,
        width=16,
        finetune=TrainingSettings(epochs=6, batch_size=16, learning_rate=0.02, warmup_epochs=0.5),
        checkpoint="r2plus1d_10_figures",
    ),
    # VMZ's finetune_hmdb51.sh on one GPU: 32 clips a step as its 8 GPUs x 4, learning rate 0.0002
    # x 8. Its 8 epochs of 40,000 clips are 90 passes over the 3,570 training videos, its steps of
    # 2 are 22.
    "hmdb51": Profile(
        name="hmdb51",
        dataset="HMDB51",
        clips=ClipSettings(clip_len=32, stride=1, resize=(128, 171), crop=112),
        depth=34,
        width=64,
        finetune=TrainingSettings(
            epochs=90,
            batch_size=32,
            learning_rate=0.0016,
            weight_decay=0.005,
            warmup_epochs=0.0,
            schedule="step",
            step_epochs=22,
            workers=8,
        ),
        checkpoint=None,
    ),
}


def get_profile(name: str) -> Profile:
    """Return a profile by name.

    Raises:
        SettingsError: naming the profiles that exist.
    """
    try:
        return PROFILES[name]
    except KeyError:
        raise SettingsError(f"no profile is called {name!r}: choose {' or '.join(PROFILES)}") from None
