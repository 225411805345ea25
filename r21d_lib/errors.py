"""The errors that a user can cause and mend: one line each, naming the thing and the way out."""

from collections.abc import Sequence

_LONGEST = 900  # characters of a message, whatever a file calls its things
_LEFT_OUT = " ... "


class R21DError(Exception):
    """Base of all errors about the user's input; `r21d` prints it on one line and exits with 2.

    Args:
        message: may quote names and texts of files as they are: what cannot be printed of them is
            escaped, and what is too long is cut, here and nowhere else.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class SettingsError(R21DError):
    """A setting, name or option that does not exist or does not fit (profile, network, split)."""


class VideoError(R21DError):
    """A video file that is missing, unreadable or empty."""


class DatasetError(R21DError):
    """A data folder or split list that is missing, incomplete or contradicts itself."""


class CheckpointError(R21DError):
    """A weight file that is missing, damaged or made for something else."""


class HubError(R21DError):
    """Something on the Hugging Face Hub that cannot be had, is not as stated, or cannot be written."""


def printable(text: str, most: int = _LONGEST) -> str:
    """Return a text on one short line and without control characters, which a file's names may hold.

    Args:
        text: as `escaped` writes it.
        most: characters; what is longer loses its middle, as a message begins with what is wrong and
            ends with the way out.
    """
    if len(text) > most:
        text = text[:most] + text[-most:]  # little is to be escaped, and still too much to be shown
    text = escaped(text)
    half = (most - len(_LEFT_OUT)) // 2
    return text if len(text) <= most else text[:half] + _LEFT_OUT + text[-half:]


def escaped(text: str) -> str:
    """Return a text with line breaks, escapes and bytes that are no characters as Python writes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def few(names: Sequence[str], most: int = 3) -> str:
    """Name the first of a list in a message, and tell by dots that there are more."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
