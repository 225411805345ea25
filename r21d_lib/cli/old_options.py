"""The option names of the original Caffe2 scripts, so that an old command line still runs."""

from collections.abc import Iterator, Sequence
from typing import Any

from typer.core import TyperCommand

from r21d_lib.cli import say

# The old name to the new option; "" is a plain argument, None is not needed any more.
_NOW: dict[str, str | None] = {
    "--model_name": "--network",
    "--model_depth": "--depth",
    "--clip_length_rgb": "--clip-length",
    "--load_model_path": "--checkpoint",
    "--num_labels": "--num-labels",
    "--batch_size": "--batch-size",
    "--gpus": "--device",
    "--input": "",
    "--db_type": None,
}
_NETWORKS = {"r2.5d": "r2plus1d", "r2df": "fr2d"}  # what VMZ calls them, and the paper's name


class OldNamesCommand(TyperCommand):
    """A command that takes the original script's options too, each with a note on standard error."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Translate the old names, then parse as usual."""
        return super().parse_args(ctx, list(_translated(args)))


def network_name(name: str) -> str:
    """Return this project's name of a network that may be called as VMZ does, such as "r2.5d"."""
    return _NETWORKS.get(name.lower(), name.lower())


def _translated(args: Sequence[str]) -> Iterator[str]:
    rest = iter(args)
    for arg in rest:
        old, equals, value = arg.partition("=")
        if old not in _NOW:
            yield arg
            if arg == "--":
                yield from rest
            continue
        value = value if equals else next(rest, "")
        new = _NOW[old]
        if new is None:
            say(f"note: {old} is not needed any more", err=True)
            continue
        say(f"note: {old} is now {new or 'an argument without a name'}", err=True)
        if new:
            yield new
        yield f"cuda:{value.split(',')[0]}" if old == "--gpus" else value
