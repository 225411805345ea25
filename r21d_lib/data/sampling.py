"""Which clips are seen: in training random ones in a repeatable order, in tests evenly spaced ones."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from r21d_lib.data.cache import PreparedVideos
from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.data.clips import dense_starts, random_start, seeded_generator, uniform_starts
from r21d_lib.errors import DatasetError


class TrainClips(Dataset[tuple[Tensor, int]]):
    """Random clips of the training videos (temporal jitter).

    An item's number says which: number = round * len(videos) + video, as `TrainBatches` gives it. The
    start depends on (seed, round, video) alone, so worker processes and resumption change nothing.
    An item is ((clip_len, H, W, 3) uint8, label).
    """

    def __init__(self, prepared: PreparedVideos, settings: ClipSettings, *, seed: int = 0) -> None:
        self.prepared, self.settings, self.seed = prepared, settings, seed

    def __len__(self) -> int:
        return len(self.prepared)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        turn, video = divmod(number, len(self.prepared))
        generator = seeded_generator(self.seed, turn, video)
        clips = self.prepared.clips(
            video,
            self.settings,
            lambda frames: [random_start(frames, self.settings.span, generator=generator)],
        )
        return clips[0], self.prepared.videos.labels[video]


class TrainBatches(Sampler[list[int]]):
    """The batches of one process: numbers of `TrainClips`, in an order drawn from the seed.

    All clips of a training form one sequence: round after round of all videos, each round in an order
    of its own. It is cut into batches, and `processes` take them in turn. So no clip is drawn twice by
    two processes, and one process that accumulates n batches sees just what n processes see.

    Args:
        num_videos: of the training list.
        batch_size: clips in a batch.
        steps: optimizer steps in an epoch.
        accumulate: batches of each process in a step.
        processes: how many share the work.
        rank: which of them this is.
        seed: of the orders.
    """

    def __init__(
        self,
        num_videos: int,
        batch_size: int,
        steps: int,
        *,
        accumulate: int = 1,
        processes: int = 1,
        rank: int = 0,
        seed: int = 0,
    ) -> None:
        self.num_videos, self.batch_size, self.steps, self.seed = num_videos, batch_size, steps, seed
        self.accumulate, self.processes, self.rank = accumulate, processes, rank
        self._epoch, self._first_step = 0, 0
        self._order: tuple[int, list[int]] = (-1, [])

    def __len__(self) -> int:
        return (self.steps - self._first_step) * self.accumulate

    def start_at(self, epoch: int, step: int = 0) -> None:
        """Choose what comes next: an epoch, from one of its steps to its end."""
        self._epoch, self._first_step = epoch, step

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self._first_step, self.steps):
            for part in range(self.accumulate):
                batch = self.batch_number(self._epoch * self.steps + step, part)
                yield [self._draw(batch * self.batch_size + place) for place in range(self.batch_size)]

    def batch_number(self, step: int, part: int) -> int:
        """Return which of the epoch's batches, over all processes, this process takes then."""
        return (step * self.accumulate + part) * self.processes + self.rank

    def _draw(self, position: int) -> int:
        """Return the number of the clip at a place of the sequence."""
        turn, place = divmod(position, self.num_videos)
        if self._order[0] != turn:
            generator = seeded_generator(self.seed, turn)
            self._order = (turn, torch.randperm(self.num_videos, generator=generator).tolist())
        return turn * self.num_videos + self._order[1][place]


class TestClips(Dataset[tuple[Tensor, int, int]]):
    """The test clips of each video: ((clips, clip_len, H, W, 3) uint8, label, video).

    They start where the list says, if it does (`VideoList.starts`), which must be in the video; else
    every `dense_step` frames, if that is given; else `num_clips` of them are spread evenly from the
    first frame to the last.
    """

    __test__ = False  # not a test, whatever pytest makes of the name

    def __init__(
        self,
        prepared: PreparedVideos,
        settings: ClipSettings,
        num_clips: int = 10,
        *,
        dense_step: int | None = None,
    ) -> None:
        self.prepared, self.settings = prepared, settings
        self.num_clips, self.dense_step = num_clips, dense_step

    def __len__(self) -> int:
        return len(self.prepared)

    def __getitem__(self, video: int) -> tuple[Tensor, int, int]:
        clips = self.prepared.clips(video, self.settings, lambda frames: self._starts(video, frames))
        return clips, self.prepared.videos.labels[video], video

    def _starts(self, video: int, frames: int) -> list[int]:
        if self.prepared.videos.starts is not None:
            return self._listed_starts(video, frames)
        if self.dense_step is not None:
            return dense_starts(frames, self.settings.span, self.dense_step)
        return uniform_starts(frames, self.settings.span, self.num_clips)

    def _listed_starts(self, video: int, frames: int) -> list[int]:
        """Return where clips start by the list, which counts a video's frames, not fields of flow.

        A clip of pictures that runs past the end starts over, as one of a short video does. Flow has
        one field less than the video has frames: a clip that would need more is the last that fits.
        """
        videos, of_flow = self.prepared.videos, self.settings.modality == "flow"
        starts = list(videos.starts[video]) if videos.starts is not None else []
        if (last := max(starts, default=0)) >= frames + of_flow:
            raise DatasetError(
                f"{videos.names[video]} has {frames + of_flow} frames, and a clip of it is listed to "
                f"start at frame {last}, counted from 0: correct start_frm in the list of {videos.name}"
            )
        if of_flow:
            return [min(start, max(frames - self.settings.span, 0)) for start in starts]
        return starts
