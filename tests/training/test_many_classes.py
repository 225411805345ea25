"""Four thousand classes, from the list to the scores: no command takes two gigabytes."""

import csv
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from r21d_lib.data import video
from r21d_lib.evaluation.scores import Scores
from r21d_lib.plots import tensorboard

CLASSES = 4000
COMMAND = """
import sys
from r21d_lib.cli.main import main
from r21d_lib.suite.results import peak_mb
sys.argv[0] = "r21d"
try:
    main()
finally:
    print(peak_mb())
"""
TINY = "epochs=1 batch_size=32 width=2 clip_len=4 resize=16,16 crop=16 num_clips=2 workers=0"


@pytest.mark.slow
def test_four_thousand_classes_take_less_than_two_gigabytes(tmp_path):
    def peak(command):
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, *command.split()],
            capture_output=True,
            text=True,
            env={**os.environ, "R21D_BUILD": str(tmp_path / "build"), "NO_COLOR": "1"},
            cwd=tmp_path,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert len(done.stdout + done.stderr) < 100 * CLASSES  # thousands of lines tell nobody anything
        return int(done.stdout.splitlines()[-1])

    frames = np.random.default_rng(0).integers(0, 255, (4, 16, 16, 3), np.uint8)
    video.write(tmp_path / "videos" / "film.avi", frames)
    rows = [("video", "class", "subset")]
    for label in range(CLASSES):
        for part in ("train", "test"):
            rows.append((f"{part}{label}.avi", f"class {label}", part))
            # Links to one film would be one video under many labels, which is refused.
            shutil.copyfile(tmp_path / "videos" / "film.avi", tmp_path / "videos" / rows[-1][0])
    with open(tmp_path / "list.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    peaks = {
        command.split()[0]: peak(command)
        for command in (
            "prepare listed list.csv --videos videos --to data",
            f"train small_scratch data=data {TINY} --run run",
            "evaluate run --csv said.csv",
        )
    }
    assert max(peaks.values()) < 2000, peaks
    for name in ("confusion/training", "per_class/training"):
        assert tensorboard.read_image(tmp_path / "run", name).size
    scores = Scores.load(tmp_path / "run" / "scores_split1.npz")
    assert scores.probabilities.shape == (CLASSES, 2, CLASSES)
