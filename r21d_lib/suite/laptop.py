"""Runs of ours at laptop size, which stand beside the printed numbers of sections 4.3 and 4.4.

Their networks have 10 layers and their videos are others than the paper's, so that none of them is a
verdict on a printed accuracy: each says what the same experiment gave here, and of what.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from r21d_lib.models.settings import LABELS
from r21d_lib.suite import results
from r21d_lib.suite.clip_length import TABLE_3, ClipLengths, Way
from r21d_lib.suite.statistics import Study
from r21d_lib.suite.wording import counted

NAMED = "laptop size: "  # before what a run is of
_LONG: Way = ("32", 32)
_FILMS = "R(2+1)D-10, drawn films (ActionFilms), begun from a network of the race"
_STARTS = {"runs": "random weights", "shipped": "begun from drawn figures"}
# A network and measure of the race to the row of table 4 that it stands beside.
_RACE = {
    ("r3d", "clip@1"): "R3D-34, 8 frames: clip@1 [%]",
    ("r2plus1d", "clip@1"): "R(2+1)D-34, 8 frames: clip@1 [%]",
    ("r2plus1d", "video@1"): "R(2+1)D-34, 8 frames: video@1 [%]",
}
# A start and measure of real videos to the rows of tables 5 and 6, which are of pretraining as well.
_REAL = {
    ("runs", "video@1"): ("R(2+1)D-34, 32 frames, from scratch: video@1 [%]",),
    ("shipped", "video@1"): (
        "R(2+1)D-34, 32 frames, from Sports-1M: video@1 [%]",
        "HMDB51, R(2+1)D-34 from Kinetics: video@1 [%], 3 splits",
        "HMDB51, R(2+1)D-34 from Sports-1M: video@1 [%], 3 splits",
    ),
    ("shipped", "clip@1"): ("HMDB51, R(2+1)D-34 from Kinetics: clip@1 [%], split 1",),
}


@dataclass(frozen=True)
class LaptopRun:
    """What a run at laptop size gave.

    Attributes:
        accuracy: the mean over its seeds, from 0 to 1.
        low: of its 95% interval; NaN where that is over seeds and there is one seed.
        high: likewise.
        rests_on: how many seeds and groups the interval rests on.
        about: network, videos and start.
        source: the file and commit.
    """

    accuracy: float
    low: float
    high: float
    rests_on: str
    about: str
    source: str

    @property
    def interval(self) -> str:
        """Say the interval in percent, what it rests on, and what the run is of."""
        bounds = f"{100 * self.low:.1f} to {100 * self.high:.1f} " if self.low <= self.high else ""
        return f"{bounds}({self.rests_on}), {NAMED}{self.about}"


def beside(
    race: Study, real: Mapping[str, Study], lengths: ClipLengths, videos: str
) -> dict[str, LaptopRun]:
    """Return the run that stands beside each printed number that has one.

    Args:
        race: the networks on ActionFigures.
        real: a start to its runs on real videos, as `ledger.real_videos` returns them.
        lengths: the runs of section 4.3.
        videos: what the real videos are.

    Returns:
        The ledger's `what` of a number to the run. A row whose run was not made is not there.
    """
    runs = {f"{what}: video@1 [%]": _of_films(lengths, way) for what, way in TABLE_3.items()}
    runs["R(2+1)D-34, 32 frames: video@1 [%]"] = _of_films(lengths, _LONG)
    for (network, measure), what in _RACE.items():
        if network in race.networks:
            runs[what] = _of_study(race, network, measure, "ActionFigures, random weights")
    for (start, measure), rows in _REAL.items():
        if start in real:
            about = f"{videos}, {_STARTS[start]}"
            runs |= dict.fromkeys(rows, _of_study(real[start], "r2plus1d", measure, about))
    return runs


def _of_films(study: ClipLengths, way: Way) -> LaptopRun:
    found = study.accuracy(way)
    about = f"{_FILMS}, {way[1]} frames"
    source = results.measured_in(study.file, study.provenance)
    return LaptopRun(found["mean"], found["low"], found["high"], study.counted, about, source)


def _of_study(study: Study, network: str, measure: str, about: str) -> LaptopRun:
    row = study.standings(measure).to_dict("index")[LABELS[network]]
    rests_on = counted(row["seeds"], row["groups"], study.unit)
    of = f"{LABELS[network]}-10, {about}, 8 frames"
    source = results.measured_in(study.file, study.provenance)
    return LaptopRun(row["mean"], row["low"], row["high"], rests_on, of, source)
