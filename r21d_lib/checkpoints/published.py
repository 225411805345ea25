"""The weights that others have published: one table, and how to get a file of it.

The table is weights/published.csv: VMZ's Caffe2 files (models.md of 2018, model_zoo.md), the IG-65M
files of moabitcoin/ig65m-pytorch, VMZ's 152-layer .pth and torchvision's. Nobody's licence is passed on
with it: the files stay where they are.
"""

import csv
import os
import urllib.error
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch.hub

from r21d_lib.data.class_names import read_labels
from r21d_lib.data.clip_settings import ClipSettings, Modality
from r21d_lib.errors import CheckpointError

TABLE = Path(__file__).parents[1] / "weights" / "published.csv"


@dataclass(frozen=True)
class Published:
    """One published weight file; every network has its modality's statistics and 112-pixel crops.

    Attributes:
        name: what `load` takes, such as "r2plus1d_34_32_kinetics" or "torchvision/r2plus1d_18".
        file: the file's name.
        url: where it was published.
        seen: whether the file is still there, as far as others say: "seen alive (YEAR)", "unknown" (no
            word of a download was found; the page that names it may live on) or "dead".
        network: name and depth, such as "r2plus1d_34".
        num_classes: of its last layer; None where nobody wrote it down.
        trained_on: data sets, in order.
        clip_len: frames in a clip.
        fps: frame rate of the training videos; None where nobody wrote it down.
        accuracy: on Kinetics-400's validation set, as fractions of 1: clip@1, video@1, video@5.
        protocol: how the accuracy was measured.
        bn_eps: epsilon of the batch norms.
        modality: "rgb", or "flow" of networks of optical flow.
    """

    name: str
    file: str
    url: str
    seen: str
    network: str
    num_classes: int | None
    trained_on: str
    clip_len: int
    fps: int | None
    accuracy: Mapping[str, float]
    protocol: str
    bn_eps: float
    modality: Modality

    @property
    def hash_prefix(self) -> str | None:
        """The first digits of the file's SHA-256, which some publishers put into its name."""
        last = Path(self.file).stem.rsplit("-", 1)[-1]
        return last if len(last) == 8 and self.file.endswith(".pth") and "-" in self.file else None

    @property
    def clips(self) -> ClipSettings:
        """How clips are cut for it, at the frame rate of its training where that is known."""
        return ClipSettings(clip_len=self.clip_len, fps=self.fps, modality=self.modality)

    def class_names(self) -> tuple[str, ...] | None:
        """Return Kinetics-400's names where the file has torchvision's classes, else None.

        The order of VMZ's and IG-65M's classes was published nowhere; it is probably alphabetical.
        """
        return read_labels("kinetics400") if self.name.startswith("torchvision/") else None


@cache
def published() -> dict[str, Published]:
    """Return the table, by name."""
    with open(TABLE, encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    entries = [
        Published(
            name=row["name"],
            file=row["file"],
            url=row["url"],
            seen=row["seen"],
            network=row["network"],
            num_classes=int(row["num_classes"]) if row["num_classes"] else None,
            trained_on=row["trained_on"],
            clip_len=int(row["clip_len"]),
            fps=int(row["fps"]) if row["fps"] else None,
            accuracy={
                key: round(float(row[key]) / 100, 5)
                for key in ("clip@1", "video@1", "video@5")
                if row[key]
            },
            protocol=row["protocol"],
            bn_eps=float(row["bn_eps"]),
            modality="flow" if row["modality"] == "flow" else "rgb",
        )
        for row in rows
    ]
    return {entry.name: entry for entry in entries}


def best(
    *,
    name: str | None = None,
    depth: int | None = None,
    clip_len: int | None = None,
    num_classes: int | None = None,
    modality: Modality = "rgb",
) -> Published:
    """Return the most accurate published weights of a description; None leaves a point open.

    Args:
        name: the network's, such as "r2plus1d".
        depth: its layers.
        clip_len: frames in a clip.
        num_classes: of its last layer.
        modality: "rgb" or "flow".

    Raises:
        CheckpointError: if there are none.
    """
    wanted = {"network": name, "depth": depth, "clip length": clip_len, "classes": num_classes}
    fitting = [
        entry
        for entry in published().values()
        if entry.modality == modality
        and all(
            want is None or str(want) == str(value)
            for want, value in zip(
                wanted.values(),
                (*entry.network.rsplit("_", 1), entry.clip_len, entry.num_classes),
                strict=True,
            )
        )
    ]
    if not fitting:
        asked = ", ".join(f"{key} {value}" for key, value in wanted.items() if value is not None)
        raise CheckpointError(
            f"no published weights have {asked}: see `r21d weights`, or give your own checkpoint"
        )
    return max(fitting, key=lambda entry: entry.accuracy.get("video@1", 0.0))


def by_file(path: Path) -> Published | None:
    """Return the table's entry of a file, recognised by its name."""
    return next((entry for entry in published().values() if entry.file == path.name), None)


def weights_folder() -> Path:
    """Return where downloaded files lie: $R21D_WEIGHTS, or .cache/r21d/weights in the home folder."""
    named = os.environ.get("R21D_WEIGHTS")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "r21d" / "weights"


def fetch(entry: Published) -> Path:
    """Return the file of an entry, downloaded with a progress bar where it is not there yet.

    Where the file's name states the beginning of its SHA-256, the download is checked against it.

    Raises:
        CheckpointError: if it cannot be had from here; it says which file to put where.
    """
    path = weights_folder() / entry.file
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(entry.url, str(path), entry.hash_prefix, progress=True)
    except (urllib.error.URLError, OSError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"{entry.name} ({entry.seen}) cannot be downloaded ({error}): get {entry.url} with a "
            f"browser and put it at {path}"
        ) from error
    return path
