"""Class names: those of Kinetics-400 and HMDB51, which come with the package, and label files."""

import json
from pathlib import Path

from r21d_lib.errors import CheckpointError

LABELS = Path(__file__).parents[1] / "labels"


def read_labels(path: str | Path) -> tuple[str, ...]:
    """Return class names from a JSON list, or from a text file with one name a line.

    Args:
        path: a file; or "kinetics400" (in torchvision's order) or "hmdb51" (in alphabetical order,
            as its splits have it), which come with the package.

    Raises:
        CheckpointError: if the file is missing or holds something else.
    """
    known = {file.stem: file for file in LABELS.glob("*.json")}
    path = known.get(str(path), Path(path))
    try:
        text = path.read_text()
        names = json.loads(text) if path.suffix == ".json" else text.splitlines()
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read as class names ({error}): give a JSON list, a text file with one "
            f"a line, or {' or '.join(sorted(known))}"
        ) from error
    if not isinstance(names, list) or not names or not all(isinstance(n, str) and n for n in names):
        raise CheckpointError(f"{path} is not a list of class names: give one a line, or a JSON list")
    return tuple(names)
