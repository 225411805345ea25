"""What is asked of trained networks: time changed, kernels named, Grad-CAM, features in a plane."""

import numpy as np
import pandas as pd
import pytest
import torch
from stand_in_card import card

from r21d_lib.data.cache import prepare
from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.errors import SettingsError
from r21d_lib.evaluation import inspection, time_tests
from r21d_lib.evaluation.protocol import score_videos
from r21d_lib.evaluation.scores import Scores
from r21d_lib.models.networks import build_network

CLIPS = ClipSettings(clip_len=4, stride=2, resize=(24, 32), crop=24)


@pytest.fixture(scope="module")
def videos(tiny_dataset, tmp_path_factory):
    return prepare(tiny_dataset, tmp_path_factory.mktemp("cache"), size=(24, 32), workers=1)


def test_time_is_changed_and_pictures_are_not():
    clips = torch.arange(2 * 6, dtype=torch.uint8).view(2, 6, 1, 1, 1).expand(2, 6, 2, 2, 3)
    assert time_tests.TIME_CHANGES["as filmed"] is None
    backwards = time_tests.reverse_time(clips, 0)
    assert backwards[0, :, 0, 0, 0].tolist() == [5, 4, 3, 2, 1, 0]
    mixed = time_tests.shuffle_time(clips, 7)
    assert torch.equal(mixed, time_tests.shuffle_time(clips, 7)), "the order is drawn from the video"
    assert not torch.equal(mixed, time_tests.shuffle_time(clips, 8))
    assert torch.equal(mixed.sort(1).values, clips), "every frame is still there"
    frozen = time_tests.freeze_time(clips, 0)
    assert frozen[1, :, 0, 0, 0].tolist() == [9] * 6


def test_only_a_network_without_time_does_not_notice(videos):
    for name, notices in (("fr2d", False), ("r3d", True), ("r2plus1d", True)):
        net = build_network(name, 10, num_classes=2, width=4, seed=0)
        net.fc.weight.data *= 20  # answers far enough apart for scores of float16
        first, other = (
            score_videos(net, videos, CLIPS, num_clips=2, change=change, progress=False)
            for change in (None, time_tests.reverse_time)
        )
        gap = np.abs(first.probabilities.astype(float) - other.probabilities.astype(float)).max()
        assert (gap > 0.001) == notices, name


def test_taken_for_counts_answers():
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.1, 0.9]], np.float16)[:, None]
    scores = Scores(("a", "b", "c", "d"), np.array([0, 0, 0, 1]), ("sit", "stand"), probabilities)
    assert time_tests.taken_for(scores, "sit").to_dict() == {"stand": 2, "sit": 1}
    assert time_tests.taken_for(scores, "stand").to_dict() == {"stand": 1}


def test_temporal_kernels_are_found_and_named():
    net = build_network("r2plus1d", 10, num_classes=2, width=4)
    found = inspection.temporal_kernels(net)
    assert len(found) == 1 + 2 * 4
    assert all(kernels.shape[1] == 3 for kernels in found.values())
    assert inspection.temporal_kernels(build_network("r3d", 10, num_classes=2, width=4)) == {}
    examples = torch.tensor([[2.0, 2, 2], [-3, 0.1, 3], [0, 0.2, -5], [0, -4, 0.1], [1, -2, 1.1]])
    table = inspection.sort_temporal_kernels(examples)
    assert list(table["kind"]) == ["blur", "derivative", "delay", "present", "derivative"]
    assert table["likeness"].between(0.98, 1.0001).all()
    assert table["strength"].iloc[0] == pytest.approx(12**0.5)
    with pytest.raises(SettingsError, match="kernels of three frames"):
        inspection.sort_temporal_kernels(torch.zeros(2, 5))


