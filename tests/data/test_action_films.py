"""Films of ActionFigures: their length, the idle time around the action, and what it gives away."""

import numpy as np
import pytest

from r21d_lib.data import action_figures, catalog, lists
from r21d_lib.data.action_figures import films, generation
from r21d_lib.data.action_figures.actions import MOTION_PAIRS, TARGET_ACTIONS
from r21d_lib.errors import SettingsError
from r21d_lib.files import sha256

PAIRED = {name for pair in MOTION_PAIRS for name in pair}
FREE = sorted(set(TARGET_ACTIONS) - PAIRED)


@pytest.mark.parametrize("action", sorted(TARGET_ACTIONS))
def test_a_film_lasts_four_to_six_seconds_and_its_action_lies_inside(action):
    for group in range(20):
        course = action_figures.film_course(action, group)
        assert 4 * films.FPS <= course.frames <= 6 * films.FPS
        assert 0 < course.begin < course.end < course.frames
        assert 1.0 < (course.end - course.begin) / films.FPS < 3.3
        idle = course.frames - (course.end - course.begin)
        assert min(course.begin, course.frames - course.end) > 0.1 * idle


def test_the_course_is_that_of_the_film():
    course = action_figures.film_course("jump", 2)
    frames = action_figures.render("films", "jump", 2, 0)  # group 2: a camera that stands still
    assert frames.shape == (course.frames, 120, 160, 3)
    assert frames.dtype == np.uint8
    moved = np.abs(np.diff(frames.astype(int), axis=0)).mean((1, 2, 3))
    inside = slice(int(course.begin) + 1, int(course.end) - 1)
    before, after = moved[: int(course.begin) - 4], moved[int(course.end) + 4 :]
    assert moved[inside].mean() > 3 * max(before.mean(), after.mean(), 0.01)
    assert before.max() > 0, "somebody who stands about sways"


@pytest.mark.parametrize("action", FREE)
def test_who_stands_about_does_not_tell_what_comes(action):
    pose = TARGET_ACTIONS[action].at(0.3, 1.0).poses[0]
    still = films._stand_about(pose, 1.0, [0.0, 0.0, 0.0])
    other = "wave" if pose.view == "front" else "walk"
    like = films._stand_about(TARGET_ACTIONS[other].at(0.7, 1.0).poses[0], 1.0, [0.0, 0.0, 0.0])
    for mine, others in ((still.arms, like.arms), (still.legs, like.legs)):
        assert np.allclose(mine, others)
    assert np.allclose((still.torso, still.lift), (like.torso, like.lift))
    assert films._stand_about(pose, 0.0, [0.0, 0.0, 0.0]) == pose


@pytest.mark.parametrize("pair", MOTION_PAIRS)
def test_a_pair_rests_in_the_poses_that_both_have(pair):
    forth, back = (TARGET_ACTIONS[name] for name in pair)
    for name in pair:
        course = action_figures.film_course(name, 5)
        assert (course.phase(0), course.phase(course.frames)) == (0.0, pytest.approx(1.0))
    assert forth.at(0.0, 1.0) == back.at(1.0, 1.0)
    assert forth.at(1.0, 1.0) == back.at(0.0, 1.0)


@pytest.mark.parametrize("action", ["run", "walk"])
def test_nobody_leaves_the_picture(action, monkeypatch):
    places = []
    drawn = films.draw_frame

    def draw(moment, *arguments, **how):
        places.append(moment.poses[0].x)
        return drawn(moment, *arguments, **how)

    monkeypatch.setattr(films, "draw_frame", draw)
    for group in range(8):
        action_figures.render("films", action, group, 0)
    # Half of the width is 160 drawn pixels, and a body unit at most 90.
    assert 0.3 < max(np.abs(places)) < 160 / 90 - 0.6


def test_films_share_nobody_with_the_short_clips():
    def cast(subset):
        clips = [generation._Clip("walk", subset, group, 0, seed=0) for group in range(30)]
        return {person for clip in clips for person in generation._cast(clip)[0]}

    assert len(cast("films")) == 60
    assert not cast("films") & (cast("target") | cast("source"))


def test_a_film_has_the_same_bytes_each_time_and_is_of_its_person(tmp_path):
    clip = generation._Clip("clap", "films", 7, 0, seed=0)
    for name in ("one.avi", "two.avi"):
        generation._write_clip(clip, tmp_path / name)
    assert sha256(tmp_path / "one.avi") == sha256(tmp_path / "two.avi")
    assert lists.group_of(f"clap/{clip.name}") == "figure_007"


def test_the_catalogue_names_the_films(monkeypatch):
    asked = []
    monkeypatch.setattr(action_figures, "generate", lambda root, **how: asked.append((root, how)))
    monkeypatch.setattr(action_figures, "load", lambda root, **how: how)
    opened = catalog.open_videos("action_films", split=2, part="test")
    assert opened == {"subset": "films", "split": 2, "part": "test"}
    ((root, how),) = asked
    assert (root.name, how) == ("action_films", {"subset": "films", "clips_per_class": 60})
    assert catalog.title("action_films") == "ActionFilms"


def test_an_unknown_action_has_no_course():
    with pytest.raises(SettingsError, match="'fly' is none of the actions"):
        action_figures.film_course("fly", 0)


def test_the_command_draws_one_data_set(r21d, monkeypatch):
    asked = []
    monkeypatch.setattr(action_figures, "generate", lambda root, **how: asked.append((root.name, how)))
    done = r21d("figures", "--films")
    assert done.returncode == 0, done.stderr
    ((name, how),) = asked
    assert (name, how["subset"], how["clips_per_class"]) == ("action_films", "films", 60)
    both = r21d("figures", "--films", "--source")
    assert both.returncode != 0
    assert "two data sets: give one" in both.stderr


@pytest.mark.slow
def test_drawing_goes_on_where_it_was(tmp_path):
    action_figures.generate(
        tmp_path, subset="films", clips_per_class=20, seed=3, workers=2, progress=False
    )
    paths = sorted((tmp_path / "videos").rglob("*.avi"))
    assert len(paths) == 240
    before = paths[1].stat().st_mtime_ns, sha256(paths[0])
    paths[0].unlink()
    action_figures.generate(
        tmp_path, subset="films", clips_per_class=20, seed=3, workers=1, progress=False
    )
    assert before == (paths[1].stat().st_mtime_ns, sha256(paths[0]))
    train = action_figures.load(tmp_path, subset="films", part="train")
    test = action_figures.load(tmp_path, subset="films", part="test")
    assert not set(train.groups) & set(test.groups)


def test_an_action_lasts_as_long_as_the_module_says():
    courses = [
        action_figures.film_course(action, group)
        for action in action_figures.TARGET_CLASSES
        for group in range(60)
    ]
    seconds = [(course.end - course.begin) / films.FPS for course in courses]
    assert 1.6 <= min(seconds) < 1.7
    assert 3.1 < max(seconds) <= 3.2
    assert "1.6 to 3.2 s" in films.__doc__
