"""What a command writes never takes the place of an input or of a file that r21d did not write."""

import shutil

import pytest
from hostile_videos import tree

from r21d_lib import checkpoints
from r21d_lib.checkpoints import Card
from r21d_lib.data import lists, video
from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.models.networks import build_network
from r21d_lib.suite import runner

TINY = ["epochs=1", "batch_size=2", "width=2", "clip_len=4", "resize=16,20", "crop=16", "num_clips=2"]
# A command and the file that it writes into {to}.
COMMANDS = {
    "predict --json": ("predict {in}/film.avi --clips 1 --json {to}/a.json", "a.json"),
    "predict --csv": ("predict {in}/film.avi --clips 1 --csv {to}/a.csv", "a.csv"),
    "predict --parquet": ("predict {in}/film.avi --clips 1 --parquet {to}/a.parquet", "a.parquet"),
    "predict --overlay": ("predict {in}/film.avi --clips 1 --overlay {to}/a.mp4", "a.mp4"),
    "predict --overlay .mkv": ("predict {in}/film.avi --clips 1 --overlay {to}/a.mkv", "a.mkv"),
    "predict --overlay .avi": ("predict {in}/film.avi --clips 1 --overlay {to}/a.avi", "a.avi"),
    "predict --overlay FOLDER": ("predict {in}/film.avi --clips 1 --overlay {to}", "film.avi.mp4"),
    "features": ("features {in}/film.avi --clips 1 --to {to}", "film.avi.safetensors"),
    "features --form": (
        "features {in}/film.avi --clips 1 --form parquet --to {to}",
        "film.avi.parquet",
    ),
    "live": ("live {in}/film.avi --fast --no-window --output {to}/a.mp4", "a.mp4"),
    "evaluate --scores": ("evaluate {run} --scores {to}/a.npz", "a.npz"),
    "evaluate --csv": ("evaluate {run} --csv {to}/a.csv", "a.csv"),
    "convert": ("convert {in}/weights.safetensors {to}/a.safetensors", "a.safetensors"),
    "export .onnx": ("export {in}/small.safetensors --to {to}/a.onnx", "a.onnx"),
    "export .pt2": ("export {in}/small.safetensors --to {to}/a.pt2", "a.pt2"),
    "splits": ("splits {in}/splits --name mine --to {to}", "mine/split2.csv"),
    "splits, its classes": ("splits {in}/splits --name mine --to {to}", "mine/classes.txt"),
    "worksheets": ("worksheets --to {to}", f"{next(iter(runner.NOTEBOOKS))}.ipynb"),
    "webm": ("webm {in}/film.avi --to {to}", "film.webm"),
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, tiny_dataset):
    """A film, weights, and lists."""
    folder = tmp_path_factory.mktemp("inputs")
    video.write(folder / "film.avi", video.decode(tiny_dataset.path(0)))
    shutil.copyfile(
        checkpoints.SHIPPED / "r2plus1d_10_figures.safetensors", folder / "weights.safetensors"
    )
    network = build_network("r3d", 10, num_classes=2, width=2).eval()
    clips = ClipSettings(clip_len=8, resize=(32, 40), crop=32)
    checkpoints.save(folder / "small.safetensors", network, Card(network.settings, clips, ("a", "b")))
    for split in lists.SPLITS:
        parts = {
            f"{name}/{n}.avi": "test" if n == split else "train" for name in "ab" for n in range(4)
        }
        lists.write_official((folder / "splits"), split, ("a", "b"), parts)
    return folder


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory, tiny_data):
    from r21d_lib.training import recipes
    from r21d_lib.training.run import train_recipe

    folder = tmp_path_factory.mktemp("runs") / "run"
    train_recipe(
        recipes.read("small_scratch", [f"data={tiny_data}", *TINY]), run=folder, progress=False
    )
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_of_others_stays_unless_it_is_asked_for(
    command, r21d, build, inputs, run_folder, tmp_path
):
    text, name = COMMANDS[command]
    words = [word.format(**{"in": inputs, "to": tmp_path, "run": run_folder}) for word in text.split()]
    target = tmp_path / name
    target.parent.mkdir(exist_ok=True)
    before = tree(inputs)
    for mine in ((inputs / "film.avi").read_bytes(), b'{"my": "notes"}\n'):
        target.write_bytes(mine)
        done = r21d(*words)
        assert done.returncode in (1, 2), done.stdout
        told = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert len(told) == 1
        assert "--force" in told[0]
        assert target.read_bytes() == mine
        assert [path.name for path in target.parent.iterdir() if "partial" in path.name] == []
    assert r21d(*words, "--force").returncode == 0
    written = target.read_bytes()
    assert written != mine
    assert r21d(*words).returncode == 0  # what is there now was written here
    if target.suffix in (".json", ".csv", ".mp4", ".ipynb"):
        assert target.read_bytes() == written
    assert tree(inputs) == before


