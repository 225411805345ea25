"""How much training fits into a time: the speed measured, and a schedule shortened to it."""

import copy
import dataclasses
import time

import torch
from tqdm.auto import tqdm

from r21d_lib.data.cache import PreparedVideos
from r21d_lib.models.networks import VideoResNet
from r21d_lib.training.hardware import start_accelerator, this_process
from r21d_lib.training.loop import Loop, enough_for_norms
from r21d_lib.training.recipes import Recipe
from r21d_lib.training.settings import TrainingSettings

_SLOW_STEPS = 2  # the first ones, which a measurement leaves out
_MOST_STEPS = 10_000  # more than any machine takes in the seconds of a measurement
# Of the minutes that are given; the rest is for starting, saving and a busy machine.
_USABLE = 0.9
# The fields of `TrainingSettings` that `fit_budget` changes.
SCHEDULE = ("epochs", "clips_per_epoch", "warmup_epochs", "step_epochs")


def measure_speed(
    network: VideoResNet, train_videos: PreparedVideos, recipe: Recipe, *, seconds: float = 10.0
) -> float:
    """Return how many clips a second training takes in, on all devices together.

    Trains a copy of the network for a few steps and forgets it; of few videos, several rounds.
    """
    settings = recipe.training
    accelerator = start_accelerator(settings)
    per_step = settings.batch_size * settings.accumulate * accelerator.num_processes
    endless = dataclasses.replace(settings, clips_per_epoch=_MOST_STEPS * per_step)
    recipe = dataclasses.replace(recipe, training=endless)
    loop = Loop(accelerator, copy.deepcopy(network), train_videos, recipe)
    steps = loop.steps(0, 0)
    done, started, elapsed = 0, 0.0, 0.0
    with enough_for_norms(settings.batch_size):
        for done, _ in enumerate(steps, start=1 - _SLOW_STEPS):
            if done == 0:
                started = time.perf_counter()
            # All processes go by their mean time: they stop after the same step, at the same speed.
            own = torch.tensor(time.perf_counter() - started, device=accelerator.device)
            elapsed = accelerator.reduce(own, reduction="mean").item()
            if done > 0 and elapsed > seconds:
                break
    return done * per_step / elapsed


def fit_minutes(recipe: Recipe, network: VideoResNet, videos: PreparedVideos, minutes: float) -> Recipe:
    """Shorten a recipe's schedule to what this machine does in so many minutes, and say so."""
    settings = recipe.training
    speed = measure_speed(network, videos, recipe)
    shortened = fit_budget(settings, speed * 60 * minutes * _USABLE, len(videos))
    clips = settings.clips_per_epoch or len(videos)
    whole = settings.epochs * clips / speed / 60
    text = (
        f"{speed:.1f} clips a second: the recipe's {settings.epochs} epochs of {clips:,} clips take "
        f"{whole:,.0f} minutes"
    )
    if shortened == settings:
        text += f", which fit in {minutes:g}"
    elif shortened.epochs == 1 and shortened.clips_per_epoch:
        text += f"; {minutes:g} fit one epoch of {shortened.clips_per_epoch:,}"
    else:
        text += f"; {minutes:g} fit {shortened.epochs} epochs"
    if this_process().is_main_process:
        tqdm.write(text)
    return dataclasses.replace(recipe, training=shortened)


def fit_budget(settings: TrainingSettings, clips: float, num_videos: int) -> TrainingSettings:
    """Shorten a schedule to a number of clips, its warm-up and steps in proportion.

    Args:
        settings: the whole schedule.
        clips: that can be trained on.
        num_videos: of the training list.

    Returns:
        The same settings if they fit; fewer epochs; or, if not even one fits, one of fewer clips.
    """
    per_epoch = settings.clips_per_epoch or num_videos
    epochs = min(settings.epochs, int(clips / per_epoch))
    if epochs == settings.epochs:
        return settings
    share = max(epochs, 1) / settings.epochs
    return dataclasses.replace(
        settings,
        epochs=max(epochs, 1),
        clips_per_epoch=settings.clips_per_epoch if epochs else max(int(clips), 1),
        warmup_epochs=settings.warmup_epochs * share,
        step_epochs=settings.step_epochs * share,
    )
