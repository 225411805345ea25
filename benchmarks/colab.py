"""Do notebooks 00 and 06 set themselves up and run on Colab and Kaggle? On an imitation of both.

    sudo python benchmarks/colab.py --python python3.13
    sudo python benchmarks/colab.py --python python3.13 --changes epochs=2 num_clips=10

An environment gets the versions that Colab had in August 2026, and a google.colab whose Drive is a
folder. In it each notebook's first cell clones this repository's last commit and installs what is
lacking; packages that were there before must be there after it, unchanged. Each notebook finds a new
machine, and only what the others left on the Drive. 06 runs with the profile `figures`, made smaller by
--changes, and with the profile `hmdb51`, after a cell in which `r21d fetch hmdb51` asks the tests'
stand-in for the Hub: it has a file for each clip of HMDB51's lists and the shipped network. Colab and
Kaggle keep what lasts in /content and /kaggle, so this makes these two folders, if they are not there,
and removes them. The environment, 6 GB, stays in build/colab. The numbers go to
benchmarks/results/colab.json.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from r21d_lib import checkpoints
from r21d_lib.errors import SettingsError
from r21d_lib.files import BUILD, whole_file
from r21d_lib.suite import findings
from r21d_lib.suite.repository import NOTEBOOK_FOLDER, REPOSITORY
from r21d_lib.suite.results import provenance

RESULTS = Path(__file__).parent / "results" / "colab.json"
FIXED = {
    "torch": "2.11.0",
    "torchvision": "0.26.0",
    "numpy": "2.1.*",
    "pandas": "2.2.*",
    "pyarrow": "18.*",
    "ipywidgets": "7.7.1",
    "notebook": "6.5.*",
    "ipython": "7.34.0",
    "ipykernel": "6.17.1",
}
# Of what Colab has besides, what the library asks for, in versions of today.
ALSO = [
    "matplotlib",
    "scipy",
    "tqdm",
    "pyyaml",
    "huggingface_hub",
    "safetensors",
    "pillow",
    "tensorboard",
    "accelerate",
    "filelock",
    "opencv-python-headless",
    "pydantic",
    "typer",
    "setuptools",
]
MACHINES = {
    "colab": ({"COLAB_RELEASE_TAG": "imitated"}, Path("/content/drive/MyDrive/r21d")),
    "kaggle": ({"KAGGLE_KERNEL_RUN_TYPE": "imitated"}, Path("/kaggle/working/r21d")),
}
SMALL = ["epochs=1", "clips_per_epoch=160", "num_clips=1"]
SMALL_HMDB51 = (
    "depth=10 width=16 clip_len=8 resize=24,32 crop=24 workers=0 epochs=2 clips_per_epoch=480 "
)
SMALL_HMDB51 += "num_clips=1 learning_rate=0.01"
FETCH = "!r21d fetch hmdb51"
MOUNT = "import os\ndef mount(place):\n    os.makedirs(f'{place}/MyDrive', exist_ok=True)\n"


class Run(NamedTuple):
    """A notebook on a machine: its parameters, and what is typed into a cell after its first one."""

    machine: str
    notebook: str
    parameters: Mapping[str, str]
    typed: str = ""


def runs(changes: list[str]) -> list[Run]:
    """Return all of them, in the order in which they find each other's Drive."""
    hmdb51 = {"profile": "hmdb51", "checkpoint": "hf://lab/kinetics"}
    return [
        Run("colab", "00_start_here", {}),
        Run("colab", "06_finetune_hmdb51", {"changes": " ".join(changes)}),
        Run("colab", "06_finetune_hmdb51", {**hmdb51, "changes": SMALL_HMDB51}, FETCH),
        Run("kaggle", "00_start_here", {}),
    ]


def environment(python: str) -> Path:
    """Return the Python of an environment as Colab's, made once."""
    folder = BUILD / "colab" / "env"
    own = folder / "bin" / "python"
    if not (folder / "whole").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([python, "-m", "venv", folder], check=True)
        wanted = [*(f"{name}=={version}" for name, version in FIXED.items()), *ALSO]
        subprocess.run([own, "-m", "pip", "install", "-q", *wanted], check=True)
        (folder / "whole").touch()
    return own


