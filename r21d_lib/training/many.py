"""Several runs at a time, each in a process of its own, and what each one reached."""

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm.auto import tqdm

from r21d_lib.errors import SettingsError
from r21d_lib.evaluation.protocol import score_once
from r21d_lib.evaluation.scores import Scores, clip_accuracy, per_class, video_accuracy
from r21d_lib.files import BUILD
from r21d_lib.training import train
from r21d_lib.training.recipes import Recipe


@dataclass(frozen=True)
class Finish:
    """What one network reached with one seed.

    Attributes:
        network: one of the paper's twelve, as `build_network` takes it.
        seed: of weights, order, starts, crops and flips.
        history: a row an epoch: epoch, loss, train_accuracy and test_accuracy (fractions of clips),
            seconds.
        scores: of the test videos, ten clips each.
    """

    network: str
    seed: int
    history: pd.DataFrame
    scores: Scores

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain values, for JSON."""
        table = per_class(self.scores)
        curves = ("loss", "train_accuracy", "test_accuracy")
        return {
            "network": self.network,
            "seed": self.seed,
            "clip@1": round(clip_accuracy(self.scores), 4),
            "video@1": round(video_accuracy(self.scores), 4),
            "minutes": round(float(self.history["seconds"].sum()) / 60, 2),
            "per_class": dict(zip(table["class"], table["accuracy"].round(4), strict=True)),
            **{curve: [round(float(v), 4) for v in self.history[curve]] for curve in curves},
        }


def run(recipe: Recipe, *, resume: bool = True, progress: bool = True) -> Finish:
    """Train one network by a recipe from random weights, and score it on the test videos.

    After every epoch one clip of each test video is scored as well, for the curve of test error
    (paper, figure 3). Nothing is chosen by it: the weights of the last epoch count.

    Args:
        recipe: with its network and seed.
        resume: goes on with an unfinished run, and does not repeat a finished one.
        progress: shows bars.
    """
    if recipe.checkpoint is not None:
        raise SettingsError(f"a race starts from random weights: give {recipe.name} checkpoint=none")
    train_videos, test_videos = recipe.videos("train"), recipe.videos("test")
    seed = recipe.training.seed
    network = recipe.build(len(train_videos.videos.classes), seed=seed)
    folder = folder_of(recipe)
    history = train(
        network,
        train_videos,
        folder,
        clips=recipe.clips,
        settings=recipe.training,
        validation=test_videos,
        resume=resume,
        progress=progress,
    ).rename(columns={"validation_accuracy": "test_accuracy"})
    scores = score_once(
        folder / "scores.npz",
        network,
        test_videos,
        recipe.clips,
        num_clips=recipe.num_clips,
        progress=progress,
    )
    return Finish(recipe.network, seed, history, scores)


def run_all(
    entries: Sequence[Recipe],
    *,
    jobs: int | None = None,
    resume: bool = True,
    on_finish: Callable[[Finish], None] | None = None,
) -> list[Finish]:
    """Run several entries at a time, each in a process of its own on its share of the threads.

    Networks this small are done sooner so than one after the other on all cores; and as float32 sums
    depend on the number of threads, an entry gives the same numbers whoever else is running.

    Args:
        entries: recipes that differ in network and seed.
        jobs: runs at a time; None takes two, one where there is a GPU.
        resume: as for `run`.
        on_finish: called with each result, in the order in which they finish.

    Returns:
        The results in the order of `entries`.
    """
    jobs = jobs or (1 if torch.cuda.is_available() else 2)
    threads = max(torch.get_num_threads() // jobs, 1)
    for entry in {(entry.data, entry.clips.resize): entry for entry in entries}.values():
        for part in ("train", "test"):
            entry.videos(part)  # decoded here once, and not by several processes at a time
    epochs = sum(entry.training.epochs for entry in entries)
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(jobs, context, torch.set_num_threads, (threads,)) as pool,
        tqdm(total=epochs, desc=f"race of {len(entries)}", unit="epoch") as bar,
    ):
        futures = [pool.submit(run, entry, resume=resume, progress=False) for entry in entries]
        waiting: set[Future[Finish]] = set(futures)
        while waiting:
            finished, waiting = wait(waiting, timeout=1)
            for future in finished:
                if on_finish is not None:
                    on_finish(future.result())
            bar.n = sum(map(_epochs_done, entries))
            bar.refresh()
        return [future.result() for future in futures]


def _epochs_done(entry: Recipe) -> int:
    metrics = folder_of(entry) / "metrics.csv"
    return len(metrics.read_text().splitlines()) - 1 if metrics.is_file() else 0


def folder_of(recipe: Recipe) -> Path:
    """Return the run's folder: build/runs/<recipe>/<network>_<epochs>_epochs_seed<k>."""
    training = recipe.training
    name = f"{recipe.network}_{training.epochs}_epochs_seed{training.seed}"
    return BUILD / "runs" / recipe.name / name
