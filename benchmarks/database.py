"""In which form should decoded videos be kept? Clips a second, bytes, and grey levels of error.

    python benchmarks/database.py            # ActionFigures, drawn for it
    python benchmarks/database.py FOLDER     # the .avi files in a folder and below it

The same frames, 128 x 171, are kept as raw .npy files, as raw and as JPEG frames in SQLite (this
project's store), as JPEG frames in LMDB (where it is installed: pip install lmdb), and as H.264 with a
key frame every 8 or 16 frames. Random clips of 8, 16 and 32 frames are then read from each by one
process with one thread, in turns (A B C ... A B C ...), and the medians compared. Results go to
benchmarks/results/database.json.
"""

import argparse
import importlib.util
import io
import pickle
import statistics
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path

import av
import numpy as np
import timing
import torch
from PIL import Image

from r21d_lib.data import action_figures, frame_store
from r21d_lib.data import video as videos
from r21d_lib.data.clips import resize

SIZE = (128, 171)
CLIP_LENGTHS = (8, 16, 32)
VIDEOS, CLIPS, ROUNDS = 60, 60, 5
HMDB51_FRAMES = 6766 * 93  # the mean length of its clips is 93 frames


class Form(ABC):
    """One way to keep videos: how they are written, and how a clip is read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    @abstractmethod
    def write(self, number: int, frames: np.ndarray) -> None:
        """Keep a video."""

    @abstractmethod
    def read(self, number: int, start: int, length: int) -> np.ndarray:
        """Return frames [start, start + length) of a video."""

    def size(self) -> int:
        """Return the bytes on disk."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())


class Raw(Form):
    """Raw uint8 in one .npy file a video, memory-mapped."""

    def write(self, number, frames):
        np.save(self.folder / f"{number}.npy", frames)

    def read(self, number, start, length):
        mapped = np.load(self.folder / f"{number}.npy", mmap_mode="r")
        return np.array(mapped[start : start + length])


class Sqlite(Form):
    """This project's store: a row a frame, raw or JPEG."""

    def __init__(self, folder, quality):
        super().__init__(folder)
        self.quality, self.path = quality, folder / "all.sqlite"

    def write(self, number, frames):
        encoded = frame_store.encode(torch.from_numpy(frames), self.quality)
        kept = frame_store.Frames(self.path.parent, encoded)
        video = frame_store.StoredVideo(str(number), *SIZE, self.quality, 0, 0, kept)
        frame_store.write(self.path, [video])

    def read(self, number, start, length):
        entry = frame_store.find(self.path, str(number))
        return frame_store.read(self.path, entry, np.arange(start, start + length)).numpy()


class Lmdb(Form):
    """JPEG frames in LMDB: a record a video, with a table of where each frame is."""

    def __init__(self, folder, quality):
        super().__init__(folder)
        import lmdb

        self.quality = quality
        self.environment = lmdb.open(str(folder / "all.mdb"), subdir=False, map_size=2**34, lock=False)

    def write(self, number, frames):
        encoded = frame_store.encode(torch.from_numpy(frames), self.quality)
        ends = np.cumsum([0, *map(len, encoded)])
        with self.environment.begin(write=True) as transaction:
            transaction.put(b"t%d" % number, pickle.dumps(ends))
            transaction.put(b"v%d" % number, b"".join(encoded))

    def read(self, number, start, length):
        with self.environment.begin(buffers=True) as transaction:
            ends = pickle.loads(transaction.get(b"t%d" % number))
            data = transaction.get(b"v%d" % number)
            jpegs = [data[ends[i] : ends[i + 1]] for i in range(start, start + length)]
            return np.stack([np.asarray(Image.open(io.BytesIO(jpeg))) for jpeg in jpegs])

    def size(self):
        used = self.environment.info()["last_pgno"] + 1  # the file itself is sparse
        return used * self.environment.stat()["psize"]


class ShortGop(Form):
    """H.264 files with a key frame every few frames: reading starts at the one before the clip."""

    def __init__(self, folder, distance):
        super().__init__(folder)
        self.distance = distance

    def write(self, number, frames):
        options = {"g": str(self.distance), "crf": "18", "sc_threshold": "0", "bf": "0"}
        padded = np.pad(frames, ((0, 0), (0, 0), (0, 1), (0, 0)))  # H.264 wants even sizes
        path = self.folder / f"{number}.mp4"
        videos.write(path, padded, codec="libx264", options=options)

    def read(self, number, start, length):
        found = []
        with av.open(str(self.folder / f"{number}.mp4")) as container:
            stream = container.streams.video[0]
            stream.thread_count = 1
            ticks = 1 / (stream.average_rate * stream.time_base)
            container.seek(int(start * ticks), stream=stream)
            for frame in container.decode(stream):
                if round(frame.pts / ticks) >= start:
                    found.append(frame.to_ndarray(format="rgb24")[:, : SIZE[1]])
                if len(found) == length:
                    break
        return np.stack(found)


