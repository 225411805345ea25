"""The loop: it learns, repeats to the bit, resumes as if nothing happened, stops on nonsense."""

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from r21d_lib import checkpoints
from r21d_lib.data.cache import prepare
from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.data.clips import to_network
from r21d_lib.data.sampling import TrainBatches
from r21d_lib.errors import DatasetError, SettingsError
from r21d_lib.evaluation.protocol import score_videos
from r21d_lib.evaluation.scores import video_accuracy
from r21d_lib.models.networks import build_network
from r21d_lib.plots import tensorboard
from r21d_lib.training import TrainingDiverged, TrainingSettings, hardware, loop, recipes, train
from r21d_lib.training.budget import measure_speed
from r21d_lib.training.progress import Progress, check_processes
from r21d_lib.training.run import train_recipe
from r21d_lib.training.run_folder import RunFolder
from r21d_lib.training.settings import make_optimizer

CLIPS = ClipSettings(clip_len=4, stride=2, resize=(24, 32), crop=24)
SETTINGS = TrainingSettings(epochs=4, batch_size=4, learning_rate=0.02, warmup_epochs=0.5)


@pytest.fixture(scope="module")
def videos(tiny_dataset, tmp_path_factory):
    return prepare(tiny_dataset, tmp_path_factory.mktemp("cache"), size=(24, 32), workers=1)


def network():
    return build_network("r3d", 10, num_classes=2, width=4, seed=0)


def recipe(settings=SETTINGS):
    return dataclasses.replace(recipes.read("small_scratch"), clips=CLIPS, training=settings)


def run(net, videos, folder, settings=SETTINGS, **options):
    return train(net, videos, recipe(settings), folder, progress=False, **options)


def test_it_learns_and_leaves_a_whole_folder(videos, tmp_path):
    net = network()
    # Without flips: a mirrored square that moves left is one that moves right.
    settings = TrainingSettings(epochs=12, batch_size=4, learning_rate=0.02)
    history = run(net, videos, tmp_path / "run", settings, validation=videos)
    assert list(history["epoch"]) == list(range(1, 13))
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    names = {p.name for p in (tmp_path / "run").iterdir()}
    assert {"recipe.json", "metrics.csv", "last.safetensors", "best.safetensors", "resume.pt"} <= names
    assert list((tmp_path / "run").rglob("events.out.tfevents*")), "no TensorBoard events"
    assert not [n for n in names if "partial" in n]
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "run" / "metrics.csv"), history)
    loaded, report = checkpoints.load(tmp_path / "run" / "last.safetensors")
    assert report.card.classes == ("left", "right")
    assert report.card.clips == CLIPS
    one, two = (score_videos(n, videos, CLIPS, progress=False) for n in (net, loaded))
    assert (one.probabilities == two.probabilities).all()
    assert 0 <= video_accuracy(one) <= 1


@pytest.mark.parametrize("steps", [1, 5])
def test_an_interrupted_run_ends_like_an_uninterrupted_one(videos, tmp_path, steps, monkeypatch):
    """Interrupted within an epoch too: a long one is saved as it goes."""
    straight = network()
    expected = run(straight, videos, tmp_path / "straight")

    add = Progress.add

    def stop(progressed, step):
        if len(progressed.history) * 2 + progressed.step == steps:
            raise KeyboardInterrupt
        add(progressed, step)

    monkeypatch.setattr(Progress, "add", stop)
    with pytest.raises(KeyboardInterrupt):
        run(network(), videos, tmp_path / "stopped", save_seconds=0.0)
    monkeypatch.undo()
    assert torch.load(tmp_path / "stopped" / "resume.pt")["step"] == 1
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


