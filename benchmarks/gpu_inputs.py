"""Prepares the real clips that `make gpu` trains on, small enough to be carried to another machine.

    python benchmarks/gpu_inputs.py ../shared/data/jhmdb/manifest.csv ../shared/data/jhmdb

Every clip of a CSV list (as `r21d prepare listed` takes it) is decoded here, 15 frames a second at
128 x 171 as JPEG, into build/gpu_inputs/: the GPU machine needs no decoder of videos. It is all under
40 MB, or an error says by how much not.
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path

from r21d_lib.data import csv_lists
from r21d_lib.data.cache import PreparedVideos, prepare
from r21d_lib.data.lists import VideoList
from r21d_lib.errors import DatasetError
from r21d_lib.files import BUILD, whole_folder

FOLDER = BUILD / "gpu_inputs"
SIZE, FPS, LARGEST = (128, 171), 15.0, 40_000_000  # the last in bytes
PARTS = ("train", "test")


def write(prepared: dict[str, PreparedVideos], folder: Path) -> None:
    """Copy stores of frames and the lists of both parts into a folder, whole or not at all."""
    with whole_folder(folder) as fresh:
        for part, videos in prepared.items():
            shutil.copytree(videos.folder, fresh / "frames", dirs_exist_ok=True)
            listed = videos.videos
            record = {
                "name": listed.name,
                "classes": listed.classes,
                "names": listed.names,
                "labels": listed.labels,
                "groups": listed.groups,
                "decoded_from": videos.decoded_from.tolist(),
            }
            (fresh / f"{part}.json").write_text(json.dumps(record), encoding="utf-8")


def read(folder: Path, part: str) -> PreparedVideos:
    """Return the training or test clips that `write` left.

    Raises:
        DatasetError: if they are not there.
    """
    import numpy as np

    file = folder / f"{part}.json"
    if not file.is_file():
        raise DatasetError(f"there are no clips in {folder}: make them by benchmarks/gpu_inputs.py")
    record = json.loads(file.read_text(encoding="utf-8"))
    lists = {key: tuple(record[key]) for key in ("classes", "names", "labels", "groups")}
    videos = VideoList(record["name"], root=folder, **lists)
    return PreparedVideos(videos, folder / "frames", np.array(record["decoded_from"], np.int64))


def size_of(folder: Path) -> int:
    """Return what a folder's files take [bytes]."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def main() -> None:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("list", type=Path)
    parser.add_argument("videos", type=Path, help="the folder that the list's names start from")
    parser.add_argument("--quality", type=int, default=50, help="of the JPEG frames")
    parser.add_argument("--to", type=Path, default=FOLDER)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        listed = Path(place) / "gpu_inputs"
        csv_lists.make_folder([given.list], listed, videos=given.videos)
        made = {
            part: prepare(
                csv_lists.load(listed, split=1, part=part),
                Path(place) / "cache",
                size=SIZE,
                quality=given.quality,
                fps=FPS,
            )
            for part in PARTS
        }
        write(made, given.to)
    size = size_of(given.to)
    counts = " and ".join(f"{len(videos)} to {part}" for part, videos in made.items())
    print(f"{given.to}: {counts}, {size / 1e6:.1f} MB")
    if size > LARGEST:
        raise SystemExit(f"error: more than {LARGEST / 1e6:.0f} MB: give a lower --quality")


if __name__ == "__main__":
    main()