@pytest.mark.parametrize(
    "command",
    [
        "evaluate {run} --scores {mine}/film.avi",
        "evaluate {run} --csv {mine}/film.avi",
        "evaluate {mine}/weights.safetensors --split 1 --scores {mine}/weights.safetensors",
        "convert {mine}/weights.safetensors {mine}/weights.safetensors --force",
        "convert {mine}/weights.safetensors {mine}/film.avi --force",
        "export {mine}/weights.safetensors --to {mine}/weights.safetensors --force",
        "live {mine}/film.avi --fast --no-window --output {mine}/film.avi --force",
        "live {mine}/film.avi --fast --no-window --output {mine}/link.avi --force",
        "predict {mine}/film.avi --overlay {mine}/film.avi --force",
        "predict {mine}/film.avi --json {mine}/film.avi --force",
        "webm {mine}/film.webm --to {mine} --force",
        "webm {mine}/film.avi {mine}/film.webm --to {mine}/new",
        "draw --to {mine}",
        "figures {mine} --clips 20 --workers 1",
        "site --to {mine}",
        "prepare listed {mine}/list.csv --videos {mine} --to {mine}",
        "prepare hmdb51 {mine} --to {mine}",
        "train small_scratch data={data} {tiny} --run {mine}",
    ],
)
def test_an_input_and_a_folder_of_ones_own_stay_even_if_it_is_asked_for(
    command, r21d, build, inputs, run_folder, tiny_data, tmp_path
):
    mine = tmp_path / "mine"
    mine.mkdir()
    for name in ("film.avi", "weights.safetensors"):
        shutil.copyfile(inputs / name, mine / name)
    shutil.copyfile(inputs / "weights.safetensors", mine / "last.safetensors")
    shutil.copyfile(inputs / "film.avi", mine / "film.webm")
    (mine / "link.avi").symlink_to("film.avi")
    (mine / "classes.txt").write_text("a\n")  # which a data set has, too
    (mine / "list.csv").write_text("video,class,subset\nfilm.avi,a,train\nlink.avi,a,test\n")
    before = {path.name: path.read_bytes() for path in mine.iterdir()}
    given = {"mine": mine, "run": run_folder, "data": tiny_data}
    words = [word.format(**given) for word in command.replace("{tiny}", " ".join(TINY)).split()]
    done = r21d(*words)
    assert done.returncode in (1, 2), done.stdout
    assert "Traceback" not in done.stderr
    assert sum(line.startswith("error: ") for line in done.stderr.splitlines()) == 1
    assert {path.name: path.read_bytes() for path in mine.iterdir()} == before
    assert (mine / "link.avi").is_symlink()


def test_scores_beside_weights_replace_none_of_a_users(r21d, build, run_folder, tiny_data, tmp_path):
    shutil.copyfile(run_folder / "last.safetensors", tmp_path / "mine.safetensors")
    (tmp_path / "scores_split1_mine_tiny.npz").write_text("mine")
    words = ("evaluate", tmp_path / "mine.safetensors", "--data", tiny_data, "--split", 1)
    done = r21d(*words)
    assert (done.returncode, done.stderr.count("error: ")) == (2, 1)
    assert "scores_split1_mine_tiny.npz is not a scores file" in done.stderr
    assert (tmp_path / "scores_split1_mine_tiny.npz").read_text() == "mine"
    (tmp_path / "scores_split1_mine_tiny.npz").unlink()
    assert [r21d(*words).returncode for _ in range(2)] == [0, 0]


@pytest.mark.parametrize(
    "command",
    [
        "prepare listed {in}/list.csv --videos {in} --name ../../up",
        "prepare listed {in}/list.csv --videos {in} --name ..",
        "splits {in}/splits --name ../../up --to {to}/lists",
        "splits {in}/splits --name .. --to {to}/lists",
        "publish {run} ../../../up",
        "publish {run} ../up",
        "fetch hmdb51 --classes ../../up --to {to}/hmdb51",
        "reproduce ../../up",
        "train ../../up",
        "features {in}/list.txt --clips 1 --to {to}/features",
        "predict {in}/list.txt --clips 1 --overlay {to}/seen",
    ],
)
def test_names_with_two_dots_lead_out_of_no_folder(
    command, r21d, build, inputs, run_folder, tmp_path, monkeypatch
):
    (tmp_path / "in").mkdir()
    shutil.copyfile(inputs / "film.avi", tmp_path / "film.avi")
    shutil.copytree(inputs / "splits", tmp_path / "in" / "splits")
    (tmp_path / "in" / "list.csv").write_text("video,class,subset\n../film.avi,a,train\n")
    (tmp_path / "in" / "list.txt").write_text("../film.avi\n../in/../film.avi\n")
    (tmp_path / "out" / "to").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "in")
    given = {"in": tmp_path / "in", "to": tmp_path / "out" / "to", "run": run_folder}
    before = {path.relative_to(tmp_path) for path in tmp_path.rglob("*")}
    done = r21d(*(word.format(**given) for word in command.split()))
    assert "Traceback" not in done.stderr
    assert done.returncode == (2 if "list.txt" not in command else 0), done.stderr
    new = {path.relative_to(tmp_path) for path in tmp_path.rglob("*")} - before
    outside = {path for path in new if path.parts[0] != "build" and path.parts[:2] != ("out", "to")}
    assert outside == set()
    assert bool(new) == ("list.txt" in command)