def test_a_fresh_run_keeps_nothing_of_the_old_one_and_all_that_is_a_users(videos, tmp_path):
    run(network(), videos, tmp_path)
    events = set(tmp_path.rglob("events.out.tfevents*"))
    assert events
    stale = [tmp_path / name for name in ("scores_split1.npz", "scores_dense.npz", "bad_videos.csv")]
    mine = [tmp_path / name for name in ("mine.safetensors", "notes.md", "tensorboard/notes.md")]
    for path in (*stale, *mine):
        path.parent.mkdir(exist_ok=True)
        path.write_text(path.name)
    run(network(), videos, tmp_path, resume=False)
    assert [path for path in (*stale, *events) if path.exists()] == []
    assert [path.read_text() for path in mine] == [path.name for path in mine]


@pytest.mark.parametrize("name", ["last.safetensors", "best.safetensors", "metrics.csv", "resume.pt"])
def test_a_users_file_that_is_named_as_a_runs_is_not_replaced(videos, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(SettingsError, match="choose another folder"):
        run(network(), videos, tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: "mine"}


def test_a_folder_of_another_run_is_not_overwritten(videos, tmp_path):
    run(network(), videos, tmp_path)
    before = json.loads((tmp_path / "recipe.json").read_text())
    other = TrainingSettings(epochs=4, batch_size=2)
    with pytest.raises(SettingsError, match="holds a run with batch_size 4, warmup_epochs 0"):
        run(network(), videos, tmp_path, other)
    assert json.loads((tmp_path / "recipe.json").read_text()) == before


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
    assert not (tmp_path / "recipe.json").exists()


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


def test_accumulated_batches_are_one_step_of_a_larger_batch(videos, tmp_path, monkeypatch):
    """Up to batch norm, which sees each batch by itself, and crops, which are drawn batch by batch."""
    monkeypatch.setattr(loop, "to_network", lambda clips, settings, random: to_network(clips, settings))

    def losses(folder, **settings):
        net = network()
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm3d):
                module.register_forward_pre_hook(lambda module, _: module.eval() and None)
        more = TrainingSettings(epochs=2, learning_rate=0.02, warmup_epochs=0.5, **settings)
        return run(net, videos, tmp_path / folder, more)["loss"].tolist()

    whole = losses("whole", batch_size=4)
    assert losses("parts", batch_size=2, accumulate=2) == pytest.approx(whole, abs=1e-5)
    assert losses("small", batch_size=2) != pytest.approx(whole, abs=1e-4)


def test_an_epoch_may_have_any_number_of_clips(videos, tmp_path):
    settings = TrainingSettings(epochs=3, batch_size=4, clips_per_epoch=10)
    assert settings.steps_per_epoch(len(videos)) == 3
    batches = TrainBatches(len(videos), 4, 3, seed=0)
    seen = []
    for epoch in range(2):
        batches.start_at(epoch)
        seen += [number for batch in batches for number in batch]
    assert [number // 8 for number in seen] == [0] * 8 + [1] * 8 + [2] * 8
    assert sorted(seen) == list(range(24)), "a video was drawn again before all had been drawn"
    assert len(run(network(), videos, tmp_path, settings)) == 3


@pytest.mark.parametrize(("processes", "accumulate"), [(2, 1), (2, 2), (3, 1)])
def test_processes_share_the_clips_of_one_process_that_accumulates(processes, accumulate):
    def batches(processes, rank, accumulate):
        sampler = TrainBatches(50, 4, 2, accumulate=accumulate, processes=processes, rank=rank, seed=1)
        sampler.start_at(3, 1)
        return list(sampler)

    alone = batches(1, 0, accumulate * processes)
    shared = [batches(processes, rank, accumulate) for rank in range(processes)]
    assert [batch for turn in zip(*shared, strict=True) for batch in turn] == alone


def test_layer_decay_moves_the_first_layers_least():
    settings = TrainingSettings(learning_rate=1.0, layer_decay=0.5)
    scales = [group["lr_scale"] for group in make_optimizer(network(), settings).param_groups]
    assert scales[::2] == [0.5**5, 0.5**4, 0.5**3, 0.5**2, 0.5, 1.0]


@pytest.mark.parametrize(("first", "still"), [("fc", 5), ("layer4", 4), ("stem", 0)])
def test_layers_before_the_first_trained_stay_as_they_are(videos, tmp_path, first, still):
    net, before = network(), network().state_dict()
    run(net, videos, tmp_path / "run", dataclasses.replace(SETTINGS, epochs=1, first_trained=first))
    changed = {
        name.split(".")[0]
        for name, value in net.state_dict().items()
        if not torch.equal(value, before[name])
    }
    groups = ["stem", "layer1", "layer2", "layer3", "layer4", "fc"]
    assert changed == set(groups[still:])
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_every_parameter_is_optimized_once():
    net = network()
    groups = make_optimizer(net, SETTINGS).param_groups
    optimized = [id(p) for group in groups for p in group["params"]]
    assert sorted(optimized) == sorted(id(p) for p in net.parameters())
    decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    assert decayed == {id(p) for p in net.parameters() if p.ndim > 1}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("momentum", (0, 1)),
        ("learning_rate", (0, 1e3)),
        ("weight_decay", (0, 1e3)),
        ("layer_decay", (0, 1e3)),
    ],
)
def test_the_optimizer_takes_both_ends_of_what_is_allowed(optimizer, name, ends):
    for value in ends:
        net = network()
        made = make_optimizer(net, TrainingSettings(optimizer=optimizer, **{name: value}))
        net(torch.zeros(2, 3, 4, 24, 24)).sum().backward()
        made.step()


