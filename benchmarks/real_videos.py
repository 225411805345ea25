"""How well do the paper's networks learn real videos? 606 HMDB51 clips of 14 classes, three seeds.

    python benchmarks/real_videos.py LIST VIDEOS           # about an hour on two CPU cores
    python benchmarks/real_videos.py LIST VIDEOS --full    # 18 layers, 16 x 112 x 112: needs a GPU

LIST is a CSV list as `r21d prepare listed` takes it, VIDEOS the folder that it starts from. Every
number comes from the commands that a user runs on videos of their own: prepare, train, evaluate. Runs
that are finished are not run again. Scores and recipes go to benchmarks/results/real_videos/, the
numbers to real_videos.json beside it, the picture to figures/real_videos.png.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from r21d_lib import plots
from r21d_lib.evaluation.intervals import accuracy_interval
from r21d_lib.evaluation.scores import Scores, hits_by_group, summary, video_interval
from r21d_lib.files import BUILD, FIGURES, whole_file
from r21d_lib.models.networks import PAPER_NAMES
from r21d_lib.suite.results import provenance

RESULTS = Path(__file__).parent / "results"
DATA = "real_videos"
SEEDS = (0, 1, 2)
# Name in the table, recipe, changes to it.
EXPERIMENTS = [
    *((PAPER_NAMES[name], "small_scratch", [f"network={name}"]) for name in ("r2d", "fr2d", "r3d")),
    (PAPER_NAMES["r2plus1d"], "small_scratch", []),
    (f"{PAPER_NAMES['r2plus1d']}, pretrained", "small_finetune", []),
]
FULL = ["depth=18", "width=64", "clip_len=16", "stride=1", "resize=128,171", "crop=112", "epochs=45"]
FULL += ["batch_size=32", "mixed_precision=auto", "workers=8"]


def r21d(*arguments: str, threads: int) -> None:
    """Run a command of the suite, and stop with its message if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "r21d_lib", *arguments],
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"r21d {' '.join(arguments)}: {done.stderr.strip().splitlines()[-1]}")


def run_one(recipe: str, changes: list[str], seed: int, threads: int) -> dict[str, object]:
    """Train and evaluate one network; return its numbers."""
    name = "_".join([recipe, *(c.split("=")[1] for c in changes if "network" in c), f"seed{seed}"])
    run, started = BUILD / "runs" / f"{DATA}_{name}", time.perf_counter()
    r21d("train", recipe, f"data={DATA}", f"seed={seed}", *changes, "--run", str(run), threads=threads)
    minutes = (time.perf_counter() - started) / 60
    if not (run / "scores_split1.npz").is_file():
        r21d("evaluate", str(run), threads=threads)
    kept = RESULTS / DATA / name
    kept.mkdir(parents=True, exist_ok=True)
    for file in ("scores_split1.npz", "recipe.json", "metrics.csv"):
        shutil.copyfile(run / file, kept / file)
    scores = Scores.load(run / "scores_split1.npz")
    numbers = summary(scores)
    interval, hits = video_interval(scores)._asdict(), hits_by_group(scores)["right"].tolist()
    return {"seed": seed, **numbers, **interval, "hits": hits, "minutes": round(minutes, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("list", type=Path, help="CSV list, such as JHMDB's manifest.csv")
    parser.add_argument("videos", type=Path, help="the folder that the list's names start from")
    parser.add_argument("--full", action="store_true", help="18 layers on 16 x 112 x 112")
    parser.add_argument(
        "--jobs", type=int, default=2, help="runs at a time, each on its share of cores"
    )
    arguments = parser.parse_args()
    # Several runs of one thread each are done sooner than one after the other on all cores.
    threads = max((os.cpu_count() or 1) // arguments.jobs, 1)
    r21d(
        "prepare", "listed", str(arguments.list), "--videos", str(arguments.videos), "--name", DATA,
        threads=threads,
    )  # fmt: skip
    full = FULL if arguments.full else []
    todo = [
        (name, recipe, [*changes, *full], seed)
        for seed in SEEDS
        for name, recipe, changes in EXPERIMENTS
        if not (arguments.full and recipe == "small_finetune")  # the shipped network is small
    ]
    started = time.perf_counter()
    with ThreadPoolExecutor(arguments.jobs) as pool:
        futures = [
            pool.submit(run_one, recipe, changes, seed, threads) for _, recipe, changes, seed in todo
        ]
        rows: dict[str, list[dict[str, object]]] = {}
        for (name, *_), future in zip(todo, tqdm(futures, unit="run"), strict=True):
            rows.setdefault(name, []).append(future.result())
    kept = sorted((RESULTS / DATA).glob("*/scores_split1.npz"))[0]
    films = hits_by_group(Scores.load(kept))["videos"].to_numpy()
    bars = {}
    for name, runs in rows.items():
        accuracy = float(np.mean([run["video@1"] for run in runs]))
        hits = np.array([run["hits"] for run in runs])
        interval = accuracy_interval(hits, films)
        bars[name] = (accuracy, *interval)
        clip = float(np.mean([run["clip@1"] for run in runs]))
        print(
            f"{name:22} clip@1 {clip:.3f}  video@1 {accuracy:.3f} "
            f"[{interval.low:.3f}, {interval.high:.3f}], {interval.groups} films"
        )
    content = {
        "command": f"python benchmarks/real_videos.py LIST VIDEOS{' --full' if arguments.full else ''}",
        "minutes": round((time.perf_counter() - started) / 60, 1),
        "runs": rows,
        "provenance": provenance(split=1, seeds=list(SEEDS)),
    }
    suffix = "_full" if arguments.full else ""
    with whole_file(RESULTS / f"real_videos{suffix}.json") as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n")
    figure = plots.accuracy_bars(
        bars, xlabel="video@1 on real videos, mean of three seeds", unit="films"
    )
    with whole_file(FIGURES / f"real_videos{suffix}.png") as partial:
        partial.write_bytes(figure.picture())


if __name__ == "__main__":
    main()
