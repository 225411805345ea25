"""HMDB51 at full scale without HMDB51: 6,766 generated clips under the official names, end to end.

    python -m pytest tests/data/test_full_scale.py

From one archive of archives, as it is downloaded, through prepare, doctor, training, finetuning from a
Caffe2 file and the evaluation of three splits, to the notebooks in the profile `hmdb51`.
"""

import os
import subprocess
import sys
import zipfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import av
import pytest
from foreign_files import write_caffe2
from hub_server import draw

from r21d_lib import checkpoints
from r21d_lib.data import hmdb51, lists
from r21d_lib.evaluation.scores import Scores
from r21d_lib.suite import runner

# The real recipe but for size: few layers, small pictures, few clips.
SMALL = ["depth=10", "width=8", "clip_len=8", "resize=24,32", "crop=24", "workers=0", "epochs=2"]
SMALL += ["clips_per_epoch=2400", "learning_rate=0.05"]


def write_class(job) -> None:
    """Write a class as an archive of DX50 files, as HMDB51's are."""
    folder, name, label, clips = job
    (folder / name).mkdir()
    for clip in clips:
        path = folder / name / clip
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=30, options={"qscale": "5"})
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            stream.codec_context.codec_tag = "DX50"
            for frame in draw(clip, label):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
            container.mux(stream.encode())
    with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
        for clip in clips:
            archive.write(folder / name / clip, f"{name}/{clip}")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder with hmdb51_org.zip, an archive of 51 archives."""
    folder = tmp_path_factory.mktemp("full_scale")
    known: dict[str, list[str]] = {}
    for name in hmdb51.known_names():
        known.setdefault(name.split("/")[0], []).append(name.split("/")[1])
    # A few clips are in no list; they count among the 6,766 all the same.
    for extra in range(6766 - sum(map(len, known.values()))):
        known[sorted(known)[extra % 51]].append(f"unlisted {extra}.avi")
    (folder / "made").mkdir()
    jobs = [(folder / "made", name, label, known[name]) for label, name in enumerate(sorted(known))]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(write_class, jobs))
    with zipfile.ZipFile(folder / "hmdb51_org.zip", "w") as archive:
        for name in known:
            archive.write(folder / "made" / f"{name}.zip", f"{name}.zip")
    return folder


@pytest.fixture(scope="module")
def r21d(place):
    variables = {"R21D_BUILD": str(place / "build"), "R21D_HMDB51": str(place / "hmdb51")}

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "r21d_lib", *map(str, arguments)],
            capture_output=True,
            text=True,
            env={**os.environ, "NO_COLOR": "1", **variables},
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
        return done.stdout

    run.variables = variables
    return run


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_all_of_it(place, r21d, monkeypatch):
    said = r21d("prepare", "hmdb51", place / "hmdb51_org.zip")
    assert "51 classes with 6,766 clips were made" in said
    again = r21d("prepare", "hmdb51", place / "hmdb51_org.zip")
    assert "0 classes with 0 clips were made" in again
    assert "holds 51 classes with 6,766 clips" in again
    clips = list((place / "hmdb51").rglob("*.avi"))
    assert len(clips) == 6766
    said = r21d("doctor", "hmdb51")
    assert "wrong:" not in said
    assert "holds all of HMDB51's three splits" in said

    # What plays Kinetics' part: a network trained here, written as the authors' files are.
    runs = place / "build" / "runs"
    r21d("train", "hmdb51_scratch", *SMALL, "--run", runs / "first")
    network = checkpoints.load(runs / "first" / "last.safetensors")[0]
    write_caffe2(place / "kinetics.pkl", checkpoints.to_caffe2(network.state_dict()))
    finetune = ["hmdb51_finetune", *SMALL, f"checkpoint={place / 'kinetics.pkl'}"]
    for split in lists.SPLITS:
        r21d("train", *finetune, f"split={split}", "--run", runs / f"split{split}")
    said = r21d("evaluate", *(runs / f"split{split}" for split in lists.SPLITS))
    assert said.count("1,530 videos") == 3
    (mean,) = (line.split() for line in said.splitlines() if line.startswith("mean"))
    assert int(mean[1]) == 4590
    for split in lists.SPLITS:
        scores = Scores.load(runs / f"split{split}" / f"scores_split{split}.npz")
        assert scores.probabilities.shape == (1530, 10, 51)
    assert float(mean[3]) > 0.2, f"nothing was learned: chance is 0.02, video@1 is {mean[3]}"

    for name, value in r21d.variables.items():
        monkeypatch.setenv(name, value)
    outcomes = runner.reproduce(
        ["00_start_here", "06_finetune_hmdb51", "07_evaluate_hmdb51"],
        profile="hmdb51",
        parameters={
            "changes": " ".join([*SMALL, "clips_per_epoch=800", "num_clips=3"]),
            "checkpoint": str(place / "kinetics.pkl"),
        },
        output=place / "notebooks",
        progress=False,
    )
    assert {o.name: (o.status, o.problems) for o in outcomes} == {
        o.name: ("passed", []) for o in outcomes
    }
