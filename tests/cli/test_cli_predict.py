"""`r21d predict` and `r21d features` on good and bad videos, in one process: torch starts slowly."""

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
from hostile_videos import tree
from typer.testing import CliRunner

from r21d_lib import checkpoints
from r21d_lib.cli.main import app
from r21d_lib.data import action_figures, find, lists, video
from r21d_lib.errors import CheckpointError, R21DError, SettingsError
from r21d_lib.prediction.prediction import clock

FIGURES = "r2plus1d_10_figures"


def r21d(*arguments):
    """Return the exit code, standard output, and standard error, as `cli.main` makes them."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(done.exception, R21DError):
        return 2, done.stdout, f"error: {done.exception}"
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def write_sound(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        sound.sample_rate = 8000
        container.mux([*stream.encode(sound), *stream.encode()])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with two good videos, a cut one, an empty one, and one of sound only."""
    root = tmp_path_factory.mktemp("mixed")
    for action, place in (("golf", "golf.avi"), ("climb", "more/climb [1] #2!.avi")):
        frames = action_figures.render("source", action, 4, 0, seed=77)
        video.write(root / place, frames, options={"b": "2000000"})
    (root / "cut.avi").write_bytes((root / "golf.avi").read_bytes()[:5000])
    (root / "empty.mp4").touch()
    write_sound(root / "sound.mov")
    (root / "notes.md").write_text("no video")
    return root


def test_a_folder_goes_on_after_bad_videos(folder, tmp_path):
    outputs = [tmp_path / f"answers.{form}" for form in ("json", "csv", "parquet")]
    status, out, err = r21d(
        "predict", folder, "--json", outputs[0], "--csv", outputs[1], "--parquet", outputs[2],
        "--features", "final_avg", "--overlay", tmp_path / "seen",
    )  # fmt: skip
    assert status == 1
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 3
    assert f"{folder}/cut.avi was cut" in lines[0]
    assert f"{folder}/empty.mp4 is empty" in lines[1]
    assert f"{folder}/sound.mov has no video stream" in lines[2]
    assert "3 of 5 videos could not be read" in err
    for label in ("golf", "climb"):
        assert f"  {label} " in out
    assert "of 10 clips" in out
    rows = json.loads(outputs[0].read_text())
    assert [("error" in row) for row in rows] == [True, True, False, False, True]
    golf, climb = (row for row in rows if "error" not in row)
    assert (golf["top"][0]["label"], climb["top"][0]["label"]) == ("golf", "climb")
    assert len(golf["features"]["final_avg"]) == 128
    table = list(csv.DictReader(outputs[1].open()))
    assert [row["label"] for row in table if row["rank"] == "1"] == ["golf", "climb"]
    assert len(table) == 2 * 5 + 3
    import pyarrow.parquet

    assert pyarrow.parquet.read_table(outputs[2]).to_pylist()[2]["top"][0]["label"] == "golf"
    for place in ("golf.avi.mp4", "more/climb [1] #2!.avi.mp4"):
        assert video.decode(tmp_path / "seen" / place).shape[1:] == (360, 480, 3)


def test_patterns_lists_names_with_brackets_and_missing_videos(folder, tmp_path):
    (folder / "list.txt").write_text("golf.avi\nmore/climb [1] #2!.avi\n\nnone.avi\n")
    status, out, err = r21d("predict", folder / "list.txt", "--clips", 2)
    assert status == 1
    assert out.count("of 2 clips") == 10
    assert err.count("error: ") == 1
    assert "no video none.avi: check the path" in err
    status, out, err = r21d("predict", f"{folder}/more/*.avi", folder / "more/climb [1] #2!.avi")
    assert status == 0
    assert err.splitlines() == [f"r2plus1d_10_figures {checkpoints.read_card(FIGURES).world}"]
    assert out.count("of 10 clips") == 5
    status, _, err = r21d("predict", f"{folder}/*.webm")
    assert (status, err.count("\n")) == (1, 3)


