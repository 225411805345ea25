"""Optical flow: right to a tenth of a pixel, kept in 8 bits within its bound, computed once."""

import dataclasses
import itertools
import sys

import numpy as np
import pytest
import torch

from r21d_lib.data import action_figures, flow, frame_store, video
from r21d_lib.data import cache as module
from r21d_lib.data.cache import prepare, store_of
from r21d_lib.data.clip_settings import FLOW_STD, ClipSettings
from r21d_lib.data.clips import resize, to_network
from r21d_lib.data.sampling import TestClips, TrainClips
from r21d_lib.errors import SettingsError, VideoError

SIZE = (24, 32)
SETTINGS = ClipSettings(clip_len=4, resize=SIZE, crop=16, modality="flow")


def patterned_square(x, y, side=40, size=96):
    """A square with a pattern of its own, at any place, also between pixels: (size, size, 3) uint8."""
    rows, columns = np.mgrid[:size, :size] - np.array([y, x])[:, None, None]
    pattern = 128 + 45 * np.sin(0.55 * columns) + 45 * np.sin(0.45 * rows + 1)
    inside = (rows >= 0) & (rows < side) & (columns >= 0) & (columns < side)
    grey = np.rint(np.where(inside, pattern, 90))
    return np.repeat(grey[..., None], 3, 2).astype(np.uint8)


@pytest.mark.parametrize("step", [(2, 0), (-4, 1), (0, -1), (3, 2), (1.5, -0.5), (0.3, 0)])
def test_a_moving_squares_flow_is_right_to_a_tenth_of_a_pixel(step):
    found = flow.farneback(patterned_square(25, 25), patterned_square(25 + step[0], 25 + step[1]))
    assert found.shape == (96, 96, 2)
    assert found.dtype == np.float32
    inner = found[33:57, 33:57]
    assert np.abs(inner - step).max() < 0.1
    assert np.abs(found[:8]).max() < 1e-6  # far from the square nothing moves


def test_eight_bits_keep_flow_within_the_bound():
    exact = np.random.default_rng(0).uniform(-30, 30, (50, 60, 2)).astype(np.float32)
    codes = flow.encode(exact)
    assert codes.dtype == np.uint8
    assert codes.min() == 1
    error = np.abs(flow.decode(codes) - np.clip(exact, -flow.BOUND, flow.BOUND))
    assert error.max() == pytest.approx(flow.LARGEST_ERROR, rel=0.1)
    assert error.max() < flow.LARGEST_ERROR + 1e-5
    np.testing.assert_array_equal(flow.decode(flow.encode(np.zeros((2, 2, 2)))), 0)  # rest is exact
    np.testing.assert_array_equal(flow.encode(-exact), (2 * flow.STILL - codes.astype(int)))


def test_a_video_has_one_field_less_than_frames_and_a_still_one_has_one():
    frames = [patterned_square(25 + t, 25) for t in range(4)]
    fields = list(flow.of_frames(frames))
    assert len(fields) == 3
    for field, (before, after) in zip(fields, itertools.pairwise(frames), strict=True):
        np.testing.assert_array_equal(field, flow.encode(flow.farneback(before, after)))
    assert len(list(flow.of_frames(frames[:1]))) == 1
    assert list(flow.of_frames([])) == []


def kept(videos, tmp_path, **more):
    return prepare(videos, tmp_path / "cache", size=SIZE, modality="flow", **more)


def test_the_cache_keeps_the_flow_of_the_resized_frames_exactly(copied, tmp_path):
    prepared = kept(copied, tmp_path)
    assert prepared.folder.name == "24x32-flow"
    for index in range(len(copied)):
        frames = resize(torch.from_numpy(video.decode(copied.path(index))), SIZE).numpy()
        expected = np.stack(list(flow.of_frames(frames)))
        np.testing.assert_array_equal(prepared.frames(index), expected)
        clips, _, _ = TestClips(prepared, SETTINGS, num_clips=2)[index]
        assert clips.shape == (2, 4, *SIZE, 2)
        np.testing.assert_array_equal(clips[0], expected[:4])
    assert TrainClips(prepared, SETTINGS)[3][0].shape == (4, *SIZE, 2)
    # Pictures of the same size and rate have a folder of their own.
    assert prepare(copied, tmp_path / "cache", size=SIZE).frames(0).shape[-1] == 3
    assert kept(copied, tmp_path, fps=15).folder.name == "24x32-flow-15fps"


def test_flow_is_computed_once_and_goes_on_where_it_was_stopped(copied, tmp_path):
    copied.path(5).write_bytes(b"garbage")
    with pytest.raises(VideoError, match="not a readable video"):
        kept(copied, tmp_path)
    first = copied.subset(range(5))
    folder = tmp_path / "cache" / module._place(first.root) / "24x32-flow"
    versions = {name: module._version(first.path(k)) for k, name in enumerate(first.names)}
    assert module._missing(first, folder, versions) == []

    def ids(prepared):
        names = prepared.videos.names
        return [frame_store.find(store_of(prepared.folder, name), name).id for name in names]

    before = ids(kept(first, tmp_path))
    video.write(copied.path(5), np.stack([patterned_square(20 + t, 20) for t in range(6)]))
    whole = kept(copied, tmp_path)
    assert ids(whole)[:5] == before
    assert whole.frames(5).shape == (5, *SIZE, 2)


