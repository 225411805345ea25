"""The command as a user types it: help, what it writes, and one line and exit 2 for what is wrong."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from r21d_lib.cli.main import app, main
from r21d_lib.data import video


def test_the_script_is_installed_and_answers_at_once():
    script = Path(sys.executable).with_name("r21d")
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        done = subprocess.run([script, "--help"], capture_output=True, text=True, check=True)
        seconds.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before)
        assert "reproduce" in done.stdout
    # Half a second of computing, however busy the machine is. torch alone takes seconds.
    assert min(seconds) < 1.0, seconds


def test_every_command_explains_itself_with_an_example(r21d):
    overview = r21d("--help").stdout
    commands = typer.main.get_command(app).commands
    assert {"reproduce", "train", "evaluate", "predict", "live", "export", "site"} <= set(commands)
    for command in commands:
        assert command in overview
        assert "r21d " + command in r21d(command, "--help").stdout.split("Example", 1)[1]


def test_splits_writes_the_projects_form(r21d, tmp_path):
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
        (["train", "demo"], "no recipe is called 'demo': choose figures_finetune, "),
        (["train", "hmdb51_finetune"], "set R21D_HMDB51"),
        (["train", "small_finetune"], "needs a data set: give data=FOLDER"),
        (["train", "small_finetune", "data=nowhere"], "make it with `r21d prepare listed"),
        (["train", "small_finetune", "epoch=3"], "has no field 'epoch': did you mean epochs?"),
        (
            ["train", "small_finetune", "epochs=many"],
            "training.epochs: input should be a valid integer",
        ),
        (["train", "small_finetune", "epochs"], "'epochs' changes nothing: give key=value"),
        (["train", "none.toml"], "none.toml cannot be read as a recipe"),
        (["recipes", "small_finetune", "crop=999"], "a crop of 999 does not fit"),
        (["evaluate", "r2plus1d_10_figures", "--data", "hmdb51"], "set R21D_HMDB51"),
        (["evaluate", "nowhere.safetensors"], "no run and no weights nowhere.safetensors"),
        (["evaluate", "/no/such/run"], "no run and no weights /no/such/run"),
        (["evaluate", "r2plus1d_10_figures", "--clips", "0"], "num_clips 0 makes no sense"),
        (["evaluate", "r2plus1d_10_figures", "--split", "0"], "split 0 makes no sense"),
        (["evaluate", "r2plus1d_10_figures", "--dense-step", "-1"], "dense_step -1 makes no sense"),
        (["evaluate", "a", "b", "--scores", "c.npz"], "--scores names one file"),
        (["prepare", "ucf101", "somewhere"], "no data set 'ucf101' is known here"),
        (["prepare", "listed", "none.csv"], "no file none.csv"),
        (["reproduce", "99_none"], "no notebook is called '99_none'"),
        (["splits", "no/such/folder", "--name", "x"], "give the folder of official lists"),
    ],
)
def test_wrong_requests_give_one_line_and_exit_2(r21d, arguments, message):
    done = r21d(*arguments, R21D_HMDB51="")
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


CLIPS = ["--clips", "--every", "--batch-size"]
NUMBERS = [(command, option) for command in ("predict", "features") for option in CLIPS]


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "9" * 23])
@pytest.mark.parametrize(("command", "option"), [*NUMBERS, ("train", "--minutes")])
def test_numbers_of_no_use_are_refused_before_any_work(command, option, value, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["r21d", command, "nothing", option, value])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert option in said
    assert "nothing" not in said


def test_a_checkpoint_for_other_classes_is_refused(r21d, tmp_path):
    videos = tmp_path / "hmdb51"
    videos.mkdir()
    done = r21d("evaluate", "r2plus1d_10_figures", "--data", "hmdb51", R21D_HMDB51=str(videos))
    assert done.returncode == 2
    assert "brush_hair holds no clip" in done.stderr


def test_recipes_are_listed_and_every_field_is_explained(r21d):
    listed = r21d("recipes").stdout
    for name in ("hmdb51_finetune", "hmdb51_finetune_modern", "hmdb51_scratch", "kinetics400_scratch"):
        assert name in listed
    told = r21d("recipes", "hmdb51_finetune", "batch_size=4").stdout
    assert "batch_size = 4" in told
    assert "learning_rate = 0.0016" in told
    fields = [line for line in told.splitlines() if " = " in line and not line.startswith(" ")]
    assert len(fields) >= 35
    explained = [line for line in told.splitlines() if line.startswith("    ")]
    assert len(explained) == len(fields)


@pytest.mark.parametrize("more", [["--record"], ["--publish"], ["--profile", "hmdb51"]])
def test_draws_are_made_of_the_unchanged_notebooks_only(r21d, more):
    done = r21d("reproduce", "--draws", "2", *more)
    assert done.returncode == 2
    assert (
        done.stderr.strip() == "error: --draws goes with names and --native only: leave the others out"
    )


@pytest.mark.slow
@pytest.mark.parametrize("locale", [{}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}])
def test_names_of_every_alphabet_in_every_locale(r21d, tmp_path, make_frames, locale):
    rows = ["video,label,subset"]
    for label in ("跑步", "прыжок"):
        for take in range(3):
            video.write(tmp_path / "videos" / f"{label} {take}.avi", make_frames(10))
            rows.append(f"{label} {take}.avi,{label},{'train' if take < 2 else 'test'}")
    (tmp_path / "l.csv").write_text("\n".join(rows), encoding="utf-8")
    to, run = tmp_path / "mine", tmp_path / "run"
    small = ("epochs=1", "width=2", "batch_size=2", "resize=16,16", "crop=16")
    commands: tuple[list[str | Path], ...] = (
        ["prepare", "listed", tmp_path / "l.csv", "--videos", tmp_path / "videos", "--to", to],
        ["doctor", to, "--no-decode"],
        ["train", "small_scratch", f"data={to}", "--run", run, *small],
        ["evaluate", run, "--clips", "2"],
    )
    for arguments in commands:
        done = r21d(*arguments, R21D_BUILD=str(tmp_path / "build"), **locale)
        assert done.returncode in (0, 1 if arguments[0] == "doctor" else 0), done.stderr
        assert "Traceback" not in done.stderr
    assert (to / "classes.txt").read_text(encoding="utf-8").split() == ["прыжок", "跑步"]


def test_ctrl_c_says_that_what_was_done_is_kept(tmp_path, make_frames):
    video.write(tmp_path / "videos" / "0.avi", make_frames(40))
    for number in range(
        1, 400
    ):  # so many that they last until the signal, however slow this process is
        shutil.copyfile(tmp_path / "videos" / "0.avi", tmp_path / "videos" / f"{number}.avi")
    command = [sys.executable, "-m", "r21d_lib", "predict", str(tmp_path / "videos")]
    with subprocess.Popen(
        [*command, "--csv", str(tmp_path / "out.csv")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        answers = (line for line in running.stdout if "frames" in line)
        next(answers), next(answers)  # the first one's files are written by then
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "stopped; what was finished is kept" in said
    assert ",1," in (tmp_path / "out.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("given", [None, "7"])
def test_threads_that_wait_leave_the_core_to_others_unless_told_otherwise(given):
    """The count must be there before torch is imported, whose threads read it once."""
    code = (
        "import os, sys\n"
        "from r21d_lib.cli import main\n"
        "main.app = lambda: print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)\n"
        "main.main()"
    )
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    environment |= {"GOMP_SPINCOUNT": given} if given else {}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == [given or "30000", "False"]
