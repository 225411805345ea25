"""Which clips are seen: in training random ones in a repeatable order, in tests evenly spaced ones."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from r21d_lib.clips import ClipSettings, random_start, seeded_generator, uniform_starts
from r21d_lib.datasets.prepared import PreparedVideos


class TrainClips(Dataset[tuple[Tensor, int]]):
    """One random clip of each video in every epoch (temporal jitter).

    An item's number says both: number = epoch * len(videos) + video, as `EpochSampler` gives it. The
    start depends on (seed, epoch, video) alone, so worker processes and resumption change nothing.
    An item is ((clip_len, H, W, 3) uint8, label).
    """

    def __init__(self, prepared: PreparedVideos, settings: ClipSettings, *, seed: int = 0) -> None:
        self.prepared, self.settings, self.seed = prepared, settings, seed

    def __len__(self) -> int:
        return len(self.prepared)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        epoch, video = divmod(number, len(self.prepared))
        generator = seeded_generator(self.seed, epoch, video)
        clips = self.prepared.clips(
            video,
            self.settings,
            lambda frames: [random_start(frames, self.settings.span, generator=generator)],
        )
        return clips[0], self.prepared.videos.labels[video]


class EpochSampler(Sampler[int]):
    """Every video once an epoch, in an order drawn from (seed, epoch)."""

    def __init__(self, num_videos: int, *, seed: int = 0) -> None:
        self.num_videos, self.seed, self.epoch = num_videos, seed, 0

    def __len__(self) -> int:
        return self.num_videos

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = seeded_generator(self.seed, self.epoch)
        order = torch.randperm(self.num_videos, generator=generator)
        yield from (self.epoch * self.num_videos + order).tolist()


class TestClips(Dataset[tuple[Tensor, int, int]]):
    """Uniformly spaced clips of each video: ((num_clips, clip_len, H, W, 3) uint8, label, video)."""

    __test__ = False  # not a test, whatever pytest makes of the name

    def __init__(self, prepared: PreparedVideos, settings: ClipSettings, num_clips: int = 10) -> None:
        self.prepared, self.settings, self.num_clips = prepared, settings, num_clips

    def __len__(self) -> int:
        return len(self.prepared)

    def __getitem__(self, video: int) -> tuple[Tensor, int, int]:
        clips = self.prepared.clips(
            video,
            self.settings,
            lambda frames: uniform_starts(frames, self.settings.span, self.num_clips),
        )
        return clips, self.prepared.videos.labels[video], video
