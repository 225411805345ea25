"""Which of the paper's twelve networks learns ActionFigures best? All of them, eight seeds each.

    python benchmarks/race.py                     # hours on two CPU cores
    python benchmarks/race.py --seeds 1           # all twelve once
    python benchmarks/race.py --jobs 8            # on a larger machine
    python benchmarks/race.py --collect FOLDER    # only gathers the finished runs below a folder

The recipe is figures_race, the same for all but the learning rate. Runs that are finished are not run
again, so it can be stopped and goes on. The numbers go to benchmarks/results/race.json, which
notebooks 04 and 10 read: what each run got right of each person, so that every interval is over seeds
and people. README's findings of it are written anew.
"""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from r21d_lib.files import whole_file
from r21d_lib.models.networks import NETWORK_NAMES
from r21d_lib.suite import findings
from r21d_lib.suite.results import provenance
from r21d_lib.suite.statistics import Study
from r21d_lib.training import recipes
from r21d_lib.training.run import Finish, run_many
from r21d_lib.training.run_folder import RunFolder

RESULTS = Path(__file__).parent / "results" / "race.json"


def write(folders: Sequence[Path], to: Path, **made: object) -> Study:
    """Gather the runs in some folders, write the study that they make, and return it."""
    study = dataclasses.replace(Study.collect(folders, unit="people"), provenance=provenance(**made))
    seeds = len({run["seed"] for run in study.runs})
    content = {"command": f"python benchmarks/race.py --seeds {seeds}", **study.to_dict()}
    with whole_file(to) as partial:
        partial.write_text(json.dumps(content) + "\n")
    return study


def run(seeds: int, jobs: int, to: Path) -> Study:
    """Run what is not finished yet, and write the study of all that is after every run."""
    entries = [
        recipes.read("figures_race", [f"network={name}", f"seed={seed}"])
        for seed in range(seeds)
        for name in NETWORK_NAMES
    ]
    folders: list[Path] = []

    def keep(finish: Finish) -> None:
        folders.append(RunFolder.of(finish.recipe).path)
        write(folders, to, jobs=jobs)

    run_many(entries, jobs=jobs, test_curve=True, on_finish=keep)
    return write(folders, to, jobs=jobs)


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
    parser.add_argument("--to", type=Path, default=RESULTS, help="the file to write")
    arguments = parser.parse_args()
    if arguments.collect is not None:
        study = write(finished(arguments.collect), arguments.to, collected=True)
    else:
        study = run(arguments.seeds, arguments.jobs, arguments.to)
    print(study.standings().round(3).to_string())
    if arguments.to == RESULTS:
        findings.fill()


if __name__ == "__main__":
    main()
