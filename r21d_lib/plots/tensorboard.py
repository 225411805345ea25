"""What TensorBoard shows of a training beside its curves, and the same read back for a notebook.

`tensorboard --logdir build/runs` (or `%tensorboard` in a notebook) shows every run while it trains.
"""

import io
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from r21d_lib import plots
from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.errors import DatasetError, few
from r21d_lib.evaluation.scores import confusion, per_class, per_class_counts
from r21d_lib.training import EpochReport

_SHOWN_CLIPS, _SHOWN_FRAMES = 4, 8


def log_images(report: EpochReport) -> None:
    """Write an epoch's pictures: confusion, accuracy by class, and some clips as the network saw them.

    Pass it to `training.train` as `on_epoch`. The counts are of training clips and, where there are
    validation videos, of one clip of each of those. What cannot be drawn or written is a warning: a
    training is worth more than its pictures.
    """
    try:
        _log_images(report)
    except Exception as error:
        warnings.warn(f"epoch {report.epoch} has no pictures in TensorBoard: {error}", stacklevel=2)


def _log_images(report: EpochReport) -> None:
    parts = {"training": (report.confusion, per_class_counts(report.confusion, report.classes))}
    if report.validation is not None:
        parts["validation"] = (confusion(report.validation), per_class(report.validation))
    for part, (counts, table) in parts.items():
        figure = plots.confusion_matrix(counts, report.classes)
        report.writer.add_figure(f"confusion/{part}", figure, report.epoch)
        figure = plots.per_class_accuracy(table, measure=f"clip@1 ({part} clips)")
        report.writer.add_figure(f"per_class/{part}", figure, report.epoch)
    strips = clip_strips(report.inputs, report.clips)
    report.writer.add_image("clips", strips, report.epoch, dataformats="HWC")


def clip_strips(inputs: Tensor, clips: ClipSettings) -> np.ndarray:
    """Lay some clips of a batch out as strips of frames, one below the other.

    Args:
        inputs: (N, C, T, H, W) float32, normalised as `clips` says; flow is shown by colours.
        clips: whose statistics are undone.

    Returns:
        (rows * H, columns * W, 3) uint8.
    """
    frames = plots.evenly(inputs.shape[2], _SHOWN_FRAMES)
    shown = inputs[:_SHOWN_CLIPS, :, torch.from_numpy(frames)].detach().float().cpu()
    mean, std = (torch.tensor(values).view(1, -1, 1, 1, 1) for values in (clips.mean, clips.std))
    pixels = shown * std + mean
    rows, channels, columns, height, width = pixels.shape
    strips = pixels.permute(0, 3, 2, 4, 1).reshape(rows * height, columns * width, channels)
    if clips.modality == "flow":
        return plots.flow_colours(strips.numpy())
    return (strips * 255).round().clamp(0, 255).to(torch.uint8).numpy()


def read_image(run: str | Path, name: str) -> np.ndarray:
    """Return the latest picture of that name, such as "confusion/training": (H, W, 3) uint8.

    Raises:
        DatasetError: if the run has no events or no such picture, or `run` is a folder of several runs.
    """
    from PIL import Image

    events = _events(run)
    there = events.Tags()["images"]
    if name not in there:
        raise DatasetError(f"{run} has no picture {name!r}: it has {', '.join(there) or 'none'}")
    encoded = events.Images(name)[-1].encoded_image_string
    return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))


def _events(run: str | Path):  # type: ignore[no-untyped-def]
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    files = sorted(Path(run).rglob("events.out.tfevents*"))
    if not files:
        raise DatasetError(f"{run} holds no TensorBoard events: train into it first")
    folders = sorted({file.parent for file in files})
    if len(folders) > 1:  # of one run they all lie in one, also of a training that was resumed
        names = [folder.relative_to(run).as_posix() for folder in folders]
        raise DatasetError(f"{run} holds the events of several runs, {few(names)}: give one of them")
    events = EventAccumulator(str(folders[0]), size_guidance={"scalars": 0, "images": 0})
    return events.Reload()
