"""The numbers in prose: each is rendered from results, or a fact that is computed here, or not there.

What studies found is rendered (`findings`). What README's and the notebooks' own text says beside it is
a fact of the code, of recorded results or of the paper; a text with another number does not pass.
"""

import re
import tomllib
from collections.abc import Iterator

import pandas as pd

from r21d_lib.checkpoints import SHIPPED
from r21d_lib.evaluation.intervals import wilson_interval
from r21d_lib.models.networks import build_network
from r21d_lib.suite import comparison, languages, results
from r21d_lib.suite.ledger import PAPER_NUMBERS
from r21d_lib.suite.profiles import get_profile
from r21d_lib.suite.repository import BENCHMARKS, NOTEBOOK_FOLDER, REPOSITORY

# What looks measured: 0.12, 1,234, 12%, and numbers with a unit. Whole numbers beside it are names,
# settings and sections.
_UNITS = "points|pontos|times|vezes|minutes|minutos|hours|horas|seconds|segundos|MB|GB|ms"
_NUMBER = re.compile(
    rf"(?<![\w.,/-])(?:\d+[.,]\d+ ?%|\d+ ?%|\d+(?:[.,]\d+)? (?:{_UNITS})\b|\d+[.,]\d\d+\b)"
)
_NO_PROSE = re.compile(
    r"```.*?```|`[^`]*`|<!-- findings.*?<!-- end -->|\]\([^)]*\)|\$[^$]*\$", re.DOTALL
)
_SHIPPED = SHIPPED / "r2plus1d_10_figures.safetensors"
# Chosen by hand, and of nothing that was measured: reading times, what installing takes.
_ROUND = ("2 GB", "6 GB", "7 GB", "10 minutes", "10 minutos")


def facts() -> set[str]:
    """Return the numbers that prose may hold, as it writes them."""
    paper = pd.read_csv(PAPER_NUMBERS)
    database = results.read_results(BENCHMARKS / "results" / "database.json")["forms"]
    images = results.read_results(BENCHMARKS / "results" / "image_size.json")
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    recipe, vmz = get_profile("figures"), get_profile("hmdb51")
    train, test = recipe.video_list("train"), recipe.video_list("test")
    stems = [
        sum(weight.numel() for weight in build_network(name, 18, num_classes=9).stem.parameters())
        for name in ("r3d", "r2plus1d")
    ]
    changed = [  # notebook 04b: the first layers of networks of the race's width
        sum(weight.numel() for weight in network.stem.parameters() if weight.ndim == 5)
        for network in (
            build_network(name, recipe.depth, num_classes=9, width=recipe.width)
            for name in ("r3d", "r2plus1d", "r2plus1d_time_first")
        )
    ]
    given_up = results.read_results(BENCHMARKS / "results" / "rates.json")["given_up"]
    lowered = max(run["rate"] for run in given_up if run["network"] == "r2plus1d")
    most_wrong, all_right = wilson_interval(28, 30), wilson_interval(30, 30)
    values = {
        f"{100 * comparison.COVERAGE:g}%",
        "95%",  # of all intervals: evaluation.intervals
        project["requires-python"].removeprefix(">="),
        f"{_SHIPPED.stat().st_size / 1e6:.1f} MB",
        f"{database['SQLite, JPEG 90']['hmdb51_gb']:.0f} GB",
        f"{images['cpu']['adds_mb'] / 1000:.2f} GB",
        f"{len(train) + len(test):,}",
        f"{90 * 160 * 120 * 3 / 1e6:.0f} MB",  # notebook 01: ninety frames of 160 x 120
        f"{27 * 64 * 64:,}",  # notebook 02: a 3 x 3 x 3 kernel from 64 to 64 channels
        f"{stems[0] - stems[1]:,}",
        *(f"{weights:,}" for weights in changed),
        *(f"{rate:g}" for rate in (lowered, lowered / 2)),  # notebook 04: of R(2+1)D
        "2,500",  # lines that a student reads: tests/test_rooms.py
        f"{vmz.training.clips_per_epoch:,}",
        *(f"{bound:.2f}" for bound in (*most_wrong, all_right[0])),
        f"{1 / recipe.clips.clip_len:.2f}",  # notebook 09: each of a clip's frames
        f"{1 / 14:.2f}",  # chance among JHMDB's classes
        f"{(6 + 6 / 2) / 12:.2f}",  # notebook 04: the highest video@1 without the frames' order
        "240,000",  # videos of Kinetics-400 (paper, section 4.1)
        "33.37",  # an example in notebook 10
        "6,766",  # videos of HMDB51 (its authors' page)
        "0.2 seconds",  # notebook 00: chosen there, in code
        *_ROUND,
        *(f"{printed:.1f}%" for printed in paper["printed"]),
    }
    return values | {value.translate(str.maketrans(".,", ",.")) for value in values}


def unfounded(text: str, known: set[str]) -> list[str]:
    """Return what looks measured in a text's prose and is none of the known numbers."""
    prose = _NO_PROSE.sub(" ", text)
    return [match[0] for match in _NUMBER.finditer(prose) if match[0] not in known]


def texts() -> Iterator[tuple[str, str]]:
    """Yield a name and the text of each page, in all languages, and Markdown cell of a notebook."""
    import nbformat

    for language in ("", *languages.LANGUAGES):
        for name in (languages.page(page, language) for page in languages.PAGES):
            yield name, (REPOSITORY / name).read_text(encoding="utf-8")
    for path in sorted(NOTEBOOK_FOLDER.glob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        for number, cell in enumerate(cells):
            if cell.cell_type == "markdown":
                yield f"{path.name}, cell {number}", cell.source
