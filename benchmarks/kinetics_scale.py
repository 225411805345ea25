"""Does the database hold as many videos as Kinetics has, and what does a worker need for it?

    python benchmarks/kinetics_scale.py          # about a minute; 100 MB of disk

Writes 240,000 videos of one 8 x 8 frame in 400 classes, reads random ones with two DataLoader workers
and prints the speed and the memory that each worker has for itself (unique set size), early and late:
the difference is what reading costs. Results go to benchmarks/results/kinetics_scale.json.
"""

import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from r21d_lib.data import frame_store
from r21d_lib.data.cache import PreparedVideos, store_of
from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.data.lists import VideoList
from r21d_lib.data.sampling import TrainBatches, TrainClips
from r21d_lib.files import whole_file
from r21d_lib.suite.results import provenance

RESULTS = Path(__file__).parent / "results"
CLASSES, VIDEOS = 400, 600
BATCH, STEPS = 32, 1500


def unique_megabytes() -> float:
    """Return the memory that only this process has [MB], as Linux counts it."""
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private")) / 1e3


class WithMemory(Dataset):
    """Training clips, each with its worker's memory."""

    def __init__(self, clips: TrainClips) -> None:
        self.clips, self.reads = clips, 0

    def __getitem__(self, number):
        self.reads += 1
        clip = self.clips[number][0]
        return clip, unique_megabytes() if self.reads % 500 == 1 else -1.0


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        names, started = [], time.perf_counter()
        for label in tqdm(range(CLASSES), unit="class"):
            frame = np.full((1, 8, 8, 3), label % 256, np.uint8).tobytes()
            of_store: dict[Path, list[frame_store.StoredVideo]] = {}
            for n in range(VIDEOS):
                name = f"class_{label:03}/a_video_of_kinetics_{n:06}.mp4"
                kept = frame_store.Frames(folder, [frame])
                video = frame_store.StoredVideo(name, 8, 8, 0, 0, 0, kept)
                of_store.setdefault(store_of(folder, name), []).append(video)
                names.append(name)
            for path, its in of_store.items():
                frame_store.write(path, its)
        writing = time.perf_counter() - started
        labels = tuple(i // VIDEOS for i in range(len(names)))
        classes = tuple(f"class_{label:03}" for label in range(CLASSES))
        listed = VideoList("kinetics", classes, folder, tuple(names), labels)
        decoded_from = np.zeros((len(names), 2), np.int64)  # as the stored videos say above
        prepared = PreparedVideos(listed, folder, decoded_from)
        clips = TrainClips(prepared, ClipSettings(4, 1, (8, 8), 8))
        loader = DataLoader(
            WithMemory(clips),
            batch_sampler=TrainBatches(len(names), BATCH, STEPS),
            num_workers=2,
            multiprocessing_context="fork",
        )
        memory, started = [], time.perf_counter()
        for frames, megabytes in tqdm(loader, unit="batch"):
            assert torch.equal(frames[:, 0, 0, 0, 0], frames[:, -1, -1, -1, -1])
            memory += [value for value in megabytes.tolist() if value > 0]
        reading = time.perf_counter() - started
    numbers = {
        "videos": len(names),
        "write_videos_per_s": round(len(names) / writing),
        "read_clips_per_s": round(BATCH * STEPS / reading),
        "worker_mb_at_first": round(memory[0], 1),
        "worker_mb_at_last": round(max(memory[-2:]), 1),
    }
    for name, value in numbers.items():
        print(f"{name:20} {value:,}")
    with whole_file(RESULTS / "kinetics_scale.json") as partial:
        partial.write_text(json.dumps({**numbers, "provenance": provenance()}, indent=2) + "\n")


if __name__ == "__main__":
    main()
