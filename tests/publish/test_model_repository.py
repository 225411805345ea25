"""A run published: its card, what is uploaded, and the way back into a Recognizer."""

import json
import os
import time

import pytest
import yaml
from hub_server import TOKEN

from r21d_lib import Recognizer, Scores, checkpoints
from r21d_lib.evaluation import per_class, video_accuracy, video_interval
from r21d_lib.training.run_folder import RunFolder

TINY = ["epochs=1", "batch_size=4", "clip_len=4", "resize=24,32", "crop=16", "num_clips=2", "seed=3"]
REPO = "someone/moves"


@pytest.fixture
def run(tiny_data, build, r21d):
    """Return the folder of a finished and scored run."""
    done = r21d("train", "small_finetune", f"data={tiny_data}", *TINY, "--run", build / "runs" / "mine")
    assert done.returncode == 0, done.stderr
    assert r21d("evaluate", "mine").returncode == 0
    return RunFolder(build / "runs" / "mine")


def test_what_is_published_says_what_was_measured(run, r21d, build, tiny_dataset, hub):
    done = r21d("publish", "mine", REPO, "--license", "mit")
    assert done.returncode == 0, done.stderr
    assert "nothing was uploaded" in done.stdout
    folder = build / "published" / REPO
    scores = Scores.load(run.scores_file(1))
    low, high, groups = video_interval(scores)

    _, header, text = (folder / "README.md").read_text().split("---\n", 2)
    header = yaml.safe_load(header)
    assert header["license"] == "mit"
    assert header["pipeline_tag"] == "video-classification"
    (result,) = header["model-index"][0]["results"]
    assert result["metrics"][0]["value"] == round(video_accuracy(scores), 4)
    assert result["dataset"]["name"] == "tiny"
    assert f"{low:.3f} to {high:.3f}" in text
    assert f"over the {groups} groups" in text
    assert "2 evenly spaced clips, their centre square" in text
    assert f'from_pretrained("{REPO}")' in text
    for row in per_class(scores).to_dict("records"):
        assert f"| {row['class']} | {row['videos']} | {row['accuracy']:.3f} |" in text

    config = json.loads((folder / "config.json").read_text())
    assert config["classes"] == list(scores.classes)
    assert config["recipe"]["training"]["seed"] == 3
    assert config["test"]["video@1"] == video_accuracy(scores)
    assert hub.requests == []  # nothing was asked of anybody

    own = Recognizer(run.weights).predict(tiny_dataset.path(0), progress=False)
    back = Recognizer.from_pretrained(folder)
    assert back.card.accuracy["video@1"] == video_accuracy(scores)
    assert (back.predict(tiny_dataset.path(0), progress=False).probabilities == own.probabilities).all()
    assert r21d("publish", "mine", REPO).returncode == 0  # again, over what it made


def test_push_uploads_what_from_pretrained_loads(run, r21d, hub, tiny_dataset, monkeypatch):
    done = r21d("publish", "mine", REPO, "--push")
    assert done.returncode == 2
    assert "log in with a token" in done.stderr
    assert f"models/{REPO}" not in hub.repos
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    done = r21d("publish", "mine", REPO, "--push")
    assert done.returncode == 0, done.stderr
    assert f"uploaded to {hub.url}/{REPO}" in done.stdout
    assert sorted(hub.repos[f"models/{REPO}"]) == ["README.md", "config.json", "model.safetensors"]
    own = Recognizer(run.weights).predict(tiny_dataset.path(0), progress=False)
    back = Recognizer.from_pretrained(REPO).predict(tiny_dataset.path(0), progress=False)
    assert (back.probabilities == own.probabilities).all()
    assert checkpoints.load(f"hf://{REPO}")[1].card.accuracy["clip@1"] >= 0


def test_what_is_not_finished_scored_or_named_is_refused(run, r21d, build):
    def error(*arguments):
        done = r21d("publish", *arguments)
        assert done.returncode == 2
        assert not (build / "published").exists()
        return done.stderr

    for name in ("moves", "../moves", "a/b/c", "some one/moves"):
        assert "is no name of a repository" in error("mine", name)
    assert "no run and no weights other" in error("other", REPO)
    os.utime(run.weights, (time.time() + 10, time.time() + 10))
    assert "was not scored after its last epoch: do `r21d evaluate" in error("mine", REPO)
    run.scores_file(1).unlink()
    assert "was not scored" in error("mine", REPO)
    text = (run.path / "metrics.csv").read_text().splitlines()
    (run.path / "metrics.csv").write_text(text[0] + "\n")
    assert "has 0 of 1 epochs" in error("mine", REPO)