def test_names_of_results_stay_in_their_folder(folder, tmp_path):
    there = folder / "golf.avi"
    (folder / "more" / "list.txt").write_text(f"{there}\nclimb [1] #2!.avi\n")
    assert find.find([str(folder / "more" / "list.txt")]) == {
        "golf.avi": there,
        "climb [1] #2!.avi": folder / "more/climb [1] #2!.avi",
    }
    (tmp_path / "golf.avi").touch()
    with pytest.raises(SettingsError, match=r"would both be called golf\.avi"):
        find.find([str(there), str(tmp_path / "golf.avi")])
    (tmp_path / "list.txt").write_text("../golf.avi\n")
    assert find.find([str(tmp_path / "list.txt")]) == {"golf.avi": Path("../golf.avi")}


def test_absolute_paths_of_one_name_are_told_apart(tmp_path):
    for place in ("a/1.avi", "b/1.avi", "b/c/1.avi", "b/2.avi"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    places = ("a/1.avi", "b/1.avi", "b/c/1.avi", "b/2.avi", "b/2.avi")
    text = "".join(f"{tmp_path / place}\n" for place in places)
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbf" + text.encode())
    found = find.find([str(tmp_path / "list.txt")])
    assert list(found) == ["a/1.avi", "b/1.avi", "c/1.avi", "2.avi"]
    assert found["c/1.avi"] == tmp_path / "b/c/1.avi"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00.0"), (59.96, "1:00.0"), (3725.31, "1:02:05.3")]
)
def test_clock(seconds, text):
    assert clock(seconds) == text


@pytest.mark.parametrize("command", ["predict", "features"])
def test_help_has_examples(command):
    status, out, _ = r21d(command, "--help")
    assert status == 0
    assert f"r21d {command} " in out.split("Example", 1)[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--features", "softmax"], "features go into --json or --parquet"),
        (["--features", "layer9", "--json", "x.json"], "no activation 'layer9'"),
        (["--overlay", "seen.gif"], "seen.gif is no .mp4, .mkv or .avi"),
        (["--labels", "hmdb51", "--checkpoint", "r2plus1d_10_figures"], "14 classes, and 51 names"),
        (["--labels", "ucf"], "a text file with one a line, or hmdb51 or kinetics400"),
        (["--depth", "34", "--checkpoint", "r2plus1d_10_figures"], "depth is 10, not 34"),
        (["--num-labels", "9", "--checkpoint", "r2plus1d_10_figures"], "classes is 14, not 9"),
        (["--network", "r3d", "--depth", "152"], "no published weights have network r3d, depth 152"),
        (["--device", "cuda:99"], "no device 'cuda:99' here"),
        (["--every", "0"], "--every"),
    ],
)
def test_wrong_requests_give_one_line(folder, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, _, err = r21d("predict", folder / "golf.avi", *arguments)
    assert status in (1, 2)
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_the_original_scripts_options_are_told_their_new_names(folder):
    status, out, err = r21d(
        "predict", "--model_name", "r2.5d", "--model_depth=10", "--clip_length_rgb", 8,
        "--load_model_path", "r2plus1d_10_figures", "--num_labels", 14, "--db_type", "pickle",
        "--input", folder / "golf.avi",
    )  # fmt: skip
    assert status == 0, err
    assert "golf" in out
    assert err.splitlines()[:-1] == [
        "note: --model_name is now --network",
        "note: --model_depth is now --depth",
        "note: --clip_length_rgb is now --clip-length",
        "note: --load_model_path is now --checkpoint",
        "note: --num_labels is now --num-labels",
        "note: --db_type is not needed any more",
        "note: --input is now an argument without a name",
    ]
    status, _, err = r21d("predict", folder / "golf.avi", "--gpus", "99,1")
    assert (status, "no device 'cuda:99'" in err) == (2, True)


def test_weights_can_be_described(monkeypatch, tmp_path):
    best = checkpoints.best(name="r2plus1d", depth=34, clip_len=32, num_classes=400)
    assert best.name == "r2plus1d_34_32_kinetics"
    assert best.accuracy["video@1"] == 0.8
    with pytest.raises(CheckpointError, match="classes 51: see `r21d weights`"):
        checkpoints.best(num_classes=51)


@pytest.mark.parametrize("form", ["safetensors", "parquet"])
def test_features_are_kept_and_not_computed_twice(folder, tmp_path, form):
    import pyarrow.parquet
    import safetensors.numpy

    files = [folder / "golf.avi", folder / "cut.avi", folder / "more"]
    request = ("features", *files, "--to", tmp_path, "--form", form)
    request += ("--features", "final_avg,layer3", "--clips", 3)
    status, out, err = r21d(*request)
    assert status == 1
    assert "2 files written, 0 were there, 1 videos could not be read" in out
    assert err.count("error: ") == 1
    target = tmp_path / f"golf.avi.{form}"
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"climb [1] #2!.avi.{form}", target.name]
    if form == "safetensors":
        found = safetensors.numpy.load_file(target)
        assert found["final_avg"].shape == (3, 128)
        assert found["layer3"].shape == (3, 64, 2, 8, 8)
        assert found["starts"][0] == 0
    else:
        rows = pyarrow.parquet.read_table(target).to_pylist()
        assert len(rows) == 3
        assert rows[0]["video"] == "golf.avi"
        assert (len(rows[0]["final_avg"]), len(rows[0]["layer3"])) == (128, 64 * 2 * 8 * 8)
    # A killed run leaves what was finished: here one file; one that is damaged may be another's.
    written = target.stat().st_mtime_ns
    (tmp_path / f"climb [1] #2!.avi.{form}").write_bytes(b"torn")
    status, out, err = r21d(*request)
    assert (status, "0 files written, 1 were there, 2 videos" in out) == (1, True)
    assert f"climb [1] #2!.avi.{form} is there and holds no features: choose another" in err
    assert "1 files written, 1 were there, 1 videos" in r21d(*request, "--force")[1]
    assert target.stat().st_mtime_ns == written
    assert "2 files written, 0 were there" in r21d(*request, "--every", "0.5")[1]


