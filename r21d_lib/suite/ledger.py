"""The ledger: every number of the paper that can be checked, ours beside it, and a verdict.

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
from r21d_lib.files import REPOSITORY
from r21d_lib.suite import results, statistics

REPRODUCED, NOISE, DIFFERS = "reproduced", "within noise", "differs"
_NUMBERS = Path(__file__).with_name("paper_numbers.csv")
_BENCHMARKS = REPOSITORY / "benchmarks" / "results"
_TWO_D = ("r2d", "fr2d")
_OTHER_3D = ("r3d", "mc2", "mc3", "mc4", "mc5", "rmc2", "rmc3", "rmc4", "rmc5")


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


def of_claims() -> pd.DataFrame:
    """Set what the paper concludes beside what the small experiments say, with intervals over seeds.

    The paper's differences are of Kinetics, ours of ActionFigures and of 606 real clips of HMDB51, so
    only the direction can agree: a claim is "reproduced" if the whole 95% interval lies on its side
    of zero, "within noise" if zero lies in it, and "differs" if all of it lies on the other side.

    Columns: where, what, printed, ours, interval, verdict, measured_on, source.
    """
    race, real = _benchmark("race"), _benchmark("real_videos")
    runs, rows = race.values["runs"], []
    for where, what, printed, ahead, behind, measure in _CLAIMS:
        found = statistics.lead(runs, ahead, behind, measure)
        measured_on = f"ActionFigures, {found['seeds']} seeds"
        rows.append(_claim(where, what, printed, found, measured_on, race))
    pairs = [{**run, "network": name} for name, of in real.values["runs"].items() for run in of]
    for other in ("R3D", "f-R2D"):
        found = statistics.lead(pairs, ["R(2+1)D"], [other])
        printed = {"R3D": "+3.0 to +3.8", "f-R2D": "+5.4 to +7.5"}[other]
        what = f"R(2+1)D is above {other} (video@1)"
        measured_on = f"606 real clips, {found['seeds']} seeds"
        rows.append(_claim("table 2", what, printed, found, measured_on, real))
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


# Where, what, by how many points on Kinetics (8 to 16 frames), and the networks compared.
_CLAIMS = (
    ("table 2", "R(2+1)D is above R3D (video@1)", "+3.0 to +3.8", ["r2plus1d"], ["r3d"], "video@1"),
    (
        "table 2",
        "R(2+1)D is above the other 3D and mixed networks (video@1)",
        "+1.9 to +4.9",
        ["r2plus1d"],
        _OTHER_3D,
        "video@1",
    ),
    (
        "table 2",
        "R(2+1)D is above the 2D networks (video@1)",
        "+5.3 to +9.1",
        ["r2plus1d"],
        _TWO_D,
        "video@1",
    ),
    (
        "table 2",
        "3D and mixed networks are above 2D ones (video@1)",
        "+1.7 to +6.2",
        _OTHER_3D,
        _TWO_D,
        "video@1",
    ),
    (
        "figure 3",
        "R(2+1)D is easier to train than R3D (training accuracy)",
        "above",
        ["r2plus1d"],
        ["r3d"],
        "train_accuracy",
    ),
)


def _claim(
    where: str,
    what: str,
    printed: str,
    found: Mapping[str, float],
    measured_on: str,
    source: Source,
) -> dict[str, str]:
    low, high = 100 * found["low"], 100 * found["high"]
    verdict = REPRODUCED if low > 0 else DIFFERS if high < 0 else NOISE
    return {
        "where": where,
        "what": what,
        "printed": printed,
        "ours": f"{100 * found['mean']:+.1f}",
        "interval": f"{low:+.1f} to {high:+.1f}",
        "verdict": verdict,
        "measured_on": measured_on,
        "source": source.origin,
    }


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
    cut off. An accuracy's 95% interval must hold the printed one.
    """
    value = _look_up(source, number["key"]) * float(number["scale"])
    digits = len(number["printed"].partition(".")[2])
    printed = float(number["printed"])
    if not number["needs"]:
        same = abs(value - printed) < 10.0**-digits
        return f"{value:.{digits + 2}f}", "exact", REPRODUCED if same else DIFFERS
    videos = int(source.values["videos"])
    low, high = wilson_interval(round(value / 100 * videos), videos)
    verdict = NOISE if 100 * low <= printed <= 100 * high else DIFFERS
    return f"{value:.{digits}f}", f"{100 * low:.1f} to {100 * high:.1f}", verdict


def _results(name: str) -> Source:
    """Read what a notebook measured on this machine, or else what was recorded."""
    own = results.results_folder() / f"{name}.json"
    path = own if own.is_file() else results.RECORDED / f"{name}.json"
    content = results.read_results(path)
    folder = "recorded" if path.parent == results.RECORDED else "results"
    return Source(f"{folder}/{name}.json", content["values"], content["provenance"])


def _benchmark(name: str) -> Source:
    content = results.read_results(_BENCHMARKS / f"{name}.json")
    return Source(f"benchmarks/results/{name}.json", content, content["provenance"])


def _look_up(source: Source, key: str) -> float:
    """Follow a dotted name, of which the last part may hold a dot itself."""
    parent, _, child = key.partition(".")
    if key in source.values:
        return float(source.values[key])
    try:
        return float(source.values[parent][child])
    except KeyError as error:
        raise DatasetError(f"{source.file} has no {key}: run that notebook again") from error
