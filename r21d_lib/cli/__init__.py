"""The command `r21d`: its commands by subject, each a thin layer over the library."""

import functools
import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from r21d_lib.errors import printable

if TYPE_CHECKING:
    from r21d_lib.prediction.recognizer import Recognizer


class Panel(StrEnum):
    """The panels in which `r21d --help` shows the commands."""

    start = "Start"
    data = "Data"
    train = "Train and evaluate"
    predict = "Predict"
    publish = "Publish"


def from_home(command: Callable[..., object]) -> Callable[..., object]:
    """Let a command read ~ as the home folder in every place that it is given.

    Shells do so themselves, but not behind `=` (`--to=~/videos`) and not between quotes.
    """

    @functools.wraps(command)
    def run(*given: object, **named: object) -> object:
        places = {name: _expanded(value) for name, value in named.items()}
        return command(*map(_expanded, given), **places)

    return run


def _expanded(given: object) -> object:
    """Return a place, or several, with the home folder for ~; anything else as it is."""
    if isinstance(given, Path):
        return Path(os.path.expanduser(given))
    return [_expanded(one) for one in given] if isinstance(given, list) else given


def say(*lines: str, err: bool = False, bold: bool = False) -> None:
    """Print lines, whatever names of files are in them."""
    for line in lines:
        typer.secho(printable(line), err=err, bold=bold)


def say_table(table: object) -> None:
    """Print what has several lines."""
    say(*str(table).split("\n"))


def say_error(problem: object) -> None:
    """Print what a user can mend."""
    typer.secho(f"error: {printable(str(problem))}", err=True, fg="red")


def say_what_it_knows(recognizer: "Recognizer") -> None:
    """Print once, beside the answers, which world the network was trained in."""
    if recognizer.card.world:
        say(f"{recognizer.source.stem} {recognizer.card.world}", err=True)
