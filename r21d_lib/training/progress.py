"""How far a training has come: what a step gave, the sums of an epoch, and the state to resume from."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from r21d_lib.errors import SettingsError
from r21d_lib.models.networks import VideoResNet
from r21d_lib.training.settings import TrainingSettings

if TYPE_CHECKING:
    from accelerate import Accelerator


class Step:
    """What one optimizer step gave, counted batch by batch.

    Attributes:
        learning_rate: of the step.
        loss_sum, hits, clips: over all processes, once `over_all` was called.
        confusion: (classes, classes) int64, of this process and on its device.
        inputs: (N, C, T, crop, crop), the last batch.
    """

    def __init__(self, learning_rate: float, num_classes: int, device: torch.device) -> None:
        self.learning_rate = learning_rate
        self.loss_sum = self.hits = self.clips = 0.0
        self.confusion = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)
        self._sums = torch.zeros(3, device=device)

    def count(self, inputs: Tensor, labels: Tensor, logits: Tensor, loss: Tensor) -> None:
        """Count a batch, on its device: asking for a value would stop a GPU's queue."""
        self.inputs, guesses = inputs, logits.argmax(1)
        hits = (guesses == labels).sum()
        self._sums += torch.stack([loss * len(labels), hits, hits.new_tensor(len(labels))])
        self.confusion.index_put_((labels, guesses), torch.ones_like(labels), accumulate=True)

    def over_all(self, accelerator: "Accelerator") -> "Step":
        """Add up the sums of all processes."""
        totals = accelerator.reduce(self._sums, reduction="sum").tolist()
        self.loss_sum, self.hits, self.clips = totals
        return self


class Progress:
    """Whole epochs, and the sums of the one that is under way."""

    def __init__(self, num_classes: int, device: torch.device) -> None:
        self.history: list[dict[str, float]] = []
        self._num_classes, self._device = num_classes, device
        self._start_epoch()

    def _start_epoch(self) -> None:
        self.step, self.sums = 0, [0.0, 0.0, 0.0]
        shape = (self._num_classes, self._num_classes)
        self.confusion = torch.zeros(shape, dtype=torch.int64, device=self._device)

    def add(self, step: Step) -> None:
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

    def state(self, accelerator: "Accelerator", network: VideoResNet, optimizer: Any) -> dict[str, Any]:
        """Return the state of everything, for resume.pt."""
        scaler = accelerator.scaler
        return {
            "network": network.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else None,
            "processes": accelerator.num_processes,  # a step's clips, and so an epoch's steps, follow
            "history": self.history,
            "step": self.step,
            "sums": self.sums,
            "confusion": self.confusion,
        }

    @classmethod
    def resumed(
        cls,
        state: Mapping[str, Any] | None,
        accelerator: "Accelerator",
        network: VideoResNet,
        optimizer: Any,
    ) -> "Progress":
        """Put everything back as `state` was, and return how far it had come; None is the start."""
        progress = cls(network.settings.num_classes, accelerator.device)
        if state is not None:
            network.load_state_dict(state["network"])
            optimizer.load_state_dict(state["optimizer"])
            if accelerator.scaler is not None and state["scaler"] is not None:
                accelerator.scaler.load_state_dict(state["scaler"])
            progress.history, progress.step = state["history"], state["step"]
            progress.sums = state["sums"]
            if accelerator.is_main_process:  # the others' counts are added at the epoch's end
                progress.confusion = state["confusion"].to(accelerator.device)
        return progress


def check_processes(
    state: Mapping[str, Any] | None, processes: int, settings: TrainingSettings, run: Path
) -> None:
    """Refuse to go on with a run that another number of processes began.

    Its steps would have other clips: some of an epoch twice, or never, and a rate for another batch.

    Args:
        state: from `RunFolder.read_state`. One of an older version says nothing of processes, and goes
            on; so does a finished run, which has no step to take.
        processes: that train now.
        settings: that the run follows.
        run: its folder.

    Raises:
        SettingsError: if it was another number.
    """
    if state is None or len(state["history"]) >= settings.epochs:
        return
    begun = state.get("processes", processes)
    if begun == processes:
        return
    batches, left = divmod(begun * settings.accumulate, processes)
    same = "" if left else f", with accumulate={batches} for as many clips a step"
    raise SettingsError(
        f"{run} holds a run begun with {_count(begun)}, whose steps would have other clips with "
        f"{processes}: go on with {_count(begun)}, or start anew (--fresh, resume=False){same}"
    )


def _count(processes: int) -> str:
    return f"{processes} process" + ("" if processes == 1 else "es")
