"""Makes the checkpoint that ships with the package: trains it, measures it, writes its card."""

import dataclasses
import json
import shutil
from pathlib import Path

from r21d_lib import checkpoints
from r21d_lib.evaluation.scores import summary
from r21d_lib.files import sha256, whole_file
from r21d_lib.training import recipes
from r21d_lib.training.run import run_one
from r21d_lib.training.run_folder import RunFolder

RECIPE = "figures_pretraining"
CHECKPOINT = "r2plus1d_10_figures"


def pretrain_figures(*, seed: int = 0, install: bool = False) -> Path:
    """Train R(2+1)D on ActionFigures' source classes, measure it, and write the checkpoint.

    It can be interrupted and goes on where it was.

    Args:
        seed: of the weights and every draw of the training.
        install: puts the result in the package, with the card and the SHA-256 beside it.

    Returns:
        The checkpoint's path.
    """
    recipe = recipes.read(RECIPE, [f"seed={seed}"])
    finish = run_one(recipe)
    folder = RunFolder.of(recipe)
    network, report = checkpoints.load(folder.weights)
    classes = finish.scores.classes
    card = checkpoints.Card(
        network=network.settings,
        clips=report.card.clips,
        classes=classes,
        training={
            **dataclasses.asdict(recipe.training),
            "data": f"{recipe.dataset} ({len(classes)} classes), split {recipe.split}",
            "command": "r21d pretrain-figures --install",
            "minutes": round(finish.history["seconds"].sum() / 60, 1),
        },
        accuracy={k: float(v) for k, v in summary(finish.scores).items() if "@" in k},
    )
    path = folder.path / f"{CHECKPOINT}.safetensors"
    checkpoints.save(path, network, card)
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
