"""Scores files with what is known around them: whose they are, and where their videos lie."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from r21d_lib.data import catalog
from r21d_lib.errors import DatasetError, R21DError, SettingsError
from r21d_lib.evaluation.scores import Scores
from r21d_lib.models.settings import LABELS
from r21d_lib.training.run_folder import RUNS, RunFolder


@dataclass(frozen=True)
class ScoredList:
    """The scores of one test list by one network.

    Attributes:
        file: the scores file, in its run's folder or anywhere.
        scores: what is in it.
    """

    file: Path
    scores: Scores

    @classmethod
    def load(cls, file: str | Path) -> "ScoredList":
        """Read a scores file.

        Raises:
            DatasetError: if it is missing or is no scores file.
        """
        return cls(Path(file), Scores.load(file))

    @property
    def title(self) -> str:
        """The network and its run's folder, or the file's name where it lies in none.

        Scores of other weights or clips than the run's own have their file's name beside it.
        """
        run = RunFolder(self.file.parent)
        if not run.is_begun:
            return self.file.stem
        recipe = run.recipe()
        title = f"{LABELS[recipe.network]}, {run.path.name}"
        is_own = self.file.name == run.scores_file(recipe.split).name
        return title if is_own else f"{title}, {self.file.stem}"

    @cached_property
    def videos(self) -> Path | None:
        """The folder that the names of the videos are relative to; None where they are not at hand."""
        try:
            data = RunFolder(self.file.parent).recipe().data
            folder = None if data is None else catalog.folder_of(data)
        except R21DError:  # no run, or its data set is not on this machine
            return None
        return folder if folder and (folder / self.scores.names[0]).is_file() else None


def titles(lists: Sequence[ScoredList]) -> list[str]:
    """Return each one's title, with as much of its file's path as tells it from others of that title.

    A run that was scored on two lists keeps two files in its folder. Only one file that is given twice
    is called the same twice.
    """
    called = [one.title for one in lists]
    for parts in (1, 2, 0):  # the file's name; its folder, too; all
        files = {(title, one.file) for title, one in zip(called, lists, strict=True)}
        having = Counter(title for title, _ in files)
        called = [
            f"{one.title}, {Path(*one.file.parts[-parts:])}" if having[title] > 1 else title
            for title, one in zip(called, lists, strict=True)
        ]
    return called


def same_videos(first: ScoredList, second: ScoredList) -> None:
    """Refuse two files whose accuracies cannot be set beside each other.

    Raises:
        SettingsError: if they are of other videos or classes.
    """
    one, other = first.scores, second.scores
    if set(one.names) != set(other.names) or one.classes != other.classes:
        raise SettingsError(
            f"{first.file} and {second.file} are of other videos or classes: give two of one test list"
        )


def find() -> list[Path]:
    """Return the scores files below build/runs, the newest first.

    Raises:
        DatasetError: if there are none yet.
    """
    files = sorted(RUNS.glob("*/scores*.npz"), key=lambda file: -file.stat().st_mtime)
    if not files:
        raise DatasetError(
            f"no scores are in {RUNS}: run notebook 06 and then 07 first (make run does), or "
            "`r21d evaluate RUN`"
        )
    return files
