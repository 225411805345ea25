"""How far does video@1 move when only chance differs? Draws of the race's recipe for three networks.

    python benchmarks/spread.py                    # 12 draws of each network, hours on two CPU cores
    python benchmarks/spread.py --seeds 4 --pinned 3 --networks r3d --set epochs=48 \\
        --to benchmarks/results/spread_longer.json

A draw is a whole training with figures_race and its scores of the test videos. Each seed is drawn in
the processor's own arithmetic; some of them also in that which notebooks are recorded in (AVX2), and
there once more with every initial weight multiplied by 1 + 1e-6 or 1 - 1e-6: what differs between the
three is rounding alone. The first are the race's runs, and are not made again where those are.
Each draw is a process with one thread; finished ones are not run again. The numbers go to
benchmarks/results/spread.json, those of a longer training beside them.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from r21d_lib.evaluation.protocol import score_once
from r21d_lib.evaluation.scores import video_accuracy
from r21d_lib.files import BUILD, whole_file
from r21d_lib.suite import arithmetic, findings
from r21d_lib.suite.results import provenance
from r21d_lib.training import recipes, train
from r21d_lib.training.run_folder import RunFolder

RESULTS = Path(__file__).parent / "results" / "spread.json"
NETWORKS = ("fr2d", "r3d", "r2plus1d")
PERTURBATION = 1e-6
Arithmetic = Literal["avx2", "native"]


@dataclass(frozen=True)
class Draw:
    """What differs between two trainings of a network.

    Attributes:
        network: one of the paper's twelve, as `build_network` takes it.
        seed: of weights, order, starts, crops and flips.
        arithmetic: "avx2" or the processor's own, "native".
        perturbation: the seed of the signs that the initial weights are moved by; 0 moves none.
    """

    network: str
    seed: int
    arithmetic: Arithmetic = "avx2"
    perturbation: int = 0

    @property
    def name(self) -> str:
        """The folder's name."""
        return f"{self.network}_seed{self.seed}_{self.arithmetic}_perturbation{self.perturbation}"


def plan(networks: Sequence[str], seeds: int, pinned: int, *, native: bool) -> list[Draw]:
    """List the draws, the first seed of all networks first.

    Args:
        networks: names.
        seeds: how many are drawn in the processor's own arithmetic.
        pinned: how many of them also in AVX2, as they are and perturbed.
        native: false where the processor's own arithmetic is that of AVX2.
    """
    return [
        draw
        for seed in range(seeds)
        for network in networks
        for draw in (
            *([Draw(network, seed, "native")] if native else []),
            *([Draw(network, seed)] if seed < pinned or not native else []),
            *([Draw(network, seed, perturbation=seed + 1)] if seed < pinned else []),
        )
    ]


def perturb(network: nn.Module, seed: int) -> None:
    """Multiply every weight by 1 + 1e-6 or 1 - 1e-6, in place; seed 0 leaves them as they are."""
    if seed:
        random = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in network.parameters():
                signs = 2 * torch.randint(2, weight.shape, generator=random) - 1
                weight.mul_(1 + PERTURBATION * signs)


def environment(draw: Draw) -> dict[str, str]:
    """Return the environment of a draw's process: one thread, and its arithmetic."""
    fixed = arithmetic.pinned()
    threads = {name: value for name, value in fixed.items() if name.endswith("_THREADS")}
    own = {name: value for name, value in os.environ.items() if name not in fixed}
    return {**own, **(fixed if draw.arithmetic == "avx2" else threads)}


def make(draw: Draw, changes: Sequence[str]) -> dict[str, Any]:
    """Train and score one draw in this process, or read what it left when it was made.

    Returns:
        The draw's fields, video@1 and, of the training clips, the fraction right after a quarter of the
        epochs and after all.
    """
    recipe = recipes.read("figures_race", [*changes, f"network={draw.network}", f"seed={draw.seed}"])
    training, test = recipe.videos("train"), recipe.videos("test")
    network = recipe.build(len(training.videos.classes), seed=draw.seed)
    perturb(network, draw.perturbation)
    folder = BUILD / "spread" / f"{recipe.training.epochs}_epochs" / draw.name
    if draw.arithmetic == "native" and not changes:
        folder = RunFolder.of(recipe).path
    history = train(network, training, recipe, folder, progress=False)
    scores = score_once(
        RunFolder(folder).scores_file(recipe.split),
        network,
        test,
        recipe.clips,
        num_clips=recipe.num_clips,
        progress=False,
    )
    right = [float(value) for value in history["train_accuracy"]]
    return {
        **asdict(draw),
        "video@1": round(video_accuracy(scores), 4),
        "train_accuracy_at_quarter": round(right[max(len(right) // 4, 1) - 1], 4),
        "train_accuracy": round(right[-1], 4),
    }


def make_apart(draw: Draw, changes: Sequence[str]) -> dict[str, Any]:
    """Make one draw in a process of its own, with its arithmetic; return what `make` does there."""
    changed = [f"--set={change}" for change in changes]
    command = [sys.executable, __file__, "--one", json.dumps(asdict(draw)), *changed]
    done = subprocess.run(command, env=environment(draw), stdout=subprocess.PIPE, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=8, help="seeds of each network")
    parser.add_argument("--pinned", type=int, default=2, help="of them, those drawn in AVX2 too")
    parser.add_argument("--networks", nargs="+", default=NETWORKS, help="which networks")
    parser.add_argument("--jobs", type=int, default=2, help="draws at a time, of one thread each")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="in the recipe")
    parser.add_argument("--to", type=Path, default=RESULTS, help="the file to write")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        torch.set_num_threads(1)
        print(json.dumps(make(Draw(**json.loads(arguments.one)), arguments.set)))
        return
    recipe = recipes.read("figures_race", arguments.set)
    for part in ("train", "test"):
        recipe.videos(part)  # decoded here once, and not by several processes at a time
    prints = {
        kind: arithmetic.fingerprint_in(environment(Draw("r3d", 0, kind)))
        for kind in ("avx2", "native")
    }
    todo = plan(
        arguments.networks, arguments.seeds, arguments.pinned, native=prints["native"] != prints["avx2"]
    )
    made: list[dict[str, Any]] = []
    with ThreadPoolExecutor(arguments.jobs) as pool:
        results = pool.map(lambda one: make_apart(one, arguments.set), todo)
        for draw, result in zip(todo, results, strict=True):
            made.append(result)
            content = {
                "command": " ".join(["python", "benchmarks/spread.py", *sys.argv[1:]]),
                "recipe": recipe.to_dict(),
                "fingerprints": prints,
                "draws": made,
                "provenance": provenance(jobs=arguments.jobs),
            }
            with whole_file(arguments.to) as partial:
                partial.write_text(json.dumps(content) + "\n")
            print(f"{len(made)} of {len(todo)}: {draw.name} {result['video@1']:.3f}", flush=True)
    if arguments.to.resolve().parent == RESULTS.parent:
        findings.fill()


if __name__ == "__main__":
    main()
