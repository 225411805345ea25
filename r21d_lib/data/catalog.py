"""Finds a data set by its name in a recipe: ActionFigures and its films, HMDB51, or your own folder."""

from pathlib import Path

from r21d_lib.data import action_figures, csv_lists, hmdb51
from r21d_lib.data.action_figures.generation import Subset
from r21d_lib.data.lists import Part, VideoList
from r21d_lib.errors import DatasetError
from r21d_lib.files import BUILD

_TITLES = {
    "action_figures": "ActionFigures",
    "action_figures_source": "ActionFigures, source actions",
    "action_films": "ActionFilms",
    "hmdb51": "HMDB51",
    "ucf101": "UCF101",
}
FIGURES: dict[str, tuple[Subset, int]] = {  # its actions, and the clips of each
    "action_figures": ("target", 100),
    "action_figures_source": ("source", 200),
    "action_films": ("films", 60),
}


def title(data: str) -> str:
    """Return a data set's name as a heading prints it."""
    return _TITLES.get(data, Path(data).name)


def folder_of(data: str) -> Path:
    """Return the folder of a data set.

    Raises:
        DatasetError: if there is none, saying how to make it.
    """
    if data in FIGURES:
        return BUILD / "data" / data
    if data == "hmdb51":
        folder = hmdb51.default_folder()
        if not folder.is_dir():
            raise DatasetError(
                f"HMDB51's videos are not in {folder}: set R21D_HMDB51 to the folder of its 51 class "
                "folders, or make it with `r21d prepare hmdb51 SOURCE`"
            )
        return folder
    for folder in (Path(data).expanduser(), BUILD / "data" / data):
        if folder.is_dir():
            return folder
    raise DatasetError(
        f"no data set {data}: make it with `r21d prepare listed LIST --videos FOLDER --name NAME`"
    )


def open_videos(data: str, *, split: int, part: Part) -> VideoList:
    """Return the train or test list of a split; draws ActionFigures if it is named and not there.

    Args:
        data: a name, or a folder that `r21d prepare listed` or `r21d figures` made.
        split: 1, 2 or 3.
        part: "train" or "test".

    Raises:
        DatasetError: if the data set is absent or not whole.
        SettingsError: if it has no such split.
    """
    root = folder_of(data)
    if data in FIGURES:
        subset, clips = FIGURES[data]
        action_figures.generate(root, subset=subset, clips_per_class=clips)
        return action_figures.load(root, subset=subset, split=split, part=part)
    if data == "hmdb51":
        return hmdb51.load(root, split=split, part=part)
    if drawn := action_figures.drawn_subset(root):
        return action_figures.load(root, subset=drawn, split=split, part=part)
    return csv_lists.load(root, split=split, part=part)
