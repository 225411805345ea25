"""The ledger: every number and every pair of table 2 that can be checked, ours beside it, a verdict.

It is built from files alone: `paper_numbers.csv` beside this module holds what was printed, notebooks
and benchmarks wrote what was measured. Nothing is computed with a network here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from r21d_lib.errors import DatasetError
from r21d_lib.evaluation.intervals import wilson_interval
from r21d_lib.models.networks import PAPER_NAMES
from r21d_lib.suite import repository, results
from r21d_lib.suite.statistics import NOISE, Study

REPRODUCED, DIFFERS = "reproduced", "differs"
_NUMBERS = Path(__file__).with_name("paper_numbers.csv")
_BENCHMARKS = repository.BENCHMARKS / "results"
FRAMES = (8, 16)  # of the clips for which table 2 prints accuracies
RACE, REAL = "ActionFigures", "606 real clips"
_STUDIES = {RACE: "race.json", REAL: "real_videos.json"}


@dataclass(frozen=True)
class Source:
    """A file of measured numbers.

    Attributes:
        file: its name, as the ledger prints it.
        values: the numbers.
        provenance: date, commit, machine and what else was written with them.
    """

    file: str
    values: Mapping[str, Any]
    provenance: Mapping[str, Any]

    @property
    def origin(self) -> str:
        """Say which file, of which commit."""
        return f"{self.file} ({self.provenance['commit']})"


def numbers() -> pd.DataFrame:
    """Return what the paper and its authors' code print, and where ours would be.

    Columns: where, what, printed (as printed), read_in ("VMZ": read in the authors' repository;
        "transcribed": from others' transcriptions of the paper's tables, which could not be opened
        here), file, key and scale of our number, and needs, the data set without which there is none.
    """
    return pd.read_csv(_NUMBERS, dtype=str, keep_default_na=False)


def of_numbers() -> pd.DataFrame:
    """Set each printed number beside ours.

    Columns: where, what, printed, ours, interval (text), verdict, read_in, source.
    """
    return pd.DataFrame([_row(number) for _, number in numbers().iterrows()])


def table_2(frames: int) -> dict[str, float]:
    """Return table 2's video@1 [%] of each network for clips of 8 or 16 frames."""
    table = numbers()
    printed = dict(zip(table["what"], table["printed"], strict=True))
    return {
        name: float(printed[f"{paper}-18: video@1 [%], {frames} frames"])
        for name, paper in PAPER_NAMES.items()
    }


def budgets() -> pd.DataFrame:
    """Return how far notebook 06's starts come on longer and longer budgets: benchmarks/budget.py."""
    return pd.DataFrame(results.read_results(_BENCHMARKS / "budget.json")["runs"])


def studies() -> dict[str, Study]:
    """Return what was measured of several networks with several seeds, by what it was measured on.

    Raises:
        DatasetError: if a file is missing or of an older form.
    """
    return {title: Study.load(_BENCHMARKS / file) for title, file in _STUDIES.items()}


def pretrained() -> Study:
    """Return the runs on real videos that started from the shipped checkpoint."""
    return Study.load(_BENCHMARKS / _STUDIES[REAL], "pretrained")


def of_pairs() -> pd.DataFrame:
    """Set every difference of two networks in table 2 beside the same difference here.

    The paper's are of Kinetics, ours of other videos and smaller networks: that a direction agrees is
    much, and that a size does is more than can be expected.

    Columns: measured_on, frames (of the printed numbers), those of `Study.pairs`, unit and source.
    """
    rows = [
        study.pairs(table_2(frames)).assign(
            frames=frames, measured_on=title, unit=study.unit, source=_origin(study)
        )
        for title, study in studies().items()
        for frames in FRAMES
    ]
    table = pd.concat(rows, ignore_index=True)
    first = ["measured_on", "frames"]
    return table[first + [column for column in table if column not in first]]


def of_order() -> pd.DataFrame:
    """Compare the order of the networks in table 2 with ours, a row a study and number of frames.

    Columns: measured_on, frames, those of `Study.order`, unit and source.
    """
    return pd.DataFrame(
        {"measured_on": title, "frames": frames, **study.order(table_2(frames))}
        | {"unit": study.unit, "source": _origin(study)}
        for title, study in studies().items()
        for frames in FRAMES
    )


