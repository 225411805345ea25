"""One visible training loop, on Accelerate, for training from scratch and for finetuning alike.

One process or many (`accelerate launch`, `torchrun`) run it unchanged. Every draw depends only on the
seed and the place in the training, so a run that was interrupted and resumed gives the numbers of
one that was not.
"""

import copy
import time
from collections.abc import Callable, Iterator
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
from r21d_lib.data.clips import ClipSettings, seeded_generator, to_network
from r21d_lib.data.sampling import TrainBatches, TrainClips
from r21d_lib.errors import SettingsError
from r21d_lib.evaluation.protocol import score_videos
from r21d_lib.evaluation.scores import Scores, clip_accuracy
from r21d_lib.models.networks import VideoResNet
from r21d_lib.training.hardware import keep_freed_memory, memory_order
from r21d_lib.training.prefetch import ahead
from r21d_lib.training.run_folder import RunFolder
from r21d_lib.training.settings import (
    GROUPS_BY_DEPTH,
    TrainingDiverged,
    TrainingSettings,
    make_optimizer,
)

if TYPE_CHECKING:
    from accelerate import Accelerator

_SAVE_SECONDS = 600.0  # of an epoch that lasts longer, so much is lost at most
_SLOW_STEPS = 2  # the first ones, which a measurement leaves out


