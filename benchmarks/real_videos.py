"""How well do the paper's networks learn real videos? 606 clips of HMDB51, 731 of UCF101, many runs.

    python benchmarks/real_videos.py FOLDER                      # all: a day on two CPU cores
    python benchmarks/real_videos.py FOLDER --data ucf6 --splits 1 --seeds 0 --networks r3d r2plus1d
    python benchmarks/real_videos.py FOLDER --full --jobs 1      # all, 18 layers, 16 x 112 x 112: a GPU
    python benchmarks/real_videos.py                             # only gathers the kept scores again

FOLDER holds jhmdb/manifest.csv and real/manifest.csv beside the videos that they list. Every number
comes from the commands that a user runs on videos of their own: prepare, train, evaluate. A run is of
one network from random weights, or of R(2+1)D on optical flow ("flow"; the mean of its scores and those
of RGB is the two-stream network), from other real clips, which share no source with these ("others"),
or from the shipped checkpoint ("shipped"); of one split and one seed. Its scores and recipe are kept
below benchmarks/results/ when it is done, and it is not made again: a stopped study goes on where it
was. The numbers go to the JSON files beside them, the pictures to figures/.
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from r21d_lib import plots
from r21d_lib.evaluation.scores import Scores, clip_accuracy, hits_by_group, video_accuracy
from r21d_lib.evaluation.streams import average
from r21d_lib.files import BUILD, whole_file
from r21d_lib.models.settings import LABELS
from r21d_lib.suite import findings, ledger
from r21d_lib.suite.repository import FIGURES
from r21d_lib.suite.results import provenance
from r21d_lib.suite.statistics import Study

RESULTS = Path(__file__).parent / "results"
SETS = {"hmdb51": "real_videos", "ucf6": "real_videos_ucf6"}  # to the name of its data and results
FLOW, OTHERS, SHIPPED = "flow", "others", "shipped"  # R(2+1)D of another modality or start
NETWORKS = ("fr2d", "r3d", "r2plus1d", FLOW, "mc3", "rmc3", "r2d", OTHERS)
SPLITS, SEEDS = (1, 2, 3), (0, 1, 2)
FULL = ["depth=18", "width=64", "clip_len=16", "stride=1", "resize=128,171", "crop=112", "epochs=45"]
FULL += ["batch_size=32", "mixed_precision=auto", "workers=8"]
# Flow from each moment to the next, a tenth of a second later; of the full clips' moments with --full.
FLOW_CLIPS = ["modality=flow", "stride=1", "fps=10"]
CODES = {"train": "1", "test": "2", "": "0"}  # of real/manifest.csv's splits


@dataclass(frozen=True)
class Run:
    """One training: of which network on which split of which data, and with which seed."""

    data: str
    network: str
    split: int
    seed: int
    full: bool

    @property
    def kept(self) -> Path:
        """The folder of its kept scores."""
        recipe = "small_finetune" if self.network == SHIPPED else "small_scratch"
        network = self.network.replace("r2plus1d", "").replace(SHIPPED, "")
        split = f"split{self.split}" if self.split > 1 else ""
        name = "_".join(filter(None, (recipe, network, split, f"seed{self.seed}")))
        return folder_of(self.data, full=self.full) / name

    @property
    def scores(self) -> Path:
        """The file of its kept scores: where it is, the run is done."""
        return self.kept / f"scores_split{self.split}.npz"

    @property
    def start(self) -> Path:
        """The folder of the run on other real clips that one of `OTHERS` starts from, of any split."""
        return BUILD / "runs" / f"{self.kept.parent.name}_of_others_seed{self.seed}"

    def make_start(self, threads: int) -> None:
        """Train what `start` holds."""
        changes = [f"data={SETS[self.data]}_others", f"seed={self.seed}", *(FULL if self.full else [])]
        r21d("train", "small_scratch", *changes, "--run", str(self.start), threads=threads)

    def train(self, threads: int) -> None:
        """Train and evaluate, and keep the scores."""
        own = [f"split={self.split}", f"seed={self.seed}", *(FULL if self.full else [])]
        folder = BUILD / "runs" / f"{self.kept.parent.name}_{self.kept.name}"
        if self.network in LABELS:
            own.append(f"network={self.network}")
        elif self.network == FLOW:
            own += FLOW_CLIPS[:2] if self.full else FLOW_CLIPS
        elif self.network == OTHERS:
            own.append(f"checkpoint={self.start / 'last.safetensors'}")
        recipe = "small_finetune" if self.network == SHIPPED else "small_scratch"
        changes = [f"data={SETS[self.data]}", *own]
        r21d("train", recipe, *changes, "--run", str(folder), threads=threads)
        if not (folder / self.scores.name).is_file():
            r21d("evaluate", str(folder), threads=threads)
        self.kept.mkdir(parents=True, exist_ok=True)
        recipe = (folder / "recipe.json").read_text(encoding="utf-8")
        with whole_file(self.kept / "recipe.json") as partial:  # says nothing of this machine's folders
            partial.write_text(recipe.replace(f"{BUILD}{os.sep}", ""), encoding="utf-8")
        for file in ("metrics.csv", self.scores.name):  # the last says that all is there
            with whole_file(self.kept / file) as partial:
                shutil.copyfile(folder / file, partial)


def folder_of(data: str, *, full: bool) -> Path:
    """Return where the scores of a data set are kept."""
    return RESULTS / f"{SETS[data]}{'_full' if full else ''}"


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


def rows(folder: Path) -> Iterator[dict[str, str]]:
    """Yield a row a video of both manifests, in one form."""
    with open(folder / "jhmdb" / "manifest.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            yield {**row, "set": "hmdb51", "video": f"jhmdb/{row['video']}", "group": ""}
    with open(folder / "real" / "manifest.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            codes = {f"split{split}": CODES[row[f"split{split}"]] for split in SPLITS}
            # The names of UCF101's videos say it: g01 of two classes are two sources.
            group = "" if row["set"] == "ucf6" else row["group"]
            named = {"label_name": row["label"], "video": f"real/{row['video']}", "group": group}
            yield {"set": row["set"], **named, **codes}


def prepare(folder: Path, data: str, threads: int) -> None:
    """Make the data set, and one of all other real clips, by `r21d prepare listed`."""
    columns = ("label_name", "video", "group", *(f"split{split}" for split in SPLITS))
    own = [row for row in rows(folder) if row["set"] == data]
    others = [  # in their first splits
        {**row, "label_name": f"{row['set']} {row['label_name']}", "split2": "0", "split3": "0"}
        for row in rows(folder)
        if row["set"] != data
    ]
    for name, chosen in ((SETS[data], own), (f"{SETS[data]}_others", others)):
        listed = BUILD / f"{name}.csv"
        listed.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(listed) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(chosen)
        command = ("prepare", "listed", str(listed), "--videos", str(folder), "--name", name)
        r21d(*command, threads=threads)


def pooled(studies: Sequence[Study]) -> Study:
    """Return one study of several splits: of each run that is in all, what is right in all together."""
    groups: Counter[str] = Counter()
    for study in studies:
        groups.update(study.groups)
    order, runs = sorted(groups), []
    for first in studies[0].runs:
        key = (first["network"], first["seed"])
        same = [[r for r in s.runs if (r["network"], r["seed"]) == key] for s in studies]
        if not all(same):
            continue
        hits: Counter[str] = Counter()
        for study, (run,) in zip(studies, same, strict=True):
            hits.update(dict(zip(study.groups, run["hits"], strict=True)))
        row = {"network": key[0], "seed": key[1], "hits": [hits[name] for name in order]}
        for measure in ("clip@1", "video@1", "minutes", "train_accuracy"):
            values = [run[measure] for (run,) in same if measure in run]
            values = [value[-1] if isinstance(value, list) else value for value in values]
            row |= {measure: round(sum(values) / len(values), 4)} if values else {}
        runs.append(row)
    return replace(studies[0], runs=runs, groups={name: groups[name] for name in order})


def both_streams(rgb: Path, flow: Path, seed: int) -> dict[str, Any]:
    """Return what the mean of two kept scores files gets right, as a run of a study."""
    scores = average(Scores.load(rgb), Scores.load(flow))
    return {
        "network": "r2plus1d",
        "seed": seed,
        "hits": hits_by_group(scores)["right"].tolist(),
        "clip@1": round(clip_accuracy(scores), 4),
        "video@1": round(video_accuracy(scores), 4),
    }


def of_split(data: str, split: int, *, full: bool) -> dict[str, Study]:
    """Collect the kept runs of a split: "runs" of RGB from random weights, and the other starts."""

    def done(network: str) -> list[Run]:
        runs = [Run(data, network, split, seed, full) for seed in range(100)]
        return [run for run in runs if run.scores.is_file()]

    scratch = [run for name in LABELS for run in done(name)]
    found = {"runs": scratch, **{name: done(name) for name in (FLOW, OTHERS, SHIPPED)}}
    studies = {
        name: Study.collect([run.kept for run in its], unit="films")
        for name, its in found.items()
        if its
    }
    pairs = [(replace(run, network="r2plus1d"), run) for run in found[FLOW]]
    both = [both_streams(a.scores, b.scores, b.seed) for a, b in pairs if a.scores.is_file()]
    if both:
        studies["both"] = replace(studies[FLOW], runs=both)
    return studies


def collect(data: str, *, full: bool) -> tuple[list[int], dict[str, Study]]:
    """Return the splits that all networks of the first have, and what was reached over all of them."""
    found = {split: of_split(data, split, full=full) for split in SPLITS}
    every = set(found[1]["runs"].networks)
    splits = [k for k in SPLITS if "runs" in found[k] and every <= set(found[k]["runs"].networks)]
    studies = {}
    for name in found[1]:
        its = [found[split][name] for split in splits if name in found[split]]
        if len(its) == len(splits):
            studies[name] = pooled(its) if len(its) > 1 else its[0]
    return splits, studies


def gather(data: str, *, full: bool) -> None:
    """Write the numbers and the picture of the kept scores of a data set."""
    kept = folder_of(data, full=full)
    if not (kept.is_dir() and of_split(data, 1, full=full).get("runs")):
        return
    splits, studies = collect(data, full=full)
    scratch = studies["runs"]
    seeds = sorted({run["seed"] for run in scratch.runs})
    run = [*scratch.networks, *(name for name in studies if name not in ("runs", "both"))]
    options = {"--splits": splits, "--seeds": seeds, "--networks": run}
    chosen = " ".join(f"{option} {' '.join(map(str, its))}" for option, its in options.items())
    command = (
        f"python benchmarks/real_videos.py FOLDER --data {data} {chosen}{' --full' if full else ''}"
    )
    content: dict[str, Any] = {
        "splits": splits,
        **{key: value for key, value in scratch.to_dict().items() if key != "provenance"},
        **{name: list(study.runs) for name, study in studies.items() if name != "runs"},
    }
    file = kept.with_suffix(".json")
    before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    before.pop("command", None)
    made = before.pop("provenance", None)
    # Where no run was added they were made when and where the file says.
    content["provenance"] = made if before == content else provenance(splits=splits, seeds=seeds)
    with whole_file(file) as partial:
        partial.write_text(json.dumps({"command": command, **content}) + "\n")
    bars = {}
    for name, study in studies.items():
        for paper, row in study.standings().iterrows():
            start = ledger.REAL_STARTS.get(name, "").removeprefix("random weights, ")
            its = sorted({run["seed"] for run in study.runs})
            fewer = "" if its == seeds else f"seeds: {len(its)}"
            label = ", ".join(filter(None, (str(paper), start, fewer)))
            bars[label] = tuple(row[key] for key in ("mean", "low", "high", "groups"))
            print(f"{label:34} video@1 {row['mean']:.3f} [{row['low']:.3f}, {row['high']:.3f}]")
    said = f"{len(splits)} of 3 splits, seeds: {len(seeds)}"
    print(f"{data}: {said}, {len(scratch.groups)} films", flush=True)
    figure = plots.accuracy_bars(bars, xlabel=f"video@1, {said}", unit="films")
    with whole_file(FIGURES / f"{kept.name}.png") as partial:
        partial.write_bytes(figure.picture())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", help="holds jhmdb/ and real/")
    parser.add_argument("--data", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--networks", nargs="+", default=NETWORKS, choices=[*NETWORKS, SHIPPED])
    parser.add_argument("--splits", nargs="+", type=int, default=SPLITS, choices=SPLITS)
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--full", action="store_true", help="18 layers on 16 x 112 x 112")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--threads", type=int, help="of each run; its share of cores if not given")
    arguments = parser.parse_args()
    full = arguments.full
    if arguments.folder is not None:
        # Several runs of one thread each are done sooner than one after the other on all cores.
        threads = arguments.threads or max((os.cpu_count() or 1) // arguments.jobs, 1)
        for data in arguments.data:
            prepare(arguments.folder, data, threads)
        todo = [
            Run(data, network, split, seed, full)
            for seed in arguments.seeds
            for split in arguments.splits
            for data in arguments.data
            for network in arguments.networks
        ]
        todo = [run for run in todo if not run.scores.is_file()]
        starts = {run.start: run.make_start for run in todo if run.network == OTHERS}
        with ThreadPoolExecutor(arguments.jobs) as pool:
            for work in filter(None, (list(starts.values()), [run.train for run in todo])):
                for future in tqdm([pool.submit(do, threads) for do in work], unit="run"):
                    future.result()
    for data in arguments.data:
        gather(data, full=full)
    if not full:
        findings.fill()


if __name__ == "__main__":
    main()
