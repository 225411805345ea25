"""The commands of `r21d` that publish: pictures, networks for other runtimes and the Hub, the site."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from r21d_lib.cli import Panel, outputs, say, say_error
from r21d_lib.errors import R21DError, SettingsError
from r21d_lib.files import BUILD, fitting, whole_file, whole_folder

app = typer.Typer()

CHECKPOINT_HELP = (
    "figures (the shipped one), a weight file, a name of `r21d weights`, or hf://owner/repo."
)


@app.command(rich_help_panel=Panel.publish, epilog="**Example:** `r21d draw` writes figures/")
def draw(
    to: Annotated[
        Path | None, typer.Option(help="Folder of the pictures; figures/ where not given.")
    ] = None,
) -> None:
    """Draw the pictures that need no training: kernels, networks, map, race, overlay, sheets."""
    from r21d_lib.data import action_figures
    from r21d_lib.suite import pictures, repository

    with nullcontext(repository.FIGURES) if to is None else whole_folder(to) as folder:
        written = [
            *pictures.write_figures(folder),
            pictures.write_overlay(folder),
            *action_figures.write_contact_sheets(folder),
        ]
    for path in written:
        say(f"wrote {(to or folder) / path.relative_to(folder)}")


@app.command(
    rich_help_panel=Panel.publish,
    epilog="**Examples:** `r21d export figures --to net.onnx` · `r21d export figures --to net.pt2` · "
    "`r21d export build/runs/RUN/best.safetensors --to mine.onnx`",
)
def export(
    checkpoint: Annotated[str, typer.Argument(help=CHECKPOINT_HELP)],
    to: Annotated[Path, typer.Option(help="The file: .onnx, or .pt2 for torch.export's program.")],
    force: outputs.Force = False,
) -> None:
    """Write a network for another runtime; the file is kept only if it agrees with torch to 1e-4."""
    from r21d_lib.publish.export import SUFFIXES, export

    if to.suffix in SUFFIXES:  # another is refused below
        outputs.check(to, inputs=[Path(checkpoint)], force=force)
    say(str(export(checkpoint, to)))


@app.command(
    rich_help_panel=Panel.publish,
    epilog="**Examples:** `r21d publish RUN me/r2plus1d-hmdb51 --license cc-by-4.0` · "
    "`r21d publish RUN me/r2plus1d-hmdb51 --push`",
)
def publish(
    run: Annotated[str, typer.Argument(help="A finished run that was evaluated: its folder or name.")],
    repo: Annotated[str, typer.Argument(help="owner/name on the Hugging Face Hub.")],
    to: Annotated[
        Path | None, typer.Option(help="The folder to make; build/published/owner/name if not given.")
    ] = None,
    license: Annotated[
        str | None, typer.Option(help="Of the weights, by the Hub's names, such as cc-by-4.0.")
    ] = None,
    push: Annotated[bool, typer.Option("--push", help="Upload it, too.")] = False,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
) -> None:
    """Write a run's weights, config.json and model card with its measured numbers; upload on --push."""
    from r21d_lib.publish import model_repository

    folder = to or BUILD / "published" / repo
    model_repository.write(run, repo, folder, licence=license)
    say(f"{folder} holds README.md, config.json and model.safetensors")
    if push:
        say(f"uploaded to {model_repository.push(folder, repo, private=private)}")
    else:
        say("nothing was uploaded: read README.md, then run it again with --push")


@app.command(
    rich_help_panel=Panel.publish,
    epilog="**Examples:** `r21d site` · `python3 -m http.server -d build/site` · "
    "`r21d site --to public --checkpoint mine.safetensors` · "
    "`r21d site --scores build/runs/RUN/scores_split1.npz`",
)
def site(
    to: Annotated[Path, typer.Option(help="The folder to build.")] = BUILD / "site",
    checkpoint: Annotated[str, typer.Option(help=f"The live page's network: {CHECKPOINT_HELP}")] = (
        "figures"
    ),
    scores: Annotated[
        list[Path] | None,
        typer.Option(
            help="A scores file for the dashboard; twice to set two of one list side by side."
        ),
    ] = None,
    vendor: Annotated[
        Path | None, typer.Option(help="A node_modules folder to copy from, where npm cannot fetch.")
    ] = None,
    allow_drift: Annotated[
        bool,
        typer.Option("--allow-drift", help="Take copies whose numbers drifted, too, and mark them."),
    ] = False,
) -> None:
    """Build the course page: notebooks, texts, reference, dashboard, and the network in the browser."""
    from r21d_lib.publish.site import EXECUTED, build

    pages = build(
        to, checkpoint=checkpoint, scores=scores or (), vendor=vendor, allow_drift=allow_drift
    )
    executed = sum((EXECUTED / f"{page.name}.ipynb").is_file() for page in pages)
    say(f"{to / 'index.html'}: {len(pages)} notebooks, {executed} of them as `make run` left them")


@app.command(
    rich_help_panel=Panel.publish,
    epilog="**Example:** `r21d webm build/data/action_figures_source/videos/golf/*.avi --to ~/films`",
)
def webm(
    videos: Annotated[list[Path], typer.Argument(help="Video files of any kind.")],
    to: Annotated[Path, typer.Option(help="The folder to fill.")] = BUILD / "webm",
    force: outputs.Force = False,
) -> None:
    """Rewrite videos as .webm, which every browser plays: for the live page of the site.

    Goes on after a video that cannot be read, and then exits with 1.
    """
    from r21d_lib.publish.films import write_webm

    of: dict[Path, Path] = {}
    for path in videos:
        target = to / fitting(path.stem, ".webm")
        if of.setdefault(target, path) != path:
            raise SettingsError(f"{of[target]} and {path} would both be {target}: give one at a time")
    failed = 0
    for target, path in of.items():
        try:
            outputs.check(target, inputs=videos, force=force)
            say(f"wrote {write_webm(path, target)}")
        except R21DError as error:
            failed += 1
            say_error(error)
    if failed:
        raise typer.Exit(1)


@app.command(rich_help_panel=Panel.publish, epilog="**Example:** `r21d worksheets --to ~/lesson`")
def worksheets(
    to: Annotated[Path, typer.Option(help="The folder to fill.")] = BUILD / "worksheets",
    force: outputs.Force = False,
) -> None:
    """Write the notebooks for a class: without outputs and solutions, a cell behind each exercise."""
    from r21d_lib.suite import copies, repository, runner

    if to.resolve() == repository.NOTEBOOK_FOLDER.resolve():
        raise SettingsError(f"{to} holds the notebooks themselves: give another folder")
    names = [f"{name}.ipynb" for name in runner.NOTEBOOKS]
    sheets = {to / name: copies.worksheet(repository.NOTEBOOK_FOLDER / name) for name in names}
    for path, text in sheets.items():
        if path.exists() and not force and path.read_bytes() != text.encode():
            raise SettingsError(f"{path} may hold answers: choose another folder, or give --force")
    for path, text in sheets.items():
        with whole_file(path) as partial:
            partial.write_text(text, encoding="utf-8")
    say(f"{len(runner.NOTEBOOKS)} worksheets are in {to}")
