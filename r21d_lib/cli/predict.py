"""The commands of `r21d` that ask a network about videos: predict, features."""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from r21d_lib.cli import Panel, outputs, say, say_error, say_what_it_knows
from r21d_lib.cli.old_options import OldNamesCommand, network_name
from r21d_lib.data.clip_settings import MOST_CLIPS
from r21d_lib.errors import CheckpointError, R21DError, SettingsError
from r21d_lib.files import BUILD, fitting

if TYPE_CHECKING:
    from r21d_lib.prediction.prediction import Prediction
    from r21d_lib.prediction.recognizer import Recognizer

app = typer.Typer()

_MOST_SPELLS = 40  # printed of one video


class Modality(StrEnum):
    """What a network sees of a video."""

    rgb = "rgb"
    flow = "flow"


class Form(StrEnum):
    """The files that features are written to."""

    safetensors = "safetensors"
    parquet = "parquet"


Videos = Annotated[
    list[str], typer.Argument(help="Videos, folders, patterns, or .txt lists of one path a line.")
]
Checkpoint = Annotated[
    str | None,
    typer.Option(
        help="A weight file, a name of `r21d weights`, or hf://owner/repo; the shipped if none."
    ),
]
Network = Annotated[
    str | None, typer.Option(help="The network's name, such as r2plus1d: chooses published weights.")
]
Depth = Annotated[int | None, typer.Option(help="Its layers, such as 18 or 34.")]
ClipLength = Annotated[
    int | None, typer.Option(help="Frames in a clip; the checkpoint's own if not given.")
]
Labels = Annotated[
    str | None, typer.Option(help="Class names: kinetics400, hmdb51, or a file (JSON, or one a line).")
]
NumLabels = Annotated[int | None, typer.Option(help="Number of classes that the weights must have.")]
ModalityOption = Annotated[
    Modality | None,
    typer.Option(help="What the network must take: rgb or flow; the checkpoint's own if not given."),
]
Clips = Annotated[
    int, typer.Option(help="Clips of a short video, evenly spaced.", min=1, max=MOST_CLIPS)
]
Every = Annotated[
    float | None,
    typer.Option(
        help="A clip every so many seconds; half a clip in long videos if none.", min=0.001, max=1e6
    ),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, ...; a GPU where there is one.")]
BatchSize = Annotated[
    int, typer.Option(help="Clips that the network sees at once.", min=1, max=MOST_CLIPS)
]


@app.command(
    rich_help_panel=Panel.predict,
    cls=OldNamesCommand,
    epilog="**Examples:** `r21d predict clip.avi` · `r21d predict ~/videos --csv answers.csv` · "
    "`r21d predict match.mp4 --every 0.5 --overlay seen.mp4` · "
    "`r21d predict '*.mp4' --checkpoint torchvision/r2plus1d_18 --json answers.json` · "
    "`r21d predict clip.avi --network r2plus1d --depth 34 --clip-length 32 --labels kinetics400` · "
    "`r21d predict clip.avi --checkpoint build/runs/RUN/last.safetensors --modality flow`",
)
def predict(
    videos: Videos,
    network: Network = None,
    depth: Depth = None,
    clip_length: ClipLength = None,
    checkpoint: Checkpoint = None,
    labels: Labels = None,
    num_labels: NumLabels = None,
    modality: ModalityOption = None,
    features: Annotated[
        str | None,
        typer.Option(help="Activations whose mean over the clips --json and --parquet get too."),
    ] = None,
    clips: Clips = 10,
    every: Every = None,
    device: Device = None,
    batch_size: BatchSize = 8,
    overlay: Annotated[
        Path | None,
        typer.Option(help="Write the video with labels and bars: a file, or a folder for several."),
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all answers here.")] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Write the five best classes of each video here.")
    ] = None,
    parquet: Annotated[Path | None, typer.Option(help="Write all answers here.")] = None,
    force: outputs.Force = False,
) -> None:
    """Recognise what happens in videos: the five best classes, and in long videos what is when.

    Goes on after a video that cannot be read, and then exits with 1.
    """
    from r21d_lib.data import find
    from r21d_lib.prediction.answers_file import AnswersFile

    found = find.find(videos)
    into_file = overlay is not None and bool(overlay.suffix) and not overlay.is_dir()
    if overlay is not None and into_file:
        from r21d_lib.prediction.overlay import encoder

        encoder(overlay)
        if len(found) > 1:
            raise SettingsError(f"{len(found)} overlays do not fit into {overlay}: give a folder")
    tables = {".json": json_file, ".csv": csv_file, ".parquet": parquet}
    _check_outputs(tables, overlay if into_file else None, found.values(), force=force)
    names = _names(features)
    if names and not (json_file or parquet):
        raise SettingsError("features go into --json or --parquet: name a file, or use r21d features")
    recognizer = _recognizer(
        network, depth, clip_length, checkpoint, labels, num_labels, modality, device, batch_size
    )
    recognizer.check_names(names)
    say_what_it_knows(recognizer)
    failed = 0
    with ExitStack() as stack:
        files = [stack.enter_context(AnswersFile(path)) for path in tables.values() if path]
        for name, path in found.items():
            said, problem = None, ""
            try:
                said = recognizer.predict(path, num_clips=clips, every=every, features=names)
                _print(said, long=len(said.starts) > clips or every is not None)
                if overlay is not None:
                    target = overlay if into_file else overlay / fitting(name, ".mp4")
                    outputs.check(target, inputs=found.values(), force=force)
                    _write_overlay(said, path, target)
            except R21DError as error:
                failed += 1
                problem = str(error)
                say_error(problem)
            for file in files:
                file.add(path, said, problem)
    if failed:
        say(f"{failed} of {len(found)} videos could not be read or drawn", err=True)
        raise typer.Exit(1)