def test_processes_compute_the_same_flow(copied, tmp_path):
    one, two = kept(copied, tmp_path / "one"), kept(copied, tmp_path / "two", workers=2)
    for index in range(len(copied)):
        np.testing.assert_array_equal(one.frames(index), two.frames(index))


def test_flow_is_never_kept_as_jpeg(copied, tmp_path):
    with pytest.raises(SettingsError, match=r"flow is kept exactly.*quality=none"):
        kept(copied, tmp_path, quality=90)


def test_without_opencv_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(SettingsError, match="pip install opencv-python-headless"):
        flow.farneback(patterned_square(20, 20), patterned_square(21, 20))


def test_a_network_sees_pixels_over_the_cards_deviation():
    field = np.zeros((1, 4, *SIZE, 2), np.float32)
    field[..., 0], field[..., 1] = 2.0, -1.0
    inputs = to_network(torch.from_numpy(flow.encode(field)), SETTINGS)
    assert inputs.shape == (1, 2, 4, 16, 16)
    expected = [(2.0 - 0.0046635) / FLOW_STD[0], (-1.0 - 0.0046261) / FLOW_STD[1]]
    for channel, value in enumerate(expected):
        assert inputs[0, channel].numpy() == pytest.approx(value, abs=flow.LARGEST_ERROR / 0.7)
    own = dataclasses.replace(SETTINGS, mean=(0.0, 0.0), std=(0.5, 0.5))
    assert to_network(torch.from_numpy(flow.encode(field)), own)[0, 0].mean() > inputs[0, 0].mean()


def test_a_mirrored_clip_moves_the_other_way():
    """What training flips is the flow of the mirrored video, and not the mirrored flow."""
    frames = [patterned_square(10 + 3 * t, 25 + t) for t in range(2)]
    field = flow.farneback(*frames)
    clips = torch.from_numpy(flow.encode(field)[None, None].repeat(8, 0))
    settings = ClipSettings(1, resize=(96, 96), crop=96, modality="flow")
    inputs = to_network(clips, settings, random=torch.Generator().manual_seed(0))
    plain = to_network(clips, dataclasses.replace(settings))
    flipped = [k for k in range(8) if not torch.equal(inputs[k], plain[k])]
    assert 0 < len(flipped) < 8
    mirrored = flow.encode(flow.farneback(*(np.ascontiguousarray(f[:, ::-1]) for f in frames)))
    expected = to_network(torch.from_numpy(mirrored[None, None]), settings)[0]
    # Farneback itself is not mirror-symmetric to the last bit; a byte is 0.16 pixels.
    apart = (inputs[flipped[0]] - expected).abs() * torch.tensor(FLOW_STD).view(2, 1, 1, 1)
    assert float(apart.quantile(0.99)) < 0.17


def test_settings_without_a_modality_are_of_rgb_and_write_none():
    rgb = ClipSettings()
    assert "modality" not in rgb.to_dict()
    assert ClipSettings.from_dict(rgb.to_dict()) == rgb
    assert (rgb.channels, SETTINGS.channels) == (3, 2)
    assert ClipSettings.from_dict(SETTINGS.to_dict()) == SETTINGS
    assert SETTINGS.to_dict()["modality"] == "flow"
    with pytest.raises(SettingsError, match="mean must be two finite numbers, one a channel of flow"):
        dataclasses.replace(rgb, modality="flow")
    with pytest.raises(SettingsError, match="modality 'depth' is unknown: choose rgb or flow"):
        ClipSettings(modality="depth")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="a clip of rgb has 3 channels, and these have 2"):
        to_network(torch.zeros(1, 2, 128, 171, 2, dtype=torch.uint8), rgb)


def test_fast_motion_is_found_too_small():
    """As the module says: the bytes could hold more than the method finds."""
    import cv2

    noise = np.random.default_rng(0).normal(0, 1, (128, 200)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 4)
    grey = ((smooth - smooth.min()) / np.ptp(smooth) * 255).astype(np.uint8)
    picture = np.repeat(grey[..., None], 3, 2)
    found = []
    for moved in (10, 19, 25):
        pair = (picture[:, 29:], picture[:, 29 - moved : 200 - moved])
        kept = flow.decode(flow.encode(flow.farneback(*map(np.ascontiguousarray, pair))))
        found.append(float(np.median(kept[32:-32, 45:-45, 0])))
    assert found == pytest.approx([9.9, 13.4, -3.2], abs=0.3)


def test_a_mirrored_video_has_nearly_the_mirrored_fields():
    frames = action_figures.render("target", "run", 1, 0)
    mirrored = np.ascontiguousarray(frames[:, :, ::-1])
    differences = []
    for field, other in zip(flow.of_frames(frames), flow.of_frames(mirrored), strict=True):
        turned = field[:, ::-1].astype(int)
        turned[..., 0] = 2 * flow.STILL - turned[..., 0]
        differences.append(np.abs(turned - other))
    assert 0 < np.mean(np.array(differences) > 0) < 0.001
    assert np.max(differences) == 3
