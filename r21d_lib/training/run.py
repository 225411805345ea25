"""What `r21d train`, `evaluate` and `pretrain-figures` do: whole runs out of the library's parts."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from r21d_lib import checkpoints
from r21d_lib.data import action_figures
from r21d_lib.data.cache import BadVideo, PreparedVideos, prepare
from r21d_lib.errors import CheckpointError, DatasetError, SettingsError, few
from r21d_lib.evaluation.protocol import score_videos
from r21d_lib.evaluation.scores import Scores, summary
from r21d_lib.files import BUILD, sha256, whole_file
from r21d_lib.models.networks import PAPER_NAMES, VideoResNet
from r21d_lib.training import EpochReport, TrainingSettings, measure_speed, recipes, train
from r21d_lib.training.recipes import Recipe

RECIPE_FILE = "recipe.json"
PRETRAINED = "r2plus1d_10_figures"
SOURCE_CLIPS_PER_CLASS = 200
PRETRAINING = TrainingSettings(
    epochs=12, batch_size=16, learning_rate=0.04, warmup_epochs=1.0, label_smoothing=0.1
)
# Of the minutes that are given; the rest is for starting, saving and the machine's moods.
_USABLE = 0.9


def default_run(recipe: Recipe) -> Path:
    """Return the folder of a recipe's run: build/runs/<recipe>_<data>_<network>_split<k>_seed<n>."""
    data = Path(recipe.data or "").name
    parts = (recipe.name, data, recipe.network, f"split{recipe.split}", f"seed{recipe.training.seed}")
    return BUILD / "runs" / "_".join(parts)


def train_recipe(
    recipe: Recipe,
    *,
    run: Path | None = None,
    resume: bool = True,
    minutes: float | None = None,
    on_bad_video: BadVideo = "fail",
    on_epoch: Callable[[EpochReport], None] | None = None,
) -> Path:
    """Train what a recipe describes; return the run's folder.

    Args:
        recipe: from `recipes.read`.
        run: the run's folder; None takes `default_run`.
        resume: goes on with an unfinished run in that folder.
        minutes: measures the speed first, says what fits, and shortens the schedule to it.
        on_bad_video: "report" leaves out training videos that cannot be decoded, and lists them in
            bad_videos.csv.
        on_epoch: as for `training.train`; `plots.tensorboard.log_images` adds pictures.

    Raises:
        R21DError: one line that names what does not fit.
    """
    from accelerate import PartialState

    folder = run or default_run(recipe)
    processes = PartialState()
    # One process decodes what is not decoded yet; the others find it done.
    with processes.main_process_first():
        videos = recipe.videos("train", on_bad_video=on_bad_video)
    network = start_network(recipe, videos.videos.classes)
    if minutes is not None:
        recipe = _fit_minutes(recipe, network, videos, folder, minutes, resume)
    if processes.is_main_process:
        _keep_recipe(recipe, folder, resume)
        if videos.bad:
            with whole_file(folder / "bad_videos.csv") as partial:
                pd.DataFrame(videos.bad, columns=["video", "reason"]).to_csv(partial, index=False)
            tqdm.write(
                f"{len(videos.bad)} videos cannot be decoded and are left out: see "
                f"{folder / 'bad_videos.csv'}"
            )
    train(
        network,
        videos,
        folder,
        clips=recipe.clips,
        settings=recipe.training,
        on_epoch=on_epoch,
        resume=resume,
    )
    return folder


def start_network(recipe: Recipe, classes: tuple[str, ...]) -> VideoResNet:
    """Return the network that a recipe's training starts from."""
    if recipe.checkpoint is None:
        return recipe.build(len(classes), seed=recipe.training.seed)
    network, report = checkpoints.load(
        recipe.checkpoint, classes=classes, replace_head=True, seed=recipe.training.seed
    )
    if network.settings.name != recipe.network:
        raise CheckpointError(
            f"{report.source} holds {PAPER_NAMES[network.settings.name]}, not "
            f"{PAPER_NAMES[recipe.network]}: give network={network.settings.name}, or checkpoint=none "
            "to train from random weights"
        )
    return network


