"""The commands of `r21d` that train and score networks, and list and convert weights."""

from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from r21d_lib.cli import Panel, outputs, say, say_table
from r21d_lib.cli.data import SeedOption
from r21d_lib.errors import SettingsError
from r21d_lib.files import whole_file

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
            say(f"{known:24} {recipes.read(known).description}")
        return
    say_table(recipes.describe(recipes.read(name, changes or ())))


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
        float | None,
        typer.Option(help="Measure for ten seconds, then train what fits in.", min=0.01, max=1e6),
    ] = None,
    on_bad_video: Annotated[
        OnBadVideo, typer.Option(help="At a video that cannot be decoded: stop, or leave it out.")
    ] = OnBadVideo.fail,
    log_with: Annotated[
        list[str] | None, typer.Option(help="Besides TensorBoard: wandb, trackio or mlflow.")
    ] = None,
) -> None:
    """Train by a recipe, from a checkpoint or from scratch; an interrupted run goes on where it was."""
    from r21d_lib.plots.tensorboard import log_images
    from r21d_lib.training import recipes
    from r21d_lib.training import run as runs
    from r21d_lib.training.hardware import this_process

    folder, _ = runs.train_recipe(
        recipes.read(recipe, changes or ()),
        run=run,
        resume=not fresh,
        minutes=minutes,
        on_bad_video=on_bad_video.value,
        on_epoch=log_images,
        log_with=log_with or (),
    )
    if this_process().is_main_process:
        say(f"the run is in {folder.path}; next: r21d evaluate {run or folder.path.name}")


@app.command(
    rich_help_panel=Panel.train,
    epilog="**Examples:** `r21d evaluate build/runs/RUN` · "
    "`r21d evaluate RUN_split1 RUN_split2 RUN_split3` · "
    "`r21d evaluate last.safetensors --data hmdb51 --split 2 --crops 3` · "
    "`r21d evaluate build/runs/RUN --dense-step 8` · `r21d evaluate RUN --csv said.csv` · "
    "`r21d evaluate RGB_RUN FLOW_RUN --average`",
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
        Path | None,
        typer.Option(
            help="The scores file; beside the checkpoint where not given, named by what was scored."
        ),
    ] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Write what was said of each video here.")
    ] = None,
    average: Annotated[
        bool,
        typer.Option("--average", help="Two streams: average two runs' kept scores of one split."),
    ] = False,
    force: outputs.Force = False,
) -> None:
    """Score the test list: clip@1, video@1, video@5 and a table by class; keep every score.

    Several runs are the splits or seeds of one experiment: each is scored on its own, and their mean
    given. With --average two runs, such as one of RGB and one of flow, are one recogniser: the scores
    that they kept are averaged, and the tables say by class what that gains.
    """
    import pandas as pd

    from r21d_lib import evaluation
    from r21d_lib.training.hardware import this_process
    from r21d_lib.training.run import evaluate

    for file, suffix in ((scores, ".npz"), (csv_file, ".csv")):
        if file is not None and file.suffix != suffix:
            raise SettingsError(f"{file} is not named {suffix}: name the file to write so")
        if file is not None:
            outputs.check(file, inputs=map(Path, runs), force=force)
    if average:
        if data or clips or dense_step or crops != 1 or csv_file:
            raise SettingsError(
                "--average reads the scores that two runs kept: leave out --data, --clips, --crops, "
                "--dense-step and --csv, or evaluate each of them with these first"
            )
        _average(runs, split, scores)
        return
    if scores and len(runs) > 1:
        raise SettingsError("--scores names one file, and there are several runs: leave it out")
    for run, times in Counter(runs).items():
        if times > 1:
            raise SettingsError(f"{run} is given {times} times: name each run once")
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
    if not this_process().is_main_process:
        return
    # Two runs of one split, such as two seeds, are told apart by their names.
    one_a_split = len({one.split for one in done}) == len(done)
    titles = [
        f"{one.split}" if one_a_split else f"{one.split}, {run}"
        for run, one in zip(runs, done, strict=True)
    ]
    for title, one in zip(titles, done, strict=True):
        say(f"split {title}, {len(one.scores.names):,} videos; every score is in {one.file}")
        for key, value in evaluation.summary(one.scores).items():
            say(f"{key:16} {value:.4f}" if isinstance(value, float) else f"{key:16} {value}")
        low, high, groups = evaluation.video_interval(one.scores)
        say(f"95% interval of video@1: {low:.3f} to {high:.3f}, over {groups} groups")
    if csv_file is not None:
        keys = [(one.split, run) for run, one in zip(runs, done, strict=True)]
        tables = [evaluation.per_video(one.scores) for one in done]
        said = pd.concat(tables, keys=keys, names=["split", "run"]).droplevel(2)
        with whole_file(csv_file) as partial:
            (said.droplevel("run") if one_a_split else said).to_csv(partial)
        say(f"wrote {csv_file}")
    if len(done) > 1:
        of_each = {title: one.scores for title, one in zip(titles, done, strict=True)}
        say_table(evaluation.mean_of_splits(of_each).round(4).to_string())
    else:
        table = evaluation.per_class(done[0].scores).sort_values("accuracy")
        say_table(table.to_string(index=False, float_format="{:.2f}".format))


