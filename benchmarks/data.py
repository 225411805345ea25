"""How many clips a second reach the training loop, from 320 x 240 .avi files as HMDB51 has them?

Every reader hands the right frames to the same loop, "decord by index" aside, which is the usual way
and the wrong one (decord_by_index.py): a DataLoader with 1 and 2 workers, batches of 8 clips of 16
frames, 128 x 171; then random crop, flip and normalisation in the loop's own process
(clips.to_network). The database of this project is filled once before; what that takes is printed as
well. Last comes the processor time that each needs in one process, which other work on the machine
disturbs less. The readers take turns, and a ratio is the median of the ratios by round. Results go to
benchmarks/results/data.json, by processor and instruction set.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import timing
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from r21d_lib.data import frame_store
from r21d_lib.data import video as videos
from r21d_lib.data.cache import prepare
from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.data.clips import random_start, resize, seeded_generator, to_network
from r21d_lib.data.lists import VideoList
from r21d_lib.data.sampling import TrainClips

EXAMPLES = """examples:
  python benchmarks/data.py                                   # .avi files made here, about 2 minutes
  python benchmarks/data.py ../shared/data/clips              # the .avi files in a folder and below
  python benchmarks/data.py --rounds 1 --clips 16 --workers 1 # a quick look"""
SETTINGS = ClipSettings()
SLOW = "decord in order"
OURS = ("database, JPEG 90", "database, raw")
BATCH = 8
Read = Callable[[Path, int], Tensor]  # (file, first frame) to (clip_len, H, W, 3) uint8


def by_decord_index(path: Path, start: int) -> Tensor:
    import decord

    height, width = SETTINGS.resize
    reader = decord.VideoReader(str(path), width=width, height=height, num_threads=1)
    return torch.from_numpy(reader.get_batch(range(start, start + SETTINGS.clip_len)).asnumpy())


def by_decord_in_order(path: Path, start: int) -> Tensor:
    import decord

    height, width = SETTINGS.resize
    reader = decord.VideoReader(str(path), width=width, height=height, num_threads=1)
    frames = [reader.next() for _ in range(start + SETTINGS.clip_len)]
    return torch.from_numpy(np.stack([frame.asnumpy() for frame in frames[start:]]))


def by_pyav(path: Path, start: int) -> Tensor:
    frames = list(islice(videos.stream(path), start, start + SETTINGS.clip_len))
    return resize(torch.from_numpy(np.stack(frames)), SETTINGS.resize)


def by_torchcodec(path: Path, start: int) -> Tensor:
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(str(path), dimension_order="NHWC", seek_mode="exact", num_ffmpeg_threads=1)
    return resize(decoder.get_frames_in_range(start, start + SETTINGS.clip_len).data, SETTINGS.resize)


# torchcodec comes last: where it or its FFmpeg is missing, it is left out, with the reason.
FILE_READERS: dict[str, Read] = {
    "decord by index (wrong frames)": by_decord_index,
    SLOW: by_decord_in_order,
    "PyAV in order": by_pyav,
    "torchcodec": by_torchcodec,
}


class FileClips(Dataset):
    """Random clips read from the files themselves, with the starts that `TrainClips` draws."""

    def __init__(self, listed: VideoList, lengths: list[int], read: Read) -> None:
        self.listed, self.lengths, self.read = listed, lengths, read

    def __len__(self) -> int:
        return len(self.listed)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        turn, video = divmod(number, len(self.listed))
        generator = seeded_generator(0, turn, video)
        start = random_start(self.lengths[video], SETTINGS.span, generator=generator)
        return self.read(self.listed.path(video), start), self.listed.labels[video]


def make_files(folder: Path, number: int, frames: int = 90) -> None:
    """Write .avi files as HMDB51's are: MPEG-4 part 2 (DX50), 320 x 240, 90 frames, with B-frames."""
    random = np.random.default_rng(0)
    for name in range(number):
        small = torch.from_numpy(random.integers(0, 256, (1, 3, 46, 60)).astype(np.float32))
        scene = torch.nn.functional.interpolate(small, (368, 480), mode="bicubic").clamp(0, 255)
        pixels = scene[0].permute(1, 2, 0).byte().numpy()
        noise = random.integers(-6, 7, (frames, 240, 320, 1), dtype=np.int16)
        shown = np.stack([pixels[t : t + 240, t : t + 320] for t in range(frames)])
        moved = np.clip(shown + noise, 0, 255).astype(np.uint8)
        options = {"b": "1500k", "g": "12"}
        videos.write(folder / f"made_{name:02}.avi", moved, max_b_frames=2, options=options)


def usable(name: str, path: Path) -> str:
    """Return why a reader cannot be used here, or nothing."""
    try:
        FILE_READERS[name](path, 0)
    # Libraries that do not find their FFmpeg raise OSError or RuntimeError when they are imported.
    except (ImportError, OSError, RuntimeError) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return ""


def loader_of(clips: Dataset, number: int, workers: int) -> DataLoader:
    """Return a loader of the clips 0 to `number`: past the last video, the next round begins."""
    return DataLoader(
        clips,
        batch_size=BATCH,
        sampler=range(number),
        num_workers=workers,
        persistent_workers=workers > 0,
        multiprocessing_context="fork" if workers else None,
    )


def feed(loader: DataLoader) -> None:
    """Take in all of a loader's clips as the training loop does, up to the network's input."""
    for place, (frames, _) in enumerate(loader):
        to_network(frames, SETTINGS, random=seeded_generator(0, place))


def read_batch(clips: Dataset) -> list[Tensor]:
    return [clips[number][0] for number in range(BATCH)]


