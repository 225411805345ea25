"""What does pretraining save? Finetuning and training from scratch, on longer and longer budgets.

    python benchmarks/budget.py               # about an hour on one CPU core

Each budget is a training of its own, whose learning rate falls to zero at its end: figures_finetune
and figures_scratch, which differ only in the weights that they start from. Runs that are finished are
not run again. The numbers go to benchmarks/results/budget.json, which notebook 06 reads.
"""

import argparse
import json
from pathlib import Path

from r21d_lib.evaluation.scores import video_accuracy, video_interval
from r21d_lib.files import whole_file
from r21d_lib.suite.results import provenance
from r21d_lib.training import recipes
from r21d_lib.training.run import Finish, run_many

RESULTS = Path(__file__).parent / "results" / "budget.json"
EPOCHS = {"figures_finetune": (3, 6, 12), "figures_scratch": (3, 6, 12, 24)}


def row(finish: Finish) -> dict[str, object]:
    """Return what a run reached, and on how many clips."""
    interval = video_interval(finish.scores)
    return {
        "start": "random weights" if finish.recipe.checkpoint is None else "the shipped checkpoint",
        "epochs": finish.recipe.training.epochs,
        "video@1": round(video_accuracy(finish.scores), 4),
        "low": round(interval.low, 4),
        "high": round(interval.high, 4),
        "people": interval.groups,
        "minutes": round(float(finish.history["seconds"].sum()) / 60, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    entries = [
        recipes.read(name, [f"epochs={epochs}", f"seed={arguments.seed}"])
        for name, budgets in EPOCHS.items()
        for epochs in budgets
    ]
    rows = [row(finish) for finish in run_many(entries, jobs=arguments.jobs)]
    content = {
        "command": "python benchmarks/budget.py",
        "seed": arguments.seed,
        "runs": rows,
        "provenance": provenance(jobs=arguments.jobs),
    }
    with whole_file(RESULTS) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n")
    for one in rows:
        print(f"{one['start']:24} {one['epochs']:3} epochs  video@1 {one['video@1']:.3f}")


if __name__ == "__main__":
    main()
