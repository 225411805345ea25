"""The three convolutions: the rule for M, parameter parity, output sizes, what mixes with what."""

import pytest
import torch

from r21d_lib.models.convolutions import Conv2d, Conv2Plus1d, Conv3d
from r21d_lib.models.kinds import midplanes


@pytest.mark.parametrize(
    ("n_in", "n_out", "m"),
    [
        (64, 64, 144),
        (64, 128, 230),
        (128, 128, 288),
        (128, 256, 460),
        (256, 256, 576),
        (256, 512, 921),
        (512, 512, 1152),
    ],
)
def test_midplanes_of_the_papers_blocks(n_in, n_out, m):
    assert midplanes(n_in, n_out) == m


def test_midplanes_of_the_stem():
    assert midplanes(3, 64, t=3, d=7) == 83
    assert midplanes(3, 64, t=7, d=7) == 110


def test_midplanes_rejects_nonsense():
    with pytest.raises(ValueError, match="in_planes=0"):
        midplanes(0, 64)


def count(module):
    return sum(p.numel() for p in module.parameters() if p.ndim > 1)


@pytest.mark.parametrize(("n_in", "n_out"), [(64, 64), (64, 128), (256, 512), (16, 48)])
def test_factorized_has_at_most_the_parameters_of_3d_and_one_more_plane_would_exceed_them(n_in, n_out):
    full, factorized = count(Conv3d(n_in, n_out)), count(Conv2Plus1d(n_in, n_out))
    one_more = count(Conv2Plus1d(n_in, n_out, mid_planes=midplanes(n_in, n_out) + 1))
    assert factorized <= full < one_more


@pytest.mark.parametrize("kind", [Conv2d, Conv3d, Conv2Plus1d])
@pytest.mark.parametrize("stride", [(1, 1, 1), (2, 2, 2), (1, 2, 2), (2, 1, 1)])
def test_output_sizes(kind, stride):
    out = kind(4, 6, stride=stride)(torch.zeros(2, 4, 9, 15, 11))
    time = 9 if kind is Conv2d else -(-9 // stride[0])  # 2D never strides in time
    assert out.shape == (2, 6, time, -(-15 // stride[1]), -(-11 // stride[2]))


@pytest.mark.parametrize(
    ("kind", "frames_reached"), [(Conv2d, {4}), (Conv3d, {3, 4, 5}), (Conv2Plus1d, {3, 4, 5})]
)
def test_which_frames_an_impulse_reaches(kind, frames_reached):
    torch.manual_seed(0)
    conv = kind(1, 8).eval()
    silent, impulse = torch.zeros(2, 1, 9, 7, 7).unbind(0)
    impulse = impulse.clone()
    impulse[0, 4, 3, 3] = 1.0
    difference = (conv(impulse[None]) - conv(silent[None])).abs().amax((0, 1, 3, 4))
    assert set(torch.nonzero(difference > 1e-6).flatten().tolist()) == frames_reached
