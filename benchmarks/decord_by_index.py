"""Does decord give the frames that it is asked for by number? PyAV, decoding in order, is the judge.

    python benchmarks/decord_by_index.py              # clips made here
    python benchmarks/decord_by_index.py FOLDER ...   # and every .avi in these folders

Each file is asked, with a fresh reader each time, for 16 consecutive frames from its middle and for 16
evenly spaced ones; and is then decoded from the first frame to the last. A frame counts as wrong where
some pixel is off by more than two grey levels: decord's FFmpeg is older and sometimes rounds
another way. Results go to benchmarks/results/decord_by_index.json.
"""

import argparse
import tempfile
from pathlib import Path

import av
import decord
import numpy as np
import timing

from r21d_lib.data import video

ASKED = 16


def numbered_frames(num_frames: int = 90) -> np.ndarray:
    """Draw a square that moves, over bars that spell the frame's number: (T, 120, 160, 3) uint8."""
    frames = np.full((num_frames, 120, 160, 3), 40, np.uint8)
    for t, frame in enumerate(frames):
        x = 3 * t % 140
        frame[40:70, x : x + 20] = (220, 120, 60)
        for bit in range(8):
            frame[100:116, 10 + 18 * bit : 24 + 18 * bit] = 230 if t >> bit & 1 else 20
    return frames


def make_clips(folder: Path) -> list[Path]:
    """Write the same frames with 0, 1 and 2 B-frames and a key frame every 12 or 300 frames."""
    paths = []
    for b_frames in (0, 1, 2):
        for distance in (12, 300):
            path = folder / f"made, {b_frames} B-frames, key frame every {distance}.avi"
            options = {"g": str(distance)}
            video.write(path, numbered_frames(), max_b_frames=b_frames, options=options)
            paths.append(path)
    return paths


def is_same(frame: np.ndarray, reference: np.ndarray) -> bool:
    """Tell whether two pictures are one frame, decoded twice."""
    return int(np.abs(frame.astype(int) - reference).max()) <= 2


def judge(path: Path) -> dict[str, object]:
    """Compare decord with PyAV on one file; counts of frames that differ."""
    reference = video.decode(path, decoder="pyav")
    middle = max(0, len(reference) // 2 - ASKED // 2)
    requests = {
        "contiguous": np.arange(middle, min(middle + ASKED, len(reference))),
        "sparse": np.linspace(0, len(reference) - 1, min(ASKED, len(reference))).round().astype(int),
    }
    wrong = {}
    for name, numbers in requests.items():
        got = decord.VideoReader(str(path)).get_batch(numbers.tolist()).asnumpy()
        wrong[name] = sum(
            not is_same(frame, reference[n]) for frame, n in zip(got, numbers, strict=True)
        )
    in_order = video.decode(path, decoder="decord")
    same = sum(map(is_same, in_order, reference))
    with av.open(str(path)) as container:
        kinds = [av.video.frame.PictureType(f.pict_type).name for f in container.decode(video=0)]
    return {
        "file": path.name,
        "frames": len(reference),
        "b_frames": kinds.count("B"),
        "asked": ASKED,
        "wrong_contiguous": wrong["contiguous"],
        "wrong_sparse": wrong["sparse"],
        "wrong_in_order": len(reference) - same,
        "frames_in_order": len(in_order),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, help="folders of .avi files")
    arguments = parser.parse_args()
    decord.logging.set_level(decord.logging.QUIET)
    with tempfile.TemporaryDirectory() as folder:
        paths = make_clips(Path(folder))
        for given in arguments.folders:
            found = sorted(given.glob("*.avi"))
            if not found:
                parser.error(f"{given} holds no .avi file")
            paths += found
        rows = []
        print(f"{'wrong of 16':>24}\n{'contiguous':>10} {'sparse':>6} {'in order':>8}  file")
        for path in paths:
            row = judge(path)
            rows.append(row)
            counts = "{wrong_contiguous:>10} {wrong_sparse:>6} {wrong_in_order:>8}".format(**row)
            print(f"{counts}  {path.name} ({row['frames']} frames, {row['b_frames']} B)", flush=True)
    timing.write("decord_by_index", {"files": rows, "decord": decord.__version__})


if __name__ == "__main__":
    main()
