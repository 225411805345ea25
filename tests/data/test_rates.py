"""Videos of other frame rates than the checkpoint's: clips are cut by time."""

from fractions import Fraction

import numpy as np
import pytest

from r21d_lib.data import action_figures, video
from r21d_lib.data.cache import prepare
from r21d_lib.data.lists import VideoList
from r21d_lib.errors import SettingsError
from r21d_lib.prediction import Recognizer


def moments(rate: float, seconds: float) -> list[tuple[float, np.ndarray]]:
    """Return frames that carry their number, at an even rate."""
    return [(k / rate, np.full((2, 2, 3), k, np.int32)) for k in range(round(seconds * rate))]


@pytest.mark.parametrize("rate", [12.5, 15, 24, 25, 29.97, 30, 50, 60, 120, 240])
def test_a_video_of_any_rate_keeps_its_length_and_shows_the_nearest_frames(rate):
    timed = moments(rate, 3)
    given = list(video.at_rate(iter(timed), 30))
    assert len(given) == pytest.approx(90, abs=1)
    for seconds, frame in given:
        shown = int(frame[0, 0, 0]) / rate
        after_the_last = max(0.0, seconds - timed[-1][0])
        assert abs(shown - seconds) <= max(0.5 / rate, after_the_last) + 1e-9


def test_a_video_of_that_rate_comes_back_frame_by_frame_also_with_rounded_stamps():
    timed = moments(30, 4)
    rounded = [(round(seconds, 3), frame) for seconds, frame in timed]
    for its in (timed, rounded):
        assert [f[0, 0, 0] for _, f in video.at_rate(iter(its), 30)] == [f[0, 0, 0] for _, f in timed]


def test_frames_at_uneven_times_are_shown_as_long_as_they_last():
    frames = [np.full((1, 1, 3), k, np.uint8) for k in range(4)]
    times = (0.0, 0.1, 0.5, 0.6)
    shown = [int(f[0, 0, 0]) for _, f in video.at_rate(zip(times, frames, strict=True), 10)]
    assert shown == [0, 1, 1, 2, 2, 2, 3] or shown == [0, 1, 1, 1, 2, 2, 3]  # 0.3 lies in the middle


@pytest.mark.parametrize(("last", "shown"), [(0.01, 1), (2 / 30, 2), (1.0, 1), (2.0, 1)])
def test_the_last_frame_is_shown_as_long_as_others_and_no_moment_lies_past_the_end(last, shown):
    timed = moments(30, 2)
    timed.append((timed[-1][0] + last, np.full((2, 2, 3), 60, np.int32)))
    end = timed[-1][0] + video.last_gap([seconds for seconds, _ in timed], 1)
    assert end == pytest.approx(timed[-1][0] + shown / 30)
    for fps in (8, 30, 60):
        given = [seconds for seconds, _ in video.at_rate(iter(timed), fps)]
        assert timed[-1][0] - 1 / fps < given[-1] < end


def test_a_film_of_24_frames_shown_at_30_keeps_its_length():
    times = np.cumsum([0, *[1, 1, 1, 2] * 12]) / 30
    given = list(video.at_rate(((t, np.zeros((1, 1, 3), np.uint8)) for t in times.tolist()), 30))
    assert len(given) == 62  # 60 until the last frame, which is shown twice as the one before


@pytest.mark.parametrize("rate", [23.976, 25, 29.97, 50, 59.94])
def test_rounded_stamps_of_an_even_rate_change_no_last_frame(rate):
    for count in range(240, 260):
        exact = [(k / rate, np.zeros((1, 1, 3), np.uint8)) for k in range(count)]
        rounded = [(round(seconds, 3), frame) for seconds, frame in exact]
        for its in (exact, rounded):
            # By the last gap, which the caches that are kept went by.
            shown = its[-1][0] + (its[-1][0] - its[-2][0]) - 0.25 / 30
            given = [seconds for seconds, _ in video.at_rate(iter(its), 30)]
            assert given[-1] < shown <= len(given) / 30


@pytest.fixture(scope="module")
def slow_and_fast(tmp_path_factory):
    """One drawn action as a video of 30, and each of its frames twice or four times at 60 and 120."""
    folder = tmp_path_factory.mktemp("rates")
    frames = action_figures.render("source", "golf", 5, 0, seed=77)
    files = {}
    for rate in (30, 60, 120):
        files[rate] = folder / f"{rate}.mkv"
        repeated = frames.repeat(rate // 30, axis=0)
        video.write(files[rate], repeated, fps=Fraction(rate), codec="ffv1")
    return files


def test_the_shipped_network_says_the_same_at_every_rate(slow_and_fast):
    recognizer = Recognizer("figures")
    said = {rate: recognizer.predict(file, progress=False) for rate, file in slow_and_fast.items()}
    for rate in (60, 120):
        assert said[rate].num_frames == said[30].num_frames * rate // 30
        np.testing.assert_allclose(said[rate].probabilities, said[30].probabilities, atol=0.02)
        np.testing.assert_allclose(
            said[rate].seconds(said[rate].starts), said[30].seconds(said[30].starts), atol=0.04
        )
        assert said[rate].spells()[-1].end == pytest.approx(said[30].spells()[-1].end, abs=0.04)


def test_a_cache_of_a_rate_holds_the_same_frames_of_every_video_and_is_no_other_cache(
    slow_and_fast, tmp_path
):
    root = slow_and_fast[30].parent
    names = tuple(file.name for file in slow_and_fast.values())
    listed = VideoList("rates", ("golf",), root, names, (0, 0, 0))
    by_time = prepare(listed, tmp_path, size=(32, 32), fps=30)
    by_number = prepare(listed, tmp_path, size=(32, 32))
    assert by_time.folder != by_number.folder
    of_30, of_60, of_120 = (by_time.frames(i) for i in range(3))
    assert len(of_30) == len(of_60) == len(of_120)
    np.testing.assert_array_equal(of_30, by_number.frames(0))
    for other in (of_60, of_120):
        # A frame's copy is nearer in time than its neighbour's, or as near.
        assert np.abs(other.astype(int) - of_30).mean() < 2
    assert len(by_number.frames(2)) == 4 * len(of_30)


def test_a_list_that_counts_frames_does_not_go_with_a_rate(slow_and_fast, tmp_path):
    file = slow_and_fast[30]
    listed = VideoList("starts", ("golf",), file.parent, (file.name,), (0,), starts=((3,),))
    with pytest.raises(SettingsError, match="give fps=none"):
        prepare(listed, tmp_path, size=(32, 32), fps=30)
