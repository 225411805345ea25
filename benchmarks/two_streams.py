"""Does optical flow add to RGB? Both streams on ActionFigures, and the average of their scores.

    python benchmarks/two_streams.py                    # half an hour on one CPU core
    python benchmarks/two_streams.py --networks r2plus1d --seeds 1
    python benchmarks/two_streams.py --gather           # only writes the numbers of the kept scores

Each network is trained by figures_race (RGB) and by figures_flow (optical flow of the same moments),
with two thirds of their epochs, because after all of them RGB alone has next to nothing left to gain.
Runs that are finished or recorded are not run again. Scores go to benchmarks/results/two_streams/, the
numbers to two_streams.json beside it, which notebook 09b reads.
"""

import argparse
import io
import itertools
import json
import shutil
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from r21d_lib.data import flow as optical_flow
from r21d_lib.data import frame_store, video
from r21d_lib.data.clips import resize
from r21d_lib.evaluation.scores import clip_accuracy, video_accuracy
from r21d_lib.files import whole_file
from r21d_lib.suite.results import provenance
from r21d_lib.suite.streams import FOLDER, TwoStreams
from r21d_lib.training import recipes
from r21d_lib.training.recipes import Recipe
from r21d_lib.training.run import run_one
from r21d_lib.training.run_folder import RunFolder

FILE = FOLDER.with_suffix(".json")
RECIPES = {"rgb": "figures_race", "flow": "figures_flow"}
NETWORKS = ("r2plus1d", "r3d")
SEEDS, EPOCHS = 3, 16
JPEG_QUALITIES = (75, 90, 95)


def followed(epochs: int) -> dict[str, Any]:
    """Return what the runs of both streams follow, as plain values, for R(2+1)D and the first seed."""
    return {s: json.loads(json.dumps(entry(NETWORKS[0], s, 0, epochs).to_dict())) for s in RECIPES}


def entry(network: str, stream: str, seed: int, epochs: int) -> Recipe:
    """Return the recipe of one run."""
    changes = [f"network={network}", f"seed={seed}", f"epochs={epochs}"]
    return recipes.read(RECIPES[stream], changes)


def recorded() -> dict[str, Any]:
    """Return what was written before; {} if nothing was."""
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {}


def train(network: str, stream: str, seed: int, epochs: int) -> dict[str, Any]:
    """Train and score one run, keep its scores, and return what it cost and reached."""
    before, name = recorded(), f"{network}_{stream}_seed{seed}"
    if before and before["recipes"] == followed(epochs) and (FOLDER / f"{name}.npz").is_file():
        for run in before["runs"]:
            if (run["network"], run["stream"], run["seed"]) == (network, stream, seed):
                return dict(run)
    recipe = entry(network, stream, seed, epochs)
    began = time.process_time()
    finish = run_one(recipe, progress=False)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with whole_file(FOLDER / f"{name}.npz") as partial:
        shutil.copyfile(RunFolder.of(recipe).scores_file(recipe.split), partial)
    reached = {
        "network": network,
        "stream": stream,
        "seed": seed,
        "video@1": round(video_accuracy(finish.scores), 4),
        "clip@1": round(clip_accuracy(finish.scores), 4),
        "train_accuracy": round(float(finish.history["train_accuracy"].iloc[-1]), 4),
        "cpu_minutes": round((time.process_time() - began) / 60, 2),
    }
    print(name, reached, flush=True)
    return reached


def storage(videos: int = 60) -> dict[str, Any]:
    """Measure what 8 bits cost, of ActionFigures' flow: errors in pixels, and bytes a field."""
    recipe = recipes.read("figures_flow")
    listed = recipe.video_list("train")
    real, height, width = [], *recipe.clips.resize
    for index in range(0, len(listed), len(listed) // videos):
        frames = resize(torch.from_numpy(video.decode(listed.path(index))), (height, width)).numpy()[
            ::3
        ]
        real += [optical_flow.farneback(a, b) for a, b in itertools.pairwise(frames)]
    exact = np.stack(real)
    codes = optical_flow.encode(exact)
    error = np.abs(optical_flow.decode(codes) - np.clip(exact, -optical_flow.BOUND, optical_flow.BOUND))
    png = frame_store.encode(torch.from_numpy(codes), frame_store.FLOW)
    told: dict[str, Any] = {
        "fields": len(codes),
        "clipped": float((np.abs(exact) > optical_flow.BOUND).mean()),
        "still": round(float((codes == optical_flow.STILL).mean()), 4),
        "raw_bytes": int(codes[0].nbytes),
        "png_bytes": round(sum(map(len, png)) / len(png)),
        "largest_error": round(float(error.max()), 4),
        "mean_error": round(float(error.mean()), 4),
        "bound_of_error": round(optical_flow.LARGEST_ERROR, 4),
        "std": [round(float(v), 4) for v in exact.reshape(-1, 2).std(0)],
    }
    for quality in JPEG_QUALITIES:
        told[f"jpeg_{quality}"] = _jpeg(codes, quality)
    return told


def _jpeg(codes: np.ndarray, quality: int) -> dict[str, float]:
    """Return what JPEG would do to fields of flow, each as a grey picture of x beside y."""
    size, errors = 0, []
    for field in codes:
        picture, file = np.hstack([field[..., 0], field[..., 1]]), io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=quality)
        size += file.tell()
        back = np.asarray(Image.open(file)).astype(np.float32)
        errors.append(np.abs(back - picture) * optical_flow.BOUND / optical_flow.STEPS)
    every = np.stack(errors)
    return {
        "bytes": round(size / len(codes)),
        "mean_error": round(float(every.mean()), 4),
        "largest_error": round(float(every.max()), 4),
    }


def write(runs: Sequence[dict[str, Any]], epochs: int) -> None:
    """Write the numbers of the kept scores, and print them."""
    before = recorded()
    known = {(r["network"], r["stream"], r["seed"]): r for r in before.get("runs", [])}
    # A run that was finished before costs nothing now: what it cost then stays.
    for run in runs:
        known.setdefault((run["network"], run["stream"], run["seed"]), run)
    study = TwoStreams.load()
    names, seeds = " ".join(study.seeds), max(map(len, study.seeds.values()))
    content = {
        "command": f"python benchmarks/two_streams.py --networks {names} --seeds {seeds}",
        "recipes": followed(epochs),
        **study.to_dict(),
        "storage": before.get("storage") or storage(),
        "runs": list(known.values()),
        "provenance": provenance(),
    }
    with whole_file(FILE) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n")
    print(study.standings().round(3).to_string(), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", nargs="+", default=NETWORKS, help="which networks")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="seeds of each network and stream")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of each training")
    parser.add_argument("--gather", action="store_true", help="train nothing")
    arguments = parser.parse_args()
    runs: list[dict[str, Any]] = []
    if not arguments.gather:
        for network in arguments.networks:
            for seed in range(arguments.seeds):
                runs += [train(network, stream, seed, arguments.epochs) for stream in RECIPES]
                write(runs, arguments.epochs)
    write(runs, arguments.epochs)


if __name__ == "__main__":
    main()
