"""A trained run as a repository of the Hugging Face Hub: weights, config.json and a model card."""

import json
import re
from dataclasses import replace
from pathlib import Path

from r21d_lib import checkpoints
from r21d_lib.checkpoints.on_hub import repo_of
from r21d_lib.data import hmdb51, hub
from r21d_lib.errors import SettingsError
from r21d_lib.evaluation import Scores, clip_accuracy, per_class, video_accuracy, video_interval
from r21d_lib.files import whole_folder
from r21d_lib.models.settings import LABELS
from r21d_lib.training.recipes import Recipe
from r21d_lib.training.run_folder import RunFolder

_REPO = re.compile(r"(?!\.)[\w.-]+/(?!\.)[\w.-]+")
_NOT_SENT = "made_by_r21d.json"  # whole_folder's list of what it made


def write(run: str | Path, repo: str, folder: Path, *, licence: str | None = None) -> None:
    """Write README.md (the model card), config.json and model.safetensors of a finished, scored run.

    The numbers are those of the run's kept scores of its own test list; nothing is scored here.

    Args:
        run: as for `RunFolder.find`.
        repo: "owner/name", as it will be called on the Hub.
        folder: the folder to make; one that this made before is replaced.
        licence: the Hub's name of the weights' licence, such as "cc-by-4.0"; None states none.

    Raises:
        SettingsError: if the name is none, the run is not finished, or was not scored since.
        DatasetError, CheckpointError: if the run cannot be found or read.
    """
    if not _REPO.fullmatch(repo):
        raise SettingsError(f"{repo!r} is no name of a repository: give owner/name")
    its = RunFolder.find(run)
    recipe = its.recipe()
    scores = _scores(its, recipe)
    network, report = checkpoints.load(its.weights)
    accuracy = {
        "clip@1": clip_accuracy(scores),
        "video@1": video_accuracy(scores),
        "video@5": video_accuracy(scores, 5),
    }
    card = replace(report.card, accuracy=accuracy)
    low, high, groups = video_interval(scores)
    test = {
        "data": recipe.dataset,
        "split": recipe.split,
        "videos": len(scores.names),
        "views": scores.views,
        **accuracy,
        "video@1 interval": [low, high],
        "groups": groups,
    }
    with whole_folder(folder) as fresh:
        checkpoints.save(fresh / "model.safetensors", network, card)
        (fresh / "config.json").write_text(
            card.to_json(recipe=recipe.to_dict(), test=test), encoding="utf-8"
        )
        text = _metadata(repo, recipe, accuracy["video@1"], licence) + _card(repo, recipe, card, scores)
        (fresh / "README.md").write_text(text, encoding="utf-8")


def push(folder: Path, repo: str, *, private: bool = False) -> str:
    """Upload what `write` wrote; make the repository where there is none. Return its address.

    Raises:
        HubError: if the Hub does not take it, such as without a token that may write.
    """
    return hub.upload(folder, repo, private=private, leave_out=[_NOT_SENT])


def _scores(folder: RunFolder, recipe: Recipe) -> Scores:
    """Return a run's scores, of its last weights."""
    done = len(folder.metrics())
    if done < recipe.training.epochs:
        raise SettingsError(
            f"{folder.path} has {done} of {recipe.training.epochs} epochs: let it end first, by the "
            "same `r21d train`"
        )
    scores = folder.scores(recipe.split)
    if scores is None:
        raise SettingsError(
            f"{folder.path} was not scored after its last epoch: do `r21d evaluate {folder.path}` first"
        )
    return scores


def _metadata(repo: str, recipe: Recipe, accuracy: float, licence: str | None) -> str:
    """Return the header that the Hub reads: what the network does, on what, and how well."""
    from huggingface_hub import EvalResult, ModelCardData

    known = {"hmdb51": hmdb51.sources()["original"].repo}.get(recipe.data or "")
    result = EvalResult(
        task_type="video-classification",
        dataset_type=known or (recipe.data or "").rpartition("/")[2],
        dataset_name=recipe.dataset,
        dataset_config=f"split {recipe.split}",
        dataset_split="test",
        metric_type="accuracy",
        metric_name="video@1",
        metric_value=round(accuracy, 4),
    )
    data = ModelCardData(
        license=licence,
        library_name="r21d-lib",
        pipeline_tag="video-classification",
        tags=["action-recognition", "pytorch", recipe.network],
        datasets=[known] if known else None,
        base_model=repo_of(recipe.checkpoint or ""),
        model_name=repo.partition("/")[2],
        eval_results=[result],
    )
    return f"---\n{data.to_yaml()}\n---\n\n"


def _card(repo: str, recipe: Recipe, card: checkpoints.Card, scores: Scores) -> str:
    """Return the model card's text."""
    low, high, groups = video_interval(scores)
    clips, training = recipe.clips, recipe.training
    rate = f"{clips.fps} frames a second" if clips.fps else "each video's own frame rate"
    views = scores.views or f"{scores.probabilities.shape[1]} clips"
    rows = "\n".join(
        f"| {_plain(row['class'])} | {row['videos']} | {row['accuracy']:.3f} | "
        f"{row['low']:.3f} to {row['high']:.3f} | {row['groups']} |"
        for row in per_class(scores).to_dict("records")
    )
    start = f"`{recipe.checkpoint}`" if recipe.checkpoint else "random weights"
    settings = json.dumps({k: v for k, v in recipe.to_dict()["training"].items() if v is not None})
    parts = (
        f"# {repo.partition('/')[2]}",
        f"{LABELS[recipe.network]} with {recipe.depth} layers, which names {len(card.classes)} actions "
        f"in videos. Trained on {_plain(recipe.dataset)}, split {recipe.split}, from {start} by the "
        f"recipe `{recipe.name}`.",
        f'```python\nfrom r21d_lib import Recognizer\n\nRecognizer.from_pretrained("{repo}")'
        '.predict("clip.avi").top(5)\n```',
        "## How accurate",
        f"| measure | fraction of {len(scores.names):,} test videos | 95% interval |\n"
        "| --- | --- | --- |\n"
        f"| video@1 | {video_accuracy(scores):.4f} | {low:.3f} to {high:.3f} |\n"
        f"| video@5 | {video_accuracy(scores, 5):.4f} | |\n"
        f"| clip@1 (of single clips) | {clip_accuracy(scores):.4f} | |",
        f"Protocol: the test list of split {recipe.split}, every video once; {views}; clips of "
        f"{clips.clip_len} frames at {rate}, resized to {clips.resize[0]} x {clips.resize[1]} and "
        f"cropped to {clips.crop} x {clips.crop}; a video's score is the mean over its clips. The "
        f"interval is over the {groups} groups (films, people) that the videos were cut from; it is "
        f"one run, with seed {training.seed}.",
        "| class | test videos | video@1 | 95% interval | groups |\n| --- | --- | --- | --- | --- |\n"
        + rows,
        "## How it was trained",
        f"`{settings}`",
        "`config.json` holds the whole recipe, the class names in order and how clips are cut and "
        "normalised. The network names one of its classes whatever it sees, and was tested on no other "
        "videos than these.",
    )
    return "\n\n".join(parts) + "\n"


def _plain(text: object) -> str:
    """Return a name as a table's cell holds it."""
    return re.sub(r"([|`*_<\[\\])", r"\\\1", str(text))