def test_without_momentum_sgd_is_plain_gradient_descent():
    net = network()
    before = net.fc.weight.detach().clone()
    made = make_optimizer(net, TrainingSettings(momentum=0, weight_decay=0, learning_rate=0.5))
    for step in (1, 2):
        net.fc.weight.grad = torch.ones_like(net.fc.weight)
        made.step()
        torch.testing.assert_close(net.fc.weight, before - 0.5 * step)
    usual = make_optimizer(net, TrainingSettings(momentum=0.9))
    assert all(group["nesterov"] for group in usual.param_groups)


def test_the_learning_rate_follows_the_batch():
    settings = TrainingSettings(batch_size=4, accumulate=2, reference_batch=32)
    assert settings.batch_scale(processes=8) == 2.0
    assert TrainingSettings(batch_size=4).batch_scale(processes=8) == 1.0


@pytest.mark.skipif(torch.cuda.is_available(), reason="these are errors on a CPU only")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(mixed_precision="bf16"), "not safe on a CPU"),
        (dict(sync_batchnorm=True), "needs GPUs"),
    ],
)
def test_what_a_cpu_cannot_do(videos, tmp_path, settings, message):
    with pytest.raises(SettingsError, match=message):
        run(network(), videos, tmp_path, TrainingSettings(**settings))


def test_speed_is_measured_without_changing_the_network(videos):
    net = network()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    settings = TrainingSettings(batch_size=2, clips_per_epoch=1000)
    speed = measure_speed(net, videos, recipe(settings), seconds=0.5)
    assert speed > 0
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_pictures_of_a_training_are_kept_for_tensorboard(videos, tmp_path):
    history = run(network(), videos, tmp_path, validation=videos, on_epoch=tensorboard.log_images)
    losses = [event.value for event in tensorboard._events(tmp_path).Scalars("loss")]
    assert losses == pytest.approx(history["loss"].tolist())
    for name in ("confusion/training", "per_class/validation"):
        assert tensorboard.read_image(tmp_path, name).std() > 10
    # Four clips of four frames, which show the frames that went in: the square is bright.
    clips = tensorboard.read_image(tmp_path, "clips")
    assert clips.shape == (4 * 24, 4 * 24, 3)
    assert clips.max() > 180
    with pytest.raises(DatasetError, match="has no picture 'nothing': it has"):
        tensorboard.read_image(tmp_path, "nothing")
    with pytest.raises(DatasetError, match="no TensorBoard events"):
        tensorboard.read_image(tmp_path / "nowhere", "clips")