def work(datasets: Mapping[str, Dataset], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of processor time of one batch, by reader, and of single stages."""
    functions: dict[str, Callable[[], object]] = {
        n: partial(read_batch, d) for n, d in datasets.items()
    }
    batch = read_batch(datasets[OURS[-1]])
    pictures = frame_store.encode(torch.cat(batch), 90)
    room = np.empty_like(batch[0][0].numpy())
    functions["decode its JPEG frames"] = lambda: [
        frame_store._decode_jpeg(picture, room) for picture in pictures
    ]
    functions["stack to a batch"] = partial(torch.stack, batch)
    functions["crop, flip, normalise"] = partial(
        to_network, torch.stack(batch), SETTINGS, random=seeded_generator(0)
    )
    return timing.paired(functions, rounds, clock=time.process_time)


def arguments() -> argparse.Namespace:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=formatter)
    parser.add_argument("folder", type=Path, nargs="?", help="take the .avi files in it and below")
    parser.add_argument("--rounds", type=int, default=5, help="how often each reader has its turn")
    parser.add_argument("--clips", type=int, default=64, help="clips that it reads in a turn")
    parser.add_argument("--files", type=int, default=24, help="how many files are made or taken")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="loader processes")
    return parser.parse_args()


def find_videos(folder: Path, most: int) -> tuple[VideoList, list[int], tuple[int, int]]:
    """Return files that are long enough for a clip, their lengths, and the first one's size."""
    files, lengths = [], []
    for path in sorted(folder.rglob("*.avi")):
        length = sum(1 for _ in videos.stream(path)) if len(files) < most else 0
        # decord calls the last frames by the container's count, which may be one too many.
        if length > SETTINGS.span:
            files.append(str(path.relative_to(folder)))
            lengths.append(length - 1)
    if not files:
        timing.skip(f"{folder} holds no .avi file of more than {SETTINGS.span} frames")
    listed = VideoList("benchmark", ("any",), folder, tuple(files), (0,) * len(files))
    info = videos.probe(listed.path(0))
    return listed, lengths, (info.width, info.height)


def main() -> None:
    given = arguments()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        if given.folder is None:
            make_files(scratch / "videos", given.files)
        listed, lengths, size = find_videos(given.folder or scratch / "videos", given.files)
        started, prepared = time.perf_counter(), {}
        for name, quality in zip(OURS, (90, None), strict=True):
            prepared[name] = prepare(
                listed, scratch / "database", size=SETTINGS.resize, quality=quality, progress=False
            )
        filling = (time.perf_counter() - started) / len(listed) / len(prepared)
        left_out = {name: usable(name, listed.path(0)) for name in FILE_READERS}
        left_out = {name: reason for name, reason in left_out.items() if reason}
        datasets: dict[str, Dataset] = {
            **{name: TrainClips(its, SETTINGS) for name, its in prepared.items()},
            **{
                name: FileClips(listed, lengths, read)
                for name, read in FILE_READERS.items()
                if name not in left_out
            },
        }
        rows: dict[str, dict[str, Any]] = {name: {} for name in datasets}
        for workers in given.workers:
            loaders = {n: loader_of(d, given.clips, workers) for n, d in datasets.items()}
            functions = {name: partial(feed, loader) for name, loader in loaders.items()}
            taken = timing.paired(functions, given.rounds)
            middle, ends = timing.medians(taken), timing.ranges(taken)
            factors = timing.ratios(taken, SLOW) if SLOW in taken else {}
            for name in datasets:
                rows[name][f"clips_per_s_{workers}"] = round(given.clips / middle[name], 1)
                rows[name][f"range_{workers}"] = [
                    round(given.clips / end, 1) for end in reversed(ends[name])
                ]
                if factors:
                    rows[name][f"times_{workers}"] = round(factors[name], 2)
            del functions, loaders  # ends their workers
        processor = work(datasets, given.rounds)
    frames = (
        f"{len(listed)} files of {size[0]} x {size[1]}, {sum(lengths) / len(lengths) + 1:.0f} frames"
    )
    print(f"{frames}; {timing.machine()}")
    print(f"the database was filled in {filling * 1e3:.0f} ms a video, once")
    heads = "".join(f"{f'{w} workers':>11} {f'x {SLOW}':>18}" for w in given.workers)
    print(f"{'clips a second':32}{heads}")
    for name, row in rows.items():
        columns = "".join(
            f"{row[f'clips_per_s_{w}']:>11.1f} {row.get(f'times_{w}', float('nan')):>18.2f}"
            for w in given.workers
        )
        print(f"{name:32}{columns}")
    for name, reason in left_out.items():
        print(f"{name:32} left out: {reason}")
    milliseconds = {n: s / BATCH * 1e3 for n, s in timing.medians(processor).items()}
    readers = {name: processor[name] for name in rows}
    less = timing.ratios(readers, SLOW) if SLOW in readers else {}
    print("processor time in one process, milliseconds a clip")
    for name, value in milliseconds.items():
        print(f"{name:32}{value:>11.2f} {f'{less[name]:.2f}' if name in less else '':>18}")
    timing.write_here(
        "data",
        {
            "files": frames,
            "clips_a_turn": given.clips,
            "rounds": given.rounds,
            "readers": rows,
            "left_out": left_out,
            "processor_milliseconds_a_clip": {n: round(v, 2) for n, v in milliseconds.items()},
            "processor_times": {n: round(v, 2) for n, v in less.items()},
            "filling_milliseconds_a_video": round(filling * 1e3, 1),
        },
    )


if __name__ == "__main__":
    main()
