"""What a training is told: the settings, and the learning rates and optimizer that follow from them."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from r21d_lib.errors import R21DError, SettingsError

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from r21d_lib.models.networks import VideoResNet

Group = Literal["stem", "layer1", "layer2", "layer3", "layer4", "fc"]
# From the input to the output; `layer_decay` counts in these.
GROUPS_BY_DEPTH: tuple[Group, ...] = ("stem", "layer1", "layer2", "layer3", "layer4", "fc")


_LEAST = 1e-12  # of what must be more than 0
_RANGES: dict[str, tuple[float, float]] = {
    "epochs": (1, 1e5),
    "clips_per_epoch": (1, 1e9),
    "batch_size": (1, 1e5),
    "accumulate": (1, 1e5),
    "learning_rate": (0, 1e3),
    "reference_batch": (1, 1e7),
    "layer_decay": (0, 1e3),
    "momentum": (0, 1),
    "weight_decay": (0, 1e3),
    "warmup_epochs": (0, 1e5),
    "step_epochs": (_LEAST, 1e5),
    "gamma": (0, 1e3),
    "label_smoothing": (0, 1),
    "clip_grad_norm": (_LEAST, 1e12),
    "seed": (0, 2**63 - 1),
    "workers": (0, 4096),
}


class TrainingDiverged(R21DError):  # noqa: N818 - it says what happened, as StopIteration does
    """The loss or the gradient became infinite or not a number."""


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained.

    Attributes:
        epochs: how often metrics and weights are written; the schedule counts in them.
        clips_per_epoch: clips in an epoch, rounded up to whole steps; None takes one of each
            training video. Every video is drawn once before any is drawn again.
        batch_size: clips in a batch, on each device.
        accumulate: batches on each device whose gradients make one step.
        optimizer: "sgd" (with Nesterov's momentum) or "adamw".
        learning_rate: the highest one, after warm-up.
        reference_batch: clips in a step that `learning_rate` is meant for; it is scaled linearly to
            the clips that a step has on all devices together. None does not scale.
        layer_decay: the learning rate of each group of layers is that of the next one times this, so
            that below 1 the first layers move least.
        first_trained: the first group of layers that learns. Those before it stay as they are, the
            statistics of their norms too: "fc" trains the last layer alone, "layer4" the last block.
        momentum: of SGD; 0 is plain gradient descent.
        weight_decay: on convolution and linear weights only; norms and biases are left alone.
        warmup_epochs: length of the linear rise from 0; may be a fraction.
        schedule: after it, "cosine" falls to 0 at the end, "step" multiplies by `gamma` every
            `step_epochs`.
        step_epochs: period of "step".
        gamma: factor of "step".
        label_smoothing: of the cross entropy.
        clip_grad_norm: gradients are scaled down to this norm.
        seed: of weights, the order of clips, their starts, crops and flips.
        workers: processes that read clips; 0 reads them in the loop, best on a small CPU.
        mixed_precision: "no", "bf16", "fp16", or "auto": bf16 on a GPU that has it, else "no". On a CPU
            only "no" is allowed: bfloat16 gradients came out non-finite now and then.
        compile: compiles the network (torch.compile); the first steps take minutes, the others less.
        sync_batchnorm: takes batch-norm statistics over all GPUs instead of each one's batch.
    """

    epochs: int = 10
    clips_per_epoch: int | None = None
    batch_size: int = 16
    accumulate: int = 1
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.02
    reference_batch: int | None = None
    layer_decay: float = 1.0
    first_trained: Group = "stem"
    momentum: float = 0.9
    weight_decay: float = 1e-4
    warmup_epochs: float = 1.0
    schedule: Literal["cosine", "step"] = "cosine"
    step_epochs: float = 10
    gamma: float = 0.1
    label_smoothing: float = 0.0
    clip_grad_norm: float = 10.0
    seed: int = 0
    workers: int = 0
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = "no"
    compile: bool = False
    sync_batchnorm: bool = False

    def __post_init__(self) -> None:
        for name, (lowest, highest) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not lowest <= value <= highest:  # NaN is in no range
                raise SettingsError(f"{name} must be from {lowest:g} to {highest:g}, got {value}")
        if self.optimizer not in ("sgd", "adamw"):
            raise SettingsError(f"optimizer {self.optimizer!r} is unknown: choose sgd or adamw")
        if self.first_trained not in GROUPS_BY_DEPTH:
            raise SettingsError(
                f"first_trained {self.first_trained!r} is unknown: choose {', '.join(GROUPS_BY_DEPTH)}"
            )
        if self.schedule not in ("cosine", "step"):
            raise SettingsError(f"schedule {self.schedule!r} is unknown: choose cosine or step")

    def learning_rate_at(self, epoch: float) -> float:
        """Return the learning rate at a moment given in epochs since the start, 0 to `epochs`."""
        if epoch < self.warmup_epochs:
            return self.learning_rate * epoch / self.warmup_epochs
        since = epoch - self.warmup_epochs
        if self.schedule == "step":
            return self.learning_rate * self.gamma ** int(since / self.step_epochs)
        rest = since / max(self.epochs - self.warmup_epochs, 1e-9)
        return self.learning_rate * (1 + math.cos(math.pi * min(rest, 1.0))) / 2

    def batch_scale(self, processes: int) -> float:
        """Return what the learning rate is multiplied by for the clips that a step really has."""
        if self.reference_batch is None:
            return 1.0
        return self.batch_size * self.accumulate * processes / self.reference_batch

    def steps_per_epoch(self, num_videos: int, processes: int = 1) -> int:
        """Return the optimizer's steps in an epoch."""
        clips = self.clips_per_epoch or num_videos
        return math.ceil(clips / (self.batch_size * self.accumulate * processes))


def make_optimizer(network: "VideoResNet", settings: TrainingSettings) -> "Optimizer":
    """Build the optimizer: weight decay on kernels and matrices, and `lr_scale` by depth.

    On a GPU it is the fused one, a few kernels a step; the network must be there already.
    """
    from torch import optim

    groups = []
    for depth, name in enumerate(GROUPS_BY_DEPTH):
        parameters = list(network.get_submodule(name).parameters())
        scale = settings.layer_decay ** (len(GROUPS_BY_DEPTH) - 1 - depth)
        for decayed in (True, False):
            groups.append(
                {
                    "params": [p for p in parameters if (p.ndim > 1) == decayed],
                    "weight_decay": settings.weight_decay if decayed else 0.0,
                    "lr_scale": scale,
                }
            )
    rate, fused = settings.learning_rate, network.fc.weight.is_cuda or None
    if settings.optimizer == "adamw":
        return optim.AdamW(groups, lr=rate, fused=fused)
    momentum = settings.momentum
    nesterov = momentum > 0  # of none there is nothing to look ahead by, and torch refuses it
    return optim.SGD(groups, lr=rate, momentum=momentum, nesterov=nesterov, fused=fused)