def test_features_of_no_layer_are_refused_before_any_video(folder, tmp_path):
    status, _, err = r21d("features", folder, "--to", tmp_path, "--features", "layer9")
    assert (status, "no activation 'layer9'" in err) == (2, True)
    with pytest.raises(SettingsError, match="holds no video"):
        CliRunner().invoke(app, ["features", str(tmp_path)], catch_exceptions=False)


def test_real_clips(shared_data):
    clips = shared_data / "clips"
    status, out, err = r21d("predict", clips, "--clips", 2)
    assert (status, "error" in err) == (0, False)
    assert out.count(" frames, ") == 5
    assert "unnamed_hmdb51_48_frames.avi: 48 frames" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--overlay", "golf.avi"], "golf.avi is one of the inputs"),
        (["--overlay", "link.avi"], "link.avi is one of the inputs"),
        (["--overlay", "."], "golf.avi.mp4 is one of the inputs"),
        (["--json", "golf.avi"], "golf.avi is not named .json"),
        (["--csv", "other.avi"], "other.avi is not named .csv"),
        (["--csv", "notes.md/answers.csv"], "cannot be written"),
        (["--parquet", "more.parquet"], "more.parquet cannot be written (it is a folder)"),
    ],
)
def test_outputs_never_replace_a_video_and_are_tried_first(
    folder, tmp_path, monkeypatch, arguments, message
):
    for name in ("golf.avi", "golf.avi.mp4", "other.avi"):
        shutil.copy(folder / "golf.avi", tmp_path / name)
    (tmp_path / "notes.md").write_text("a file")
    (tmp_path / "more.parquet").mkdir()
    (tmp_path / "link.avi").symlink_to(tmp_path / "golf.avi")
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    monkeypatch.chdir(tmp_path)
    videos = ["golf.avi", *(["golf.avi.mp4"] if "avi.mp4" in message else [])]
    status, out, err = r21d("predict", *videos, *arguments)
    assert status in (1, 2)
    assert message in err
    if "avi.mp4" not in message:
        assert not out, "a video was watched before the outputs were tried"
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in before} == before


