"""Clips out of videos: where they start, and resize, crop, flip and normalise on whole batches.

A decoded video is (T, H, W, 3) uint8, its optical flow (T - 1, H, W, 2) uint8 (see `flow`). A clip is
`clip_len` of these, `stride` apart; a batch of clips is (N, T, H, W, C) uint8 until `to_network` makes
it (N, C, T, crop, crop) float32.
"""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from r21d_lib.data import flow
from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.errors import SettingsError


def seeded_generator(*parts: int) -> torch.Generator:
    """Return a generator whose stream depends on all of `parts`, each from 0 to 2^20 - 1 or so.

    One stream for each (seed, epoch, video) makes every draw independent of the order of work, of
    the number of worker processes and of interruptions.
    """
    mixed = 0
    for part in parts:
        mixed = (mixed * 0x9E3779B97F4A7C15 + part + 1) % 2**63
    return torch.Generator().manual_seed(mixed)


def random_start(num_frames: int, span: int, *, generator: torch.Generator) -> int:
    """Draw where a training clip starts: uniform over the starts that fit (temporal jitter).

    Args:
        num_frames: of the video.
        span: frames that the clip covers, `ClipSettings.span`.
        generator: the source of the draw.

    Returns:
        0 to num_frames - span; 0 where the video is shorter than the clip.
    """
    return int(torch.randint(max(num_frames - span, 0) + 1, (), generator=generator))


def uniform_starts(num_frames: int, span: int, num_clips: int = 10) -> list[int]:
    """Return where test clips start: spread evenly from the first frame to the last start that fits.

    The i-th of n starts at floor(i * (num_frames - span) / (n - 1)); a single clip is the centre one.
    Source: paper, section 4.1 (10 uniformly sampled clips); the formula is VMZ's.
    """
    room = max(num_frames - span, 0)
    if num_clips == 1:
        return [room // 2]
    return [i * room // (num_clips - 1) for i in range(num_clips)]


def dense_starts(num_frames: int, span: int, step: int) -> list[int]:
    """Return the starts 0, step, 2 step, ... of all clips that fit: a long video has more of them."""
    return list(range(0, max(num_frames - span, 0) + 1, step))


def clip_indices(start: int, clip_len: int, stride: int, num_frames: int) -> Tensor:
    """Return the (clip_len,) int64 frame numbers of a clip; a short video starts over (loops)."""
    return (start + stride * torch.arange(clip_len)) % num_frames


def resize(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize frames, aspect ignored: (T, H, W, 3) uint8 to (T, *size, 3) uint8, bilinear.

    Antialiased, so that a fine pattern does not flicker when a large video becomes small. This is
    what torchvision's `resize` calls; importing that would double the start of every process.
    """
    if tuple(frames.shape[1:3]) == size:
        return frames
    planes = frames.permute(0, 3, 1, 2)
    small = functional.interpolate(planes, size, mode="bilinear", antialias=True)
    return small.permute(0, 2, 3, 1).contiguous()


def three_crops(clips: Tensor, crop: int) -> Tensor:
    """Return the first, the middle and the last square along the longer side of each clip.

    Args:
        clips: (N, T, H, W, C) uint8, already resized.
        crop: side of the squares [pixels].

    Returns:
        (N * 3, T, crop, crop, C) uint8, the three of a clip one after the other.
    """
    height, width = clips.shape[2:4]
    squares = []
    for part in (0.0, 0.5, 1.0):
        down, right = (0.5, part) if width >= height else (part, 0.5)
        top, left = int(down * (height - crop)), int(right * (width - crop))
        squares.append(clips[:, :, top : top + crop, left : left + crop])
    return torch.stack(squares, 1).flatten(0, 1)


def to_network(
    clips: Tensor, settings: ClipSettings, *, random: torch.Generator | None = None
) -> Tensor:
    """Crop, flip and normalise a batch on the device where it is.

    Args:
        clips: (N, T, H, W, C) uint8, already resized; flow as bytes.
        settings: crop, modality and statistics.
        random: for training: each clip gets one random crop and, every other time, a horizontal
            flip, the same for all its frames; flow to the right becomes flow to the left by it. None,
            for testing, takes the centre crop.

    Returns:
        (N, C, T, crop, crop) float32, in channels_last_3d memory order.
    """
    num_clips, frames, height, width, channels = clips.shape
    crop = settings.crop
    if channels != settings.channels:
        raise SettingsError(
            f"a clip of {settings.modality} has {settings.channels} channels, and these have {channels}"
        )
    if crop > min(height, width):
        raise SettingsError(
            f"a crop of {crop} does not fit into frames of {height} x {width}: resize them first"
        )
    if random is None:
        tops = [(height - crop) // 2] * num_clips
        lefts = [(width - crop) // 2] * num_clips
        flips = [False] * num_clips
    else:
        tops = torch.randint(height - crop + 1, (num_clips,), generator=random).tolist()
        lefts = torch.randint(width - crop + 1, (num_clips,), generator=random).tolist()
        flips = (torch.rand(num_clips, generator=random) < 0.5).tolist()
    mean, std = _rows_of_statistics(settings, clips.device)
    inputs = torch.empty((num_clips, frames, crop, crop, channels), device=clips.device)
    # One clip after the other, as it stays in the processor's cache from its crop to its division.
    for target, clip, top, left, flip in zip(inputs, clips, tops, lefts, flips, strict=True):
        cut = clip[:, top : top + crop, left : left + crop]
        target.copy_(cut.flip(2) if flip else cut)
        if flip and settings.modality == "flow":
            target[..., 0].neg_().add_(2 * flow.STILL)
        target.view(frames, crop, crop * channels).sub_(mean).div_(std)
    # Channels stay last in memory, which is the order that 3D convolutions are fastest in.
    return inputs.permute(0, 4, 1, 2, 3)


@lru_cache(16)
def _rows_of_statistics(settings: ClipSettings, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return mean and deviation of the values of one row of a crop, in bytes: (crop * channels,).

    A whole row is subtracted several times faster than three channels, again and again. They are
    kept, because a copy to a GPU waits for what it is doing.
    """
    levels, zero = (255.0, 0.0) if settings.modality == "rgb" else (flow.STEPS / flow.BOUND, flow.STILL)
    mean, std = torch.tensor([settings.mean, settings.std], device=device).mul(levels)
    if zero:
        mean = mean + zero
    return mean.repeat(settings.crop), std.repeat(settings.crop)
