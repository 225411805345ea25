"""pyproject.toml, the conda environments and constraints.txt ask for the same; nothing names a host."""

import importlib.metadata
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
CONDA_NAMES = {
    "pytorch": "torch",
    "pytorch-cpu": "torch",
    "matplotlib-base": "matplotlib",
    "huggingface_hub": "huggingface-hub",
    "py-opencv": "opencv-python-headless",
}
# decord2 is decord where decord has no wheel.
SAME = {"decord2": "decord"}


def dependencies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = {}
    extras = project["optional-dependencies"]
    (all_of_them,) = extras.pop("all")
    assert all_of_them == f"{project['name']}[{','.join(extras)}]"
    texts = [*project["dependencies"], *(text for its in extras.values() for text in its)]
    for text in texts:
        requirement = Requirement(text)
        found.setdefault(SAME.get(requirement.name, requirement.name), requirement)
    return found


def asked_by_tests():
    texts = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["test"]
    return {requirement.name: requirement for requirement in map(Requirement, texts)}


def conda(path):
    entries = yaml.safe_load((ROOT / path).read_text())["dependencies"]
    found = {}
    for entry in (e for e in entries if isinstance(e, str)):
        name, bound = re.fullmatch(r"([a-z0-9_-]+)(.*)", entry).groups()
        found[CONDA_NAMES.get(name, name)] = bound
    return found


@pytest.mark.parametrize("path", ["environment.yml", "binder/environment.yml"])
def test_conda_asks_for_what_the_package_asks_for(path):
    wanted = {name: str(requirement.specifier) for name, requirement in dependencies().items()}
    got = conda(path)
    # For those who compare with it; the library needs none, so that it is no part of the package.
    assert got.pop("torchvision") == str(asked_by_tests()["torchvision"].specifier)
    assert got.pop("python") == "=3.12"  # without it Binder takes an older one
    assert got.pop("pip") == ""
    assert got == wanted


def test_binder_installs_the_package_without_cuda():
    assert os.access(ROOT / "binder" / "postBuild", os.X_OK)
    assert "pytorch-cpu" in (ROOT / "binder" / "environment.yml").read_text()


def test_constraints_cover_every_dependency_and_are_installed():
    text = (ROOT / "constraints.txt").read_text()
    pinned = {line.split("==")[0] for line in text.splitlines() if "==" in line}
    for requirement in dependencies().values():
        assert requirement.name in pinned, requirement.name
        assert requirement.specifier.contains(importlib.metadata.version(requirement.name))


def test_no_tracked_file_names_a_package_registrys_host():
    # In two parts, so that this file does not name them itself.
    hosts = [a + b for a, b in (("py", "pi.org"), ("python", "hosted.org"), ("npm", "js.org"))]
    files = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, check=True)
    for name in filter(None, files.stdout.decode().split("\0")):
        content = (ROOT / name).read_bytes()
        for host in hosts:
            assert host.encode() not in content, f"{name} names {host}"