def find_videos(folder: Path | None, scratch: Path, most: int) -> list[Path]:
    """Return the files to keep, evenly picked from those in the folder."""
    if folder is None:
        folder = scratch / "figures"
        action_figures.generate(folder, clips_per_class=20)
    files = sorted(folder.rglob("*.avi"))
    if not files:
        raise SystemExit(f"error: {folder} holds no .avi file: give another folder")
    return files[:: max(len(files) // most, 1)][:most]


def main() -> None:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("folder", type=Path, nargs="?", help="take the .avi files in it and below")
    parser.add_argument("--videos", type=int, default=VIDEOS, help="how many are kept")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each form has its turn")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        forms: dict[str, Form] = {
            "raw .npy": Raw(scratch / "raw"),
            "SQLite, raw": Sqlite(scratch / "sqlite", 0),
            **{f"SQLite, JPEG {q}": Sqlite(scratch / f"sqlite{q}", q) for q in (85, 90, 95)},
            **{f"H.264, key every {g}": ShortGop(scratch / f"gop{g}", g) for g in (8, 16)},
        }
        if importlib.util.find_spec("lmdb"):
            forms["LMDB, JPEG 90"] = Lmdb(scratch / "lmdb", 90)
        kept = []
        for number, path in enumerate(find_videos(given.folder, scratch, given.videos)):
            frames = resize(torch.from_numpy(videos.decode(path)), SIZE).numpy()
            frames = np.concatenate([frames] * -(-40 // len(frames)))  # room for 32 anywhere
            kept.append(frames)
            for form in forms.values():
                form.write(number, frames)
        rows = measure(forms, kept, given.rounds)
        total = sum(map(len, kept))
        for name, form in forms.items():
            frame_bytes = form.size() / total
            rows[name]["bytes_per_frame"] = round(frame_bytes)
            rows[name]["hmdb51_gb"] = round(frame_bytes * HMDB51_FRAMES / 1e9, 1)
            wrong = [
                np.abs(form.read(n, 3, 16).astype(int) - frames[3:19]) for n, frames in enumerate(kept)
            ]
            rows[name]["mean_error"] = round(float(np.mean(wrong)), 2)
            rows[name]["largest_error"] = int(np.max(wrong))
    lengths = " ".join(f"{length:>4} frames" for length in CLIP_LENGTHS)
    print(f"{'clips a second':20} {lengths}  B/frame  HMDB51 GB  mean error  largest")
    for name, row in rows.items():
        speeds = " ".join(f"{row[f'clips_per_s_{length}']:>11.0f}" for length in CLIP_LENGTHS)
        print(
            f"{name:20} {speeds}  {row['bytes_per_frame']:>7}  {row['hmdb51_gb']:>9}  "
            f"{row['mean_error']:>10}  {row['largest_error']:>7}"
        )
    timing.write("database", {"videos": len(kept), "frames": total, "forms": rows})


def measure(forms: dict[str, Form], kept: list[np.ndarray], rounds: int) -> dict[str, dict[str, float]]:
    """Return clips a second of each form and clip length, medians of rounds in turn."""
    random = np.random.default_rng(0)
    rows: dict[str, dict[str, float]] = {name: {} for name in forms}
    for length in CLIP_LENGTHS:
        seconds: dict[str, list[float]] = {name: [] for name in forms}
        for _ in range(rounds):
            numbers = random.integers(0, len(kept), CLIPS).tolist()
            wanted = [(n, int(random.integers(0, len(kept[n]) - length + 1))) for n in numbers]
            for name, form in forms.items():
                started = time.perf_counter()
                for number, start in wanted:
                    form.read(number, start, length)
                seconds[name].append((time.perf_counter() - started) / CLIPS)
        for name, times in seconds.items():
            rows[name][f"clips_per_s_{length}"] = round(1 / statistics.median(times), 1)
    return rows


if __name__ == "__main__":
    main()