@dataclass(frozen=True)
class EpochReport:
    """What `train` tells its `on_epoch` after each epoch.

    Attributes:
        epoch: from 1.
        classes: class names.
        confusion: (classes, classes) int64, training clips of the row's class taken for the column's.
        inputs: (N, 3, T, crop, crop) float32, a batch as the network saw it.
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
    run: str | Path,
    *,
    clips: ClipSettings,
    settings: TrainingSettings,
    validation: PreparedVideos | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
    resume: bool = True,
    progress: bool = True,
    save_seconds: float = _SAVE_SECONDS,
) -> pd.DataFrame:
    """Train `network` in place and leave the run's folder behind.

    Args:
        network: from `networks.build_network` or `checkpoints.load`; num_classes must fit.
        train_videos: the decoded training videos.
        run: folder of the run; made where missing.
        clips: length, size and statistics of the clips.
        settings: the recipe.
        validation: videos held out from training. One centre clip of each is scored after every
            epoch, and best.safetensors keeps the best epoch. Pass test videos only to draw their
            curve, as `races.run` does: weights that were chosen by them must not be reported.
        on_epoch: called by the first process after every epoch, such as `monitoring.log_images`.
        resume: goes on where an interrupted run in `run` was; False starts anew.
        progress: shows a bar.
        save_seconds: how often the resume state is written within an epoch.

    Returns:
        One row an epoch: epoch, learning_rate, loss, train_accuracy, seconds and, with validation,
        validation_accuracy. Accuracies are fractions of clips.

    Raises:
        SettingsError: if `run` holds a run of another configuration, or the classes do not fit.
        TrainingDiverged: at the first loss or gradient that is not finite.
        R21DError: if the folder cannot be written; the last good checkpoint stays readable.
    """
    run = Path(run)
    accelerator = _accelerator(settings, run)
    with accelerator.main_process_first():
        fresh = not resume and accelerator.is_main_process
        folder = RunFolder(run, network, train_videos, clips, settings, fresh=fresh)
    accelerator.init_trackers("tensorboard")
    loop = _Loop(accelerator, network, train_videos, clips, settings)
    progressed = _Progress.read(folder, loop)

    epochs = range(len(progressed.history), settings.epochs)
    bar = tqdm(
        total=len(epochs) * loop.batches.steps,
        initial=progressed.step,
        desc=f"train {run.name}",
        unit="step",
        disable=not (progress and epochs and accelerator.is_main_process),
    )
    for epoch in epochs:
        started = saved = time.perf_counter()
        for step in loop.steps(epoch, progressed.step):
            progressed.add(step)
            bar.update()
            bar.set_postfix(epoch=epoch + 1, loss=f"{progressed.loss:.3f}")
            # After the last step the epoch is closed first: a state has steps to go, or none taken.
            due = progressed.step < loop.batches.steps and time.perf_counter() - saved > save_seconds
            if due and accelerator.is_main_process:
                folder.write_state(progressed.to_dict(loop))
                saved = time.perf_counter()

        row = {
            "epoch": epoch + 1,
            "learning_rate": step.learning_rate,
            "loss": progressed.loss,
            "train_accuracy": progressed.accuracy,
        }
        loop.share_statistics()
        scores = None
        if validation is not None:
            scores = score_videos(network, validation, clips, num_clips=1, progress=False)
            row["validation_accuracy"] = clip_accuracy(scores)
        row["seconds"] = time.perf_counter() - started
        accelerator.log({k: v for k, v in row.items() if k != "epoch"}, step=epoch + 1)
        confusion = accelerator.reduce(progressed.confusion).cpu().numpy()
        progressed.close_epoch(row)
        if accelerator.is_main_process:
            folder.write_epoch(network, progressed.history)
            folder.write_state(progressed.to_dict(loop))
            if on_epoch is not None:
                writer = accelerator.get_tracker("tensorboard", unwrap=True)
                classes = train_videos.videos.classes
                on_epoch(EpochReport(epoch + 1, classes, confusion, step.inputs, clips, scores, writer))
    bar.close()
    network.requires_grad_(True)  # what was not trained here may be elsewhere
    accelerator.end_training()
    return pd.DataFrame(progressed.history)


def measure_speed(
    network: VideoResNet,
    train_videos: PreparedVideos,
    *,
    clips: ClipSettings,
    settings: TrainingSettings,
    seconds: float = 10.0,
) -> float:
    """Return how many clips a second training takes in, on all devices together.

    Trains a copy of the network for a few steps and forgets it.
    """
    accelerator = _accelerator(settings, None)
    loop = _Loop(accelerator, copy.deepcopy(network), train_videos, clips, settings)
    steps = loop.steps(0, 0)
    done, started = 0, 0.0
    for done, _ in enumerate(steps, start=1 - _SLOW_STEPS):
        if done == 0:
            started = time.perf_counter()
        # The slowest process decides, so that all stop after the same step.
        elapsed = torch.tensor(time.perf_counter() - started, device=accelerator.device)
        if done > 0 and accelerator.reduce(elapsed, reduction="mean").item() > seconds:
            break
    if done <= 0:
        raise SettingsError(f"speed cannot be measured in {loop.batches.steps} steps: lower batch_size")
    per_step = settings.batch_size * settings.accumulate * accelerator.num_processes
    return done * per_step / (time.perf_counter() - started)


@dataclass(frozen=True)
class _Step:
    """What one optimizer step over all processes gave."""

    loss_sum: float
    hits: float
    clips: float
    learning_rate: float
    confusion: Tensor  # (classes, classes) int64, of this process and on its device
    inputs: Tensor


class _Loop:
    """Network, optimizer and clips of a training, ready to step on this process's device."""

    def __init__(
        self,
        accelerator: "Accelerator",
        network: VideoResNet,
        videos: PreparedVideos,
        clips: ClipSettings,
        settings: TrainingSettings,
    ) -> None:
        if settings.sync_batchnorm:
            if accelerator.device.type != "cuda":
                raise SettingsError("sync_batchnorm needs GPUs: leave it out on this machine")
            nn.SyncBatchNorm.convert_sync_batchnorm(network)
        if settings.compile:
            network.compile()
        self.order = memory_order(network, accelerator.device)
        if accelerator.device.type == "cpu":
            keep_freed_memory()
        # A fused optimizer wants the weights in place.
        network.to(accelerator.device).to(memory_format=self.order)
        if accelerator.device.type == "cuda":
            # All batches have one size, so the fastest kernels are looked for once.
            torch.backends.cudnn.benchmark = True
        self.accelerator, self.network = accelerator, network
        self.clips, self.settings = clips, settings
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
        self.loader = DataLoader(
            TrainClips(videos, clips, seed=settings.seed),
            batch_sampler=self.batches,
            num_workers=settings.workers,
            persistent_workers=settings.workers > 0,
            pin_memory=accelerator.device.type == "cuda",
        )
        self.model, self.optimizer = accelerator.prepare(network, self.optimizer)
        self.loss_of = nn.CrossEntropyLoss(label_smoothing=settings.label_smoothing)
        self.rate_scale = settings.batch_scale(accelerator.num_processes)

    def steps(self, epoch: int, first: int) -> Iterator[_Step]:
        """Take the steps of an epoch, from `first` to its last."""
        self.model.train()
        for module in self.frozen:
            module.eval()
        self.batches.start_at(epoch, first)
        steps = range(first, self.batches.steps)
        parts = range(self.settings.accumulate)
        numbers = [self.batches.batch_number(step, part) for step in steps for part in parts]
        make = partial(self._inputs, epoch)
        inputs = ahead(zip(numbers, self.loader, strict=False), make, self.accelerator.device)
        for step in steps:
            yield self._step(epoch, step, inputs)

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

    def _step(self, epoch: int, step: int, batches: Iterator[tuple[Tensor, ...]]) -> _Step:
        """Take one optimizer step, over `accumulate` batches on each process."""
        accelerator, settings = self.accelerator, self.settings
        rate = self.rate_scale * settings.learning_rate_at(epoch + step / self.batches.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["lr_scale"]
        num_classes = self.network.settings.num_classes
        sums = torch.zeros(3, device=accelerator.device)
        confusion = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=accelerator.device)
        for _ in range(settings.accumulate):
            inputs, labels = next(batches)
            with accelerator.accumulate(self.model):
                with accelerator.autocast():
                    logits = self.model(inputs)
                    loss = self.loss_of(logits, labels)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    norm = accelerator.clip_grad_norm_(self.model.parameters(), settings.clip_grad_norm)
                    self._check(loss, norm, epoch, step)
                self.optimizer.step()
                self.optimizer.zero_grad()
            guesses = logits.detach().argmax(1)
            hits = (guesses == labels).sum()
            sums += torch.stack([loss.detach() * len(labels), hits, hits.new_tensor(len(labels))])
            # Counted where it is: asking for a value would stop a GPU's queue.
            confusion.index_put_((labels, guesses), torch.ones_like(labels), accumulate=True)
        totals = accelerator.reduce(sums, reduction="sum").tolist()
        return _Step(totals[0], totals[1], totals[2], rate, confusion, inputs)

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