def poison(root, film):
    """Write one file of each kind that no video is, and say how many."""
    data = film.read_bytes()
    contents = {
        "codec.avi": data.replace(b"FMP4", b"ZQ9X"),
        "concat.avi": b"ffconcat version 1.0\nfile golf.avi\n",
        "cut.avi": data[: len(data) // 2],
        "empty.avi": b"",
        "endless.mp4": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nendless.mp4\n",
        "noise.webm": bytes(range(256)) * 40,
        "picture.avi": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>',
        "web.mov": b"<!DOCTYPE html><html>404</html>",
    }
    for name, content in contents.items():
        (root / name).write_bytes(content)
    os.mkfifo(root / "waits.avi")  # opening it would wait for ever
    return len(contents)


def test_a_folder_with_one_poison_of_each_kind_is_answered_in_bounded_time(folder, tmp_path):
    root = tmp_path / "mixed"
    root.mkdir()
    for name in ("a.avi", "z\udcff.avi"):
        shutil.copyfile(folder / "golf.avi", root / name)
    bad = poison(root, folder / "golf.avi")
    started = time.monotonic()
    status, out, err = r21d("predict", root, "--json", tmp_path / "answers.json", "--clips", 2)
    assert time.monotonic() - started < 30
    assert status == 1
    assert f"{bad} of {bad + 2} videos could not be read" in err
    rows = json.loads((tmp_path / "answers.json").read_text())
    right = [row["top"][0]["label"] for row in rows if "error" not in row]
    assert right == ["golf", "golf"]
    assert all("\n" not in row["error"] for row in rows if "error" in row)
    assert r"z\udcff.avi" in out


@pytest.mark.thorough
def test_a_users_folder_is_as_it_was_after_every_command_that_writes_beside_it(folder, tmp_path, build):
    mine = tmp_path / "mine"
    for label in ("golf", "climb"):
        for take in range(4):
            target = mine / label / f"{label}_{take}.avi"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / "golf.avi", target)
    rows = [("video", "class", "subset")]
    for path in sorted(mine.rglob("*.avi")):
        part = "test" if "_3" in path.name else "train"
        rows.append((path.relative_to(mine).as_posix(), path.parent.name, part))
    (mine / "list.csv").write_text("".join(",".join(row) + "\n" for row in rows))
    for split in lists.SPLITS:
        parts = {name: "test" if f"_{split}" in name else "train" for name, *_ in rows[1:]}
        lists.write_official(mine / "splits", split, ("climb", "golf"), parts)
    film, weights = mine / "golf" / "golf_0.avi", mine / "weights.safetensors"
    shutil.copyfile(checkpoints.SHIPPED / "r2plus1d_10_figures.safetensors", weights)
    before, out = tree(mine), tmp_path / "out"
    tiny = ["epochs=1", "batch_size=2", "clip_len=4", "resize=32,40", "crop=32", "num_clips=2"]
    for command in (
        ["predict", mine, "--csv", out / "a.csv", "--overlay", out / "seen", "--clips", 1],
        ["features", mine, "--to", out / "features", "--clips", 1],
        ["live", film, "--fast", "--no-window", "--output", out / "live.mp4"],
        ["webm", film, "--to", out / "films"],
        ["prepare", "hmdb51", mine, "--to", out / "hmdb51"],
        ["splits", mine / "splits", "--name", "mine", "--to", out],
        ["prepare", "listed", mine / "list.csv", "--videos", mine, "--to", out / "data"],
        ["train", "small_scratch", f"data={out / 'data'}", *tiny, "--run", out / "run"],
        ["train", "small_scratch", f"data={out / 'data'}", *tiny, "--run", out / "run", "--fresh"],
        ["evaluate", out / "run"],
        ["publish", out / "run", "me/it", "--to", out / "published"],
        ["convert", weights, out / "copy.safetensors"],
        ["export", weights, "--to", out / "network.onnx"],
        ["worksheets", "--to", out / "sheets"],
    ):
        status, _, err = r21d(*command)
        assert status == 0, (command, err)
        assert tree(mine) == before, command


NEEDLESS = (
    *("torchvision", "pandas", "matplotlib", "accelerate", "torchmetrics", "scipy", "sympy", "PIL"),
    *("cv2", "onnx", "papermill", "IPython", "jinja2", "torch._dynamo", "torch._inductor"),
)


@pytest.mark.parametrize(
    ("arguments", "needless"),
    [
        (["--help"], [*NEEDLESS, "torch", "numpy", "av", "openvino", "safetensors", "tqdm"]),
        (["predict", "--help"], [*NEEDLESS, "torch", "numpy", "av", "openvino", "safetensors", "tqdm"]),
        (["predict", "golf.avi"], [*NEEDLESS, "av"]),  # which the decoder's own process imports
    ],
)
def test_a_command_imports_nothing_needless(folder, arguments, needless):
    code = (
        "import sys\n"
        "from r21d_lib.cli.main import app\n"
        "assert app(sys.argv[1:], standalone_mode=False) in (None, 0)\n"
        f"print('needless:', *[name for name in {needless} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == ["needless:"]