def test_a_folder_of_several_runs_is_not_taken_for_one(tmp_path):
    from torch.utils.tensorboard import SummaryWriter

    for run_name in ("run_a", "run_b"):
        writer = SummaryWriter(tmp_path / run_name / "tensorboard")
        writer.add_image("clips", torch.zeros(3, 4, 4, dtype=torch.uint8), 1)
        writer.close()
    with pytest.raises(DatasetError, match=r"run_a/tensorboard, run_b/tensorboard: give one"):
        tensorboard.read_image(tmp_path, "clips")
    assert tensorboard.read_image(tmp_path / "run_b", "clips").shape == (4, 4, 3)


@pytest.mark.parametrize("minutes", [None, 1])
def test_a_batch_too_small_for_the_norms_is_one_line(tiny_data, build, minutes):
    changes = ["network=r3d", "batch_size=1", "width=4", "clip_len=8", "resize=16,16", "crop=16"]
    recipe = recipes.read("small_scratch", [f"data={tiny_data}", "epochs=1", *changes])
    with pytest.raises(SettingsError, match=r"batch_size=1 leaves the norms .* give more clips"):
        train_recipe(recipe, minutes=minutes, progress=False)


def test_workers_that_cannot_hand_over_their_clips_are_refused(monkeypatch):
    class Usage:
        free = 64 * 1024

    monkeypatch.setattr(hardware.shutil, "disk_usage", lambda _: Usage)
    hardware.check_shared_memory(0, 10**9)
    hardware.check_shared_memory(1, 10_000)
    with pytest.raises(SettingsError, match="give workers=0, or start the container with more"):
        hardware.check_shared_memory(2, 100_000)


@pytest.mark.parametrize(
    ("begun", "accumulate", "ways_out"),
    [
        (4, 1, r"go on with 4 processes, or start anew .*, with accumulate=4 for"),
        (3, 2, r"go on with 3 processes, or start anew .*, with accumulate=6 for"),
    ],
)
def test_a_run_goes_on_with_as_many_processes_as_began_it(
    videos, tmp_path, monkeypatch, begun, accumulate, ways_out
):
    """Within an epoch or between two, for the steps would have other clips."""
    settings = dataclasses.replace(SETTINGS, batch_size=2, accumulate=accumulate)
    folder, add = RunFolder(tmp_path), Progress.add
    for broken in [(1, 0), (0, 1)]:  # the epoch and the step in which it stops

        def stop(progressed, step, broken=broken):
            if (len(progressed.history), progressed.step) == broken:
                raise KeyboardInterrupt
            add(progressed, step)

        monkeypatch.setattr(Progress, "add", stop)
        with pytest.raises(KeyboardInterrupt):
            run(network(), videos, tmp_path, settings, resume=False, save_seconds=0.0)
        monkeypatch.undo()
        state = folder.read_state()
        assert (len(state["history"]), state["step"], state["processes"]) == (*broken, 1)
        folder.write_state({**state, "processes": begun})
        with pytest.raises(SettingsError, match=rf"begun with {begun} processes.* with 1: {ways_out}"):
            run(network(), videos, tmp_path, settings)
        assert folder.read_state()["step"] == state["step"], "the refusal changed the run"
    del state["processes"]  # as an older version wrote it
    folder.write_state(state)
    assert len(run(network(), videos, tmp_path, settings)) == settings.epochs
    folder.write_state({**folder.read_state(), "processes": begun})  # but no step is left to take
    assert len(run(network(), videos, tmp_path, settings)) == settings.epochs


def test_one_process_more_than_began_a_run_is_told_what_would_fit():
    state = {"history": [], "processes": 1}
    with pytest.raises(
        SettingsError, match=r"begun with 1 process, .* go on with 1 process, .*False\)$"
    ):
        check_processes(state, 2, TrainingSettings(), Path("run"))
    with pytest.raises(SettingsError, match=r"with accumulate=2 for as many clips a step$"):
        check_processes(state, 2, TrainingSettings(accumulate=4), Path("run"))