def packages(python: Path) -> dict[str, str]:
    """Return what is installed, by name."""
    command = [python, "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return {package["name"].lower(): package["version"] for package in json.loads(done.stdout)}


def opened(name: str, address: str, folder: Path, typed: str) -> Path:
    """Write a notebook as Colab opens it, alone; its first cell gets the repository's address."""
    import nbformat

    notebook = nbformat.read(NOTEBOOK_FOLDER / f"{name}.ipynb", as_version=4)
    (at,) = (n for n, cell in enumerate(notebook.cells) if "setup" in cell.metadata.get("tags", ()))
    setup = notebook.cells[at]
    if setup.source.count('"REPOSITORY"') != 1:
        raise SettingsError(f"{name} has no cell that clones the repository")
    setup.source = setup.source.replace('"REPOSITORY"', f'"{address}"')
    if typed:
        notebook.cells.insert(at + 1, nbformat.v4.new_code_cell(typed))
    path = folder / f"{name}.ipynb"
    nbformat.write(notebook, path)
    return path


def run(
    python: Path, notebook: Path, env: Mapping[str, str], parameters: Mapping[str, str]
) -> dict[str, Any]:
    """Run a notebook in a kernel of that Python, with a home of its own; return what it took."""
    import papermill

    folder = notebook.parent
    kernel = folder / "kernels" / "imitated"
    kernel.mkdir(parents=True, exist_ok=True)
    argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    path = f"{python.parent}:/usr/local/bin:/usr/bin:/bin"
    own = {"PATH": path, "HOME": str(folder / "home"), "PYTHONPATH": str(folder), **env}
    spec = {"argv": argv, "display_name": "imitated", "language": "python", "env": own}
    (kernel / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    os.environ["JUPYTER_PATH"] = str(folder)
    os.environ.pop("R21D_BUILD", None)
    shutil.rmtree(folder / "home", ignore_errors=True)
    (folder / "home").mkdir()
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    papermill.execute_notebook(
        notebook,
        BUILD / "colab" / notebook.name,
        kernel_name="imitated",
        parameters=dict(parameters),
        cwd=folder / "home",
        progress_bar=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": round(time.monotonic() - started), "cpu_seconds": round(spent)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--python", default=sys.executable, help="Colab has 3.13")
    parser.add_argument("--changes", nargs="*", default=SMALL, help="for 06: key=value ...")
    given = parser.parse_args()
    roots = [Path("/", lasting.parts[1]) for _, lasting in MACHINES.values()]
    if there := [str(root) for root in roots if root.exists()]:
        raise SettingsError(f"{' and '.join(there)} must not be there: this makes and removes them")
    python = environment(given.python)
    sys.path.append(str(REPOSITORY / "tests"))  # their stand-in for the Hub
    from hub_server import Hub, with_hmdb51

    ran = []
    with tempfile.TemporaryDirectory() as temporary, Hub() as hub:
        folder = Path(temporary)
        with_hmdb51(hub, folder)
        weights = checkpoints.SHIPPED / "r2plus1d_10_figures.safetensors"  # has learned other actions
        hub.repos["models/lab/kinetics"]["model.safetensors"] = weights.read_bytes()
        drive = folder / "google" / "colab"
        drive.mkdir(parents=True)
        (drive / "drive.py").write_text(MOUNT, encoding="utf-8")
        before = packages(python)
        try:
            for machine, name, parameters, typed in runs(given.changes):
                env, lasting = MACHINES[machine]
                env = {**env, "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1"}
                notebook = opened(name, REPOSITORY.as_uri(), folder, typed)
                took = run(python, notebook, env, parameters)
                after = packages(python)
                if changed := {one for one in before if after.get(one) != before[one]}:
                    raise SettingsError(f"{name} changed {', '.join(sorted(changed))}")
                made = sorted(path.name for path in lasting.iterdir())
                new = sorted(set(after) - set(before))
                said = {"typed": typed, "parameters": parameters}
                one = {"machine": machine, "notebook": name, **said, **took}
                ran.append({**one, "installed": new, "made": made})
                print(json.dumps(ran[-1]), flush=True)
                remove(python, new)
        finally:
            remove(python, sorted(set(packages(python)) - set(before)))
            for root in roots:
                shutil.rmtree(root, ignore_errors=True)
    found = {"python": version(python), "versions": {name: before[name] for name in FIXED}, "ran": ran}
    with whole_file(RESULTS) as partial:
        partial.write_text(json.dumps({**found, "provenance": provenance()}, indent=2) + "\n")
    findings.fill()


def remove(python: Path, names: list[str]) -> None:
    """Take packages out again."""
    if names:
        subprocess.run([python, "-m", "pip", "uninstall", "-qy", *names], check=True)


def version(python: Path) -> str:
    """Return the version of a Python."""
    command = [python, "-c", "import platform; print(platform.python_version())"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
