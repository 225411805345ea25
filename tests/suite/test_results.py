"""Results files: what is written with the numbers, and what a missing or damaged one says."""

import json
import subprocess
import sys

import pytest

from r21d_lib.errors import DatasetError
from r21d_lib.suite import results


def test_writing_says_where_the_numbers_come_from(tmp_path, monkeypatch):
    monkeypatch.setenv(results.RESULTS_VARIABLE, str(tmp_path))
    path = results.write_results("one", {"x": 1.5}, profile="figures", seed=3)
    content = json.loads(path.read_text())
    assert content["values"] == {"x": 1.5}
    assert content["provenance"]["seed"] == 3
    assert content["provenance"]["peak_mb"] > 50
    assert {"commit", "machine", "torch", "date"} <= content["provenance"].keys()


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(DatasetError, match="run the notebook first"):
        results.read_results(tmp_path / "none.json")
    for content in (b'{"values"', b"", b"\xff\xfe\x00", b"[" * 100_000):
        (tmp_path / "half.json").write_bytes(content)
        with pytest.raises(DatasetError, match=r"half\.json is damaged: run the notebook again$"):
            results.read_results(tmp_path / "half.json")


def test_the_peak_of_a_process_is_its_own_and_not_its_parents():
    held = bytearray(900_000_000)
    script = "from r21d_lib.suite.results import peak_mb; print(peak_mb())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    del held
    assert 0 < int(done.stdout) < 500 < 900 <= results.peak_mb()
