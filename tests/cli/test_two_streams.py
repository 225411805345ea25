"""RGB and flow end to end on a tiny ActionFigures: drawn, trained, averaged, asked, exported."""

import json

import numpy as np
import pytest

from r21d_lib import checkpoints
from r21d_lib.data import action_figures, csv_lists, video
from r21d_lib.errors import SettingsError
from r21d_lib.evaluation import Scores, average, video_accuracy
from r21d_lib.live.rolling import RollingRecognizer
from r21d_lib.prediction import Recognizer
from r21d_lib.publish import site
from r21d_lib.training.run_folder import RunFolder

ACTIONS = sorted(action_figures.TARGET_CLASSES)[:4]
SMALL = ["width=4", "epochs=1", "clip_len=4", "clips_per_epoch=32", "num_clips=2"]


@pytest.fixture(scope="module")
def tiny_figures(tmp_path_factory):
    """Six clips of each of four actions of ActionFigures, as `prepare listed` makes of a folder."""
    root = tmp_path_factory.mktemp("figures")
    for action in ACTIONS:
        for person in range(6):
            name = f"figure_{person:03}_{action}_f_cm_np1_fr_goo_0.avi"
            video.write(
                root / "drawn" / action / name, action_figures.render("target", action, person, 0)
            )
    csv_lists.make_folder([root / "drawn"], root / "tiny_figures", videos=root)
    return root / "tiny_figures"


@pytest.fixture
def runs(tiny_figures, build, r21d):
    """The folders of a run of RGB and of one of flow, both scored."""
    made = []
    for recipe in ("figures_race", "figures_flow"):
        done = r21d("train", recipe, f"data={tiny_figures}", *SMALL)
        assert done.returncode == 0, done.stderr
    for path in sorted((build / "runs").iterdir(), key=lambda p: "flow" in p.name):
        done = r21d("evaluate", path)
        assert done.returncode == 0, done.stderr
        made.append(path)
    return made


@pytest.mark.slow
def test_two_streams_end_to_end(runs, tiny_figures, tmp_path, r21d):
    rgb, flow = runs
    assert "_r2plus1d_flow_1epochs_" in flow.name
    assert "modality" not in json.loads((rgb / "recipe.json").read_text())["recipe"]["clips"]
    assert "in_channels" not in json.loads((rgb / "recipe.json").read_text())["network"]
    card = checkpoints.read_card(flow / "last.safetensors")
    assert (card.clips.modality, card.network.in_channels) == ("flow", 2)
    assert len(card.clips.mean) == 2

    done = r21d("evaluate", rgb, flow, "--average", "--scores", tmp_path / "both.npz")
    assert done.returncode == 0, done.stderr
    both = Scores.load(tmp_path / "both.npz")
    by_hand = average(*(Scores.load(run / "scores_split1.npz") for run in (rgb, flow)))
    np.testing.assert_allclose(both.probabilities, by_hand.probabilities, atol=1e-3)
    assert f"video@1 {video_accuracy(by_hand):.4f}" in done.stdout
    assert done.stdout.count("what the average gains over") == 2
    assert " all " in done.stdout
    # The same from the two files of scores, wherever they are.
    again = r21d("evaluate", *(run / "scores_split1.npz" for run in (rgb, flow)), "--average")
    assert again.stdout.splitlines()[2] == done.stdout.splitlines()[2]

    clip = next((tiny_figures / "videos").rglob("*.avi"))
    weights = flow / "last.safetensors"
    for options in ((), ("--modality", "flow")):
        done = r21d("predict", clip, "--checkpoint", weights, *options)
        assert done.returncode == 0, done.stderr
        assert "clips" in done.stdout
    done = r21d("predict", clip, "--checkpoint", weights, "--modality", "rgb")
    assert done.returncode == 2
    assert "what it takes is flow, not rgb" in done.stderr
    done = r21d("features", clip, "--checkpoint", weights, "--to", tmp_path / "features")
    assert done.returncode == 0, done.stderr
    done = r21d("export", weights, "--to", tmp_path / "flow.onnx")
    assert done.returncode == 0, done.stderr
    done = r21d("train", "figures_race", f"data={tiny_figures}", *SMALL, f"checkpoint={weights}")
    assert "holds a network of flow, and the recipe is of rgb: give modality=flow" in done.stderr
    folder = RunFolder.of(RunFolder(flow).recipe())
    assert folder.path == flow
    with pytest.raises(SettingsError, match="takes flow, which is not computed live"):
        RollingRecognizer(Recognizer(weights))
    with pytest.raises(SettingsError, match="takes flow, which a page does not compute"):
        site.build(tmp_path / "site", checkpoint=weights, reference=False)
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.npz", "--average"], "--average takes two runs, not 1"),
        (["a.npz", "b.npz", "--average", "--clips", "3"], "leave out --data, --clips"),
        (["a.npz", "b.npz", "--average"], "no scores file a.npz"),
        (["nowhere", "there", "--average"], "no run and no weights nowhere"),
    ],
)
def test_what_cannot_be_averaged_is_said(arguments, message, r21d, build):
    done = r21d("evaluate", *arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_the_shipped_network_does_not_take_flow(r21d, tmp_path):
    done = r21d("predict", tmp_path / "x.avi", "--checkpoint", "figures", "--modality", "flow")
    assert done.returncode == 2
    assert "what it takes is rgb, not flow" in done.stderr
