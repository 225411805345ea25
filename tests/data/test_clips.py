"""Clip arithmetic by hand-written tables, and crops, flips and normalisation on batches."""

from types import SimpleNamespace

import pytest
import torch

from r21d_lib.data import clips
from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.data.lists import VideoList
from r21d_lib.data.sampling import TestClips
from r21d_lib.errors import DatasetError, SettingsError

SMALL = ClipSettings(clip_len=4, stride=1, resize=(12, 16), crop=8)


@pytest.mark.parametrize(
    ("num_frames", "span", "num_clips", "starts"),
    [
        (100, 16, 10, [0, 9, 18, 28, 37, 46, 56, 65, 74, 84]),
        (22, 22, 10, [0] * 10),
        (5, 16, 3, [0, 0, 0]),
        (26, 16, 3, [0, 5, 10]),
        (26, 16, 1, [5]),
    ],
)
def test_uniform_starts(num_frames, span, num_clips, starts):
    assert clips.uniform_starts(num_frames, span, num_clips) == starts


@pytest.mark.parametrize(
    ("start", "clip_len", "stride", "num_frames", "indices"),
    [
        (3, 4, 1, 10, [3, 4, 5, 6]),
        (0, 4, 3, 10, [0, 3, 6, 9]),
        (0, 8, 1, 3, [0, 1, 2, 0, 1, 2, 0, 1]),
        (0, 4, 2, 1, [0, 0, 0, 0]),
        (0, 8, 3, 10, [0, 3, 6, 9, 2, 5, 8, 1]),
    ],
)
def test_short_videos_loop(start, clip_len, stride, num_frames, indices):
    assert clips.clip_indices(start, clip_len, stride, num_frames).tolist() == indices


def test_random_starts_cover_exactly_what_fits():
    generator = torch.Generator().manual_seed(0)
    starts = {clips.random_start(20, 16, generator=generator) for _ in range(200)}
    assert starts == {0, 1, 2, 3, 4}
    assert clips.random_start(5, 16, generator=generator) == 0


def test_a_generator_depends_on_all_its_parts():
    first = {
        int(torch.randint(2**62, (), generator=clips.seeded_generator(*parts)))
        for parts in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0), (0,))
    }
    assert len(first) == 6


def test_test_clips_are_the_normalised_centre():
    batch = torch.randint(256, (2, 4, 12, 16, 3), dtype=torch.uint8)
    out = clips.to_network(batch, SMALL)
    centre = batch[:, :, 2:10, 4:12].float() / 255
    expected = (centre - torch.tensor(SMALL.mean)) / torch.tensor(SMALL.std)
    torch.testing.assert_close(out, expected.permute(0, 4, 1, 2, 3), atol=1e-5, rtol=1e-5)
    assert out.is_contiguous(memory_format=torch.channels_last_3d)


def test_training_crops_and_flips_are_the_same_in_all_frames_and_repeat():
    # Each pixel holds its own place, so that a crop can be read off.
    place = torch.arange(12 * 16).reshape(12, 16).to(torch.uint8)
    batch = place[None, None, :, :, None].expand(32, 4, 12, 16, 3)
    settings = ClipSettings(4, 1, (12, 16), 8, mean=(0, 0, 0), std=(1, 1, 1))
    one, two = (
        clips.to_network(batch, settings, random=torch.Generator().manual_seed(1)) for _ in range(2)
    )
    torch.testing.assert_close(one, two)
    assert (one == one[:, :, :1]).all(), "frames of one clip were cut differently"
    corners = {tuple(int(v) for v in clip[0, 0, 0, [0, -1]] * 255 + 0.5) for clip in one}
    assert len(corners) > 10, "the crops do not vary"
    assert {right > left for left, right in corners} == {True, False}, "the flips do not vary"


def test_resize_keeps_type_and_a_constant_picture():
    frames = torch.full((3, 24, 32, 3), 77, dtype=torch.uint8)
    small = clips.resize(frames, (12, 16))
    assert small.shape == (3, 12, 16, 3)
    assert small.dtype == torch.uint8
    assert (small == 77).all()


@pytest.mark.parametrize("size", [(12, 16), (128, 171)])
def test_resize_is_torchvisions(size):
    from torchvision.transforms.v2 import functional

    frames = torch.randint(256, (3, 47, 63, 3), dtype=torch.uint8)
    expected = functional.resize(frames.permute(0, 3, 1, 2), list(size), antialias=True)
    torch.testing.assert_close(
        clips.resize(frames, size), expected.permute(0, 2, 3, 1), atol=1, rtol=0
    )  # 1: where the processor lacks AVX2, torchvision rounds another way


@pytest.mark.parametrize("values", [dict(clip_len=0), dict(stride=0), dict(crop=200)])
def test_settings_that_make_no_sense(values):
    with pytest.raises(SettingsError):
        ClipSettings(**values)


def test_settings_survive_json():
    import json

    assert ClipSettings.from_dict(json.loads(json.dumps(SMALL.to_dict()))) == SMALL


def listed_starts(starts, frames, modality):
    """Return where clips of 16 that a list lets start there do, in so many frames or fields."""
    videos = VideoList("mine", ("a",), None, ("a/x.avi",), (0,), starts=(starts,))
    settings = ClipSettings(clip_len=16, stride=1, modality=modality)
    return TestClips(SimpleNamespace(videos=videos), settings)._starts(0, frames)


@pytest.mark.parametrize(
    ("frames", "modality", "starts", "expected"),
    [
        (40, "rgb", (0, 24), [0, 24]),
        (40, "rgb", (30,), [30]),  # starts over, as a short video does
        (39, "flow", (0, 23, 24, 39), [0, 23, 23, 23]),  # of 40 frames there are 39 fields
        (9, "flow", (3,), [0]),
    ],
)
def test_listed_clips_of_flow_end_with_the_last_field(frames, modality, starts, expected):
    assert listed_starts(starts, frames, modality) == expected


@pytest.mark.parametrize(("kept", "modality"), [(40, "rgb"), (39, "flow")])
def test_a_clip_listed_to_start_behind_the_end_is_refused(kept, modality):
    with pytest.raises(DatasetError, match=r"a/x\.avi has 40 frames.*frame 40.*start_frm.*mine"):
        listed_starts((0, 40), kept, modality)
