"""ActionFigures: layout, official lists, people never in both parts, repeatable bytes, bad requests."""

from collections import Counter

import numpy as np
import pytest

from r21d_lib.data import action_figures, video
from r21d_lib.data.action_figures import generation
from r21d_lib.data.action_figures.actions import MOTION_PAIRS, SOURCE_ACTIONS, TARGET_ACTIONS
from r21d_lib.data.action_figures.moments import RUNG
from r21d_lib.data.action_figures.skeleton import Body, joints
from r21d_lib.errors import DatasetError, SettingsError
from r21d_lib.files import sha256


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    root = tmp_path_factory.mktemp("figures")
    action_figures.generate(root, clips_per_class=20, seed=3, workers=2, progress=False)
    return root


def test_twelve_target_and_fourteen_other_classes():
    assert len(action_figures.TARGET_CLASSES) == 12
    assert len(action_figures.SOURCE_CLASSES) == 14
    assert not set(action_figures.TARGET_CLASSES) & set(action_figures.SOURCE_CLASSES)


@pytest.mark.parametrize("split", [1, 2, 3])
def test_layout_and_splits(drawn, split):
    train = action_figures.load(drawn, split=split, part="train")
    test = action_figures.load(drawn, split=split, part="test")
    assert train.classes == tuple(sorted(action_figures.TARGET_CLASSES))
    assert set(Counter(train.labels).values()) == {14}
    assert set(Counter(test.labels).values()) == {6}
    people = [{name.split("/")[1].split("_")[1] for name in part.names} for part in (train, test)]
    assert not people[0] & people[1], "a person is in both parts"


def test_the_three_test_parts_are_different(drawn):
    parts = [set(action_figures.load(drawn, split=k, part="test").names) for k in (1, 2, 3)]
    assert not parts[0] & parts[1]
    assert not parts[1] & parts[2]
    assert not parts[0] & parts[2]


def test_files_are_videos_of_the_promised_size(drawn):
    listed = action_figures.load(drawn, part="test")
    for index in range(0, len(listed), 9):
        frames = video.decode(listed.path(index))
        assert len(frames) >= 32
        assert frames.shape[1:] == (120, 160, 3)
        assert np.abs(np.diff(frames.astype(int), axis=0)).max() > 60, "nothing moves"


@pytest.mark.thorough
def test_the_number_of_processes_changes_no_byte_and_whole_files_stay(drawn, tmp_path):
    action_figures.generate(tmp_path, clips_per_class=20, seed=3, workers=1, progress=False)
    paths = sorted((drawn / "videos").rglob("*.avi"))
    assert len(paths) == 240
    for path in paths[::17]:
        assert sha256(path) == sha256(tmp_path / path.relative_to(drawn))
    victim = tmp_path / paths[0].relative_to(drawn)
    before = paths[1].stat().st_mtime_ns
    victim.unlink()
    action_figures.generate(tmp_path, clips_per_class=20, seed=3, workers=1, progress=False)
    assert sha256(victim) == sha256(paths[0])
    assert paths[1].stat().st_mtime_ns == before


@pytest.mark.parametrize("pair", MOTION_PAIRS)
def test_one_of_a_motion_pair_is_the_other_backwards(pair):
    forth, back = (TARGET_ACTIONS[name] for name in pair)
    assert (forth.frames, forth.cyclic, forth.view) == (back.frames, False, back.view)
    for phase in np.linspace(0, 1, 9):  # eighths, whose complements are exact
        first, second = forth.at(phase, 1.0), back.at(1 - phase, 1.0)
        assert joints(first.poses[0], Body()) == joints(second.poses[0], Body())
        assert first.things == second.things


def test_an_order_blind_network_has_a_ceiling():
    assert action_figures.ORDER_BLIND_CEILING == 0.75
    assert len({name for pair in MOTION_PAIRS for name in pair}) >= len(TARGET_ACTIONS) / 3


def test_a_person_does_every_action_once(drawn):
    names = [path.stem.split("_") for path in (drawn / "videos").rglob("*.avi")]
    people = Counter(parts[1] for parts in names)
    assert len(people) == 20
    assert set(people.values()) == {len(TARGET_ACTIONS)}


