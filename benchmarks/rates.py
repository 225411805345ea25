"""Which learning rate suits each of the paper's twelve networks? Tried on people held out for it.

    python benchmarks/rates.py                     # an hour on two CPU cores
    python benchmarks/rates.py --networks r3d --to r3d.json
    python benchmarks/rates.py --check FILE        # gives up rates at which a race's run did not start

Of the 70 people that figures_race trains on, every fifth is held out; each network learns from the
others' clips with each rate of the grid, everything else as in the recipe. Where the highest or lowest
rate is the best, the grid goes on by factors of two until it is not. The 30 test people are not looked
at. Trials that are recorded are not made again. The numbers go to benchmarks/results/rates.json; those
of the networks of r21d_lib/models/ablations.py stand beside it, in rates_ablations.json (--to).

One seed does not tell whether a rate is at the edge of what a network stands. So the race's own runs
are looked at as well, at their training clips alone: where one of them is still at chance after a
quarter of its epochs, the rate is given up for the next lower one. The table [learning_rates] of
figures_race holds what is left.
"""

import argparse
import functools
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pandas as pd
import torch
from loky import ProcessPoolExecutor

from r21d_lib.data.cache import PreparedVideos
from r21d_lib.errors import SettingsError
from r21d_lib.evaluation.protocol import score_once
from r21d_lib.evaluation.scores import video_accuracy
from r21d_lib.files import BUILD, whole_file
from r21d_lib.models.kinds import NETWORK_NAMES
from r21d_lib.suite import findings
from r21d_lib.suite.results import provenance, read_results
from r21d_lib.suite.statistics import Study, at_quarter, is_late
from r21d_lib.training import recipes, train
from r21d_lib.training.recipes import Recipe
from r21d_lib.training.run_folder import RunFolder

RESULTS = Path(__file__).parent / "results" / "rates.json"
GRID = (0.001, 0.002, 0.004)
EVERY = 5  # of the training people, one is held out


def hold_out(recipe: Recipe) -> tuple[PreparedVideos, PreparedVideos]:
    """Return the recipe's training videos without every fifth person's, and that person's."""
    videos = recipe.video_list("train")
    people = sorted(set(videos.groups))
    held = set(people[EVERY - 1 :: EVERY])
    parts: tuple[list[int], list[int]] = ([], [])
    for index, person in enumerate(videos.groups):
        parts[person in held].append(index)
    train_part, held_part = (recipe.decoded(videos.subset(part)) for part in parts)
    return train_part, held_part


def make(network: str, rate: float, changes: Sequence[str]) -> dict[str, Any]:
    """Train a network with a rate and score it on the people held out, or read what that left.

    Returns:
        network, rate, video@1 of the people held out and the last epoch's training accuracy.
    """
    given = [f"network={network}", f"learning_rate={rate}"]
    recipe = recipes.read("figures_race", [*changes, *given])
    training, held = hold_out(recipe)
    folder = BUILD / "rates" / f"{recipe.training.epochs}_epochs" / f"{network}_{rate:g}_seed0"
    model = recipe.build(len(training.videos.classes), seed=recipe.training.seed)
    history = train(model, training, recipe, folder, progress=False)
    scores = score_once(
        RunFolder(folder).scores_file(recipe.split),
        model,
        held,
        recipe.clips,
        num_clips=recipe.num_clips,
        progress=False,
    )
    return {
        "network": network,
        "rate": rate,
        "video@1": round(video_accuracy(scores), 4),
        "train_accuracy": round(float(history["train_accuracy"].iloc[-1]), 4),
    }


def begun(file: Path, recipe: Recipe) -> dict[str, Any]:
    """Return what a file of this benchmark holds, to which trials are added; of none, the beginning.

    Raises:
        SettingsError: if its trials followed another recipe.
    """
    if not file.is_file():
        return {"recipe": recipe.to_dict(), "trials": []}
    content = read_results(file)
    followed, now = (json.loads(json.dumps(each)) for each in (content["recipe"], recipe.to_dict()))
    followed["training"]["learning_rate"] = now["training"]["learning_rate"]  # each trial has its own
    if followed != now:
        raise SettingsError(f"{file} holds trials of another recipe: write to another file with --to")
    return content


def next_rates(trials: Iterable[Mapping[str, Any]]) -> list[tuple[str, float]]:
    """Return the rates to try next: of each network whose best one lies at the edge of those tried."""
    wanted = []
    for network, its in pd.DataFrame(list(trials)).groupby("network", sort=False):
        means = its.groupby("rate")["video@1"].mean()
        best = float(cast(float, means.idxmax()))
        if best == means.index.max():
            wanted.append((str(network), 2 * best))
        elif best == means.index.min():
            wanted.append((str(network), best / 2))
    return wanted


def not_started(study: Study) -> list[dict[str, Any]]:
    """Return the runs of a study that were at chance after a quarter of their epochs."""
    return [
        {
            "network": run["network"],
            "rate": study.rates[run["network"]],
            "seed": run["seed"],
            "train_accuracy_at_quarter": round(at_quarter(run), 4),
            "train_accuracy": round(run["train_accuracy"][-1], 4),
        }
        for run in study.runs
        if is_late(run)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", nargs="+", default=NETWORK_NAMES, help="which networks")
    parser.add_argument("--grid", type=float, nargs="+", help="these rates, and no further ones")
    parser.add_argument("--jobs", type=int, default=2, help="trials at a time, of one thread each")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="in the recipe")
    parser.add_argument("--check", type=Path, metavar="FILE", help="train nothing, look at a race")
    parser.add_argument("--to", type=Path, default=RESULTS, help="the file to write")
    arguments = parser.parse_args()
    if arguments.check is not None:
        kept = read_results(arguments.to)
        given_up, late = kept.get("given_up", []), not_started(Study.load(arguments.check))
        kept["given_up"] = [*given_up, *(run for run in late if run not in given_up)]
        with whole_file(arguments.to) as partial:
            partial.write_text(json.dumps(kept, indent=1) + "\n")
        findings.fill()
        return
    recipe = recipes.read("figures_race", arguments.set)
    hold_out(recipe)  # decoded here once
    one = functools.partial(make, changes=arguments.set)
    content = begun(arguments.to, recipe)
    tried = {(trial["network"], trial["rate"]) for trial in content["trials"]}
    todo = [(network, rate) for network in arguments.networks for rate in arguments.grid or GRID]
    with ProcessPoolExecutor(arguments.jobs, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        while todo := [pair for pair in todo if pair not in tried]:
            for trial in pool.map(one, *zip(*todo, strict=True)):
                content["trials"].append(trial)
                tried.add((trial["network"], trial["rate"]))
                made_by = {
                    "command": " ".join(["python", "benchmarks/rates.py", *sys.argv[1:]]),
                    "provenance": provenance(jobs=arguments.jobs),
                }
                content.setdefault("made_by", {})[trial["network"]] = made_by
                with whole_file(arguments.to) as partial:
                    partial.write_text(json.dumps(content, indent=1) + "\n")
                print(f"{len(content['trials'])}: {trial}", flush=True)
            its = [trial for trial in content["trials"] if trial["network"] in arguments.networks]
            todo = [] if arguments.grid else next_rates(its)
    if arguments.to == RESULTS:
        findings.fill()


if __name__ == "__main__":
    main()
