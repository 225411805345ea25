"""R(2+1)D, explained and reproduced: networks, data path, protocol and explanation."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from r21d_lib.prediction import Recognizer

__version__ = "0.1.0"
__all__ = ["Recognizer", "__version__"]


def __getattr__(name: str) -> object:
    """Import what needs torch when it is asked for, so that `r21d --help` answers at once."""
    if name == "Recognizer":
        from r21d_lib.prediction import Recognizer

        return Recognizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