class _Progress:
    """How far a training has come: whole epochs, and the sums of the one that is under way."""

    def __init__(self, num_classes: int, device: torch.device) -> None:
        self.history: list[dict[str, float]] = []
        self._num_classes, self._device = num_classes, device
        self._start_epoch()

    def _start_epoch(self) -> None:
        self.step, self.sums = 0, [0.0, 0.0, 0.0]
        shape = (self._num_classes, self._num_classes)
        self.confusion = torch.zeros(shape, dtype=torch.int64, device=self._device)

    def add(self, step: _Step) -> None:
        """Count a step."""
        self.step += 1
        parts = (step.loss_sum, step.hits, step.clips)
        self.sums = [total + part for total, part in zip(self.sums, parts, strict=True)]
        self.confusion += step.confusion

    def close_epoch(self, row: dict[str, float]) -> None:
        """Keep an epoch's row and start the next one."""
        self.history.append(row)
        self._start_epoch()

    @property
    def loss(self) -> float:
        """The mean over the epoch's clips so far."""
        return self.sums[0] / self.sums[2]

    @property
    def accuracy(self) -> float:
        """The fraction of the epoch's clips so far that were right."""
        return self.sums[1] / self.sums[2]

    def to_dict(self, loop: _Loop) -> dict[str, Any]:
        """Return the state of everything, for resume.pt."""
        scaler = loop.accelerator.scaler
        return {
            "network": loop.network.state_dict(),
            "optimizer": loop.optimizer.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else None,
            "history": self.history,
            "step": self.step,
            "sums": self.sums,
            "confusion": self.confusion,
        }

    @classmethod
    def read(cls, folder: RunFolder, loop: _Loop) -> "_Progress":
        """Put everything back as it was, and return how far it had come."""
        progressed = cls(loop.network.settings.num_classes, loop.accelerator.device)
        state = folder.read_state()
        if state is not None:
            loop.network.load_state_dict(state["network"])
            loop.optimizer.load_state_dict(state["optimizer"])
            if loop.accelerator.scaler is not None and state["scaler"] is not None:
                loop.accelerator.scaler.load_state_dict(state["scaler"])
            progressed.history, progressed.step = state["history"], state["step"]
            progressed.sums = state["sums"]
            if loop.accelerator.is_main_process:  # the others' counts are added at the epoch's end
                progressed.confusion = state["confusion"].to(loop.accelerator.device)
        return progressed


def _accelerator(settings: TrainingSettings, run: Path | None) -> "Accelerator":
    """Start Accelerate with the precision that this machine can train in."""
    from accelerate import Accelerator, PartialState

    precision = settings.mixed_precision
    if precision in ("bf16", "fp16") and PartialState().device.type == "cpu":
        raise SettingsError(
            f"mixed_precision={precision} is not safe on a CPU: give mixed_precision=no, or auto"
        )
    if precision == "auto":
        bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        precision = "bf16" if bf16 else "no"
    return Accelerator(
        mixed_precision=precision,
        gradient_accumulation_steps=settings.accumulate,
        log_with="tensorboard" if run else None,
        project_dir=run,
    )