@app.command(
    rich_help_panel=Panel.predict,
    cls=OldNamesCommand,
    epilog="**Examples:** `r21d features ~/videos --features final_avg` · "
    "`r21d features clips.txt --features softmax,layer3 --form parquet --to features/`",
)
def features(
    videos: Videos,
    features: Annotated[
        str, typer.Option(help="softmax, logits, final_avg, or layers such as layer3; by commas.")
    ] = "final_avg",
    to: Annotated[Path, typer.Option(help="Folder of the files, one a video.")] = BUILD / "features",
    form: Annotated[Form, typer.Option(help="Of the files.")] = Form.safetensors,
    network: Network = None,
    depth: Depth = None,
    clip_length: ClipLength = None,
    checkpoint: Checkpoint = None,
    labels: Labels = None,
    num_labels: NumLabels = None,
    modality: ModalityOption = None,
    clips: Clips = 10,
    every: Every = None,
    device: Device = None,
    batch_size: BatchSize = 8,
    force: outputs.Force = False,
) -> None:
    """Write activations of each clip of each video; run it again, and what is there is not done anew.

    Goes on after a video that cannot be read, and then exits with 1.
    """
    from r21d_lib.data import find
    from r21d_lib.prediction import features as feature_files

    found = find.find(videos)
    recognizer = _recognizer(
        network, depth, clip_length, checkpoint, labels, num_labels, modality, device, batch_size
    )
    written = there = 0
    for _, outcome in feature_files.extract(
        recognizer,
        found,
        to,
        _names(features),
        form=form.value,
        num_clips=clips,
        every=every,
        force=force,
    ):
        if outcome in ("written", "there"):
            written, there = written + (outcome == "written"), there + (outcome == "there")
        else:
            say_error(outcome)
    failed = len(found) - written - there
    say(f"{to}: {written} files written, {there} were there, {failed} videos could not be read")
    if failed:
        raise typer.Exit(1)


def _check_outputs(
    tables: Mapping[str, Path | None], overlay: Path | None, videos: Iterable[Path], *, force: bool
) -> None:
    """Refuse, before anything is watched, outputs that would replace a video or cannot be written."""
    for suffix, path in tables.items():
        if path is not None and path.suffix != suffix:
            raise SettingsError(
                f"--{suffix[1:]} {path} is not named {suffix}: name the file to write so"
            )
    for path in filter(None, (*tables.values(), overlay)):
        outputs.check(path, inputs=videos, force=force)


def _names(features: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in (features or "").split(",") if name.strip()))


def _recognizer(
    network: str | None,
    depth: int | None,
    clip_length: int | None,
    checkpoint: str | None,
    labels: str | None,
    num_labels: int | None,
    modality: Modality | None,
    device: str | None,
    batch_size: int,
) -> "Recognizer":
    """Load the weights that the options name or describe, and check that they are as described."""
    from dataclasses import replace

    from r21d_lib.data import safe_decoder

    safe_decoder.start()  # while torch is imported
    from r21d_lib import checkpoints
    from r21d_lib.prediction.recognizer import Recognizer

    classes = checkpoints.read_labels(labels) if labels else None
    name = network_name(network) if network else None
    flow = modality is Modality.flow
    described = flow or any(want is not None for want in (name, depth, classes, num_labels))
    if checkpoint is None and described:
        entry = checkpoints.best(
            name=name,
            depth=depth,
            clip_len=clip_length,
            num_classes=len(classes) if classes else num_labels,
            modality="flow" if flow else "rgb",
        )
        checkpoint = entry.name
        say(f"weights: {checkpoint}, trained on {entry.trained_on}", err=True)
    made = Recognizer(checkpoint or "figures", classes=classes, device=device, batch_size=batch_size)
    is_ = made.card.network
    for what, wanted, there in (
        ("the network", name, is_.name),
        ("depth", depth, is_.depth),
        ("the number of classes", num_labels, is_.num_classes),
        ("what it takes", modality and modality.value, made.clips.modality),
    ):
        if wanted is not None and wanted != there:
            raise CheckpointError(
                f"{made.source}: {what} is {there}, not {wanted}: omit the option, or give "
                "other weights"
            )
    if clip_length is not None:
        if is_.clip_len not in (None, clip_length):
            raise CheckpointError(f"{made.source} takes clips of {is_.clip_len} frames only")
        made.clips = replace(made.clips, clip_len=clip_length)
    return made


def _print(said: "Prediction", *, long: bool) -> None:
    seconds, number = said.num_frames / said.fps, len(said.starts)
    say(f"{said.name}: {said.num_frames:,} frames, {seconds:.1f} s, {number:,} clips", bold=True)
    best = said.top()
    width = max(len(answer.label) for answer in best)
    for answer in best:
        agreeing = f"{round(answer.agreement * number):,} of {number:,} clips"
        say(f"  {answer.label:{width}}  {answer.probability:6.1%}  {agreeing}")
    if not long:
        return
    from r21d_lib.prediction.prediction import clock

    spells = said.spells()
    width = max(len(spell.label) for spell in spells)
    say("  from      to        what")
    for spell in spells[:_MOST_SPELLS]:
        times = f"{clock(spell.start):8}  {clock(spell.end):8}"
        say(f"  {times}  {spell.label:{width}}  {spell.probability:6.1%}")
    if len(spells) > _MOST_SPELLS:
        say(f"  ... {len(spells) - _MOST_SPELLS:,} more: write all of them with --json")


def _write_overlay(said: "Prediction", video: Path, path: Path) -> None:
    from r21d_lib.prediction import overlay

    overlay.write(video, said, path)
    say(f"  wrote {path}")