def _average(runs: list[str], split: int | None, to: Path | None) -> None:
    """Print what two runs reach alone and together, and what each class gains."""
    from r21d_lib import evaluation
    from r21d_lib.training.hardware import this_process
    from r21d_lib.training.run import kept_scores

    if len(runs) != 2:
        raise SettingsError(f"--average takes two runs, not {len(runs)}: give RGB's and flow's")
    first, second = (kept_scores(run, split) for run in runs)
    if not this_process().is_main_process:
        return
    both = evaluation.average(first, second)
    for name, scores in (*zip(runs, (first, second), strict=True), ("average", both)):
        low, high, groups = evaluation.video_interval(scores)
        reached = f"video@1 {evaluation.video_accuracy(scores):.4f} [{low:.3f}, {high:.3f}]"
        say(f"{reached}, clip@1 {evaluation.clip_accuracy(scores):.4f}  {name}")
    say(f"{len(both.names):,} videos, 95% intervals over {groups} groups")
    for run, its in zip(runs, (first, second), strict=True):
        say("", f"what the average gains over {run}")
        table = evaluation.gains([its], [both])
        say_table(table.to_string(index=False, float_format="{:.2f}".format))
    if to is not None:
        both.save(to)
        say(f"every score of the average is in {to}")


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
    say_table(table.set_axis(names).rename_axis(None).to_string(na_rep="?", justify="left"))


@app.command(
    rich_help_panel=Panel.train,
    epilog="**Examples:** `r21d convert r2.5d_d34_l32.pkl kinetics.safetensors` · "
    "`r21d convert torchvision/r2plus1d_18 r2plus1d_18.safetensors` · "
    "`r21d convert mine.pth mine.safetensors --labels classes.json`",
)
def convert(
    source: Annotated[
        str, typer.Argument(help="A weight file, a name of `r21d weights`, or hf://owner/repo.")
    ],
    target: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
    labels: Annotated[
        Path | None, typer.Option(help="The file's class names: a JSON list, or one a line.")
    ] = None,
    force: outputs.Force = False,
) -> None:
    """Write any known weight file (Caffe2 .pkl, .pth, .safetensors) as safetensors with its card."""
    from r21d_lib import checkpoints

    if target.suffix == ".safetensors":  # another is refused below
        outputs.check(target, inputs=[Path(source)], force=force)
    names = checkpoints.read_labels(labels) if labels else None
    say(str(checkpoints.convert(source, target, file_classes=names)))
    say(f"wrote {target}")


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
    say(f"the checkpoint is {path}")
