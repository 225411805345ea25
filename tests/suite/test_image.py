"""Dockerfile, what Docker is sent, and .devcontainer, as benchmarks/image_size.py reads them."""

import importlib
import json
import re
import subprocess

import pytest

from r21d_lib.suite.repository import BENCHMARKS, REPOSITORY


@pytest.fixture(scope="module")
def image_size():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("image_size")


@pytest.fixture(scope="module")
def stages(image_size):
    return image_size.read_dockerfile((REPOSITORY / "Dockerfile").read_text(), {})


def lineage(stages, name):
    while name in stages:
        yield stages[name]
        name = stages[name].parent


@pytest.mark.parametrize("target", ["cpu", "cuda", "dev"])
def test_a_target_is_a_user_that_is_not_root_on_debian(stages, target):
    above = list(lineage(stages, target))
    assert above[-1].parent == "debian:trixie-slim"
    users = [rest for stage in above for word, rest in stage.steps if word == "USER"]
    assert users == ["r21d"]


def test_the_default_target_is_the_small_one(stages):
    assert list(stages)[-1] == "cpu"
    assert next(lineage(stages, "cpu")).steps[-1][1].startswith("--from=packages-cpu")


def test_arguments_choose_debian(image_size):
    text = (REPOSITORY / "Dockerfile").read_text()
    assert image_size.read_dockerfile(text, {"DEBIAN": "sid-slim"})["base"].parent == "debian:sid-slim"


def test_the_small_image_is_below_a_gigabyte_and_a_half_and_was_proved_to_its_end():
    measured = json.loads((BENCHMARKS / "results" / "image_size.json").read_text())["cpu"]
    assert measured["adds_mb"] < 1500
    assert measured["proved"].keys() == {"user", "predict", "notebook", "lab"}
    assert measured["proved"]["user"] == "r21d"


def test_what_is_mounted_in_a_root_is_not_removed_with_it(image_size, tmp_path, capsys):
    lent = tmp_path / "lent"
    lent.mkdir()
    (lent / "null").touch()
    with image_size.scratch(tmp_path) as folder:
        (folder / "dev").mkdir()
        mount = ["mount", "--bind", str(lent), str(folder / "dev")]
        if subprocess.run(mount, check=False, capture_output=True).returncode:
            pytest.skip("mounting is not permitted here")
    assert (folder / "dev" / "null").is_file()
    subprocess.run(["umount", folder / "dev"], check=True)
    assert f"unmount {folder}/dev" in capsys.readouterr().err
    with image_size.scratch(tmp_path) as folder:
        assert folder.is_dir()
    assert not folder.exists()
    assert (lent / "null").is_file()


def test_docker_is_sent_what_the_suite_needs_and_nothing_else(image_size):
    sent = set(image_size.context())
    assert {"pyproject.toml", "constraints.txt", "README.md", "r21d_lib/cli/main.py"} <= sent
    assert {
        "notebooks/00_start_here.ipynb",
        "tests/recorded/02_spatiotemporal_convolutions.json",
    } <= sent
    assert not [
        path for path in sent if re.search(r"__pycache__|^\.|^build/|^tests/(?!recorded)", path)
    ]


@pytest.mark.parametrize(
    ("path", "left_out"),
    [("a.txt", True), ("kept/a.txt", False), ("kept/deep/__pycache__/a.pyc", True), ("kept", False)],
)
def test_the_last_pattern_that_fits_decides(image_size, path, left_out):
    assert image_size.ignored(path, ["*", "!kept", "**/__pycache__"]) is left_out


def test_the_development_container_builds_a_stage_that_exists(stages):
    settings = json.loads((REPOSITORY / ".devcontainer" / "devcontainer.json").read_text())
    assert settings["build"]["target"] in stages
    assert settings["remoteUser"] == "r21d"
    assert (REPOSITORY / ".devcontainer" / settings["build"]["dockerfile"]).is_file()
    assert settings["postCreateCommand"] == "make setup"
