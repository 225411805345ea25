"""The errors that a user can cause and mend: one line each, naming the thing and the way out."""

from collections.abc import Sequence


class R21DError(Exception):
    """Base of all errors about the user's input; `r21d` prints it on one line and exits with 2."""


class SettingsError(R21DError):
    """A setting, name or option that does not exist or does not fit (profile, network, split)."""


class VideoError(R21DError):
    """A video file that is missing, unreadable or empty."""


class DatasetError(R21DError):
    """A data folder or split list that is missing, incomplete or contradicts itself."""


class CheckpointError(R21DError):
    """A weight file that is missing, damaged or made for something else."""


def few(names: Sequence[str], most: int = 3) -> str:
    """Name the first of a list in a message, and tell by dots that there are more."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
