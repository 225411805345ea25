"""The command `r21d` as a whole: reproduce, and every user's error in one line with exit 2."""

import os
import sys
from typing import Annotated

import typer

from r21d_lib import __version__
from r21d_lib.cli import (
    Panel,
    data,
    from_home,
    live,
    predict,
    publish,
    say,
    say_error,
    say_table,
    train,
)
from r21d_lib.errors import R21DError, SettingsError
from r21d_lib.files import UNWRITABLE

# The heavy imports (torch, papermill) stand in the commands, so that --help answers at once.

app = typer.Typer(
    help="Understand, run and check R(2+1)D.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
for commands in (data, train, predict, live, publish):
    app.add_typer(commands.app)

# Packages that only some commands need, and the extra of this package that brings them.
_EXTRAS = {
    **dict.fromkeys(
        ("papermill", "nbconvert", "nbformat", "nbclient", "jinja2", "yaml", "pdoc"), "notebooks"
    ),
    **dict.fromkeys(("onnx", "onnxruntime", "pyarrow"), "export"),
    **dict.fromkeys(("anywidget", "ipywidgets", "traitlets"), "live"),
}

ProfileOption = Annotated[
    str, typer.Option(help="figures (ActionFigures, laptop) or hmdb51 (HMDB51, GPU).")
]


@app.callback(invoke_without_command=True)
def version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Print the version on request."""
    if version:
        say(f"r21d {__version__}")
        raise typer.Exit


@app.command(
    rich_help_panel=Panel.start,
    epilog="**Examples:** `r21d reproduce` · `r21d reproduce 02_spatiotemporal_convolutions` · "
    "`R21D_HMDB51=~/hmdb51 r21d reproduce --profile hmdb51 --checkpoint kinetics.pkl` · "
    "`r21d reproduce 06_finetune_hmdb51 --change epochs=12` · `r21d reproduce --jobs 1`",
)
def reproduce(
    names: Annotated[
        list[str] | None, typer.Argument(help="Notebooks to run; all where not given.")
    ] = None,
    profile: ProfileOption = "figures",
    change: Annotated[
        list[str] | None, typer.Option(help="key=value: another value for the profile's recipe.")
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="Where finetuning starts, instead of the profile's.")
    ] = None,
    record: Annotated[
        bool, typer.Option(help="Take the new numbers as the ones to agree with from now on.")
    ] = False,
    draws: Annotated[
        int | None,
        typer.Option(help="Run with seeds 1 to N and record how far numbers spread; can be resumed."),
    ] = None,
    native: Annotated[
        bool,
        typer.Option(
            "--native", help="Use all threads and instructions of this machine: faster, other digits."
        ),
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Notebooks at a time; as many as suit this machine where not given."),
    ] = None,
    publish: Annotated[
        bool, typer.Option(help="Write the executed notebooks, cleaned, back into notebooks/.")
    ] = False,
) -> None:
    """Run the notebooks, several at a time, check their numbers, and leave copies and HTML in build/.

    None runs before those whose files it reads. Kernels compute with AVX2 on one thread, so that every
    x86-64 machine can find the same digits. Exits with 1 if a notebook failed or a number drifted from
    tests/recorded/: it has other digits in the same arithmetic, or lies where 99.9% of recorded draws
    do not in another.
    """
    from r21d_lib.suite import draws as draw_runner
    from r21d_lib.suite import runner

    if draws is not None:
        if profile != "figures" or change or checkpoint or record or publish or jobs:
            raise SettingsError("--draws goes with names and --native only: leave the others out")
        outcomes = draw_runner.make_draws(draws, names, native=native)
        say_table(runner.table(outcomes) if outcomes else "all of these draws are recorded")
        raise typer.Exit(runner.exit_status(outcomes))
    parameters = {"changes": " ".join(change or ()), "checkpoint": checkpoint or ""}
    status = runner.main(
        names or None,
        profile=profile,
        parameters={name: value for name, value in parameters.items() if value},
        record=record,
        publish=publish,
        native=native,
        jobs=jobs,
    )
    raise typer.Exit(status)


@app.command(
    rich_help_panel=Panel.start,
    epilog="**Examples:** `r21d lab` · `r21d lab --language pt-BR` · `r21d lab -- --no-browser`",
)
def lab(
    options: Annotated[list[str] | None, typer.Argument(help="For JupyterLab, behind --.")] = None,
    language: Annotated[
        str | None, typer.Option(help="Of the texts: pt-BR for Portuguese, English if not given.")
    ] = None,
) -> None:
    """Open JupyterLab on copies of the notebooks in build/lab/, so that no tracked file changes.

    Your copies stay as you leave them, also beside a new one where an original has changed
    (NAME.earlier.ipynb); delete build/lab/ to begin anew.
    """
    from r21d_lib.files import BUILD
    from r21d_lib.suite import copies
    from r21d_lib.suite.repository import REPOSITORY
    from r21d_lib.suite.runner import NOTEBOOKS

    place = BUILD / ("lab" if language is None else f"lab-{language}")
    folder = copies.write_working_copies(REPOSITORY, place, language)
    root = REPOSITORY if folder.is_relative_to(REPOSITORY) else place
    first = folder / f"{next(iter(NOTEBOOKS))}.ipynb"
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={root}", str(first)]
    # The settings there make a saved notebook show its widgets when it is opened again.
    own = str(REPOSITORY / "r21d_lib" / "suite" / "jupyter")
    places = os.pathsep.join(filter(None, [own, os.environ.get("JUPYTER_CONFIG_PATH")]))
    environment = {**os.environ, "JUPYTER_CONFIG_PATH": places}
    os.execve(sys.executable, [*command, *(options or ())], environment)


for group in (app, data.app, train.app, predict.app, live.app, publish.app):
    for command in group.registered_commands:
        if command.callback is not None:
            command.callback = from_home(command.callback)

_INTERRUPTED = 130
# How often a thread of torch looks for the others before it sleeps. With libgomp's own count, one other
# program on one of the cores makes training many times slower: benchmarks/busy_machine.py.
SPIN_COUNT = "30000"


def _speak_utf8() -> None:
    """Start again in Python's UTF-8 mode where the locale has another alphabet.

    Class and file names of all alphabets could be neither written nor printed otherwise.
    """
    if sys.getfilesystemencoding() != "utf-8" and os.name == "posix":
        arguments = [sys.executable, "-X", "utf8", "-m", "r21d_lib", *sys.argv[1:]]
        os.execve(sys.executable, arguments, {**os.environ, "PYTHONUTF8": "1"})


def main() -> None:
    """Run the command line; called by the script `r21d`."""
    _speak_utf8()
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)  # before torch is imported
    try:
        app()
    except R21DError as error:
        say_error(error)
        sys.exit(2)
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        if missing not in _EXTRAS:
            raise
        extra = f"python -m pip install 'r21d-lib[{_EXTRAS[missing]}]'"
        say_error(f"this needs the package {missing}: {extra}")
        sys.exit(2)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        place = f"{error.filename}: " if error.filename else ""
        say_error(f"{place}{error.strerror}")
        sys.exit(2)
    except SystemExit as ending:
        if ending.code == _INTERRUPTED:  # Typer ends so, without a word, at Ctrl-C
            say("stopped; what was finished is kept, run it again to go on", err=True)
        raise
