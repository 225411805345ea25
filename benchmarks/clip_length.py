"""Do longer clips pay at test time, in training, or in finetuning? Section 4.3 of the paper on films.

    python benchmarks/clip_length.py                # two seeds; it goes on where it was
    python benchmarks/clip_length.py --jobs 4       # on a larger machine
    python benchmarks/clip_length.py --scratch --to scratch.json    # hours; see below

R(2+1)D learns ActionFilms (recipe films_scratch) on clips of 8, 16 and 32 frames at 10 a second; the
network of 8 frames is then trained for half as many epochs more, on 8, 16 or 32 frames. So that little
training is enough, all start from a network of the race, which knows the actions from short clips of 8
frames of other people; with --scratch from random weights, as in the paper, for the recipe's epochs.

Each is tested on films of people it has not seen, the first on other lengths too: as it is, with the
statistics of its norms taken anew from clips of that length, and with 32 frames seen as four clips of 8
(their softmax averaged). Finished runs are not made again, recorded seeds neither. The numbers go to
benchmarks/results/clip_length.json, which notebook 07b reads: what was right of each person.
"""

import argparse
import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.optim.swa_utils import update_bn
from torch.utils.data import DataLoader

from r21d_lib import checkpoints
from r21d_lib.data.cache import PreparedVideos
from r21d_lib.data.clips import seeded_generator, to_network
from r21d_lib.data.sampling import TrainClips
from r21d_lib.evaluation.protocol import score_once, score_videos
from r21d_lib.evaluation.scores import Scores
from r21d_lib.files import whole_file
from r21d_lib.models.networks import VideoResNet
from r21d_lib.suite import findings
from r21d_lib.suite.clip_length import (
    CLIPS,
    FILE,
    KEPT,
    NORMS,
    PARTS,
    PLAIN,
    TRAININGS,
    measured,
)
from r21d_lib.suite.results import provenance, read_results
from r21d_lib.suite.statistics import compute
from r21d_lib.training import recipes
from r21d_lib.training.recipes import Recipe
from r21d_lib.training.run import Finish, run_many, train_recipe
from r21d_lib.training.run_folder import RunFolder

RECIPE = "films_scratch"
START = recipes.read("figures_race", ["network=r2plus1d", "seed=1"])
BRIEFLY = ("epochs=6", "learning_rate=0.002", "warmup_epochs=0.5")  # where not from random weights
FURTHER = 2  # a further training takes so many times fewer epochs, at so many times lower a rate
MANY = ("8", "32")  # trainings that are tested with twenty clips a film, the others with ten
# Besides its own length, what each training is tested on: ten clips a film.
TESTS: dict[str, tuple[tuple[int, str], ...]] = {
    "8": ((16, PLAIN), (32, PLAIN), (32, NORMS), (32, PARTS)),
    "32": ((8, PLAIN),),
    "8, then 8": ((32, PLAIN),),
}


