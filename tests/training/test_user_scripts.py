"""A user's script needs no `if __name__ == "__main__"` for what works in processes."""

import subprocess
import sys

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
