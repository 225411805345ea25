"""The command `r21d`: its commands by subject, each a thin layer over the library."""

from enum import StrEnum


class Panel(StrEnum):
    """The panels in which `r21d --help` shows the commands."""

    start = "Start"
    data = "Data"
    train = "Train and evaluate"
    predict = "Predict"
    publish = "Publish"
