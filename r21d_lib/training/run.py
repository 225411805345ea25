"""Whole runs: a recipe trained in its folder, one or many at a time, and scored on its test list."""

import dataclasses
import functools
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm.auto import tqdm

from r21d_lib import checkpoints
from r21d_lib.data.cache import BadVideo, PreparedVideos
from r21d_lib.errors import DatasetError, SettingsError, few
from r21d_lib.evaluation.protocol import score_once, score_videos
from r21d_lib.evaluation.scores import Scores, clip_accuracy, per_class, video_accuracy
from r21d_lib.files import BUILD, fitting, whole_file
from r21d_lib.models.networks import VideoResNet
from r21d_lib.training import recipes
from r21d_lib.training.budget import SCHEDULE, fit_minutes
from r21d_lib.training.hardware import among_processes, this_process
from r21d_lib.training.loop import EpochReport, train
from r21d_lib.training.recipes import Recipe
from r21d_lib.training.run_folder import RunFolder


@dataclass(frozen=True)
class Finish:
    """What a run reached.

    Attributes:
        recipe: what it followed.
        history: a row an epoch: epoch, loss, train_accuracy and, where the test videos were scored
            after every epoch, test_accuracy (fractions of clips), seconds.
        scores: of the test videos.
    """

    recipe: Recipe
    history: pd.DataFrame
    scores: Scores

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain values, for JSON."""
        of_run = {"network": self.recipe.network, "seed": self.recipe.training.seed}
        return of_run | reached(self.history, self.scores)


def reached(history: pd.DataFrame, scores: Scores) -> dict[str, Any]:
    """Return what a run reached as plain values: clip@1, video@1, minutes, per_class and its curves.

    Args:
        history: as of a `Finish`.
        scores: of the test videos.
    """
    table = per_class(scores)
    curves = [name for name in ("loss", "train_accuracy", "test_accuracy") if name in history]
    return {
        "clip@1": round(clip_accuracy(scores), 4),
        "video@1": round(video_accuracy(scores), 4),
        "minutes": round(float(history["seconds"].sum()) / 60, 2),
        "per_class": dict(zip(table["class"], table["accuracy"].round(4).tolist(), strict=True)),
        **{name: [round(float(v), 4) for v in history[name]] for name in curves},
    }


def read_history(folder: RunFolder) -> pd.DataFrame:
    """Return the history of a run whose validation videos were the test videos, as of a `Finish`."""
    return folder.metrics().rename(columns={"validation_accuracy": "test_accuracy"})


def train_recipe(
    recipe: Recipe,
    *,
    run: Path | None = None,
    resume: bool = True,
    minutes: float | None = None,
    on_bad_video: BadVideo = "fail",
    on_epoch: Callable[[EpochReport], None] | None = None,
    validation: PreparedVideos | None = None,
    progress: bool = True,
    log_with: Sequence[str] = (),
) -> tuple[RunFolder, VideoResNet]:
    """Train what a recipe describes; return the run's folder and the trained network.

    Args:
        recipe: from `recipes.read`.
        run: the run's folder; None takes `RunFolder.of(recipe)`.
        resume: goes on with an unfinished run in that folder, and does not repeat a finished one.
        minutes: measures the speed first, says what fits, and shortens the schedule to it.
        on_bad_video: "report" leaves out training videos that cannot be decoded, and lists them in
            bad_videos.csv.
        on_epoch: as for `train`; `plots.tensorboard.log_images` adds pictures.
        validation: as for `train`.
        progress: shows bars.
        log_with: as for `train`.

    Raises:
        R21DError: one line that names what does not fit.
    """
    if minutes is not None and not 0 < minutes < float("inf"):
        raise SettingsError(f"minutes must be above 0, got {minutes}")
    folder = RunFolder(run) if run else RunFolder.of(recipe)
    process = this_process()
    # One process decodes what is not decoded yet; the others find it done.
    with process.main_process_first():
        listed = recipe.video_list("train")
        network = recipe.start(listed.classes)  # refuses other weights before hours of decoding
        videos = recipe.decoded(listed, on_bad_video=on_bad_video)
    if minutes is not None:
        if resume and folder.is_begun:
            # Another measurement would be another schedule; what else was asked for has to agree.
            begun = folder.recipe().training
            kept = {name: getattr(begun, name) for name in SCHEDULE}
            recipe = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, **kept))
            if process.is_main_process:
                tqdm.write(
                    f"{folder.path} goes on as it was begun, with {recipe.training.epochs} epochs"
                )
        else:
            recipe = fit_minutes(recipe, network, videos, minutes)
    train(
        network,
        videos,
        recipe,
        folder.path,
        validation=validation,
        on_epoch=on_epoch,
        resume=resume,
        progress=progress,
        log_with=log_with,
    )
    if videos.bad and process.is_main_process:
        with whole_file(folder.path / "bad_videos.csv") as partial:
            pd.DataFrame(videos.bad, columns=["video", "reason"]).to_csv(partial, index=False)
        tqdm.write(
            f"{len(videos.bad)} videos cannot be decoded and are left out: see "
            f"{folder.path / 'bad_videos.csv'}"
        )
    return folder, network


def run_one(
    recipe: Recipe,
    *,
    resume: bool = True,
    progress: bool = True,
    test_curve: bool = False,
    on_epoch: Callable[[EpochReport], None] | None = None,
) -> Finish:
    """Train what a recipe describes in its own folder, and score the weights of the last epoch.

    Args:
        recipe: with its network and seed.
        resume: goes on with an unfinished run, and does not repeat a finished one.
        progress: shows bars.
        test_curve: after every epoch one clip of each test video is scored as well, for the curve of
            test error (paper, figure 3). Nothing is chosen by it.
        on_epoch: as for `train`.
    """
    test_videos = recipe.videos("test")
    folder, network = train_recipe(
        recipe,
        resume=resume,
        progress=progress,
        validation=test_videos if test_curve else None,
        on_epoch=on_epoch,
    )
    scores = score_once(
        folder.scores_file(recipe.split),
        network,
        test_videos,
        recipe.clips,
        num_clips=recipe.num_clips,
        progress=progress,
    )
    return Finish(recipe, read_history(folder), scores)


def run_many(
    entries: Sequence[Recipe],
    *,
    jobs: int | None = None,
    resume: bool = True,
    test_curve: bool = False,
    on_finish: Callable[[Finish], None] | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
    watch: Callable[[], None] | None = None,
) -> list[Finish]:
    """Run several recipes at a time, each in a process of its own on its share of the cores.

    Networks this small are done sooner so than one after the other on all cores; and as float32 sums
    depend on the number of threads, a recipe gives the same numbers whoever else is running.

    Args:
        entries: recipes whose runs have different folders.
        jobs: runs at a time; None takes two, one where there is a GPU.
        resume: as for `run_one`.
        test_curve: as for `run_one`.
        on_finish: called with each result, in the order in which they finish.
        on_epoch: as for `train`; called in the run's own process.
        watch: called in this process after every epoch of any run, such as to redraw curves.

    Returns:
        The results in the order of `entries`.

    Raises:
        Exception: of the first recipe that failed, when all others are done.
    """
    from loky import ProcessPoolExecutor  # whose processes do not run the user's script again

    folders = [RunFolder.of(entry) for entry in entries]
    if len({folder.path for folder in folders}) < len(folders):
        raise SettingsError("two of the recipes have one folder: give them different names or seeds")
    jobs = jobs or (1 if torch.cuda.is_available() else 2)
    threads = max(torch.get_num_threads() // jobs, 1)
    for entry in {
        (e.data, e.split, e.clips.resize, e.quality, e.clips.fps, e.clips.modality): e for e in entries
    }.values():
        for part in ("train", "test"):
            entry.videos(part)  # decoded here once, and not by several processes at a time
    epochs = sum(entry.training.epochs for entry in entries)
    one = functools.partial(
        run_one, resume=resume, test_curve=test_curve, on_epoch=on_epoch, progress=False
    )
    with (
        ProcessPoolExecutor(jobs, initializer=_begin, initargs=(threads, os.getpid())) as pool,
        tqdm(total=epochs, desc=f"{len(entries)} runs", unit="epoch") as bar,
    ):
        futures = [pool.submit(one, entry) for entry in entries]
        folder_of = dict(zip(futures, folders, strict=True))
        waiting: set[Future[Finish]] = set(futures)
        try:
            while waiting:
                finished, waiting = wait(waiting, timeout=1)
                for future in finished:
                    if error := future.exception():
                        tqdm.write(f"{folder_of[future].path.name} failed, others go on: {error}")
                    elif on_finish is not None:
                        on_finish(future.result())
                done = sum(len(folder.metrics()) for folder in folders)
                if watch is not None and done > bar.n:
                    watch()
                bar.update(done - bar.n)
        except BaseException:
            # Leaving the pool would wait for every run. Each goes on from its folder when asked again.
            pool.shutdown(kill_workers=True)
            raise
        return [future.result() for future in futures]


def _begin(threads: int, parent: int) -> None:
    """Let a process of `run_many` compute on its share of the cores, and end it soon after its parent.

    A kernel that is killed could not end it, and it would train on, unseen, in a folder that is needed.
    """

    def end_with_parent() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    torch.set_num_threads(threads)
    threading.Thread(target=end_with_parent, daemon=True).start()


@dataclass(frozen=True)
class Evaluated:
    """A scored checkpoint: on which split, its scores, and the file that keeps them."""

    split: int
    scores: Scores
    file: Path


@among_processes()
def evaluate(
    run_or_checkpoint: str,
    *,
    data: str | None = None,
    split: int | None = None,
    num_clips: int | None = None,
    crops: int = 1,
    dense_step: int | None = None,
    scores: Path | None = None,
) -> Evaluated:
    """Score a run or a checkpoint on the test list of its split; a launcher's processes share it.

    Args:
        run_or_checkpoint: a run's folder or name, or a weight file or name of weights (also hf://...).
        data: as `Recipe.data`; None takes the run's, ActionFigures for a file that is in no run.
        split: None takes the run's; for a file that is in no run it must be given, unless the file
            ships with the package, which was trained on other people.
        num_clips: uniformly spaced clips a video; None takes the run's, or 10.
        crops: 1 or 3 a clip.
        dense_step: instead of `num_clips`, a clip every so many frames.
        scores: the file to write; None puts it beside the checkpoint, or in build/. A run's own file,
            scores_split1.npz, is of its last weights, its data and its clips; of others the file's
            name says what differs.

    Raises:
        DatasetError: if a run's folder holds no recipe, or a file's split is not known.
        SettingsError: if a number makes no sense, or the run was trained on videos of the list.
    """
    for name, value in (("split", split), ("num_clips", num_clips), ("dense_step", dense_step)):
        if value is not None and value < 1:
            raise SettingsError(f"{name} {value} makes no sense: give 1 or more")
    folder, checkpoint = _find(run_or_checkpoint)
    if folder is not None:
        recipe = folder.recipe()
    elif split is None and (Path(checkpoint).is_file() or checkpoints.is_on_hub(checkpoint)):
        raise DatasetError(
            f"{checkpoint} lies in no run's folder, so its split is not known: give --split, the one "
            "that it was trained on"
        )
    else:
        recipe = recipes.read("small_scratch", ["data=action_figures"])
    own = recipe
    recipe = dataclasses.replace(
        own,
        data=data or own.data,
        split=own.split if split is None else split,
        num_clips=own.num_clips if num_clips is None else num_clips,
    )
    listed = recipe.video_list("test")
    if folder is not None and (learnt := folder.learnt_from(listed)):
        raise SettingsError(
            f"{folder.path} was trained on {len(learnt)} of the {len(listed)} videos to test on "
            f"({few(learnt)}): leave out --split and --data, or train a run on that split"
        )
    network, report = checkpoints.load(checkpoint, classes=listed.classes)
    recipe = dataclasses.replace(recipe, clips=report.card.clips)
    beside = RunFolder(report.source.parent if folder is None else folder.path)
    differs = (
        (report.source.stem, report.source.name != beside.weights.name),
        (Path(recipe.data or "").name, recipe.data != own.data),
        (f"{recipe.num_clips}clips", dense_step is None and recipe.num_clips != own.num_clips),
        (f"step{dense_step}", dense_step is not None),
        (f"{crops}crops", crops != 1),
    )
    name = "_".join([f"scores_split{recipe.split}", *(text for text, is_so in differs if is_so)])
    file = scores or beside.path / fitting(name, ".npz")
    if file.parent == checkpoints.SHIPPED or (scores is None and checkpoints.is_on_hub(checkpoint)):
        file = BUILD / file.name
    if scores is None and file.exists():
        Scores.load(file)  # something else of that name is not replaced
    result = score_videos(
        network,
        recipe.decoded(listed, on_bad_video="report"),
        recipe.clips,
        num_clips=recipe.num_clips,
        crops=crops,
        dense_step=dense_step,
    )
    if this_process().is_main_process:
        result.save(file)
    return Evaluated(recipe.split, result, file)


def kept_scores(run_or_file: str, split: int | None = None) -> Scores:
    """Return the scores that a run kept, evaluated now where it has none yet; or those of a file.

    Args:
        run_or_file: a run's folder or name, or a scores file (.npz).
        split: None takes the run's.

    Raises:
        DatasetError: if there is no such run or file.
    """
    if Path(run_or_file).suffix == ".npz":
        return Scores.load(run_or_file)
    folder = RunFolder.find(run_or_file)
    own = folder.recipe().split
    kept = folder.scores(own) if split in (None, own) else None
    return kept or evaluate(run_or_file, split=split).scores


def _find(run_or_checkpoint: str) -> tuple[RunFolder | None, str]:
    """Return the run that a name, folder or file belongs to, None if there is none; and its weights."""
    path = Path(run_or_checkpoint)
    if path.is_file():
        folder = RunFolder(path.parent)
        return (folder if folder.is_begun else None), run_or_checkpoint
    named = (*checkpoints.shipped(), *checkpoints.published())
    if run_or_checkpoint in named or checkpoints.is_on_hub(run_or_checkpoint):
        return None, run_or_checkpoint
    folder = RunFolder.find(run_or_checkpoint)
    return folder, str(folder.weights)