def read_recipe(folder: Path) -> Recipe:
    """Return the recipe that a run was trained with.

    Raises:
        DatasetError: if the folder holds no run of `train_recipe`.
    """
    try:
        return Recipe.from_dict(json.loads((folder / RECIPE_FILE).read_text()))
    except FileNotFoundError as error:
        raise DatasetError(f"{folder} holds no run: it has no {RECIPE_FILE}") from error


def _keep_recipe(recipe: Recipe, folder: Path, resume: bool) -> None:
    """Write the resolved recipe into the run's folder, unless that holds a run of another one."""
    file = folder / RECIPE_FILE
    if file.is_file() and resume:
        there, here = read_recipe(folder).flat(), recipe.flat()
        different = [f"{key} {there[key]}" for key in here if there[key] != here[key]]
        if different:
            raise SettingsError(
                f"{folder} holds a run with {few(different)}: choose another folder with --run, "
                "or start anew with --fresh"
            )
    with whole_file(file) as partial:
        partial.write_text(json.dumps(recipe.to_dict(), indent=2) + "\n")


def _fit_minutes(
    recipe: Recipe,
    network: VideoResNet,
    videos: PreparedVideos,
    folder: Path,
    minutes: float,
    resume: bool,
) -> Recipe:
    """Shorten a recipe's schedule to what this machine does in so many minutes, and say so."""
    if resume and (folder / RECIPE_FILE).is_file():
        begun = read_recipe(folder)  # another measurement would be another schedule
        tqdm.write(f"{folder} goes on as it was begun, with {begun.training.epochs} epochs")
        return begun
    settings = recipe.training
    speed = measure_speed(network, videos, clips=recipe.clips, settings=settings)
    shortened = fit_budget(settings, speed * 60 * minutes * _USABLE, len(videos))
    clips = settings.clips_per_epoch or len(videos)
    whole = settings.epochs * clips / speed / 60
    text = (
        f"{speed:.1f} clips a second: the recipe's {settings.epochs} epochs of {clips:,} clips take "
        f"{whole:,.0f} minutes"
    )
    if shortened == settings:
        text += f", which fit in {minutes:g}"
    elif shortened.epochs == 1 and shortened.clips_per_epoch:
        text += f"; {minutes:g} fit one epoch of {shortened.clips_per_epoch:,}"
    else:
        text += f"; {minutes:g} fit {shortened.epochs} epochs"
    tqdm.write(text)
    return dataclasses.replace(recipe, training=shortened)


def fit_budget(settings: TrainingSettings, clips: float, num_videos: int) -> TrainingSettings:
    """Shorten a schedule to a number of clips, its warm-up and steps in proportion.

    Args:
        settings: the whole schedule.
        clips: that can be trained on.
        num_videos: of the training list.

    Returns:
        The same settings if they fit; fewer epochs; or, if not even one fits, one of fewer clips.
    """
    per_epoch = settings.clips_per_epoch or num_videos
    epochs = min(settings.epochs, int(clips / per_epoch))
    if epochs == settings.epochs:
        return settings
    share = max(epochs, 1) / settings.epochs
    return dataclasses.replace(
        settings,
        epochs=max(epochs, 1),
        clips_per_epoch=settings.clips_per_epoch if epochs else max(int(clips), 1),
        warmup_epochs=settings.warmup_epochs * share,
        step_epochs=settings.step_epochs * share,
    )


