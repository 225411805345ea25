"""Draws: runs of the notebooks with other seeds, recorded so that the spread of a number is known."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from unittest import mock

from r21d_lib.errors import SettingsError
from r21d_lib.files import BUILD, only_writer
from r21d_lib.suite import arithmetic, comparison, copies, results, runner
from r21d_lib.suite.repository import NOTEBOOK_FOLDER, RECORDED

_SHARED = ("data", "cache")  # of the build folder: the same for every seed


def make_draws(
    count: int,
    names: Sequence[str] | None = None,
    *,
    native: bool = False,
    notebooks: Mapping[str, tuple[str, ...]] = runner.NOTEBOOKS,
    folder: Path = NOTEBOOK_FOLDER,
    output: Path = BUILD,
    recorded: Path = RECORDED,
    progress: bool = True,
) -> list[runner.Outcome]:
    """Run the notebooks whose numbers come out of training with seeds 1 to `count`, and record them.

    Each seed has a build folder of its own, `output`/draws/seed_<k>. A draw is recorded as soon as its
    notebook has passed, and one that is recorded already, of the same code, recipes and arithmetic, is
    not made again: an interrupted call goes on where it was. It ends at the first failure.

    Args:
        count: how many seeds; 3 draws, the recorded run included, are the fewest that are compared by.
        names: which notebooks; those they need run too. None takes all that train.
        native: as for `runner.reproduce`: a draw in another arithmetic.
        notebooks: the table of names and needs.
        folder: where the notebooks are.
        output: where runs and results are written.
        recorded: the folder of recorded numbers, which get the draws.
        progress: shows a bar a notebook.

    Returns:
        An outcome for each notebook and seed that was run now, named <notebook>, seed <k>.

    Raises:
        SettingsError: if there is nothing to draw, or another run is at work.
    """
    if count < 1:
        raise SettingsError(f"--draws {count} makes none: give 1 or more")
    training = [name for name in notebooks if trains(recorded / f"{name}.json")]
    wanted = [name for name in training if not names or name in names]
    if not wanted or set(names or ()) - set(wanted):
        raise SettingsError(f"draws are made of notebooks that train: choose {', '.join(training)}")
    chosen = [n for n in training if n in wanted or any(n in notebooks[other] for other in wanted)]
    fingerprint = arithmetic.fingerprint_of(native=native)
    outcomes: list[runner.Outcome] = []
    with only_writer(output / "draws"):
        for seed in range(1, count + 1):
            place = output / "draws" / f"seed_{seed}"
            made_by = {name: copies.identity(name, notebooks[name], folder) for name in chosen}
            missing = [
                name
                for name in chosen
                if (seed, fingerprint, made_by[name]) not in _recorded(recorded / f"{name}.json")
            ]
            _share(output, place)
            for name in chosen:
                ran_here = (place / "executed" / f"{name}.ipynb").is_file()
                needed = any(name in notebooks[other] for other in missing)
                if name not in missing and (ran_here or not needed):
                    continue
                with mock.patch.dict(os.environ, {"R21D_BUILD": str(place.resolve())}):
                    (outcome,) = runner.reproduce(
                        [name],
                        parameters={"seed": seed},
                        notebooks=notebooks,
                        folder=folder,
                        output=place,
                        compare=False,
                        native=native,
                        progress=progress,
                    )
                outcome.name = f"{name}, seed {seed}"
                outcomes.append(outcome)
                if outcome.status != "passed":
                    return outcomes
                measured, known = place / "results" / f"{name}.json", recorded / f"{name}.json"
                comparison.record_draw(measured, known, made_by=made_by[name])
    return outcomes


def trains(recorded: Path) -> bool:
    """Tell by its recorded numbers whether a notebook trains, or asks networks that another trained."""
    return recorded.is_file() and bool(results.read_results(recorded).get("trained"))


def _recorded(path: Path) -> set[tuple[int, str, str]]:
    draws = results.read_results(path).get("draws", [])
    return {(draw["seed"], draw["fingerprint"], draw["made_by"]) for draw in draws}


def _share(output: Path, place: Path) -> None:
    """Let a seed's build folder use the data that are there; its runs and results are its own."""
    place.mkdir(parents=True, exist_ok=True)
    for name in _SHARED:
        (output / name).mkdir(exist_ok=True)
        if not (place / name).exists():
            (place / name).symlink_to((output / name).resolve(), target_is_directory=True)
