"""The training loop: epochs, batches, steps, on Accelerate, from scratch and for finetuning alike.

One process or many (`accelerate launch`, `torchrun`) run it unchanged. Every draw depends only on the
seed and the place in the training, so a run that was interrupted and resumed gives the numbers of
one that was not.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from r21d_lib.data.cache import PreparedVideos
from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.data.clips import seeded_generator, to_network
from r21d_lib.data.sampling import TrainBatches, TrainClips
from r21d_lib.errors import SettingsError
from r21d_lib.evaluation.protocol import score_videos
from r21d_lib.evaluation.scores import Scores, clip_accuracy
from r21d_lib.files import only_writer, writing
from r21d_lib.models.networks import VideoResNet
from r21d_lib.training import trackers
from r21d_lib.training.hardware import (
    among_processes,
    check_shared_memory,
    place,
    start_accelerator,
)
from r21d_lib.training.prefetch import ahead
from r21d_lib.training.progress import Progress, Step, check_processes
from r21d_lib.training.recipes import Recipe
from r21d_lib.training.run_folder import RunFolder
from r21d_lib.training.settings import GROUPS_BY_DEPTH, TrainingDiverged, make_optimizer

if TYPE_CHECKING:
    from accelerate import Accelerator

_SAVE_SECONDS = 600.0  # of an epoch that lasts longer, so much is lost at most
_ACCELERATES = ("forward", "_original_forward", "_is_accelerate_prepared")  # put on what it prepares


@dataclass(frozen=True)
class EpochReport:
    """What `train` tells its `on_epoch` after each epoch.

    Attributes:
        epoch: from 1.
        classes: class names.
        confusion: (classes, classes) int64, training clips of the row's class taken for the column's.
        inputs: (N, C, T, crop, crop) float32, a batch as the network saw it.
        clips: how it was normalised.
        validation: scores of the validation videos, where there are any.
        writer: TensorBoard's SummaryWriter of the run.
    """

    epoch: int
    classes: tuple[str, ...]
    confusion: np.ndarray
    inputs: Tensor
    clips: ClipSettings
    validation: Scores | None
    writer: Any


def train(
    network: VideoResNet,
    train_videos: PreparedVideos,
    recipe: Recipe,
    run: str | Path,
    *,
    validation: PreparedVideos | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
    resume: bool = True,
    progress: bool = True,
    save_seconds: float = _SAVE_SECONDS,
    log_with: Sequence[str] = (),
) -> pd.DataFrame:
    """Train `network` in place and leave the run's folder behind.

    Args:
        network: from `build_network` or `checkpoints.load`; num_classes must fit.
        train_videos: the decoded training videos.
        recipe: its `clips` and `training` are followed; all of it is kept in the run's folder.
        run: folder of the run; made where missing.
        validation: videos held out from training. One centre clip of each is scored after every
            epoch, and best.safetensors keeps the best epoch. Pass test videos only to draw their
            curve, as `run.run` does: weights that were chosen by them must not be reported.
        on_epoch: called by the first process after every epoch, such as `tensorboard.log_images`.
        resume: goes on where an interrupted run in `run` was; False starts anew.
        progress: shows a bar.
        save_seconds: how often the resume state is written within an epoch.
        log_with: names of trackers that get the numbers besides TensorBoard: see `trackers.NAMES`.

    Returns:
        One row an epoch: epoch, learning_rate, loss, train_accuracy, seconds and, with validation,
        validation_accuracy. Accuracies are fractions of clips.

    Raises:
        SettingsError: if `run` holds a run of another recipe, one that another number of processes
            began, or is being trained in by another process; the classes do not fit, or a tracker is
            not there.
        TrainingDiverged: at the first loss or gradient that is not finite.
        UnwritableError: if the folder cannot be written; the last good checkpoint stays readable.
    """
    folder = RunFolder(run)
    accelerator = start_accelerator(recipe.training, folder.path, log_with=log_with)
    alone = only_writer(folder.path) if accelerator.is_main_process else nullcontext()
    fitting = enough_for_norms(recipe.training.batch_size)
    with among_processes(), writing(folder.path), alone, fitting, given_back(network):
        return _train(
            accelerator,
            folder,
            network,
            train_videos,
            recipe,
            validation=validation,
            on_epoch=on_epoch,
            resume=resume,
            progress=progress,
            save_seconds=save_seconds,
        )


@contextmanager
def enough_for_norms(batch_size: int) -> Iterator[None]:
    """Say plainly that a batch is too small, in place of torch's own words.

    Raises:
        SettingsError: if a norm got a single value a channel to take the variance of.
    """
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise SettingsError(
            f"batch_size={batch_size} leaves the norms of the last layers a single value a channel: "
            "give more clips a batch, longer clips, or a larger crop"
        ) from error


@contextmanager
def given_back(network: VideoResNet) -> Iterator[None]:
    """Leave a network without what only its training needs, however that ends.

    Accelerate gives it a forward of its own, which would compute in the training's precision ever
    after, and a mark by which the next training would not prepare it for another precision.
    """
    own = vars(network)
    before = {name: own[name] for name in _ACCELERATES if name in own}
    try:
        yield
    finally:
        for name in _ACCELERATES:
            own.pop(name, None)
        own.update(before)
        network.requires_grad_(True)  # what was not trained here may be elsewhere


def _train(
    accelerator: "Accelerator",
    folder: RunFolder,
    network: VideoResNet,
    train_videos: PreparedVideos,
    recipe: Recipe,
    *,
    validation: PreparedVideos | None,
    on_epoch: Callable[[EpochReport], None] | None,
    resume: bool,
    progress: bool,
    save_seconds: float,
) -> pd.DataFrame:
    """Do what `train` says, with the folder to itself."""
    settings = recipe.training
    with accelerator.main_process_first():
        fresh = not resume and accelerator.is_main_process
        folder.begin(recipe, network, train_videos.videos, fresh=fresh)
    state = folder.read_state()
    check_processes(state, accelerator.num_processes, settings, folder.path)
    trackers.start(accelerator, recipe)
    loop = Loop(accelerator, network, train_videos, recipe)
    done = Progress.resumed(state, accelerator, network, loop.optimizer)

    epochs = range(len(done.history), settings.epochs)
    bar = tqdm(
        total=len(epochs) * loop.batches.steps,
        initial=done.step,
        desc=f"train {folder.path.name}",
        unit="step",
        disable=not (progress and epochs and accelerator.is_main_process),
    )
    for epoch in epochs:
        started = saved = time.perf_counter()
        for step in loop.steps(epoch, done.step):
            done.add(step)
            bar.update()
            bar.set_postfix(epoch=epoch + 1, loss=f"{done.loss:.3f}")
            # After the last step the epoch is closed first: a state has steps to go, or none taken.
            due = done.step < loop.batches.steps and time.perf_counter() - saved > save_seconds
            if due and accelerator.is_main_process:
                folder.write_state(done.state(accelerator, network, loop.optimizer))
                saved = time.perf_counter()

        row = {
            "epoch": epoch + 1,
            "learning_rate": step.learning_rate,
            "loss": done.loss,
            "train_accuracy": done.accuracy,
        }
        loop.share_statistics()
        scores = None
        if validation is not None:
            scores = score_videos(network, validation, recipe.clips, num_clips=1, progress=False)
            row["validation_accuracy"] = clip_accuracy(scores)
        row["seconds"] = time.perf_counter() - started
        accelerator.log({k: v for k, v in row.items() if k != "epoch"}, step=epoch + 1)
        confusion = accelerator.reduce(done.confusion).cpu().numpy()
        done.close_epoch(row)
        if accelerator.is_main_process:
            folder.write_epoch(network, done.history)
            folder.write_state(done.state(accelerator, network, loop.optimizer))
            if on_epoch is not None:
                writer = accelerator.get_tracker(trackers.TENSORBOARD, unwrap=True)
                classes, clips = train_videos.videos.classes, recipe.clips
                on_epoch(EpochReport(epoch + 1, classes, confusion, step.inputs, clips, scores, writer))
    bar.close()
    for tracker in accelerator.trackers:  # Accelerate's end_training would part the processes, too
        tracker.finish()
    return pd.DataFrame(done.history)


class Loop:
    """Network, optimizer and clips of a training, ready to step on this process's device.

    Args:
        accelerator: from `hardware.start_accelerator`.
        network: what is trained, in place.
        videos: the decoded training videos.
        recipe: whose `clips` and `training` are followed.
    """

    def __init__(
        self,
        accelerator: "Accelerator",
        network: VideoResNet,
        videos: PreparedVideos,
        recipe: Recipe,
    ) -> None:
        settings = recipe.training
        self.order = place(network, accelerator.device, settings)
        self.accelerator, self.network = accelerator, network
        self.clips, self.settings = recipe.clips, settings
        first = GROUPS_BY_DEPTH.index(settings.first_trained)
        self.frozen = [network.get_submodule(name) for name in GROUPS_BY_DEPTH[:first]]
        for module in self.frozen:
            module.requires_grad_(False)
        self.optimizer: Any = make_optimizer(network, settings)
        self.batches = TrainBatches(
            len(videos),
            settings.batch_size,
            settings.steps_per_epoch(len(videos), accelerator.num_processes),
            accumulate=settings.accumulate,
            processes=accelerator.num_processes,
            rank=accelerator.process_index,
            seed=settings.seed,
        )
        (height, width), frames = recipe.clips.resize, recipe.clips.clip_len
        check_shared_memory(
            settings.workers, settings.batch_size * frames * height * width * recipe.clips.channels
        )
        self.loader = DataLoader(
            TrainClips(videos, recipe.clips, seed=settings.seed),
            batch_sampler=self.batches,
            num_workers=settings.workers,
            persistent_workers=settings.workers > 0,
            pin_memory=accelerator.device.type == "cuda",
        )
        self.model, self.optimizer = accelerator.prepare(network, self.optimizer)
        self.loss_of = nn.CrossEntropyLoss(label_smoothing=settings.label_smoothing)
        self.rate_scale = settings.batch_scale(accelerator.num_processes)

    def steps(self, epoch: int, first: int) -> Iterator[Step]:
        """Take the steps of an epoch, from `first` to its last."""
        self.model.train()
        for module in self.frozen:
            module.eval()
        self.batches.start_at(epoch, first)
        steps = range(first, self.batches.steps)
        parts = range(self.settings.accumulate)
        numbers = [self.batches.batch_number(step, part) for step in steps for part in parts]
        make = partial(self._inputs, epoch)
        batches = ahead(zip(numbers, self.loader, strict=False), make, self.accelerator.device)
        for step in steps:
            yield self._step(epoch, step, batches)

    def _step(self, epoch: int, number: int, batches: Iterator[tuple[Tensor, ...]]) -> Step:
        """Take one optimizer step, over `accumulate` batches on each process."""
        accelerator, model = self.accelerator, self.model
        step = Step(
            self._set_rate(epoch, number), self.network.settings.num_classes, accelerator.device
        )
        for _ in range(self.settings.accumulate):
            inputs, labels = next(batches)
            with accelerator.accumulate(model):
                with accelerator.autocast():
                    logits = model(inputs)
                    loss = self.loss_of(logits, labels)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    norm = accelerator.clip_grad_norm_(model.parameters(), self.settings.clip_grad_norm)
                    self._check(loss, norm, epoch, number)
                self.optimizer.step()
                self.optimizer.zero_grad()
            step.count(inputs, labels, logits.detach(), loss.detach())
        return step.over_all(accelerator)

    def _set_rate(self, epoch: int, step: int) -> float:
        """Give every group of layers its learning rate of this step; return the highest."""
        rate = self.rate_scale * self.settings.learning_rate_at(epoch + step / self.batches.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["lr_scale"]
        return rate

    def share_statistics(self) -> None:
        """Give all processes the first one's batch-norm statistics, which are the ones saved."""
        from accelerate.utils import broadcast

        for buffer in self.network.buffers():
            broadcast(buffer)

    def _inputs(self, epoch: int, batch: tuple[int, tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Put the epoch's batch of that number on the device, and make the network's input of it."""
        number, (frames, labels) = batch
        device = self.accelerator.device
        # The order, the starts (in the loader) and these crops and flips repeat for a seed.
        random = seeded_generator(self.settings.seed, epoch, number, 0)
        inputs = to_network(frames.to(device, non_blocking=True), self.clips, random=random)
        return inputs.contiguous(memory_format=self.order), labels.to(device, non_blocking=True)

    def _check(self, loss: Tensor, norm: Any, epoch: int, step: int) -> None:
        # With fp16 an infinite norm is a signal to the scaler, which skips the step.
        finite = torch.isfinite(loss) & (
            torch.isfinite(norm) | (self.settings.mixed_precision == "fp16")
        )
        if not finite:
            raise TrainingDiverged(
                f"loss {loss.item():.3g}, gradient norm {float(norm):.3g} at epoch {epoch}, "
                f"step {step}: lower learning_rate ({self.settings.learning_rate})"
            )
