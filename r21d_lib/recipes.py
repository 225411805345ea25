"""What `r21d train`, `evaluate` and `pretrain-figures` do: whole recipes out of the library's parts."""

import dataclasses
import json
import shutil
from pathlib import Path

from r21d_lib import checkpoints
from r21d_lib.datasets import action_figures
from r21d_lib.datasets.prepared import prepare
from r21d_lib.errors import CheckpointError
from r21d_lib.evaluation import Scores, score_videos, summary
from r21d_lib.files import BUILD, sha256, whole_file
from r21d_lib.networks import PAPER_NAMES, build_network
from r21d_lib.profiles import get_profile
from r21d_lib.training import TrainingSettings, train

PRETRAINED = "r2plus1d_10_figures"
SOURCE_CLIPS_PER_CLASS = 200
PRETRAINING = TrainingSettings(
    epochs=12, batch_size=16, learning_rate=0.04, warmup_epochs=1.0, label_smoothing=0.1
)


def train_profile(
    profile: str,
    *,
    split: int = 1,
    network: str = "r2plus1d",
    checkpoint: str | None = None,
    scratch: bool = False,
    epochs: int | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
    run: Path | None = None,
    resume: bool = True,
) -> Path:
    """Finetune or train from scratch on a profile's training list; return the run's folder.

    Args:
        profile: "figures" or "hmdb51".
        split: 1, 2 or 3.
        network: a name of the paper; with a checkpoint it must be the checkpoint's.
        checkpoint: where finetuning starts; None takes the profile's own.
        scratch: starts from random weights instead.
        epochs: instead of the profile's.
        learning_rate: instead of the profile's.
        seed: of weights, order, clips, crops and flips.
        run: the run's folder; None takes build/runs/<profile>_<network>_<start>_split<k>.
        resume: goes on with an unfinished run in that folder.

    Raises:
        R21DError: one line that names what does not fit.
    """
    chosen = get_profile(profile)
    settings = dataclasses.replace(
        chosen.finetune,
        epochs=epochs or chosen.finetune.epochs,
        learning_rate=learning_rate or chosen.finetune.learning_rate,
        seed=seed,
    )
    start = checkpoint or chosen.checkpoint
    # Only R(2+1)D has a shipped checkpoint; the other networks start from random weights.
    if checkpoint is None and network != "r2plus1d":
        scratch = True
    if not scratch and start is None:
        raise CheckpointError(
            f"profile {profile} has no checkpoint of its own: give one with --checkpoint, "
            "or train from random weights with --scratch"
        )
    classes = chosen.video_list("train", split=split).classes
    if scratch or start is None:
        net = chosen.network(network, len(classes), seed=seed)
    else:
        net, report = checkpoints.load(start, classes=classes, replace_head=True, seed=seed)
        if net.settings.name != network:
            raise CheckpointError(
                f"{report.source} holds {PAPER_NAMES[net.settings.name]}, not "
                f"{PAPER_NAMES[network]}: give --network {net.settings.name}"
            )
    kind = "scratch" if scratch else "finetune"
    folder = run or BUILD / "runs" / f"{profile}_{network}_{kind}_split{split}"
    train(
        net,
        chosen.videos("train", split=split),
        folder,
        clips=chosen.clips,
        settings=settings,
        resume=resume,
    )
    return folder


def evaluate_profile(
    profile: str,
    checkpoint: str,
    *,
    split: int = 1,
    num_clips: int = 10,
    scores: Path | None = None,
) -> tuple[Scores, Path]:
    """Score a checkpoint on a profile's test list; return the scores and the file that keeps them."""
    chosen = get_profile(profile)
    videos = chosen.video_list("test", split=split)
    net, report = checkpoints.load(checkpoint, classes=videos.classes)
    result = score_videos(
        net, chosen.videos("test", split=split), report.card.clips, num_clips=num_clips
    )
    path = scores or report.source.with_name(f"scores_split{split}.npz")
    if path.parent == checkpoints.SHIPPED:
        path = BUILD / path.name
    result.save(path)
    return result, path


def pretrain_figures(*, seed: int = 0, install: bool = False, workers: int | None = None) -> Path:
    """Train R(2+1)D on ActionFigures' source classes, measure it, and write the checkpoint.

    The recipe of the file that ships with the package: 10 layers, width 16, clips of 8 frames at
    64 x 64, on split 1 of the source classes. It can be interrupted and goes on where it was.

    Args:
        seed: of the data, the weights and every draw of the training.
        install: puts the result in the package, with the card and the SHA-256 beside it.
        workers: processes that draw and decode the videos; None takes all cores.

    Returns:
        The checkpoint's path.
    """
    profile = get_profile("figures")
    root = BUILD / "data" / "action_figures_source"
    action_figures.generate(
        root,
        subset="source",
        clips_per_class=SOURCE_CLIPS_PER_CLASS,
        seed=seed,
        workers=workers,
    )
    prepared = {
        part: prepare(
            action_figures.load(root, subset="source", split=1, part=part),
            BUILD / "cache" / "figures_source",
            size=profile.clips.resize,
        )
        for part in ("train", "test")
    }
    classes = prepared["train"].videos.classes
    settings = dataclasses.replace(PRETRAINING, seed=seed)
    net = build_network(
        "r2plus1d", profile.depth, num_classes=len(classes), width=profile.width, seed=seed
    )
    run = BUILD / "runs" / "pretrain_figures"
    history = train(net, prepared["train"], run, clips=profile.clips, settings=settings)
    scores = score_videos(net, prepared["test"], profile.clips)
    card = checkpoints.Card(
        network=net.settings,
        clips=profile.clips,
        classes=classes,
        training={
            **dataclasses.asdict(settings),
            "data": f"ActionFigures, source classes, {SOURCE_CLIPS_PER_CLASS} clips a class, split 1",
            "command": "r21d pretrain-figures --install",
            "minutes": round(history["seconds"].sum() / 60, 1),
        },
        accuracy={k: float(v) for k, v in summary(scores).items() if "@" in k},
    )
    path = run / f"{PRETRAINED}.safetensors"
    checkpoints.save(path, net, card)
    if not install:
        return path
    shipped = checkpoints.SHIPPED / path.name
    shipped.parent.mkdir(exist_ok=True)
    with whole_file(shipped) as partial:
        shutil.copyfile(path, partial)
    with whole_file(shipped.with_suffix(".json")) as partial:
        described = {"file": path.name, "sha256": sha256(shipped), **json.loads(card.to_json())}
        partial.write_text(json.dumps(described, indent=2) + "\n")
    return shipped