def entry(training: str, seed: int, changes: Sequence[str] = ()) -> Recipe:
    """Return the recipe of a training, one of `TRAININGS`."""
    lengths, clips = TRAININGS[training], CLIPS[-1 if training in MANY else -2]
    given = (f"clip_len={lengths[0]}", f"seed={seed}", f"num_clips={clips}")
    recipe = recipes.read(RECIPE, [*changes, *given])
    recipe = dataclasses.replace(recipe, name=f"films_{lengths[0]}frames")
    for frames in lengths[1:]:
        settings = recipe.training
        recipe = dataclasses.replace(
            recipe,
            name=f"{recipe.name}_then_{frames}",
            checkpoint=str(RunFolder.of(recipe).weights),
            clips=dataclasses.replace(recipe.clips, clip_len=frames),
            training=dataclasses.replace(
                settings,
                epochs=max(settings.epochs // FURTHER, 1),
                learning_rate=settings.learning_rate / FURTHER,
                warmup_epochs=0,
            ),
        )
    return recipe


def in_parts(clips: Tensor, _: int) -> Tensor:
    """Cut (N, T, H, W, 3) clips into those of 8 frames that follow each other."""
    return clips.unflatten(1, (-1, 8)).flatten(0, 1)


def take_norms(network: VideoResNet, videos: PreparedVideos, recipe: Recipe) -> None:
    """Set the statistics of the norms to the mean over a clip of each training film, in place."""
    loader = DataLoader(
        TrainClips(videos, recipe.clips, seed=recipe.training.seed),
        batch_size=recipe.training.batch_size,
        drop_last=True,
    )

    def batches() -> Iterator[Tensor]:
        for number, (frames, _) in enumerate(loader):
            random = seeded_generator(recipe.training.seed, number)
            yield to_network(frames, recipe.clips, random=random)

    update_bn(batches(), network)  # type: ignore[arg-type]  # any iterable will do
    network.eval()


def tested(recipe: Recipe, frames: int, how: str, num_clips: int) -> Scores:
    """Score the test films by the network that a recipe trained, on clips of another length too."""
    folder, test = RunFolder.of(recipe), recipe.videos("test")
    network, report = checkpoints.load(folder.weights)
    clips = dataclasses.replace(report.card.clips, clip_len=frames)
    if how == PARTS:
        scores = score_videos(
            network, test, clips, num_clips=num_clips, change=in_parts, progress=False
        )
        parts = scores.probabilities.reshape(len(scores.names), num_clips, -1, len(scores.classes))
        return dataclasses.replace(scores, probabilities=parts.mean(2))
    if how == NORMS:
        take_norms(network, recipe.videos("train"), dataclasses.replace(recipe, clips=clips))
    file = folder.path / f"scores_{frames}frames_{num_clips}clips_{how.split()[0]}.npz"
    return score_once(file, network, test, clips, num_clips=num_clips, progress=False)


def rows_of(training: str, finish: Finish) -> list[dict[str, Any]]:
    """Return what a trained network gets right in each of its tests."""
    recipe, own = finish.recipe, TRAININGS[training][-1]
    scored = {(own, PLAIN): finish.scores}
    for frames, how in TESTS.get(training, ()):
        scored[frames, how] = tested(recipe, frames, how, num_clips=CLIPS[-2])
    rows = []
    for (frames, how), scores in scored.items():
        counts = [count for count in CLIPS if count <= scores.probabilities.shape[1]]
        named = {"training": training, "frames": frames, "how": how, "seed": recipe.training.seed}
        rows.append({**named, **measured(scores, counts)})
    return rows


def trained(training: str, finish: Finish, before: float) -> dict[str, Any]:
    """Return what a training cost and reached, with the clips of the training before it."""
    recipe, history = finish.recipe, finish.history
    films = len(recipe.video_list("train"))
    steps = recipe.training.steps_per_epoch(films) * recipe.training.epochs
    units = steps * recipe.training.batch_size * recipe.clips.clip_len / 8
    return {
        "training": training,
        "seed": recipe.training.seed,
        "clip_units": before + units,
        "minutes": round(float(history["seconds"].sum()) / 60, 2),
        "train_accuracy": [round(float(value), 4) for value in history["train_accuracy"]],
    }


def followed(changes: Sequence[str]) -> dict[str, Any]:
    """Return the recipe that the first trainings follow, as plain values without its seed."""
    values: dict[str, Any] = json.loads(json.dumps(entry("8", 0, changes).to_dict()))
    del values["name"], values["description"], values["training"]["seed"]
    if values["checkpoint"] is not None:
        values["checkpoint"] = "of figures_race, seed 1"
    return values


def started() -> list[str]:
    """Train the network that all start from, unless that is done; return the changes of the recipe."""
    folder = RunFolder.of(START)
    if len(folder.metrics()) < START.training.epochs:
        train_recipe(START)
    return [f"checkpoint={folder.weights}", *BRIEFLY]


def run(seeds: int, jobs: int, to: Path, changes: Sequence[str] = ()) -> dict[str, Any]:
    """Run the seeds that are not recorded yet; write all of them after each seed."""
    recipe = followed(changes)
    content: dict[str, Any] = read_results(to) if to.is_file() else {}
    if content.get("recipe") != recipe:
        content = {"recipe": recipe, "rows": [], "trained": []}
    done = {row["seed"] for row in content["rows"]}
    for seed in (seed for seed in range(seeds) if seed not in done):
        finishes: dict[str, Finish] = {}
        for stage in (1, 2):  # the second starts from the first's weights
            names = [name for name, lengths in TRAININGS.items() if len(lengths) == stage]
            made = run_many([entry(name, seed, changes) for name in names], jobs=jobs)
            finishes |= dict(zip(names, made, strict=True))
        units: dict[str, float] = {}
        for training, finish in finishes.items():
            row = trained(training, finish, units.get("8", 0.0) if "then" in training else 0.0)
            units[training] = row["clip_units"]
            content["trained"].append(row)
            content["rows"] += rows_of(training, finish)
            if seed == 0 and training in KEPT:
                finish.scores.save(to.with_suffix("") / f"{training}.npz")
        first = finishes["8"]
        videos = first.recipe.video_list("test")
        content |= {
            "command": f"python benchmarks/clip_length.py --seeds {max({*done, seed}) + 1}",
            "unit": "people",
            "groups": {name: videos.groups.count(name) for name in sorted(set(videos.groups))},
            "compute": {
                str(frames): compute(entry(str(frames), 0, changes), len(videos.classes))
                for frames in (8, 16, 32)
            },
            "provenance": provenance(jobs=jobs),
        }
        done.add(seed)
        with whole_file(to) as partial:
            partial.write_text(json.dumps(content) + "\n")
        print(f"seed {seed} is done", flush=True)
    return content


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=2, help="seeds of each training")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, sharing the cores")
    parser.add_argument("--scratch", action="store_true", help="start from random weights")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="in the recipe")
    parser.add_argument("--to", type=Path, default=FILE, help="the file to write")
    arguments = parser.parse_args()
    start = [] if arguments.scratch else started()
    run(arguments.seeds, arguments.jobs, arguments.to, [*start, *arguments.set])
    if arguments.to == FILE:
        findings.fill()


if __name__ == "__main__":
    main()
