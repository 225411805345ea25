"""`r21d evaluate` of several runs: the splits of one experiment, or seeds and networks of one split."""

import numpy as np
import pandas as pd
import pytest

from r21d_lib.evaluation import Scores, clip_accuracy, video_accuracy

TINY = ["epochs=1", "batch_size=2", "width=2", "clip_len=4", "resize=16,20", "crop=16", "num_clips=2"]


@pytest.fixture
def seeds(build, tiny_data, r21d):
    """The names of two runs that differ in their seed."""
    for seed in (0, 1):
        done = r21d("train", "small_scratch", f"data={tiny_data}", *TINY, f"seed={seed}")
        assert done.returncode == 0, done.stderr
    return sorted(path.name for path in (build / "runs").iterdir())


def test_two_runs_of_one_split_are_both_shown_and_their_mean_is_of_both(seeds, build, tmp_path, r21d):
    done = r21d("evaluate", *seeds, "--csv", tmp_path / "said.csv", COLUMNS="200")
    assert done.returncode == 0, done.stderr
    files = [build / "runs" / name / "scores_split1.npz" for name in seeds]
    scores = [Scores.load(file) for file in files]
    reached = [[clip_accuracy(its), video_accuracy(its)] for its in scores]
    assert reached[0] != reached[1]
    for name, file in zip(seeds, files, strict=True):
        assert f"split 1, {name}, 2 videos; every score is in {file}" in done.stdout
    table = [line.rsplit(maxsplit=7) for line in done.stdout.splitlines()[-3:]]
    assert [row[0].strip() for row in table] == [*(f"split 1, {name}" for name in seeds), "mean"]
    assert [row[1] for row in table] == ["2", "2", "4"]
    shown = np.array([row[2:4] for row in table], float)
    np.testing.assert_allclose(shown, [*reached, np.mean(reached, 0)], atol=1e-4)
    said = pd.read_csv(tmp_path / "said.csv")
    assert said["run"].tolist() == [seeds[0]] * 2 + [seeds[1]] * 2
    assert said["video"].tolist() == [*scores[0].names, *scores[1].names]

    one = r21d("evaluate", seeds[0], "--csv", tmp_path / "one.csv")
    assert one.returncode == 0, one.stderr
    assert list(pd.read_csv(tmp_path / "one.csv"))[:2] == ["split", "video"]


def test_a_run_that_is_given_twice_is_refused(r21d):
    done = r21d("evaluate", "a", "b", "a")
    assert done.returncode == 2
    assert done.stderr.strip() == "error: a is given 2 times: name each run once"
