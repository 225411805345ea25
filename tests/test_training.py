"""The loop: it learns, repeats to the bit, resumes as if nothing happened, stops on nonsense."""

import json

import pandas as pd
import pytest
import torch

from r21d_lib import checkpoints
from r21d_lib.clips import ClipSettings
from r21d_lib.datasets.prepared import prepare
from r21d_lib.errors import SettingsError
from r21d_lib.evaluation import score_videos, video_accuracy
from r21d_lib.networks import build_network
from r21d_lib.training import TrainingDiverged, TrainingSettings, train

CLIPS = ClipSettings(clip_len=4, stride=2, resize=(24, 32), crop=24)
SETTINGS = TrainingSettings(epochs=4, batch_size=4, learning_rate=0.02, warmup_epochs=0.5)


@pytest.fixture(scope="module")
def videos(tiny_dataset, tmp_path_factory):
    return prepare(tiny_dataset, tmp_path_factory.mktemp("cache"), size=(24, 32), workers=1)


def network():
    return build_network("r3d", 10, num_classes=2, width=4, seed=0)


def run(net, videos, folder, settings=SETTINGS, **options):
    return train(net, videos, folder, clips=CLIPS, settings=settings, progress=False, **options)


def test_it_learns_and_leaves_a_whole_folder(videos, tmp_path):
    net = network()
    # Without flips: a mirrored square that moves left is one that moves right.
    settings = TrainingSettings(epochs=12, batch_size=4, learning_rate=0.02)
    history = run(net, videos, tmp_path / "run", settings, validation=videos)
    assert list(history["epoch"]) == list(range(1, 13))
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    names = {p.name for p in (tmp_path / "run").iterdir()}
    assert {"config.json", "metrics.csv", "last.safetensors", "best.safetensors", "resume.pt"} <= names
    assert list((tmp_path / "run").rglob("events.out.tfevents*")), "no TensorBoard events"
    assert not [n for n in names if "partial" in n]
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "run" / "metrics.csv"), history)
    loaded, report = checkpoints.load(tmp_path / "run" / "last.safetensors")
    assert report.card.classes == ("left", "right")
    assert report.card.clips == CLIPS
    one, two = (score_videos(n, videos, CLIPS, progress=False) for n in (net, loaded))
    assert (one.probabilities == two.probabilities).all()
    assert 0 <= video_accuracy(one) <= 1


def test_an_interrupted_run_ends_like_an_uninterrupted_one(videos, tmp_path, monkeypatch):
    straight = network()
    expected = run(straight, videos, tmp_path / "straight")

    from r21d_lib import training

    save = training._save_epoch

    def stop_after_two(folder, net, optimizer, history, config):
        save(folder, net, optimizer, history, config)
        if len(history) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "_save_epoch", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        run(network(), videos, tmp_path / "stopped")
    monkeypatch.undo()
    resumed = network()
    history = run(resumed, videos, tmp_path / "stopped")
    pd.testing.assert_frame_equal(
        history.drop(columns="seconds"), expected.drop(columns="seconds"), check_exact=True
    )
    for a, b in zip(straight.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_finished_run_is_not_trained_again_unless_asked(videos, tmp_path):
    first = run(network(), videos, tmp_path)
    stamp = (tmp_path / "last.safetensors").stat().st_mtime_ns
    again = run(network(), videos, tmp_path)
    pd.testing.assert_frame_equal(first, again)
    assert (tmp_path / "last.safetensors").stat().st_mtime_ns == stamp
    run(network(), videos, tmp_path, resume=False)
    assert (tmp_path / "last.safetensors").stat().st_mtime_ns != stamp


def test_a_folder_of_another_run_is_not_overwritten(videos, tmp_path):
    run(network(), videos, tmp_path)
    before = json.loads((tmp_path / "config.json").read_text())
    other = TrainingSettings(epochs=4, batch_size=2)
    with pytest.raises(SettingsError, match="holds a run with other settings"):
        run(network(), videos, tmp_path, other)
    assert json.loads((tmp_path / "config.json").read_text()) == before


def test_it_stops_where_the_loss_explodes(videos, tmp_path):
    net = network()
    with torch.no_grad():
        net.fc.weight.fill_(float("inf"))
    with pytest.raises(TrainingDiverged, match="lower learning_rate"):
        run(net, videos, tmp_path)
    assert not (tmp_path / "last.safetensors").exists()


def test_classes_must_fit(videos, tmp_path):
    net = build_network("r3d", 10, num_classes=5, width=4)
    with pytest.raises(SettingsError, match="has 5 classes and tiny has 2"):
        run(net, videos, tmp_path)
    assert not (tmp_path / "config.json").exists()


def test_adamw_trains_too(videos, tmp_path):
    settings = TrainingSettings(epochs=2, batch_size=4, optimizer="adamw", learning_rate=1e-3)
    assert len(run(network(), videos, tmp_path, settings)) == 2


def test_learning_rate():
    cosine = TrainingSettings(epochs=10, learning_rate=1.0, warmup_epochs=2)
    rates = [cosine.learning_rate_at(e) for e in (0, 1, 2, 6, 10)]
    assert rates == pytest.approx([0, 0.5, 1, 0.5, 0])
    step = TrainingSettings(
        epochs=9, learning_rate=1.0, warmup_epochs=0, schedule="step", step_epochs=3, gamma=0.1
    )
    assert [step.learning_rate_at(e) for e in (0, 2.9, 3, 8.9)] == pytest.approx([1, 1, 0.1, 0.01])


@pytest.mark.parametrize("values", [dict(epochs=0), dict(optimizer="lion"), dict(schedule="linear")])
def test_settings_that_make_no_sense(values):
    with pytest.raises(SettingsError):
        TrainingSettings(**values)