@pytest.mark.parametrize("name", sorted(TARGET_ACTIONS | SOURCE_ACTIONS))
def test_limbs_keep_their_length_and_nobody_sinks_into_the_ground(name):
    action, body = (TARGET_ACTIONS | SOURCE_ACTIONS)[name], Body()
    for phase in np.linspace(0, 1, 9):
        for pose in action.at(float(phase), 1.0).poses:
            j = joints(pose, body)
            for side in (0, 1):
                assert np.hypot(*np.subtract(j.shoulders[side], j.elbows[side])) == pytest.approx(
                    body.upper_arm
                )
                assert np.hypot(*np.subtract(j.knees[side], j.feet[side])) == pytest.approx(body.shin)
            assert min(y for _, y in (*j.feet, *j.hands, *j.knees, j.head, j.pelvis)) > -1e-6


@pytest.mark.parametrize("phase", np.linspace(0, 1, 7))
def test_hands_stay_on_what_they_hold(phase):
    climber = SOURCE_ACTIONS["climb"].at(float(phase), 1.0)
    sunk = climber.things[0].size[1]
    held = [(y + sunk) / RUNG for _, y in joints(climber.poses[0], Body()).hands]
    # One hand is always on a rung, whichever the other reaches for.
    assert min(abs(place - round(place)) for place in held) < 1e-6
    pusher = SOURCE_ACTIONS["push"].at(float(phase), 1.0)
    edge = pusher.things[0].at[0]
    # A hand is drawn as a disc of this radius.
    reached = [x + 0.06 for x, _ in joints(pusher.poses[0], Body()).hands]
    assert reached == pytest.approx([edge, edge], abs=0.02)  # the arms are just long enough


def test_a_group_is_one_cast_and_the_two_sets_share_nobody():
    def cast(subset, action, group, take):
        people, camera, _ = generation._cast(generation._Clip(action, subset, group, take, seed=0))
        return people, camera.scale

    walkers = [cast("target", "walk", group, 0) for group in range(40)]
    assert walkers == [cast("target", "jump", group, 3) for group in range(40)]
    golfers = [cast("source", "golf", group, 0) for group in range(40)]
    everybody = [person for people, _ in walkers + golfers for person in people]
    assert len(set(everybody)) == 160


def test_the_name_says_which_side_is_seen():
    clips = [generation._Clip("walk", "target", group, 0, seed=0) for group in range(8)]
    sides = {generation._cast(clip)[1].mirror: clip.name.split("_")[6] for clip in clips}
    assert sides == {True: "le", False: "ri"}


def test_an_unknown_action_is_named():
    with pytest.raises(SettingsError, match="'fly' is none of the target actions: cartwheel"):
        action_figures.render("target", "fly", 0, 0)


def test_a_changed_request_is_noticed(drawn):
    with pytest.raises(DatasetError, match="holds another data set"):
        action_figures.generate(drawn, clips_per_class=20, seed=4, progress=False)


def test_a_damaged_note_is_named(tmp_path):
    (tmp_path / "dataset.json").write_text("{oops")
    with pytest.raises(DatasetError, match=r"dataset\.json is damaged"):
        action_figures.generate(tmp_path, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["dataset.json"]


@pytest.mark.parametrize(
    "options",
    [dict(clips_per_class=5), dict(subset="others"), dict(seed=-1), dict(workers=-1), dict(workers=0)],
)
def test_requests_that_make_no_sense(tmp_path, options):
    with pytest.raises(SettingsError):
        action_figures.generate(tmp_path, **options)
    assert list(tmp_path.iterdir()) == []


def test_loading_what_is_not_there(tmp_path):
    with pytest.raises(DatasetError, match="draw them with `r21d figures`"):
        action_figures.load(tmp_path, part="train")


def test_loading_as_what_it_is_not(drawn):
    with pytest.raises(SettingsError, match="no subset 'others'"):
        action_figures.load(drawn, subset="others", part="train")
    with pytest.raises(DatasetError, match="does not hold the source classes"):
        action_figures.load(drawn, subset="source", part="train")
