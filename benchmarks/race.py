"""Which of the paper's twelve networks learns ActionFigures best? All of them, five seeds each.

    python benchmarks/race.py                # about an hour on two CPU cores
    python benchmarks/race.py --seeds 1      # all twelve once
    python benchmarks/race.py --jobs 8       # on a larger machine

The recipe is figures_race, the same for all. Runs that are finished are not run again, so it can be
stopped and goes on. The numbers go to benchmarks/results/race.json, which notebook 04 reads.
"""

import argparse
import json
from pathlib import Path

from r21d_lib.files import whole_file
from r21d_lib.models.networks import NETWORK_NAMES
from r21d_lib.suite import statistics
from r21d_lib.suite.results import provenance
from r21d_lib.training import recipes
from r21d_lib.training.run import Finish, run_many

RESULTS = Path(__file__).parent / "results" / "race.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5, help="seeds of each network")
    parser.add_argument(
        "--jobs", type=int, default=2, help="runs at a time, each on its share of cores"
    )
    arguments = parser.parse_args()
    todo = [(name, seed) for seed in range(arguments.seeds) for name in NETWORK_NAMES]
    entries = [recipes.read("figures_race", [f"network={name}", f"seed={seed}"]) for name, seed in todo]
    done: dict[tuple[str, int], dict[str, object]] = {}

    def keep(finish: Finish) -> None:
        done[finish.recipe.network, finish.recipe.training.seed] = finish.to_dict()
        content = {
            "command": f"python benchmarks/race.py --seeds {arguments.seeds}",
            "recipe": entries[0].to_dict(),
            "runs": [done[job] for job in todo if job in done],
            "provenance": provenance(jobs=arguments.jobs),
        }
        with whole_file(RESULTS) as partial:
            partial.write_text(json.dumps(content) + "\n")

    run_many(entries, jobs=arguments.jobs, test_curve=True, on_finish=keep)
    print(statistics.standings(list(done.values())).round(3))


if __name__ == "__main__":
    main()
