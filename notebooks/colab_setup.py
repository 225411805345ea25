"""Sets the suite up on Google Colab or Kaggle, from a notebook's first cell; elsewhere it does nothing.

The library's own needs are installed beside what the machine has: everything that is there, above all
torch, numpy and ipywidgets, stays as it is, so that no kernel must be started anew. Data sets, runs and
results go where they outlive the machine: to Drive on Colab, to the notebook's output on Kaggle.
"""

import importlib.metadata
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement

REPOSITORY = Path(__file__).resolve().parents[1]
DRIVE = Path("/content/drive")
KAGGLE_OUTPUT = Path("/kaggle/working")
# Of the extra [live]: notebook 00 ends before a camera. It works with ipywidgets 7 as well as 8.
ALSO = ("anywidget>=0.9.18",)


def machine() -> str | None:
    """Return "colab", "kaggle", or None anywhere else."""
    if "COLAB_RELEASE_TAG" in os.environ:
        return "colab"
    return "kaggle" if "KAGGLE_KERNEL_RUN_TYPE" in os.environ else None


def needs(repository: Path = REPOSITORY) -> list[str]:
    """Return what the library needs, as pyproject.toml has it: no extra but anywidget."""
    text = (repository / "pyproject.toml").read_text(encoding="utf-8")
    return [*tomllib.loads(text)["project"]["dependencies"], *ALSO]


def lacking(wanted: Iterable[str]) -> tuple[list[Requirement], list[str]]:
    """Return which of some requirements are not installed, and what is of another version, in words."""
    missing, other = [], []
    for requirement in map(Requirement, wanted):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(requirement)
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            other.append(f"{requirement.name} {version} is here, {requirement} is asked for")
    return missing, other


def install(repository: Path = REPOSITORY) -> list[str]:
    """Install the library and, one by one, what it lacks and what these lack; leave all that is there.

    Returns:
        The names of what was installed.

    Raises:
        RuntimeError: if what is there is too old for the library, or pip cannot install what is not.
    """
    missing, other = lacking(needs(repository))
    if other:
        raise RuntimeError(
            "; ".join(other) + ": install it, start the kernel anew, run this cell again"
        )
    if "r21d-lib" not in {package.name for package in importlib.metadata.distributions()}:
        _pip("-e", str(repository))
    added = []
    while missing:
        _pip(*map(str, missing))
        importlib.invalidate_caches()
        names = [requirement.name for requirement in missing]
        added += names
        missing, other = lacking(
            one for name in names for one in importlib.metadata.requires(name) or ()
        )
        for said in other:
            print(f"{said} by one of {', '.join(names)}: left as it is")
    return list(dict.fromkeys(added))


def _pip(*arguments: str) -> None:
    """Install without asking what else the packages want."""
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--disable-pip-version-check"]
    done = subprocess.run([*pip, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"pip cannot install {' '.join(arguments)}:\n{done.stderr.strip()}")


def lasting(where: str) -> Path | None:
    """Return a folder that outlives the machine, or None where there is none.

    On Colab it asks for your Drive; who declines keeps everything on the machine itself.
    """
    if where == "kaggle":
        return KAGGLE_OUTPUT / "r21d"
    from google.colab import drive  # type: ignore[import-not-found]

    try:
        drive.mount(str(DRIVE))
    except Exception as error:  # google.colab raises what its browser side sends
        print(f"no Drive: {error}")
        return None
    return DRIVE / "MyDrive" / "r21d"


def setup() -> None:
    """Do all of it, on Colab and Kaggle, and say what was done."""
    where = machine()
    if where is None:
        return
    new = install()
    print(f"installed: {', '.join(new) or 'nothing more'}; what was there stayed as it was")
    if str(REPOSITORY) not in sys.path:  # a kernel that runs does not look for newly installed packages
        sys.path.insert(0, str(REPOSITORY))
    os.chdir(REPOSITORY / "notebooks")
    folder = None if "R21D_BUILD" in os.environ else lasting(where)
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["R21D_BUILD"] = str(folder)
    kept = os.environ.get("R21D_BUILD", f"{REPOSITORY / 'build'}, which goes with this machine")
    print(f"data sets, runs and results: {kept}")


if __name__ == "__main__":
    setup()
