"""One visible training loop, on Accelerate, for training from scratch and for finetuning alike.

A run is a folder: config.json, metrics.csv, TensorBoard events, last.safetensors, best.safetensors
(where there is a validation set) and resume.pt. Every draw depends only on (seed, epoch, clip),
so a run that was interrupted and resumed gives the numbers of one that was not.
"""

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from r21d_lib import checkpoints
from r21d_lib.clips import ClipSettings, seeded_generator, to_network
from r21d_lib.datasets.prepared import PreparedVideos
from r21d_lib.datasets.sampling import EpochSampler, TrainClips
from r21d_lib.errors import R21DError, SettingsError
from r21d_lib.evaluation import clip_accuracy, score_videos
from r21d_lib.files import whole_file
from r21d_lib.networks import VideoResNet

RUN_FILES = (
    "config.json",
    "metrics.csv",
    "last.safetensors",
    "best.safetensors",
    "resume.pt",
)


class TrainingDiverged(R21DError):  # noqa: N818 - it says what happened, as StopIteration does
    """The loss or the gradient became infinite or not a number."""


@dataclass(frozen=True)
class TrainingSettings:
    """The recipe.

    Attributes:
        epochs: passes over the training videos, one random clip of each video in a pass.
        batch_size: clips in a batch, on each device.
        optimizer: "sgd" (momentum, Nesterov) or "adamw".
        learning_rate: the highest one, after warm-up.
        momentum: of SGD.
        weight_decay: on convolution and linear weights only; norms and biases are left alone.
        warmup_epochs: length of the linear rise from 0; may be a fraction.
        schedule: "cosine" falls to 0 at the end, "step" multiplies by `gamma` every `step_epochs`.
        step_epochs: period of "step".
        gamma: factor of "step".
        label_smoothing: of the cross entropy.
        clip_grad_norm: gradients are scaled down to this norm.
        seed: of the order of clips, their starts, crops and flips.
        workers: processes that read clips; 0 reads them in the loop, best on a small CPU.
        mixed_precision: "no", "bf16" or "fp16". On a CPU only "no" is safe: bfloat16 gradients came
            out non-finite now and then.
    """

    epochs: int = 10
    batch_size: int = 16
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.02
    momentum: float = 0.9
    weight_decay: float = 1e-4
    warmup_epochs: float = 1.0
    schedule: Literal["cosine", "step"] = "cosine"
    step_epochs: int = 10
    gamma: float = 0.1
    label_smoothing: float = 0.0
    clip_grad_norm: float = 10.0
    seed: int = 0
    workers: int = 0
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "step_epochs"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.optimizer not in ("sgd", "adamw"):
            raise SettingsError(f"optimizer {self.optimizer!r} is unknown: choose sgd or adamw")
        if self.schedule not in ("cosine", "step"):
            raise SettingsError(f"schedule {self.schedule!r} is unknown: choose cosine or step")

    def learning_rate_at(self, epoch: float) -> float:
        """Return the learning rate at a moment given in epochs since the start, 0 to `epochs`."""
        if epoch < self.warmup_epochs:
            return self.learning_rate * epoch / self.warmup_epochs
        if self.schedule == "step":
            return self.learning_rate * self.gamma ** (int(epoch) // self.step_epochs)
        rest = (epoch - self.warmup_epochs) / max(self.epochs - self.warmup_epochs, 1e-9)
        return self.learning_rate * (1 + math.cos(math.pi * min(rest, 1.0))) / 2


def train(
    network: VideoResNet,
    train_videos: PreparedVideos,
    run: str | Path,
    *,
    clips: ClipSettings,
    settings: TrainingSettings,
    validation: PreparedVideos | None = None,
    resume: bool = True,
    progress: bool = True,
) -> pd.DataFrame:
    """Train `network` in place and leave the run's folder behind.

    Args:
        network: from `networks.build_network` or `checkpoints.load`; num_classes must fit.
        train_videos: the decoded training videos.
        run: folder of the run; made where missing.
        clips: length, size and statistics of the clips.
        settings: the recipe.
        validation: videos held out from training. One centre clip of each is scored after every
            epoch, and best.safetensors keeps the best epoch. Never pass test videos here.
        resume: goes on from the last whole epoch in `run`; False starts anew.
        progress: shows a bar.

    Returns:
        One row an epoch: epoch, learning_rate, loss, train_accuracy, seconds and, with validation,
        validation_accuracy. Accuracies are fractions of clips.

    Raises:
        SettingsError: if `run` holds a run of another configuration, or the classes do not fit.
        TrainingDiverged: at the first loss or gradient that is not finite.
    """
    from accelerate import Accelerator

    run = Path(run)
    config = _open_run(run, network, train_videos, clips, settings, resume)
    accelerator = Accelerator(
        mixed_precision=settings.mixed_precision, log_with="tensorboard", project_dir=run
    )
    accelerator.init_trackers("tensorboard")

    dataset = TrainClips(train_videos, clips, seed=settings.seed)
    sampler = EpochSampler(len(train_videos), seed=settings.seed)
    loader = DataLoader(
        dataset,
        settings.batch_size,
        sampler=sampler,
        num_workers=settings.workers,
        persistent_workers=settings.workers > 0,
        pin_memory=accelerator.device.type == "cuda",
    )
    # 3D convolutions are faster in this memory order.
    network.to(memory_format=torch.channels_last_3d)
    optimizer = _optimizer(network, settings)
    history: list[dict[str, float]] = []
    resume_file = run / "resume.pt"
    if resume_file.is_file():
        state = torch.load(resume_file, weights_only=True, map_location="cpu")
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        history = state["history"]
    model, optimizer, loader = accelerator.prepare(network, optimizer, loader)
    loss_of = nn.CrossEntropyLoss(label_smoothing=settings.label_smoothing)

    epochs = range(len(history), settings.epochs)
    bar = tqdm(
        total=len(epochs) * len(loader),
        desc=f"train {run.name}",
        unit="batch",
        disable=not (progress and epochs and accelerator.is_main_process),
    )
    for epoch in epochs:
        model.train()
        # Through Accelerate, which otherwise counts epochs from 0 again after a resumption.
        loader.set_epoch(epoch)
        started = time.perf_counter()
        total_loss, correct, seen = 0.0, 0, 0
        for step, (frames, labels) in enumerate(loader):
            # The order, the starts (in the loader) and these crops and flips repeat for a seed.
            generator = seeded_generator(settings.seed, epoch, step, accelerator.process_index)
            inputs = to_network(frames, clips, random=generator)
            rate = settings.learning_rate_at(epoch + step / len(loader))
            for group in optimizer.param_groups:
                group["lr"] = rate

            with accelerator.autocast():
                logits = model(inputs)
                loss = loss_of(logits, labels)
            accelerator.backward(loss)
            norm = accelerator.clip_grad_norm_(model.parameters(), settings.clip_grad_norm)
            if not (torch.isfinite(loss) and torch.isfinite(norm)):
                raise TrainingDiverged(
                    f"{run}: loss {loss.item():.3g}, gradient norm {norm.item():.3g} at epoch "
                    f"{epoch}, step {step}: lower learning_rate ({settings.learning_rate})"
                )
            optimizer.step()
            optimizer.zero_grad()

            hits = (logits.argmax(1) == labels).sum()
            batch = torch.stack([loss.detach() * len(labels), hits, hits.new_tensor(len(labels))])
            sums = accelerator.reduce(batch.float(), reduction="sum").tolist()
            total_loss, correct, seen = total_loss + sums[0], correct + sums[1], seen + sums[2]
            bar.update()
            bar.set_postfix(epoch=epoch + 1, loss=f"{total_loss / seen:.3f}")

        row = {
            "epoch": epoch + 1,
            "learning_rate": rate,
            "loss": total_loss / seen,
            "train_accuracy": correct / seen,
        }
        if validation is not None:
            scores = score_videos(network, validation, clips, num_clips=1, progress=False)
            row["validation_accuracy"] = clip_accuracy(scores)
        row["seconds"] = time.perf_counter() - started
        history.append(row)
        accelerator.log({k: v for k, v in row.items() if k != "epoch"}, step=epoch + 1)
        if accelerator.is_main_process:
            _save_epoch(run, network, optimizer, history, config)
    bar.close()
    accelerator.end_training()
    return pd.DataFrame(history)


def _open_run(
    run: Path,
    network: VideoResNet,
    videos: PreparedVideos,
    clips: ClipSettings,
    settings: TrainingSettings,
    resume: bool,
) -> dict[str, Any]:
    """Make the run's folder or check that it holds this very run; return its configuration."""
    classes = videos.videos.classes
    if network.settings.num_classes != len(classes):
        raise SettingsError(
            f"the network has {network.settings.num_classes} classes and {videos.videos.name} has "
            f"{len(classes)}: build or load it for these classes"
        )
    config = {
        "network": asdict(network.settings),
        "clips": asdict(clips),
        "training": asdict(settings),
        "data": {"name": videos.videos.name, "videos": len(videos), "classes": list(classes)},
    }
    config = json.loads(json.dumps(config))  # tuples become lists, as in the file
    file = run / "config.json"
    if file.is_file() and not resume:
        for name in RUN_FILES:
            (run / name).unlink(missing_ok=True)
    if file.is_file():
        there = json.loads(file.read_text())
        if there != config:
            different = [key for key in config if there.get(key) != config[key]]
            raise SettingsError(
                f"{run} holds a run with other settings ({', '.join(different)}): "
                "choose another folder, or start anew with resume=False"
            )
    with whole_file(file) as partial:
        partial.write_text(json.dumps(config, indent=2) + "\n")
    return config


def _optimizer(network: VideoResNet, settings: TrainingSettings) -> torch.optim.Optimizer:
    """Build the optimizer, with weight decay on matrices and kernels only."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    plain = [p for p in network.parameters() if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=settings.learning_rate)
    return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=settings.momentum, nesterov=True)


def _save_epoch(
    run: Path,
    network: VideoResNet,
    optimizer: torch.optim.Optimizer,
    history: list[dict[str, float]],
    config: dict[str, Any],
) -> None:
    """Write metrics, weights and, last, the resume state: it alone says that the epoch is whole."""
    row = history[-1]
    card = checkpoints.Card(
        network=network.settings,
        clips=ClipSettings.from_dict(config["clips"]),
        classes=tuple(config["data"]["classes"]),
        training={**config["training"], "data": config["data"]["name"], "epoch": row["epoch"]},
        accuracy={k: v for k, v in row.items() if k.endswith("_accuracy")},
    )
    checkpoints.save(run / "last.safetensors", network, card)
    validation = [r["validation_accuracy"] for r in history if "validation_accuracy" in r]
    if validation and validation[-1] > max(validation[:-1], default=-1.0):
        checkpoints.save(run / "best.safetensors", network, card)
    with whole_file(run / "metrics.csv") as partial:
        pd.DataFrame(history).to_csv(partial, index=False)
    state = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "history": history,
    }
    with whole_file(run / "resume.pt") as partial:
        torch.save(state, partial)
