"""Measured speeds: kept for the next process, one for each machine and setting, never in the way."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from torch import nn

from r21d_lib.models import measured


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("R21D_CACHE", str(tmp_path))
    return tmp_path / "speeds"


def numbers(*given):
    left = iter(given)
    return lambda: next(left)


def test_a_number_is_measured_once(cache):
    measure = numbers(1.5, 0.5)
    assert measured.kept("one", measure) == 1.5
    assert measured.kept("one", measure) == 1.5
    assert measured.kept("other", measure) == 0.5
    (file,) = [f for f in cache.iterdir() if json.loads(f.read_text())["what"] == "one"]
    told = json.loads(file.read_text())
    assert (told["threads"], told["torch"]) == (torch.get_num_threads(), torch.__version__)


def test_another_process_finds_it():
    code = "from r21d_lib.models import measured; print(measured.kept('one', lambda: 7.0))"
    assert measured.kept("one", numbers(3.0)) == 3.0
    found = [
        subprocess.run(
            [sys.executable, "-c", f"import torch; torch.set_num_threads({threads}); {code}"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for threads in (torch.get_num_threads(), torch.get_num_threads() + 1)
    ]
    assert found == ["3.0\n", "7.0\n"]


def test_a_network_is_told_from_others_by_layers_and_weights():
    one, other = (nn.Sequential(nn.Conv3d(3, 4, 1), nn.BatchNorm3d(4)) for _ in range(2))
    assert measured.identity(one) != measured.identity(other)
    other.load_state_dict(one.state_dict())
    assert measured.identity(one) == measured.identity(other)
    other[1].eps = 1e-3
    assert measured.identity(one) != measured.identity(other)


def test_of_numbers_of_weights_the_newest_are_kept(cache, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # for the locks
    monkeypatch.setattr(measured, "MOST_ANSWERS", 4)
    measured.kept("speed", numbers(2.0), timed=True)
    for epoch in range(10):
        before = set(cache.iterdir())
        measured.kept(f"weights {epoch}", numbers(float(epoch)))
        (file,) = set(cache.iterdir()) - before
        os.utime(file, (epoch, epoch))  # a clock may not tell such quick ones apart
    assert {json.loads(file.read_text())["what"] for file in cache.iterdir()} == {
        "speed",
        *(f"weights {epoch}" for epoch in (6, 7, 8, 9)),
    }
    assert measured.kept("weights 9", numbers()) == 9
    assert measured.kept("weights 0", numbers(5.0)) == 5, "what was forgotten is measured anew"
    (locks,) = tmp_path.glob("r21d-locks-*")
    assert len(list(locks.iterdir())) <= 2, "locks do not add up either"


def test_numbers_that_another_process_forgets_meanwhile_are_no_error(cache, monkeypatch):
    for weights in ("some", "other"):
        measured.kept(weights, numbers(1.5))
    old = list(cache.iterdir())
    # A link to nothing is listed and cannot be looked at, as a file that has just been deleted.
    old[0].with_name(f"{old[0].stem}x.json").symlink_to(cache / "nowhere")
    for file in old:
        os.utime(file, (1, 1))
    monkeypatch.setattr(measured, "MOST_ANSWERS", 1)
    monkeypatch.setattr(Path, "unlink", forgotten_before(Path.unlink))
    assert measured.kept("new", numbers(2.5)) == 2.5
    assert not any(file.exists() for file in old)
    assert measured.kept("new", numbers()) == 2.5


def forgotten_before(unlink):
    """An unlink that comes second: another process has just deleted the same file."""

    def second(path, missing_ok=False):
        unlink(path, missing_ok=True)
        unlink(path, missing_ok=missing_ok)

    return second


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"number": "fast"}', '{"number": -1}', "\0"])
def test_a_damaged_file_is_measured_anew(cache, content):
    measured.kept("one", numbers(1.5))
    (file,) = cache.iterdir()
    file.write_text(content)
    assert measured.kept("one", numbers(2.5)) == 2.5
    assert measured.kept("one", numbers()) == 2.5


def test_times_of_a_busy_machine_serve_until_it_is_calm(monkeypatch):
    load = [9.0 * (os.cpu_count() or 1)]
    monkeypatch.setattr(os, "getloadavg", lambda: (load[0], 0, 0))
    assert measured.kept("speed", numbers(203.0), timed=True) == 203.0
    assert measured.kept("speed", numbers(), timed=True) == 203.0
    assert measured.kept("error", numbers(0.5)) == 0.5
    load[0] = 0.1
    assert measured.kept("speed", numbers(1.5), timed=True) == 1.5
    assert measured.kept("error", numbers()) == 0.5
    load[0] = 99.0
    assert measured.kept("speed", numbers(), timed=True) == 1.5


def test_where_nothing_can_be_written_it_is_measured_each_time(cache):
    cache.write_text("a file where the folder should be")
    assert measured.kept("one", numbers(1.5)) == 1.5
    assert measured.kept("one", numbers(2.5)) == 2.5