@dataclass(frozen=True)
class Evaluated:
    """A scored checkpoint: on which split, its scores, and the file that keeps them."""

    split: int
    scores: Scores
    file: Path


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
    """Score a run or a checkpoint on the test list of its split.

    Args:
        run_or_checkpoint: a run's folder, or a weight file or name.
        data: as `Recipe.data`; None takes the run's, ActionFigures for a file that is in no run.
        split: None takes the run's, or 1.
        num_clips: uniformly spaced clips a video; None takes the run's, or 10.
        crops: 1 or 3 a clip.
        dense_step: instead of `num_clips`, a clip every so many frames.
        scores: the file to write; None puts it beside the checkpoint, or in build/.
    """
    path = Path(run_or_checkpoint)
    checkpoint = path / "last.safetensors" if path.is_dir() else run_or_checkpoint
    folder = path if path.is_dir() else path.parent
    recipe = (
        read_recipe(folder)
        if (folder / RECIPE_FILE).is_file()
        else recipes.read("small_scratch", ["data=action_figures"])
    )
    recipe = dataclasses.replace(
        recipe,
        data=data or recipe.data,
        split=split or recipe.split,
        num_clips=num_clips or recipe.num_clips,
    )
    listed = recipe.video_list("test")
    network, report = checkpoints.load(checkpoint, classes=listed.classes)
    recipe = dataclasses.replace(recipe, clips=report.card.clips)
    result = score_videos(
        network,
        recipe.decoded(listed, on_bad_video="report"),
        recipe.clips,
        num_clips=recipe.num_clips,
        crops=crops,
        dense_step=dense_step,
    )
    file = scores or report.source.with_name(f"scores_split{recipe.split}.npz")
    if file.parent == checkpoints.SHIPPED:
        file = BUILD / file.name
    result.save(file)
    return Evaluated(recipe.split, result, file)


def pretrain_figures(*, seed: int = 0, install: bool = False, workers: int | None = None) -> Path:
    """Train R(2+1)D on ActionFigures' source classes, measure it, and write the checkpoint.

    The recipe of the file that ships with the package: 10 layers, width 16, clips of 8 frames at
    64 x 64, on split 1 of the source classes. It can be interrupted and goes on where it was.

    Args:
        seed: of the data, the weights and every draw of the training.
        install: puts the result in the package, with the card and the SHA-256 beside it.
        workers: processes that draw and decode the videos; None takes all cores.

    Returns:
        The checkpoint's path.
    """
    recipe = recipes.read("figures_scratch")
    root = BUILD / "data" / "action_figures_source"
    action_figures.generate(
        root,
        subset="source",
        clips_per_class=SOURCE_CLIPS_PER_CLASS,
        seed=seed,
        workers=workers,
    )
    prepared = {
        part: prepare(
            action_figures.load(root, subset="source", split=1, part=part),
            BUILD / "cache",
            size=recipe.clips.resize,
        )
        for part in ("train", "test")
    }
    classes = prepared["train"].videos.classes
    settings = dataclasses.replace(PRETRAINING, seed=seed)
    net = recipe.build(len(classes), seed=seed)
    run = BUILD / "runs" / "pretrain_figures"
    history = train(net, prepared["train"], run, clips=recipe.clips, settings=settings)
    scores = score_videos(net, prepared["test"], recipe.clips)
    card = checkpoints.Card(
        network=net.settings,
        clips=recipe.clips,
        classes=classes,
        training={
            **dataclasses.asdict(settings),
            "data": f"ActionFigures, source classes, {SOURCE_CLIPS_PER_CLASS} clips a class, split 1",
            "command": "r21d pretrain-figures --install",
            "minutes": round(history["seconds"].sum() / 60, 1),
        },
        accuracy={k: float(v) for k, v in summary(scores).items() if "@" in k},
    )
    path = run / f"{PRETRAINED}.safetensors"
    checkpoints.save(path, net, card)
    if not install:
        return path
    shipped = checkpoints.SHIPPED / path.name
    shipped.parent.mkdir(exist_ok=True)
    with whole_file(shipped) as partial:
        shutil.copyfile(path, partial)
    with whole_file(shipped.with_suffix(".json")) as partial:
        described = {"file": path.name, "sha256": sha256(shipped), **json.loads(card.to_json())}
        partial.write_text(json.dumps(described, indent=2) + "\n")
    return shipped
