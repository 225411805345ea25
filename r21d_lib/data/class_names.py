"""Class names: Kinetics-400's and HMDB51's, which come with the package, label files, names alike."""

import json
from collections.abc import Sequence
from itertools import combinations, takewhile
from pathlib import Path

from r21d_lib.errors import CheckpointError, DatasetError
from r21d_lib.files import LONGEST_NAME, read_text

_LEAST_ALIKE = 4  # letters: shorter names are alike by nature
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
        text = read_text(path)
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        names = json.loads(text) if path.suffix == ".json" else lines
    except (DatasetError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read as class names ({error}): give a JSON list, a text file with one "
            f"a line, or {' or '.join(sorted(known))}"
        ) from error
    if not isinstance(names, list) or not names or not all(isinstance(n, str) and n for n in names):
        raise CheckpointError(f"{path} is not a list of class names: give one a line, or a JSON list")
    if too_long := [name for name in names if len(name) > LONGEST_NAME]:
        raise CheckpointError(
            f"{path} names a class in {len(too_long[0]):,} characters ({too_long[0]}): use at most "
            f"{LONGEST_NAME}"
        )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise CheckpointError(f"{path} names {twice!r} twice: a class has one name")
    return tuple(names)


def alike(classes: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the pairs of longer names that one letter makes, another, one more or two exchanged."""
    # Two such names are equal where each has lost one letter, or one of them has: with thousands of
    # classes few pairs are to be looked at.
    by_rest: dict[str, list[str]] = {}
    for name in classes:
        if len(name) >= _LEAST_ALIKE:
            text = name.casefold()
            for rest in {text, *(text[:n] + text[n + 1 :] for n in range(len(text)))}:
                by_rest.setdefault(rest, []).append(name)
    near = {pair for names in by_rest.values() for pair in combinations(names, 2)}
    return tuple((a, b) for a, b in sorted(near) if _one_slip(a.casefold(), b.casefold()))


def _one_slip(a: str, b: str) -> bool:
    if abs(len(a) - len(b)) > 1:
        return False
    head = _same(a, b)
    a, b = a[head:], b[head:]
    tail = _same(a[::-1], b[::-1])
    a, b = a[: len(a) - tail], b[: len(b) - tail]
    if (a + b).isdigit():  # numbered classes
        return False
    return max(len(a), len(b)) == 1 or (len(a) == len(b) == 2 and a == b[::-1])


def _same(a: str, b: str) -> int:
    """Return how many letters two texts have in common from their start."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))
