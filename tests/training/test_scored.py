"""Scores files with what is known around them."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from r21d_lib.errors import DatasetError, SettingsError
from r21d_lib.evaluation.scores import Scores
from r21d_lib.suite.repository import BENCHMARKS
from r21d_lib.training import scored
from r21d_lib.training.scored import ScoredList

RUN = BENCHMARKS / "results" / "real_videos" / "small_scratch_r3d_seed0"


def test_a_file_in_its_runs_folder_says_whose_it_is_and_where_its_videos_lie(build, monkeypatch):
    monkeypatch.setattr(scored, "RUNS", build / "runs")
    with pytest.raises(DatasetError, match=r"run notebook 06 and then 07 first"):
        scored.find()
    shutil.copytree(RUN, build / "runs" / RUN.name)
    (file,) = scored.find()
    one = ScoredList.load(file)
    assert one.title == f"R3D, {RUN.name}"
    assert one.videos is None
    first = build / "data" / "real_videos" / one.scores.names[0]
    first.parent.mkdir(parents=True)
    first.write_bytes(b"")
    assert ScoredList.load(file).videos == build / "data" / "real_videos"
    crops = file.with_name("scores_split1_3crops.npz")
    shutil.copyfile(file, crops)
    assert ScoredList.load(crops).title == f"R3D, {RUN.name}, scores_split1_3crops"
    recipe = file.with_name("recipe.json")
    recipe.write_text(recipe.read_text().replace('"r3d"', '"r3d_factorized_stem"'))
    assert ScoredList.load(file).title == f"R3D, (2+1)D stem, {RUN.name}"


def test_a_file_alone_has_its_own_name_and_only_one_test_list_is_compared(tmp_path):
    kept = Scores.load(RUN / "scores_split1.npz")
    file = tmp_path / "mine.npz"
    kept.save(file)
    one = ScoredList.load(file)
    assert (one.title, one.videos) == ("mine", None)
    scored.same_videos(one, ScoredList.load(RUN / "scores_split1.npz"))
    names = ("other.avi", *kept.names[1:])
    Scores(names, kept.labels, kept.classes, kept.probabilities, groups=kept.groups).save(
        tmp_path / "other.npz"
    )
    with pytest.raises(SettingsError, match=r"mine.npz and .*other.npz are of other videos"):
        scored.same_videos(one, ScoredList.load(tmp_path / "other.npz"))
    assert np.array_equal(one.scores.labels, kept.labels)


def test_no_two_files_have_one_title(build, tmp_path):
    run, kept = build / "runs" / RUN.name, Scores.load(RUN / "scores_split1.npz")
    shutil.copytree(RUN, run)
    files = [run / "scores_split1.npz", run / "scores_split2.npz", tmp_path / "mine.npz"]
    files += [tmp_path / place / "scores.npz" for place in ("a/x", "a/y", "b/y", "c/z")]
    for file in files:
        kept.save(file)
    called = scored.titles([ScoredList.load(file) for file in files])
    assert called[:3] == [f"R3D, {RUN.name}", f"R3D, {RUN.name}, scores_split2", "mine"]
    assert called[3] == f"scores, {Path('x/scores.npz')}"
    assert called[4:6] == [f"scores, {file}" for file in files[4:6]]
    assert len(set(called)) == len(files)
    assert scored.titles([ScoredList.load(files[2])] * 2) == ["mine", "mine"]