def of_figure_3() -> pd.DataFrame:
    """Return how far R(2+1)D's training accuracy is ahead of every other network's in the race.

    The paper's figure 3 shows it ahead of R3D, and says nothing of the others.

    Columns: behind, printed, ours, low, high (points), seeds, here (ahead, within noise or behind) and
        source. Intervals are over seeds alone, as every network trains on all people.
    """
    study, rows = studies()[RACE], []
    for name in study.networks:
        if name != "r2plus1d":
            found = study.lead("r2plus1d", name, "train_accuracy")
            low, high = 100 * found["low"], 100 * found["high"]
            rows.append(
                {
                    "behind": PAPER_NAMES[name],
                    "printed": "ahead" if name == "r3d" else "",
                    "ours": 100 * found["mean"],
                    "low": low,
                    "high": high,
                    "seeds": found["seeds"],
                    "here": "ahead" if low > 0 else "behind" if high < 0 else NOISE,
                    "source": _origin(study),
                }
            )
    return pd.DataFrame(rows)


def headlines() -> pd.DataFrame:
    """Return the suite's own accuracies, a row a run: video@1, clip@1, test_videos, source."""
    finetuning = _results("06_finetune_hmdb51")
    rows = {
        f"{start}, {finetuning.provenance['profile']}": {
            **{key: round(finetuning.values[start][key], 4) for key in ("video@1", "clip@1")},
            "test_videos": finetuning.values["test_videos"],
            "source": finetuning.origin,
        }
        for start in ("finetuned", "from scratch")
    }
    return pd.DataFrame(rows).T


def _row(number: pd.Series) -> dict[str, str]:
    """Fill one line of the ledger."""
    row = {key: number[key] for key in ("where", "what", "printed")}
    ours, interval, verdict, origin = "", "", f"needs {number['needs']}", ""
    if number["file"]:
        source = _results(number["file"])
        own = source.provenance["profile"] == number["needs"].lower()
        if own or not number["needs"]:
            ours, interval, verdict = _judge(number, source)
            origin = source.origin
    filled = {"ours": ours, "interval": interval, "verdict": verdict}
    return {**row, **filled, "read_in": number["read_in"], "source": origin}


def _judge(number: pd.Series, source: Source) -> tuple[str, str, str]:
    """Return our number as text, its interval, and the verdict.

    A count must lie less than one unit of the last printed digit away, for some were rounded and some
    cut off. An accuracy's 95% interval, Wilson's with the number of films, must hold the printed one.
    """
    value = _look_up(source, number["key"]) * float(number["scale"])
    digits = len(number["printed"].partition(".")[2])
    printed = float(number["printed"])
    if not number["needs"]:
        same = abs(value - printed) < 10.0**-digits
        return f"{value:.{digits + 2}f}", "exact", REPRODUCED if same else DIFFERS
    films = int(_look_up(source, "groups"))
    low, high = wilson_interval(value / 100 * films, films)
    verdict = NOISE if 100 * low <= printed <= 100 * high else DIFFERS
    interval = f"{100 * low:.1f} to {100 * high:.1f} ({films} films)"
    return f"{value:.{digits}f}", interval, verdict


def _results(name: str) -> Source:
    """Read what a notebook measured on this machine, or else what was recorded."""
    own = results.results_folder() / f"{name}.json"
    path = own if own.is_file() else repository.RECORDED / f"{name}.json"
    content = results.read_results(path)
    folder = "recorded" if path.parent == repository.RECORDED else "results"
    return Source(f"{folder}/{name}.json", content["values"], content["provenance"])


def _origin(study: Study) -> str:
    return f"benchmarks/results/{study.file} ({study.provenance['commit']})"


def _look_up(source: Source, key: str) -> float:
    """Follow a dotted name, of which the last part may hold a dot itself."""
    parent, _, child = key.partition(".")
    if key in source.values:
        return float(source.values[key])
    try:
        return float(source.values[parent][child])
    except KeyError as error:
        raise DatasetError(f"{source.file} has no {key}: run that notebook again") from error
