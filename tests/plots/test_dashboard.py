"""The dashboard's controls, over scores that the repository keeps."""

import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from r21d_lib import plots
from r21d_lib.errors import DatasetError
from r21d_lib.evaluation.scores import Scores, confusion, with_clips
from r21d_lib.plots.dashboard import dashboard
from r21d_lib.suite.repository import BENCHMARKS
from r21d_lib.training.scored import ScoredList

pytest.importorskip("ipywidgets")
RUNS = BENCHMARKS / "results" / "real_videos"
FILES = [
    RUNS / name / "scores_split1.npz" for name in ("small_scratch_seed0", "small_scratch_r3d_seed0")
]


def test_every_control_redraws_its_picture_and_cells_open_their_videos():
    board = dashboard(FILES)
    controls, pictures = board.children
    first, second, clips, order, cell, number = controls.children
    left, matrix = pictures.children
    bars, film = left.children
    scores = ScoredList.load(FILES[0]).scores
    assert first.value == "R(2+1)D, small_scratch_seed0"
    counts = confusion(scores)
    counts[range(len(counts)), range(len(counts))] = 0
    assert [int(re.search(r"\((\d+)\)", option)[1]) for option in cell.options] == sorted(
        counts[counts > 0], reverse=True
    )
    assert number.max == counts.max()

    def redrawn(change):
        before = [picture.value for picture in (bars, matrix, film)]
        change()
        after = [picture.value for picture in (bars, matrix, film)]
        return [old != new for old, new in zip(before, after, strict=True)]

    assert redrawn(lambda: setattr(number, "value", 2)) == [False, False, True]
    assert redrawn(lambda: setattr(second, "value", second.options[1])) == [True, False, False]
    assert redrawn(lambda: setattr(order, "value", "class")) == [True, False, False]
    assert redrawn(lambda: setattr(cell, "value", cell.options[3]))[2]
    assert redrawn(lambda: setattr(clips, "value", 1))[:2] == [True, True]
    fewer = confusion(with_clips(scores, 1))
    fewer[range(len(fewer)), range(len(fewer))] = 0
    assert len(cell.options) == (fewer > 0).sum()
    redrawn(lambda: setattr(first, "value", first.options[1]))
    assert second.options == ("nothing", "R(2+1)D, small_scratch_seed0")


def mistaken(path, count):
    """Write scores of `count` classes, four videos each, of which one is taken for the class before."""
    classes = tuple(f"class{n}" for n in range(count))
    labels = np.repeat(np.arange(count), 4)
    said = np.where(np.arange(len(labels)) % 4, labels, labels - 1)
    names = tuple(f"class{label}/{n}.avi" for n, label in enumerate(labels))
    probabilities = np.eye(count, dtype=np.float16)[said][:, None]
    Scores(names, labels, classes, probabilities).save(path)
    return path


@pytest.mark.parametrize("beside", ["b20", "nothing"])
def test_other_classes_can_be_chosen_whatever_was_opened(tmp_path, beside):
    files = [mistaken(tmp_path / f"{name}.npz", int(name[1:])) for name in ("a20", "b20", "c3")]
    board = dashboard(files)
    controls, (left, matrix) = (part.children for part in board.children)
    first, second, _, _, cell, number = controls
    second.value = beside
    cell.value = next(option for option in cell.options if option.startswith("class19 "))
    first.value = "c3"

    fresh = dashboard(files[2:])
    chosen, (fresh_left, fresh_matrix) = (part.children for part in fresh.children)
    assert matrix.value == fresh_matrix.value
    assert [one.value for one in left.children] == [one.value for one in fresh_left.children]
    assert (second.options, cell.options) == (("nothing",), chosen[4].options)
    assert (cell.value, number.max) == (chosen[4].value, chosen[5].max)


def ten_and_one(folder):
    """Write scores of ten clips a video whose middle one alone is wrong, and scores of that clip."""
    classes, labels = ("golf", "run"), np.repeat([0, 1], 4)
    said = np.full((8, 10, 2), 0.1, np.float16)
    said[np.arange(8), :, labels] = 0.9
    said[:3, 4] = said[:3, 4, ::-1]
    names = tuple(f"{classes[label]}/{n}.avi" for n, label in enumerate(labels))
    files = [folder / "ten.npz", folder / "one.npz"]
    for file, kept in zip(files, (said, said[:, 4:5]), strict=True):
        Scores(names, labels, classes, kept).save(file)
    return files


def alt_of(picture):
    return re.search(r'alt="(.*?)"', picture.value)[1]


def test_the_opened_film_is_of_the_chosen_number_of_clips(tmp_path):
    controls, pictures = (part.children for part in dashboard(ten_and_one(tmp_path)).children)
    _, _, clips, _, cell, _ = controls
    film = pictures[0].children[1]
    assert cell.value == "every video is right"
    clips.value = 1
    assert cell.value == "golf taken for run (3)"
    assert "mean over the clips; 0.9; 0.1" in re.sub(r"(0\.\d)0", r"\1", alt_of(film))
    assert alt_of(film).index("run;") < alt_of(film).index("golf;"), "its best class is the said one"


def test_the_slider_ends_at_the_clips_of_the_chosen_scores(tmp_path):
    controls, pictures = (part.children for part in dashboard(ten_and_one(tmp_path)).children)
    first, second, clips, _, _, _ = controls
    bars, matrix = pictures[0].children[0], pictures[1]
    second.value = "one"
    assert "one, 1 clip: 0.625" in alt_of(bars)
    assert "ten: 1.000" in alt_of(bars)
    of_ten = matrix.value
    first.value = "one"
    assert (clips.value, clips.max) == (1, 1)
    assert matrix.value != of_ten
    first.value = "ten"
    assert (clips.value, clips.max) == (10, 10), "all clips stay all clips"
    assert matrix.value == of_ten
    clips.value = 4
    first.value = "one"
    assert clips.value == 1


def test_a_film_that_cannot_be_decoded_is_said_in_place_of_the_former(tmp_path, monkeypatch):
    controls, pictures = (part.children for part in dashboard(ten_and_one(tmp_path)[1:]).children)
    film, number = pictures[0].children[1], controls[-1]

    def fail(*_, **__):
        raise DatasetError("it cannot be decoded")

    monkeypatch.setattr(plots, "video_scores", fail)
    number.value = 2
    assert "it cannot be decoded" in film.value
    assert "<img" not in film.value


def test_both_scores_of_one_run_are_offered(tmp_path):
    run = tmp_path / FILES[0].parent.name
    shutil.copytree(FILES[0].parent, run)
    shutil.copy(run / "scores_split1.npz", run / "scores_dense.npz")
    first, second = dashboard(sorted(run.glob("*.npz"))).children[0].children[:2]
    names = [f"R(2+1)D, {run.name}{name}" for name in (", scores_dense", "")]
    assert list(first.options) == names
    assert list(second.options) == ["nothing", names[1]]


def test_kept_scores_are_drawn_without_torch_whose_import_is_a_quarter_of_a_page_start():
    code = (
        "import sys\n"
        "from r21d_lib.plots.dashboard import dashboard\n"
        f"controls, pictures = dashboard({[str(file) for file in FILES]}).children\n"
        "controls.children[1].index = 1\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
