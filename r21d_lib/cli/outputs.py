"""The files that a command is asked to write: never one of its inputs, and none that others wrote."""

import csv
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from r21d_lib.errors import SettingsError
from r21d_lib.files import check_writable

Force = Annotated[bool, typer.Option("--force", help="Replace a file that r21d did not write.")]


def check(path: Path, *, inputs: Iterable[Path] = (), force: bool = False) -> None:
    """Refuse a file to write, before anything is computed.

    Args:
        path: may be there if it is an older result, or empty.
        inputs: what is read, which nothing may replace.
        force: lets it be anything else, too.

    Raises:
        SettingsError: if it is an input, cannot be written, or is somebody else's.
    """
    if path.exists() and any(one.exists() and path.samefile(one) for one in inputs):
        raise SettingsError(f"{path} is one of the inputs: write to another place")
    check_writable(path)
    if path.exists() and not force and path.stat().st_size and not _made_here(path):
        raise SettingsError(
            f"{path} is there and r21d did not write it: name another file, or give --force"
        )


def _made_here(path: Path) -> bool:
    """Tell by its content whether a command of this project wrote a file of that suffix."""
    try:
        return _KINDS.get(path.suffix.lower(), _is_video)(path)
    except Exception:  # it is something else, and any reader may say so in its own way
        return False


def _is_json(path: Path) -> bool:
    rows = json.loads(path.read_text(encoding="utf-8"))
    return all("video" in row and bool(row.keys() & {"top", "error"}) for row in rows)


def _is_csv(path: Path) -> bool:
    with open(path, encoding="utf-8", newline="") as file:
        columns = set(next(csv.reader(file)))
    return columns >= {"video", "rank", "label"} or columns >= {"split", "video", "said"}


def _is_parquet(path: Path) -> bool:
    import pyarrow.parquet

    columns = set(pyarrow.parquet.read_schema(path).names)
    return "video" in columns and bool(columns & {"top", "error"})


def _is_checkpoint(path: Path) -> bool:
    from r21d_lib.checkpoints.cards import read_own_card

    return read_own_card(path) is not None


def _is_exported(path: Path) -> bool:
    from r21d_lib.publish.export import read_exported_card

    return bool(read_exported_card(path).classes)


def _is_scores(path: Path) -> bool:
    from r21d_lib.evaluation.scores import Scores

    return bool(Scores.load(path).names)


def _is_video(path: Path) -> bool:
    from r21d_lib.data import safe_decoder
    from r21d_lib.prediction.overlay import COMMENT

    return safe_decoder.probe(path).comment == COMMENT


_KINDS: Mapping[str, Callable[[Path], bool]] = {
    ".json": _is_json,
    ".csv": _is_csv,
    ".parquet": _is_parquet,
    ".safetensors": _is_checkpoint,
    ".onnx": _is_exported,
    ".pt2": _is_exported,
    ".npz": _is_scores,
}
