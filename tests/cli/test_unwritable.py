"""Every command that writes, at a place that cannot be written: one line, and nothing half done."""

import csv
import shutil
import subprocess

import pytest

from r21d_lib import checkpoints
from r21d_lib.cli.main import main  # noqa: F401 - imported before the disk is filled
from r21d_lib.data import video

TINY = ["epochs=1", "batch_size=2", "width=2", "clip_len=4", "resize=16,20", "crop=16", "num_clips=2"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, tiny_dataset):
    """A film, weights, a list, and HMDB51's class folders."""
    folder = tmp_path_factory.mktemp("inputs")
    film = video.decode(tiny_dataset.path(0))
    video.write(folder / "film.avi", film)
    shutil.copyfile(
        checkpoints.SHIPPED / "r2plus1d_10_figures.safetensors", folder / "weights.safetensors"
    )
    rows = [(n, n.split("/")[0], "test" if "_3" in n else "train") for n in tiny_dataset.names]
    with open(folder / "list.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("video", "class", "subset"), *rows])
    for name in ("golf", "wave"):
        for take in range(3):
            place = folder / "hmdb51" / name / f"{name}_{take}.avi"
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / "film.avi", place)
    lists = folder / "splits"
    lists.mkdir()
    for name in ("golf", "wave"):
        for split in (1, 2, 3):
            text = "".join(f"{name}_{take}.avi {1 + (take == 2)}\n" for take in range(3))
            (lists / f"{name}_test_split{split}.txt").write_text(text)
    return folder


# What each command is given; {to} is a place in a folder that cannot be written.
COMMANDS = {
    "predict --json": "predict {in}/film.avi --clips 1 --json {to}/a.json",
    "predict --csv": "predict {in}/film.avi --clips 1 --csv {to}/a.csv",
    "predict --parquet": "predict {in}/film.avi --clips 1 --parquet {to}/a.parquet",
    "predict --overlay": "predict {in}/film.avi --clips 1 --overlay {to}/seen.mp4",
    "features": "features {in}/film.avi --clips 1 --to {to}",
    "features as parquet": "features {in}/film.avi --clips 1 --form parquet --to {to}",
    "live --output": "live {in}/film.avi --fast --no-window --output {to}/seen.mp4",
    "convert": "convert {in}/weights.safetensors {to}/copy.safetensors",
    "export .onnx": "export {in}/weights.safetensors --to {to}/net.onnx",
    "export .pt2": "export {in}/weights.safetensors --to {to}/net.pt2",
    "prepare listed": "prepare listed {in}/list.csv --videos {videos} --to {to}/data",
    "prepare hmdb51": "prepare hmdb51 {in}/hmdb51 --to {to}/hmdb51",
    "splits": "splits {in}/splits --name mine --to {to}",
    "figures": "figures {to}/figures --clips 20 --workers 1",
    "train": "train small_scratch data={data} {tiny} --run {to}/run",
}


def try_all(command, r21d, inputs, tiny_dataset, tiny_data, to):
    given = {"in": inputs, "videos": tiny_dataset.root, "data": tiny_data, "to": to}
    words = [word for word in COMMANDS[command].replace("{tiny}", " ".join(TINY)).split()]
    done = r21d(*(word.format(**given) for word in words))
    assert done.returncode in (1, 2), done
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert lines, done.stderr
    assert str(to) in lines[0]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_place_below_a_file(command, r21d, build, inputs, tiny_dataset, tiny_data, tmp_path):
    (tmp_path / "file").write_text("mine")
    try_all(command, r21d, inputs, tiny_dataset, tiny_data, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.fixture(scope="module")
def full_disk(tmp_path_factory):
    """A folder on a disk of its own that is full."""
    folder = tmp_path_factory.mktemp("disk")
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,nr_inodes=100", "none", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    (folder / "mine").write_bytes(bytes(65_536))
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk(command, r21d, build, inputs, tiny_dataset, tiny_data, full_disk):
    try_all(command, r21d, inputs, tiny_dataset, tiny_data, full_disk)
    assert (full_disk / "mine").read_bytes() == bytes(65_536)
    left = [path for path in full_disk.rglob("*") if path.is_file() and path.name != "mine"]
    assert [path for path in left if "partial" in path.name or "unfinished" in path.name] == []
    for path in full_disk.iterdir():
        if path.name != "mine":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
