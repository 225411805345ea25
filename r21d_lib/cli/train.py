"""The commands of `r21d` that train and score networks, and list and convert weights."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from r21d_lib.cli import Panel
from r21d_lib.cli.data import SeedOption
from r21d_lib.errors import SettingsError

app = typer.Typer()


class OnBadVideo(StrEnum):
    """What to do with a video that cannot be decoded."""

    fail = "fail"
    report = "report"


@app.command(
    rich_help_panel=Panel.train,
    epilog="**Examples:** `r21d recipes` · `r21d recipes hmdb51_finetune` · "
    "`r21d recipes figures_scratch epochs=12`",
)
def recipes(
    name: Annotated[str | None, typer.Argument(help="Show this one, field by field.")] = None,
    changes: Annotated[list[str] | None, typer.Argument(help="key=value")] = None,
) -> None:
    """List the recipes that `r21d train` knows, or show one with what each field means."""
    from r21d_lib.training import recipes

    if name is None:
        for known in recipes.names():
            typer.echo(f"{known:24} {recipes.read(known).description}")
        return
    typer.echo(recipes.describe(recipes.read(name, changes or ())))


@app.command(
    rich_help_panel=Panel.train,
    epilog="**Examples:** `r21d train` · `r21d train figures_scratch network=r3d epochs=12` · "
    "`r21d train hmdb51_finetune checkpoint=kinetics.pkl split=2` · "
    "`r21d train small_finetune data=build/data/mine --minutes 20` · "
    "`accelerate launch -m r21d_lib train hmdb51_finetune batch_size=4`",
)
def train(
    recipe: Annotated[
        str, typer.Argument(help="A name that `r21d recipes` lists, or a .toml file.")
    ] = "figures_finetune",
    changes: Annotated[
        list[str] | None, typer.Argument(help="key=value: other values for fields of the recipe.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="The run's folder; build/runs/... where not given.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start anew where the folder holds an older run.")
    ] = False,
    minutes: Annotated[
        float | None, typer.Option(help="Measure for ten seconds, then train what fits into these.")
    ] = None,
    on_bad_video: Annotated[
        OnBadVideo, typer.Option(help="At a video that cannot be decoded: stop, or leave it out.")
    ] = OnBadVideo.fail,
) -> None:
    """Train by a recipe, from a checkpoint or from scratch; an interrupted run goes on where it was."""
    from r21d_lib.plots.tensorboard import log_images
    from r21d_lib.training import recipes
    from r21d_lib.training import run as runs

    folder, _ = runs.train_recipe(
        recipes.read(recipe, changes or ()),
        run=run,
        resume=not fresh,
        minutes=minutes,
        on_bad_video=on_bad_video.value,
        on_epoch=log_images,
    )
    typer.echo(f"the run is in {folder.path}; next: r21d evaluate {run or folder.path.name}")


@app.command(
    rich_help_panel=Panel.train,
    epilog="**Examples:** `r21d evaluate build/runs/RUN` · "
    "`r21d evaluate RUN_split1 RUN_split2 RUN_split3` · "
    "`r21d evaluate last.safetensors --data hmdb51 --split 2 --crops 3` · "
    "`r21d evaluate build/runs/RUN --dense-step 8`",
)
def evaluate(
    runs: Annotated[
        list[str], typer.Argument(help="Runs' folders or names, weight files or names of weights.")
    ],
    data: Annotated[str | None, typer.Option(help="Data set; the run's own where not given.")] = None,
    split: Annotated[int | None, typer.Option(help="1, 2 or 3; the run's own where not given.")] = None,
    clips: Annotated[
        int | None, typer.Option(help="Clips a video, evenly spaced; 10 where not given.")
    ] = None,
    crops: Annotated[int, typer.Option(help="Squares of each clip: 1 (centre) or 3.")] = 1,
    dense_step: Annotated[
        int | None, typer.Option(help="Instead of --clips: a clip every so many frames.")
    ] = None,
    scores: Annotated[
        Path | None, typer.Option(help="The scores file; beside the checkpoint where not given.")
    ] = None,
) -> None:
    """Score the test list: clip@1, video@1, video@5 and a table by class; keep every score.

    Several runs are the splits of one experiment: each is scored on its own, and their mean given.
    """
    from r21d_lib import evaluation
    from r21d_lib.training.run import evaluate

    if scores and len(runs) > 1:
        raise SettingsError("--scores names one file, and there are several runs: leave it out")
    done = [
        evaluate(
            run,
            data=data,
            split=split,
            num_clips=clips,
            crops=crops,
            dense_step=dense_step,
            scores=scores,
        )
        for run in runs
    ]
    for one in done:
        typer.echo(f"split {one.split}, {len(one.scores.names):,} videos; every score is in {one.file}")
        for key, value in evaluation.summary(one.scores).items():
            typer.echo(f"{key:16} {value:.4f}" if isinstance(value, float) else f"{key:16} {value}")
        low, high, groups = evaluation.video_interval(one.scores)
        typer.echo(f"95% interval of video@1: {low:.3f} to {high:.3f}, over {groups} groups")
    if len(done) > 1:
        typer.echo(evaluation.mean_of_splits({one.split: one.scores for one in done}).round(4))
    else:
        table = evaluation.per_class(done[0].scores).sort_values("accuracy")
        typer.echo(table.to_string(index=False, float_format="{:.2f}".format))


@app.command(rich_help_panel=Panel.train, epilog="**Examples:** `r21d weights` · `r21d weights 34`")
def weights(
    pattern: Annotated[str, typer.Argument(help="Only names that contain this.")] = "",
) -> None:
    """List the weights that can be loaded by name, with what they are and how accurate they were."""
    from r21d_lib import checkpoints

    table = checkpoints.table()
    table = table[table.index.str.contains(pattern, regex=False)]
    if table.empty:
        raise SettingsError(f"no weights have {pattern!r} in their name: see `r21d weights`")
    names = table.index.str.ljust(table.index.str.len().max())
    typer.echo(table.set_axis(names).rename_axis(None).to_string(na_rep="?", justify="left"))


@app.command(
    rich_help_panel=Panel.train,
    epilog="**Examples:** `r21d convert r2.5d_d34_l32.pkl kinetics.safetensors` · "
    "`r21d convert torchvision/r2plus1d_18 r2plus1d_18.safetensors` · "
    "`r21d convert mine.pth mine.safetensors --labels classes.json`",
)
def convert(
    source: Annotated[str, typer.Argument(help="A weight file, or a name that `r21d weights` lists.")],
    target: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
    labels: Annotated[
        Path | None, typer.Option(help="The file's class names: a JSON list, or one a line.")
    ] = None,
) -> None:
    """Write any known weight file (Caffe2 .pkl, .pth, .safetensors) as safetensors with its card."""
    from r21d_lib import checkpoints

    names = checkpoints.read_labels(labels) if labels else None
    typer.echo(checkpoints.convert(source, target, file_classes=names))
    typer.echo(f"wrote {target}")


@app.command(
    "pretrain-figures",
    rich_help_panel=Panel.train,
    epilog="**Example:** `r21d pretrain-figures --install`",
)
def pretrain_figures(
    seed: SeedOption = 0,
    install: Annotated[
        bool, typer.Option("--install", help="Replace the checkpoint shipped in the package.")
    ] = False,
) -> None:
    """Train the shipped checkpoint again: R(2+1)D on the source classes of ActionFigures."""
    from r21d_lib.training.pretraining import pretrain_figures

    path = pretrain_figures(seed=seed, install=install)
    typer.echo(f"the checkpoint is {path}")
