"""How well do the paper's networks learn real videos? 606 HMDB51 clips of 14 classes, three seeds.

    python benchmarks/real_videos.py LIST VIDEOS           # about an hour on two CPU cores
    python benchmarks/real_videos.py LIST VIDEOS --full    # 18 layers, 16 x 112 x 112: needs a GPU
    python benchmarks/real_videos.py                       # only gathers the kept scores again

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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm.auto import tqdm

from r21d_lib import plots
from r21d_lib.files import BUILD, whole_file
from r21d_lib.suite import findings
from r21d_lib.suite.repository import FIGURES
from r21d_lib.suite.results import provenance
from r21d_lib.suite.statistics import Study

RESULTS = Path(__file__).parent / "results"
DATA = "real_videos"
SEEDS = (0, 1, 2)
# Recipe, changes to it.
EXPERIMENTS: list[tuple[str, list[str]]] = [
    *(("small_scratch", [f"network={name}"]) for name in ("r2d", "fr2d", "r3d")),
    ("small_scratch", []),
    ("small_finetune", []),
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


def run_one(recipe: str, changes: list[str], seed: int, threads: int) -> None:
    """Train and evaluate one network, and keep its scores."""
    name = "_".join([recipe, *(c.split("=")[1] for c in changes if "network" in c), f"seed{seed}"])
    run = BUILD / "runs" / f"{DATA}_{name}"
    r21d("train", recipe, f"data={DATA}", f"seed={seed}", *changes, "--run", str(run), threads=threads)
    if not (run / "scores_split1.npz").is_file():
        r21d("evaluate", str(run), threads=threads)
    kept = RESULTS / DATA / name
    kept.mkdir(parents=True, exist_ok=True)
    for file in ("scores_split1.npz", "recipe.json", "metrics.csv"):
        shutil.copyfile(run / file, kept / file)


def run_all(listed: Path, videos: Path, *, full: bool, jobs: int) -> None:
    """Run what is not finished yet."""
    # Several runs of one thread each are done sooner than one after the other on all cores.
    threads = max((os.cpu_count() or 1) // jobs, 1)
    r21d(
        "prepare", "listed", str(listed), "--videos", str(videos), "--name", DATA, threads=threads
    )  # fmt: skip
    todo = [
        (recipe, [*changes, *(FULL if full else [])], seed, threads)
        for seed in SEEDS
        for recipe, changes in EXPERIMENTS
        if not (full and recipe == "small_finetune")  # the shipped network is small
    ]
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(run_one, *one) for one in todo]
        for future in tqdm(futures, unit="run"):
            future.result()


def gather(full: bool) -> None:
    """Write the numbers and the picture of the kept scores."""
    folders = sorted(file.parent for file in (RESULTS / DATA).glob("*/recipe.json"))
    studies = {
        kind: Study.collect([f for f in folders if f.name.startswith(kind)], unit="films")
        for kind in dict.fromkeys(recipe for recipe, _ in EXPERIMENTS)
        if not (full and kind == "small_finetune")
    }
    bars = {}
    for kind, study in studies.items():
        for paper, row in study.standings().iterrows():
            name = f"{paper}, pretrained" if kind == "small_finetune" else str(paper)
            bars[name] = tuple(row[key] for key in ("mean", "low", "high", "groups"))
            print(f"{name:22} video@1 {row['mean']:.3f} [{row['low']:.3f}, {row['high']:.3f}]")
    scratch, suffix = studies["small_scratch"], "_full" if full else ""
    print(f"{len(SEEDS)} seeds, {len(scratch.groups)} films")
    content = {
        "command": f"python benchmarks/real_videos.py LIST VIDEOS{' --full' if full else ''}",
        **scratch.to_dict(),
        "pretrained": list(studies["small_finetune"].runs) if "small_finetune" in studies else [],
        "provenance": provenance(split=1, seeds=list(SEEDS)),
    }
    with whole_file(RESULTS / f"real_videos{suffix}.json") as partial:
        partial.write_text(json.dumps(content) + "\n")
    label = f"video@1 on real videos, mean of {len(SEEDS)} seeds"
    figure = plots.accuracy_bars(bars, xlabel=label, unit="films")
    with whole_file(FIGURES / f"real_videos{suffix}.png") as partial:
        partial.write_bytes(figure.picture())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("list", type=Path, nargs="?", help="CSV list, such as JHMDB's manifest.csv")
    parser.add_argument("videos", type=Path, nargs="?", help="the folder that its names start from")
    parser.add_argument("--full", action="store_true", help="18 layers on 16 x 112 x 112")
    parser.add_argument(
        "--jobs", type=int, default=2, help="runs at a time, each on its share of cores"
    )
    arguments = parser.parse_args()
    if arguments.list is not None:
        if arguments.videos is None:
            parser.error("give the folder of the list's videos as well")
        run_all(arguments.list, arguments.videos, full=arguments.full, jobs=arguments.jobs)
    gather(arguments.full)
    if not arguments.full:
        findings.fill()


if __name__ == "__main__":
    main()
