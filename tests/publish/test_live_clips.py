"""The live page's clips: those that the library would choose of the same frames at the same times."""

import itertools
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.live.rolling import RollingClip
from r21d_lib.publish import site

playwright = pytest.importorskip("playwright")
NODE = shutil.which("node") or str(Path(playwright.__file__).parent / "driver" / "node")
SCRIPT = Path(__file__).with_name("live_page_in_node.js")
SHIPPED, DENSE = (ClipSettings(n, stride, (4, 6), 4, fps=30.0) for n, stride in ((8, 3), (16, 1)))
SECONDS = 4


def watched(settings, times, *, film=False, duration=1000.0):
    """Show the page one frame after the other; return its clips, by the number of the newest frame."""
    about = {"classes": ["a", "b"], "clips": settings.to_dict(), "examples": []}
    given = {"folder": str(site.SOURCES), "about": about, "times": list(times)}
    given |= {"film": film, "duration": duration}
    done = subprocess.run(
        [NODE, str(SCRIPT)], input=json.dumps(given), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    return dict(told["asked"]), told


def chosen(settings, times):
    """Return what the library would choose at every frame from the first at which it is ready."""
    rolling, found = RollingClip(settings), {}
    for number, seconds in enumerate(times):
        rolling.push(np.full((4, 6, 3), number, np.uint8), seconds)
        if rolling.ready:
            found[number] = rolling.clip()[:, 0, 0, 0].tolist()
    return found


def uneven(seed):
    """Times of a source of 30 frames a second, of which a slow machine misses many."""
    random = np.random.default_rng(seed)
    steps = random.choice([1, 1, 2, 3, 7], 100) / 30 + random.uniform(-0.005, 0.005, 100)
    return np.cumsum(steps).tolist()


SOURCES = {
    **{f"{fps} a second": [n / fps for n in range(SECONDS * fps)] for fps in (60, 30, 25, 24, 15, 10)},
    **{f"uneven {seed}": uneven(seed) for seed in range(3)},
}


@pytest.mark.parametrize("film", [False, True], ids=["camera", "film"])
@pytest.mark.parametrize("settings", [SHIPPED, DENSE], ids=["shipped", "dense"])
@pytest.mark.parametrize("times", SOURCES.values(), ids=SOURCES)
def test_a_clip_has_the_frames_that_the_library_would_choose(times, settings, film):
    found, told = watched(settings, times, film=film)
    expected = chosen(settings, times)
    # Of a faster source the page leaves out a frame that the library takes until the next one comes.
    assert min(found) - min(expected) in ((0, 1) if 60 * times[1] < 1.5 else (0,))
    assert found == {number: expected[number] for number in found}
    least = 0.5 * (times[-1] - times[min(found)]) * 30 / max(settings.stride, 4)
    assert len(found) > least, "it goes on scoring"
    assert told["dropped"] == "0"


@pytest.mark.parametrize("fps", [30, 25, 15, 10])
def test_a_clip_lasts_as_long_as_in_training(fps):
    times = SOURCES[f"{fps} a second"]
    for frames in watched(DENSE, times)[0].values():
        assert abs(times[frames[-1]] - times[frames[0]] - 15 / 30) <= 0.5 / fps + 1e-9


def test_frames_that_never_came_are_counted_and_no_clip_spans_a_long_gap():
    times = [*(n / 30 for n in range(60)), *(60 + n / 30 for n in range(60))]
    found, _ = watched(SHIPPED, times)
    assert not [frames for frames in found.values() if frames[0] < 60 <= frames[-1]]
    assert min(number for number in found if number >= 60) == 60 + 21


def test_a_film_that_begins_anew_is_cut_there_unless_it_is_shorter_than_a_clip():
    long, short = ([n / 30 for n in range(count)] for count in (40, 5))
    found, _ = watched(SHIPPED, long * 3, film=True, duration=40 / 30)
    assert max(found) > 80
    assert all(frames[0] // 40 == frames[-1] // 40 for frames in found.values())
    found, _ = watched(SHIPPED, short * 12, film=True, duration=5 / 30)
    assert max(found) > 50
    for frames in found.values():
        assert {after - one for one, after in itertools.pairwise(frames)} == {3}, "it goes round evenly"


def test_the_step_is_told_with_the_digits_that_it_needs():
    texts = [watched(settings, [])[1]["text"] for settings in (SHIPPED, DENSE)]
    for text, step in zip(texts, ("0.1 s apart", "0.033 s apart"), strict=True):
        assert step in text
        assert "r21d predict" not in text
    unset = ClipSettings(16, 2, (4, 6), 4)
    assert "0.067 s apart" in (text := watched(unset, [])[1]["text"])
    assert "r21d predict takes a file's frames one by one" in text
