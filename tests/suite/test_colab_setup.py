"""notebooks/colab_setup.py beside real packages: what it adds, what it leaves, and where runs go."""

import os
import site
import subprocess
import sys
import sysconfig
import venv

import pytest

from r21d_lib.suite.repository import NOTEBOOK_FOLDER, REPOSITORY

SCRIPT = NOTEBOOK_FOLDER / "colab_setup.py"
# What a notebook's cell does once the repository is there, then what it finds in the same process.
CELL = f"""
import os, runpy, sys
runpy.run_path({str(SCRIPT)!r})["setup"]()
print("cwd", os.getcwd())
print("build", os.environ.get("R21D_BUILD"))
if len(sys.argv) > 1:
    import r21d_lib.files
    print("lib", r21d_lib.files.BUILD, r21d_lib.files.CHECKOUT)
"""
HIDDEN = ("_r21d_lib", "r21d_lib", "__editable__", "pip", "pebble", "loky")
# Of google.colab, which exists on Colab alone, the one call that is made.
DRIVE = """
def mount(place):
    {body}
"""


def variables(more):
    hidden = ("COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE", "R21D_BUILD", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if name not in hidden} | more


def run(python, folder, *arguments, **more):
    return subprocess.run(
        [str(python), "-c", CELL, *arguments],
        cwd=folder,
        env=variables(more),
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def machine(tmp_path):
    """An environment with pip that sees all packages of this one, but the library and two more."""
    folder = tmp_path / "machine"
    venv.create(folder, with_pip=True)
    purelib = sysconfig.get_path("purelib", vars={"base": str(folder)})
    (own,) = (place for place in site.getsitepackages() if "site-packages" in place)
    seen = tmp_path / "seen"
    seen.mkdir()
    for path in os.scandir(own):
        if not path.name.startswith(HIDDEN):
            os.symlink(path.path, seen / path.name)
    with open(os.path.join(purelib, "seen.pth"), "w", encoding="utf-8") as file:
        file.write(f"{seen}\n")
    return folder / "bin" / "python"


def installed(python):
    code = (
        "import importlib.metadata as m; print(*(d.name + '==' + d.version for d in m.distributions()))"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return {entry.lower() for entry in done.stdout.split()}


def test_elsewhere_it_does_and_says_nothing(tmp_path):
    done = run(sys.executable, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"cwd {tmp_path}\nbuild None\n"


@pytest.mark.thorough
def test_on_colab_it_adds_the_library_changes_nothing_and_keeps_runs_on_drive(machine, tmp_path):
    fake = tmp_path / "fake" / "google" / "colab"
    fake.mkdir(parents=True)
    (fake / "drive.py").write_text(DRIVE.format(body='raise ValueError("mount failed")'))
    before = installed(machine)
    colab = {"COLAB_RELEASE_TAG": "release", "PYTHONPATH": str(tmp_path / "fake")}
    declined = run(machine, tmp_path, "import", **colab)
    assert declined.returncode == 0, declined.stderr
    assert "installed: loky, pebble; what was there stayed" in declined.stdout
    assert "no Drive: mount failed" in declined.stdout
    assert "which goes with this machine" in declined.stdout
    after = installed(machine)
    assert {entry.split("==")[0] for entry in after - before} == {"r21d-lib", "pebble", "loky"}
    assert before <= after
    assert f"cwd {NOTEBOOK_FOLDER}" in declined.stdout
    assert f"lib {REPOSITORY / 'build'} {REPOSITORY}" in declined.stdout
    again = run(machine, tmp_path, "import", R21D_BUILD=str(tmp_path / "mine"), **colab)
    assert "installed: nothing more" in again.stdout
    assert f"lib {tmp_path / 'mine'}" in again.stdout, again.stderr


def test_folders_outlive_the_machine(tmp_path, monkeypatch):
    names = import_script()
    assert names["lasting"]("kaggle").is_relative_to("/kaggle/working")
    (tmp_path / "google" / "colab").mkdir(parents=True)
    (tmp_path / "google" / "colab" / "drive.py").write_text(DRIVE.format(body="print(place)"))
    code = f"import runpy; print(runpy.run_path({str(SCRIPT)!r})['lasting']('colab'))"
    more = {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=variables(more), capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["/content/drive", "/content/drive/MyDrive/r21d"]


def import_script():
    import runpy

    return runpy.run_path(str(SCRIPT))


@pytest.mark.parametrize(
    ("need", "said"),
    [
        ("pytest>=999", r"pytest \d\S* is here, pytest>=999 is asked for"),
        ("absent @ file:///nowhere/absent-1-py3-none-any.whl", "pip cannot install absent"),
    ],
)
def test_what_cannot_be_had_is_an_error_by_name(need, said, tmp_path):
    text = f'[project]\nname = "x"\nversion = "1"\ndependencies = ["{need}"]\n'
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(RuntimeError, match=said):
        import_script()["install"](tmp_path)


def test_it_asks_for_the_core_and_what_draws_the_camera_alone():
    needs = import_script()["needs"]()
    names = {need.split(">")[0] for need in needs}
    assert {"torch", "av", "anywidget"} <= names
    assert not names & {"jupyterlab", "ipywidgets", "decord", "onnx", "voila", "papermill"}
