"""The command `r21d`: its commands by subject, each a thin layer over the library."""

from enum import StrEnum
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
