"""Which of the paper's twelve networks learns ActionFigures best? All of them, eight seeds each.

    python benchmarks/race.py                     # hours on two CPU cores
    python benchmarks/race.py --seeds 1           # all twelve once
    python benchmarks/race.py --jobs 8            # on a larger machine
    python benchmarks/race.py --collect FOLDER    # only gathers the finished runs below a folder
    python benchmarks/race.py --networks r2plus1d_linear r3d_more_relus --to ablations.json

The recipe is figures_race, the same for all but the learning rate (benchmarks/rates.py, of the changed
networks of r21d_lib/models/ablations.py as well). Runs that are finished or recorded are not run again,
so it can be stopped and goes on, on another machine too. The numbers go to results/race.json, which
notebooks 04 and 10 read: what each run got right of each person, so that every interval is over seeds
and people. README's findings of it are written anew.
"""

import argparse
import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from r21d_lib.errors import DatasetError
from r21d_lib.files import whole_file
from r21d_lib.models.ablations import ABLATIONS
from r21d_lib.models.kinds import NETWORK_NAMES
from r21d_lib.models.settings import LABELS
from r21d_lib.suite import findings
from r21d_lib.suite.results import provenance, read_results
from r21d_lib.suite.statistics import Study
from r21d_lib.training import recipes
from r21d_lib.training.recipes import Recipe
from r21d_lib.training.run import Finish, run_many
from r21d_lib.training.run_folder import RunFolder

RESULTS = Path(__file__).parent / "results" / "race.json"
RATES = RESULTS.with_name("rates_ablations.json")  # of the changed networks
ORDER = list(LABELS)


def entry(network: str, seed: int) -> Recipe:
    """Return the recipe of one run; a changed network has the rate that its trials found best."""
    changes = [f"network={network}", f"seed={seed}"]
    if network in ABLATIONS:
        kept = read_results(RATES)
        trials = [t for t in kept["trials"] if t["network"] == network]
        if not trials:
            raise DatasetError(f"{RATES} has no rate of {network}: try some with benchmarks/rates.py")
        rate = max(trials, key=lambda trial: trial["video@1"])["rate"]
        given_up = {run["rate"] for run in kept.get("given_up", ()) if run["network"] == network}
        while rate in given_up:
            rate /= 2
        changes.append(f"learning_rate={rate}")
    return recipes.read("figures_race", changes)


def followed(recipe: Recipe) -> dict[str, Any]:
    """Return what a run followed, as plain values without its seed."""
    values: dict[str, Any] = json.loads(json.dumps(recipe.to_dict()))
    del values["name"], values["description"], values["training"]["seed"]
    return values


def recorded(file: Path, recipes_now: Mapping[str, Any]) -> Study | None:
    """Return the runs that a file of this benchmark holds, without those at another rate than now.

    None if the runs followed other recipes altogether, or there are none.
    """
    if not file.is_file():
        return None
    recipes_then = json.loads(file.read_text(encoding="utf-8")).get("recipes", {})
    pairs = [(values, recipes_now.get(name, values)) for name, values in recipes_then.items()]
    if not pairs or any(_but_for_the_rate(then) != _but_for_the_rate(now) for then, now in pairs):
        return None
    study = Study.load(file)
    same = {name for name, values in recipes_then.items() if recipes_now.get(name, values) == values}
    runs = [run for run in study.runs if run["network"] in same]
    rates = {name: rate for name, rate in study.rates.items() if name in same}
    return dataclasses.replace(study, runs=runs, rates=rates)


def _but_for_the_rate(recipe: Mapping[str, Any]) -> dict[str, Any]:
    return {**recipe, "training": {**recipe["training"], "learning_rate": None}}


def write(folders: Sequence[Path], to: Path, **made: object) -> Study:
    """Gather the runs in some folders, add those recorded, write all of them, and return them."""
    study = Study.collect(folders, unit="people")
    of_runs = (RunFolder(folder).recipe() for folder in folders)
    recipes_now = {recipe.network: followed(recipe) for recipe in of_runs}
    before, runs, rates = recorded(to, recipes_now), list(study.runs), dict(study.rates)
    here = {(run["network"], run["seed"]) for run in runs}
    if before is not None and list(before.groups.items()) == list(study.groups.items()):
        runs += [run for run in before.runs if (run["network"], run["seed"]) not in here]
        rates = {**before.rates, **rates}
        recipes_now = {**json.loads(to.read_text(encoding="utf-8"))["recipes"], **recipes_now}
    runs.sort(key=lambda run: (run["seed"], ORDER.index(run["network"])))
    study = dataclasses.replace(study, runs=runs, rates=rates, provenance=provenance(**made))
    seeds = len({run["seed"] for run in runs})
    names = [name for name in ORDER if name in recipes_now]
    which = "" if names == list(NETWORK_NAMES) else f" --networks {' '.join(names)}"
    text = f"python benchmarks/race.py{which} --seeds {seeds}"
    command = {"command": text, "recipes": recipes_now}
    with whole_file(to) as partial:
        partial.write_text(json.dumps({**command, **study.to_dict()}) + "\n")
    return study


def run(networks: Iterable[str], seeds: int, jobs: int, to: Path) -> Study:
    """Run what is neither finished nor recorded yet, and write the study of all after every run."""
    now = {name: followed(entry(name, 0)) for name in networks}
    before = recorded(to, now)
    known = {(run["network"], run["seed"]) for run in before.runs} if before else set()
    wanted = [(name, seed) for seed in range(seeds) for name in now]
    folders: list[Path] = []

    def keep(finish: Finish) -> None:
        folders.append(RunFolder.of(finish.recipe).path)
        write(folders, to, jobs=jobs)

    todo = [entry(*one) for one in wanted if one not in known]
    run_many(todo, jobs=jobs, test_curve=True, on_finish=keep)
    study = recorded(to, now)
    if study is None:
        raise DatasetError(f"{to} holds no run: give --seeds 1 or more")
    return study


def finished(folder: Path) -> list[Path]:
    """Return the folders of the scored runs below one, and say how many are not scored."""
    runs = sorted(file.parent for file in folder.rglob("metrics.csv"))
    scored = [run for run in runs if any(run.glob("scores*.npz"))]
    if len(scored) < len(runs):
        print(f"{len(runs) - len(scored)} of {len(runs)} runs below {folder} are not finished")
    return scored


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=8, help="seeds of each network")
    parser.add_argument(
        "--jobs", type=int, default=2, help="runs at a time, each on its share of cores"
    )
    parser.add_argument("--collect", type=Path, metavar="FOLDER", help="train nothing, gather runs")
    parser.add_argument(
        "--networks",
        nargs="+",
        choices=ORDER,
        default=NETWORK_NAMES,
        help="which, the paper's if not given",
    )
    parser.add_argument("--to", type=Path, default=RESULTS, help="the file to write")
    arguments = parser.parse_args()
    if arguments.collect is not None:
        study = write(finished(arguments.collect), arguments.to, collected=True)
    else:
        study = run(arguments.networks, arguments.seeds, arguments.jobs, arguments.to)
    print(study.standings().round(3).to_string())
    if arguments.to.parent == RESULTS.parent:
        findings.fill()


if __name__ == "__main__":
    main()
