"""The ledger: every number and every pair of table 2 that can be checked, ours beside it, a verdict.

It is built from files alone: `paper_numbers.csv` beside this module holds what was printed, notebooks
and benchmarks wrote what was measured. Nothing is computed with a network here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import nan
from pathlib import Path
from typing import Any

import pandas as pd

from r21d_lib.errors import DatasetError
from r21d_lib.evaluation.intervals import wilson_interval
from r21d_lib.models.kinds import PAPER_NAMES
from r21d_lib.suite import laptop, repository, results
from r21d_lib.suite.clip_length import TABLE_3, ClipLengths
from r21d_lib.suite.laptop import LaptopRun
from r21d_lib.suite.results import measured_in
from r21d_lib.suite.statistics import NOISE, Study, verdict
from r21d_lib.suite.streams import STREAMS, TwoStreams

REPRODUCED, DIFFERS = "reproduced", "differs"
PAPER_NUMBERS = Path(__file__).with_name("paper_numbers.csv")
PAPER_STREAMS = Path(__file__).with_name("paper_streams.csv")  # video@1 [%], as printed
_BENCHMARKS = repository.BENCHMARKS / "results"
FRAMES = (8, 16)  # of the clips for which table 2 prints accuracies
_BESIDE_ABLATIONS = ("fr2d", "r3d", "rmc2", "r2plus1d")
RACE, REAL = "ActionFigures", "606 real clips"
_OURS = {"ours": "mean", "low": "low", "high": "high"}
_ENDS = {"": "mean", "_low": "low", "_high": "high"}
_REAL_FILES = {"hmdb51": "real_videos.json", "ucf6": "real_videos_ucf6.json"}
_STUDIES = {RACE: "race.json", REAL: _REAL_FILES["hmdb51"]}
# What R(2+1)D may learn real videos from, beside pictures and random weights.
REAL_STARTS = {
    "shipped": "the shipped checkpoint",
    "others": "other real clips",
    "flow": "random weights, optical flow",
    "both": "random weights, RGB and flow averaged",
}


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
    return pd.read_csv(PAPER_NUMBERS, dtype=str, keep_default_na=False)


def of_numbers() -> pd.DataFrame:
    """Set each printed number beside ours.

    Where the paper's own data are needed and were not to be had, a run of ours at laptop size stands
    beside the printed number if there is one: `interval` says so and what it is of, and the verdict
    stays what is needed, as an accuracy on other videos cannot judge the printed one.

    Columns: where, what, printed, ours, interval (text), verdict, read_in, source.
    """
    real = f"{REAL} of 14 of HMDB51's classes"
    small = laptop.beside(studies()[RACE], real_videos("hmdb51"), ClipLengths.load(), real)
    return pd.DataFrame([_row(number, small) for _, number in numbers().iterrows()])


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


def ablations() -> Study:
    """Return the runs of changed networks, beside those of the race that they are changes of.

    The race's seeds are the same, so that every difference is of equal clips in equal order.

    Raises:
        DatasetError: if a file is missing, or the two are of other test videos.
    """
    race, changed = studies()[RACE], Study.load(_BENCHMARKS / "ablations.json")
    if race.groups != changed.groups:
        raise DatasetError(f"{changed.file} and {race.file} are of other people: make both anew")
    seeds = {run["seed"] for run in changed.runs}
    beside = [r for r in race.runs if r["network"] in _BESIDE_ABLATIONS and r["seed"] in seeds]
    runs, rates = [*beside, *changed.runs], {**race.rates, **changed.rates}
    return replace(changed, runs=runs, rates=rates)


def real_videos(data: str) -> dict[str, Study]:
    """Return what was measured on real videos: the networks, and R(2+1)D of other starts.

    Args:
        data: "hmdb51" (14 of its classes) or "ucf6" (six of UCF101's).

    Returns:
        "runs", RGB from random weights, and those of `REAL_STARTS` that were run.
    """
    file = _BENCHMARKS / _REAL_FILES[data]
    kept = ("runs", *(name for name in REAL_STARTS if name in results.read_results(file)))
    return {name: Study.load(file, name) for name in kept}


def of_pairs() -> pd.DataFrame:
    """Set every difference of two networks in table 2 beside the same difference here.

    The paper's are of Kinetics, ours of other videos and smaller networks: that a direction agrees is
    much, and that a size does is more than can be expected.

    Columns: measured_on, frames (of the printed numbers), those of `Study.pairs`, unit and source.
    """
    rows = [
        study.pairs(table_2(frames)).assign(
            frames=frames,
            measured_on=title,
            unit=study.unit,
            source=measured_in(study.file, study.provenance),
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
        | {"unit": study.unit, "source": measured_in(study.file, study.provenance)}
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
                    "source": measured_in(study.file, study.provenance),
                }
            )
    return pd.DataFrame(rows)


def of_clip_length() -> pd.DataFrame:
    """Set each row of table 3 (section 4.3) beside the same training and test here, at laptop size.

    Columns: what, printed, ours, low, high (video@1 [%]), printed_than_first, than_first, its low and
        high (points above the table's first row, NaN in that), seeds, groups and source. The printed
        numbers are of Kinetics and 18 layers, ours of ActionFilms and 10: only the differences can be
        compared.
    """
    study = ClipLengths.load()
    printed = dict(zip(numbers()["what"], numbers()["printed"].to_numpy(), strict=True))
    first, rows = None, []
    for what, way in TABLE_3.items():
        of_paper = float(printed[f"{what}: video@1 [%]"])
        first = first or (way, of_paper)
        ours = study.accuracy(way)
        lead = dict.fromkeys(_ENDS.values(), nan) if way == first[0] else study.lead(way, first[0])
        rows.append(
            {
                "what": what,
                "printed": of_paper,
                **{name: 100 * ours[key] for name, key in _OURS.items()},
                "printed_than_first": round(of_paper - first[1], 1),
                **{f"than_first{end}": 100 * lead[key] for end, key in _ENDS.items()},
                "seeds": study.seeds,
                "groups": len(study.groups),
                "source": measured_in(study.file, study.provenance),
            }
        )
    return pd.DataFrame(rows)


def of_streams() -> pd.DataFrame:
    """Set what flow and two streams gain over RGB in tables 4 to 6 beside the same gains here.

    Ours are of R(2+1)D-10 on ActionFigures, at laptop size: only a direction can be compared.

    Columns: where, data, network, pretrained and frames (of the printed numbers), gain ("flow over RGB"
        or "RGB + flow over RGB"), printed, ours, low, high (points), seeds, groups, verdict, source.
    """
    study, rows = TwoStreams.load(), []
    ours = {of: study.gain("r2plus1d", "rgb", of).iloc[-1] for of in ("flow", "both")}
    for _, printed in pd.read_csv(PAPER_STREAMS).iterrows():
        for of, gain in ours.items():
            points = round(float(printed[of] - printed["rgb"]), 1)
            low, high = 100 * gain["low"], 100 * gain["high"]
            bounds = (low, high) if points >= 0 else (-high, -low)
            rows.append(
                {
                    **printed[["where", "data", "network", "pretrained", "frames"]].to_dict(),
                    "gain": f"{STREAMS[of]} over RGB",
                    "printed": points,
                    "ours": 100 * gain["gain"],
                    "low": low,
                    "high": high,
                    "seeds": len(study.seeds["r2plus1d"]),
                    "groups": int(gain["groups"]),
                    "verdict": verdict(abs(points), *bounds),
                    "source": measured_in("two_streams.json", study.provenance),
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


def _row(number: pd.Series, small: Mapping[str, LaptopRun]) -> dict[str, str]:
    """Fill one line of the ledger: our number, or the run at laptop size of the same `what`."""
    row = {key: number[key] for key in ("where", "what", "printed")}
    ours, interval, verdict, origin = "", "", f"needs {number['needs']}", ""
    if number["file"]:
        source = _results(number["file"])
        own = source.provenance["profile"] == number["needs"].lower()
        # A run with other parameters is of another experiment; three splits are not always scored.
        own = own and "parameters" not in source.provenance and _has(source, number["key"])
        if own or not number["needs"]:
            ours, interval, verdict = _judge(number, source)
            origin = source.origin
    if not ours and (run := small.get(number["what"])):
        ours, interval, origin = f"{100 * run.accuracy:.1f}", run.interval, run.source
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
    films = int(_look_up(source, f"{number['key'].rpartition('.')[0]}.groups".lstrip(".")))
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


def _has(source: Source, key: str) -> bool:
    parent = key.partition(".")[0]
    return key in source.values or parent in source.values


def _look_up(source: Source, key: str) -> float:
    """Follow a dotted name, of which the last part may hold a dot itself."""
    parent, _, child = key.partition(".")
    if key in source.values:
        return float(source.values[key])
    try:
        return float(source.values[parent][child])
    except KeyError as error:
        raise DatasetError(f"{source.file} has no {key}: run that notebook again") from error
