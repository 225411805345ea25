"""A user's script needs no `if __name__ == "__main__"` for what works in processes."""

import subprocess
import sys
import time

import psutil
import pytest

SCRIPT = """
import sys
from r21d_lib.data import action_figures
from r21d_lib.data.cache import prepare
from r21d_lib.training import recipes
from r21d_lib.training.run import run_many

print("begun")
root, cache, data = sys.argv[1:]
action_figures.generate(root, clips_per_class=20, workers=2)
videos = prepare(action_figures.load(root, part="train"), cache, size=(16, 20), workers=2)
tiny = ["epochs=1", "batch_size=2", "width=4", "clip_len=4", "resize=16,20", "crop=16", f"data={data}"]
entries = [recipes.read("figures_race", [*tiny, f"network={name}"]) for name in ("fr2d", "r3d")]
finished = run_many(entries, jobs=2, on_epoch=lambda report: None)
print(len(videos), len(finished))
"""


@pytest.mark.thorough
def test_a_script_draws_decodes_and_trains_in_processes_as_it_stands(tiny_data, build, tmp_path):
    script = tmp_path / "mine.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, script, tmp_path / "drawn", tmp_path / "cache", tiny_data],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["begun", "168", "2"]  # begun once


ENDLESS = """
import sys
from r21d_lib.training import recipes
from r21d_lib.training.run import run_many

tiny = ["epochs=100000", "batch_size=2", "width=4", "clip_len=4", "resize=16,20", "crop=16"]
tiny.append(f"data={sys.argv[1]}")
entries = [recipes.read("figures_race", [*tiny, f"network={name}"]) for name in ("fr2d", "r3d")]
run_many(entries, jobs=2)
"""


def test_runs_end_with_the_process_that_asked_for_them_even_if_it_is_killed(tiny_data, build):
    """A notebook's kernel that is killed or restarted leaves no training behind that nobody sees."""
    asking = subprocess.Popen([sys.executable, "-c", ENDLESS, str(tiny_data)])
    deadline = time.monotonic() + 240
    while len(list(build.glob("runs/*/metrics.csv"))) < 2:
        assert time.monotonic() < deadline
        assert asking.poll() is None
        time.sleep(0.2)
    trainings = psutil.Process(asking.pid).children(recursive=True)
    assert len(trainings) >= 2
    asking.kill()
    asking.wait()
    _, alive = psutil.wait_procs(trainings, timeout=30)
    for process in alive:
        process.kill()
    assert not alive
