"""The benchmark scripts, on the smallest inputs: that they run, skip and fail as they say."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from r21d_lib.suite import runner

REPOSITORY = Path(__file__).resolve().parents[2]
BENCHMARKS = REPOSITORY / "benchmarks"
# What the GPU machine has not: anything but torch, torchvision, numpy and what these bring along.
BLOCKED = ["accelerate", "av", "captum", "decord", "ipywidgets", "matplotlib", "onnx", "pandas"]
BLOCKED += ["papermill", "pebble", "pyarrow", "pydantic", "rich", "safetensors", "sklearn"]
BLOCKED += ["tensorboard", "torchmetrics", "tqdm", "typer"]
PRESENT = {"accelerate", "pandas", "safetensors", "tqdm"}
BLOCKER = f"""
import importlib.machinery, runpy, sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in {BLOCKED!r}:
            return importlib.machinery.PathFinder.find_spec(name, path, target)
    find_distributions = staticmethod(importlib.machinery.PathFinder.find_distributions)
place = sys.meta_path.index(importlib.machinery.PathFinder)
sys.meta_path[place] = Without()
for absent in {BLOCKED!r}:
    try:
        __import__(absent)
    except ModuleNotFoundError:
        continue
    sys.exit(f"{{absent}} was not kept away")
sys.argv = sys.argv[1:]
sys.path.insert(0, {str(BENCHMARKS)!r})
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def timing(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("timing")


def run(script, *arguments, results, before=()):
    environment = {
        **os.environ,
        "R21D_BENCHMARKS": str(results),
        "PYTHONPATH": str(REPOSITORY),
        "R21D_BUILD": str(results),
    }
    command = [sys.executable, *before, str(script), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)


def test_functions_are_timed_in_turns_and_a_ratio_is_of_rounds(timing):
    calls = []
    ticks = iter(range(100))
    functions = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    seconds = timing.paired(functions, 3, warmup=1, clock=lambda: next(ticks))
    assert calls == ["a", "b"] * 4
    assert seconds == {"a": [1, 1, 1], "b": [1, 1, 1]}
    seconds = {"slow": [2.0, 8.0, 3.0], "fast": [1.0, 1.0, 1.0]}
    assert timing.ratios(seconds, "slow") == {"slow": 1.0, "fast": 3.0}
    assert timing.medians(seconds) == {"slow": 3.0, "fast": 1.0}


def test_numbers_are_written_with_where_they_come_from(timing, tmp_path, monkeypatch):
    monkeypatch.setenv("R21D_BENCHMARKS", str(tmp_path))
    content = json.loads(timing.write("trial", {"x": 1}).read_text())
    assert content["x"] == 1
    assert content["threads"] >= 1
    assert {"machine", "commit", "torch", "date"} <= set(content["provenance"])


@pytest.mark.slow
def test_training_gpu_needs_nothing_but_torch_torchvision_and_numpy(tmp_path):
    script = BENCHMARKS / "training_gpu.py"
    few = ("--device", "cpu", "--tiny", "--steps", 1, "--rounds", 1, "--workers", 0)
    done = run(script, *few, results=tmp_path, before=("-c", BLOCKER))
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "training_gpu.json").read_text())
    (network,) = found["networks"].values()
    assert set(network["ways"]) == {
        "torchvision float32",
        "torchvision AMP",
        "this library, not compiled",
        "this library",
    }
    assert all(way["clips_per_s_reading"] > 0 for way in network["ways"].values())
    assert [row["stage"] for row in network["stages"]][0::4] == ["conv1", "conv5_x"]
    assert all(row["operations_ms"] > 0 and row["bytes_ms"] > 0 for row in network["stages"])
    assert found["finetune"]["hours"] > 0
    assert "convolution" in (tmp_path / "training_gpu_profile.txt").read_text()


