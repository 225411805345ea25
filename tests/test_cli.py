"""The command as a user types it: help, what it writes, and one line and exit 2 for what is wrong."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

R21D = Path(sys.executable).with_name("r21d")


def r21d(*arguments, **environment):
    return subprocess.run(
        [R21D, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "100", **environment},
        check=False,
    )


def test_every_command_explains_itself_with_an_example():
    overview = r21d("--help").stdout
    commands = ["reproduce", "figures", "splits", "draw", "train", "evaluate", "pretrain-figures"]
    for command in commands:
        assert command in overview
        assert "r21d " + command in r21d(command, "--help").stdout.split("Example", 1)[1]


def test_splits_writes_the_projects_form(tmp_path):
    source = tmp_path / "official"
    source.mkdir()
    for split in (1, 2, 3):
        (source / f"jump_test_split{split}.txt").write_text("a.avi 1 \nb (c)!.avi 2 \nd.avi 0 \n")
    done = r21d("splits", source, "--name", "mine", "--to", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mine" / "classes.txt").read_text() == "jump\n"
    rows = (tmp_path / "mine" / "split2.csv").read_text()
    assert rows == "video,subset\njump/a.avi,train\njump/b (c)!.avi,test\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--profile", "demo"], "no profile is called 'demo': choose figures or hmdb51"),
        (["train", "--profile", "hmdb51"], "give one with --checkpoint"),
        (["evaluate", "nowhere.safetensors", "--profile", "hmdb51"], "set R21D_HMDB51"),
        (["reproduce", "99_none"], "no notebook is called '99_none'"),
        (["splits", "no/such/folder", "--name", "x"], "give the folder of official lists"),
    ],
)
def test_wrong_requests_give_one_line_and_exit_2(arguments, message):
    done = r21d(*arguments, R21D_HMDB51="")
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_a_checkpoint_for_other_classes_is_refused(tmp_path):
    videos = tmp_path / "hmdb51"
    videos.mkdir()
    done = r21d("evaluate", "r2plus1d_10_figures", "--profile", "hmdb51", R21D_HMDB51=str(videos))
    assert done.returncode == 2
    assert "brush_hair holds no clip" in done.stderr