def test_separability_is_one_for_products_and_a_third_for_three_pictures():
    time, picture = torch.randn(4, 2, 3, 1, 1), torch.randn(4, 2, 1, 3, 3)
    torch.testing.assert_close(inspection.separability(time * picture), torch.ones(4, 2))
    mixed = torch.zeros(1, 1, 3, 3, 3)
    for t in range(3):
        mixed[0, 0, t, t, t] = 1
    assert float(inspection.separability(mixed)) == pytest.approx(1 / 3)


def test_grad_cam_points_at_what_raises_the_score():
    """The head reads one channel, and that copies the clip: the map is where the clip is bright."""
    net = build_network("r3d", 10, num_classes=2, width=4, seed=0).eval()
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, torch.nn.Conv3d):
                module.weight.zero_()
        net.stem[0].weight[0, :, 1, 3, 3] = 1  # the middle pixel of the middle frame
        for block in (net.layer2, net.layer3, net.layer4):  # handed on by the shortcuts
            block[0].downsample[0].weight[0, 0] = 1
        net.fc.weight.zero_()
        net.fc.weight[1, 0] = 1
    # Strides leave frame 0 and the pixels 0 and 16 of the clip, so something must be bright there.
    clip = torch.zeros(1, 3, 8, 32, 32)
    clip[:, :, :2, 12:22, 12:22] = 1
    maps = inspection.grad_cam(net, clip, torch.tensor([1]), layer="layer1")
    assert maps.shape == (1, 8, 32, 32)
    assert maps.max() == pytest.approx(1, abs=1e-4)
    t, y, x = np.unravel_index(maps[0].argmax(), maps[0].shape)
    assert t in (0, 1)
    assert 11 <= y <= 22
    assert 11 <= x <= 22
    assert maps[0, 4:].max() < 0.01
    assert (inspection.grad_cam(net, clip, torch.tensor([0]), layer="layer1") == 0).all()
    with pytest.raises(SettingsError, match="no layer 'layer9'"):
        inspection.grad_cam(net, clip, torch.tensor([1]), layer="layer9")


@pytest.mark.parametrize(
    ("name", "pool1"),
    [("r2d", "none"), ("fr2d", "space"), ("r3d", "space-time"), ("mc3", "none"), ("r2plus1d", "none")],
)
def test_a_map_lies_where_its_layer_was_computed_from(name, pool1):
    """The frame and pixel that a cell's gradient is centred on is where its value is put."""
    size = (13, 96, 81)
    net = build_network(name, 10, num_classes=2, width=2, pool1=pool1, clip_len=13, seed=0).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.Conv3d):
            torch.nn.init.constant_(module.weight, 1 / module.weight[0].numel())
        if isinstance(module, torch.nn.MaxPool3d):
            module.forward = lambda x, kept=module: torch.nn.functional.avg_pool3d(
                x, kept.kernel_size, kept.stride, kept.padding
            )
    clip = torch.ones(1, 3, *size, requires_grad=True)
    found, compared = clip, 0
    for stage in net.stages().values():
        found = stage(found)
        cells = found.shape[2:]
        # Far from the borders, where what a cell sees is cut off.
        cell = [count // 2 for count in cells]
        gradient = torch.autograd.grad(found[0, 0, *cell], clip, retain_graph=True)[0]
        seen = gradient.abs().sum((0, 1))
        hot = torch.zeros(1, 1, *cells)
        hot[0, 0, *cell] = 1
        drawn = inspection.spread_over_clip(hot, size)[0, 0]
        assert drawn.shape == size
        for axis, length in enumerate(size):
            others = [other for other in range(3) if other != axis]
            reach = seen.sum(others) > 0
            if cells[axis] == 1 or reach[0] or reach[-1]:
                continue
            middle = torch.arange(length)[reach].float().mean()
            assert int(drawn.sum(others).argmax()) == middle, (axis, cells)
            compared += 1
    assert compared > 5


def test_maps_end_where_the_clip_does():
    cells = torch.tensor([3.0, 5.0]).view(1, 1, 1, 1, 2)
    line = inspection.spread_over_clip(cells, (8, 1, 4))[0, 0]
    assert line[:, 0].tolist() == [[3, 4, 5, 5]] * 8, (
        "the last cell stands at pixel 2, the one frame is all"
    )


def test_a_dot_is_found_where_it_is():
    net = build_network("r2plus1d", 10, num_classes=2, width=4, seed=0).eval()
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, torch.nn.Conv3d):
                module.weight.fill_(1 / module.weight[0].numel())
        net.fc.weight.fill_(1.0)
    clip = torch.zeros(1, 3, 16, 112, 112)
    clip[:, :, 8, 48, 64] = 100
    for layer in ("layer1", "layer2", "layer3"):
        found = inspection.grad_cam(net, clip, torch.tensor([0]), layer=layer)[0].astype(float)
        middle = [
            (np.arange(length) * found.sum(tuple(other for other in range(3) if other != axis))).sum()
            / found.sum()
            for axis, length in enumerate(found.shape)
        ]
        assert middle == pytest.approx([8, 48, 64], abs=0.5), layer