# What a bare CUDA image with accelerate has not; processes of processes must not find it either.
ABSENT = sorted({*BLOCKED, "scipy", "loky", "openvino", "simplejpeg"} - PRESENT)
SITE = (
    BLOCKER.split("sys.argv = ")[0].replace(repr(BLOCKED), repr(ABSENT)).replace("sys.exit(", "print(")
)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_gpus_nine_minutes_are_rehearsed_without_a_gpu(tmp_path):
    """All of `make gpu` on small inputs, where neither av nor anything of Jupyter is installed."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SITE)
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path / 'site'}{os.pathsep}{REPOSITORY}"}
    environment["R21D_BUILD"] = str(tmp_path)
    command = [sys.executable, BENCHMARKS / "gpu.py", "--device", "cpu", "--tiny", "--minutes", "25"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    found = json.loads((tmp_path / "gpu" / "gpu.json").read_text())
    log = (tmp_path / "gpu" / "gpu.log").read_text()
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{log}"
    parts = {name: part["found"] for name, part in found["parts"].items()}
    assert parts["parity"]["float32"]["largest_error"] < 1e-6
    assert parts["exactness"]["as it is"]["equal"]
    assert parts["finetune_8_bf16"]["weights_apart"] == 0
    assert parts["finetune_8_bf16"]["losses"] == parts["finetune_8_bf16"]["losses_resumed"]
    assert parts["processes"]["backend"] == "gloo"
    assert len(parts["speed_r2plus1d_18_8"]["networks"]) == 1
    assert parts["study"]["runs"][0]["videos"] == 24


@pytest.mark.thorough
def test_a_part_that_fails_is_recorded_and_the_next_one_runs(tmp_path):
    (tmp_path / "inputs").mkdir()
    (tmp_path / "inputs" / "train.json").write_text("{}")  # no list
    command = ["--device", "cpu", "--tiny", "--inputs", tmp_path / "inputs", "--to", tmp_path]
    done = run(BENCHMARKS / "gpu.py", *command, "--only", "study", "parity", results=tmp_path)
    found = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert done.returncode == 1
    assert found["study"]["status"] == "failed"
    assert "KeyError" in found["study"]["reason"]
    assert found["parity"]["status"] == "measured"


@pytest.mark.thorough
def test_data_measures_every_reader(tmp_path):
    few = ("--files", 2, "--clips", 8, "--rounds", 1, "--workers", 1)
    done = run(BENCHMARKS / "data.py", *few, results=tmp_path)
    assert done.returncode == 0, done.stderr
    (found,) = json.loads((tmp_path / "data.json").read_text()).values()  # of this processor
    readers = set(found["readers"]) | set(found["left_out"])
    assert {"database, JPEG 90", "database, raw", "PyAV in order", "torchcodec"} <= readers
    assert all(row["clips_per_s_1"] > 0 for row in found["readers"].values())
    assert found["processor_milliseconds_a_clip"]["crop, flip, normalise"] > 0


@pytest.mark.thorough
def test_the_suites_table_is_read_from_the_last_whole_run(tmp_path):
    skipped = run(BENCHMARKS / "suite.py", tmp_path / "none.json", results=tmp_path)
    assert skipped.returncode == 0
    assert skipped.stdout.startswith("skipped: no whole run")
    outcomes = [
        runner.Outcome("00_start_here", "passed", 90.0, 700),
        runner.Outcome("01_videos_become_clips", "failed", 30.0, None, started=75.0),
    ]
    runner.write_suite(outcomes, tmp_path / "suite_of_run.json", profile="figures")
    done = run(BENCHMARKS / "suite.py", tmp_path / "suite_of_run.json", results=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "suite.json").read_text())
    assert (found["minutes"], found["peak_mb"]) == (1.8, 700)
    assert found["met"] == {"minutes": True, "peak_mb": True}


@pytest.mark.thorough
def test_run_all_tells_measured_skipped_and_failed_apart(tmp_path):
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "inference_cpu.py").write_text("print('fast')")
    (scripts / "training_cpu.py").write_text("print('skipped: no card')")
    (scripts / "scaling.py").write_text("raise ValueError('it broke')")
    (scripts / "data.py").write_text("import time; time.sleep(60)")
    names = ("inference_cpu", "training_cpu", "scaling", "data", "suite")
    options = ("--scripts", scripts, "--minutes", 0.02, "--only", *names)
    done = run(BENCHMARKS / "run_all.py", *options, results=tmp_path)
    assert done.returncode == 1
    table = done.stdout[done.stdout.index("seconds  status") :]
    for expected in (
        "measured",
        "skipped: no card",
        "failed: ValueError: it broke",
        "failed: took more than 0.02 minutes",
        "skipped: there is no suite.py",
        "2 failed",
    ):
        assert expected in table
    done = run(BENCHMARKS / "run_all.py", "--only", "suite", results=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "skipped: no whole run" in done.stdout


@pytest.mark.thorough
def test_both_paths_of_training_start_alike_and_stay_close(tmp_path):
    script = tmp_path / "two_paths.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(BENCHMARKS)!r})\n"
        "if __name__ == '__main__':\n"
        "    from training_cpu import PATHS, Steps\n"
        "    for path in PATHS:\n"
        "        steps = Steps('ActionFigures', path)\n"
        "        steps(), steps(), steps()\n"
        "        print(*steps.losses)\n"
    )
    done = run(script, results=tmp_path)
    assert done.returncode == 0, done.stderr
    plain, ours, moved = ([float(x) for x in line.split()] for line in done.stdout.splitlines())
    assert plain == pytest.approx(ours, abs=1e-3)
    assert plain == pytest.approx(moved, abs=1e-3)
    assert len(set(plain)) == 3