def test_zeros_are_no_kind_of_kernel():
    table = inspection.sort_temporal_kernels(torch.tensor([[0.0, 0, 0], [-1, -1, -1], [0, 0, 2]]))
    assert list(table["kind"]) == [inspection.NO_KIND, "blur", "delay"]
    assert list(table["likeness"]) == pytest.approx([0, 1, 1])
    assert inspection.NO_KIND not in inspection.TEMPORAL_KINDS


def test_the_plane_of_hardly_any_videos():
    assert inspection.principal_plane(np.ones((1, 8), np.float32)).tolist() == [[0, 0]]
    two = inspection.principal_plane(np.eye(2, 8, dtype=np.float32))
    assert np.abs(two[0] - two[1]) == pytest.approx([2**0.5, 0], abs=1e-6)
    assert inspection.principal_plane(np.array([[1.0], [3.0]])).tolist() == [[-1, 0], [1, 0]]
    with pytest.raises(SettingsError, match="no features to project"):
        inspection.principal_plane(np.zeros((0, 8)))


def test_features_and_their_plane(videos):
    net = build_network("r2plus1d", 10, num_classes=2, width=4, seed=0)
    features = inspection.video_features(net, videos, CLIPS, num_clips=2)
    assert features.shape == (len(videos), 32)
    points = np.random.default_rng(0).normal(size=(50, 5)) * [9, 0.1, 4, 0.1, 0.1]
    plane = inspection.principal_plane(points)
    assert plane.shape == (50, 2)
    for axis, column in enumerate((0, 2)):
        assert abs(np.corrcoef(plane[:, axis], points[:, column])[0, 1]) > 0.99
    np.testing.assert_array_equal(plane, inspection.principal_plane(points))


def test_a_network_on_a_card_is_inspected_as_on_the_cpu(videos):
    net = build_network("r2plus1d", 10, num_classes=2, width=4, seed=0).eval()
    clips = torch.randn(2, 3, 8, 32, 32, generator=torch.Generator().manual_seed(0))

    def inspected():
        kernels = inspection.temporal_kernels(net)["layer1.0.conv1.0.3"]
        return (
            kernels.numpy(),
            inspection.sort_temporal_kernels(net.layer1[0].conv1[0][3].weight.flatten(2).flatten(0, 1)),
            inspection.grad_cam(net, clips, torch.tensor([0, 1])),
            inspection.video_features(net, videos, CLIPS, num_clips=2),
        )

    wanted = inspected()
    with card() as device:
        net.to(device)
        with pytest.raises(RuntimeError):
            net(clips)  # or this test could not fail
        got = inspected()
    for one, other in zip(got, wanted, strict=True):
        if isinstance(other, np.ndarray):
            np.testing.assert_allclose(one, other, atol=1e-2)  # a GPU rounds to TF32
        else:
            pd.testing.assert_frame_equal(one, other)
