"""One process of the test of several: trains, scores, trains again, and writes down what it saw."""

import dataclasses
import json
import sys
from pathlib import Path

from accelerate import PartialState

from r21d_lib.data.cache import prepare
from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.data.lists import VideoList
from r21d_lib.data.sampling import TestClips
from r21d_lib.evaluation.protocol import score_once, score_videos
from r21d_lib.evaluation.scores import Scores
from r21d_lib.models.networks import build_network
from r21d_lib.training import TrainingSettings, recipes, train
from r21d_lib.training.run_folder import RunFolder

CLIPS = ClipSettings(clip_len=4, stride=2, resize=(24, 32), crop=24)


def main(folder: Path, accumulate: int) -> None:
    listed = json.loads((folder / "list.json").read_text())
    videos = VideoList(
        listed["name"],
        tuple(listed["classes"]),
        Path(listed["root"]),
        tuple(listed["names"]),
        tuple(listed["labels"]),
    )
    state = PartialState(cpu=True)
    with state.main_process_first():
        prepared = prepare(videos, folder / "cache", size=CLIPS.resize, workers=1)
    settings = TrainingSettings(
        epochs=3, batch_size=2, accumulate=accumulate, learning_rate=0.02, reference_batch=4
    )
    network = build_network("r3d", 10, num_classes=2, width=4, seed=0)
    run = folder / f"run_{state.num_processes}"
    recipe = dataclasses.replace(recipes.read("small_scratch"), clips=CLIPS, training=settings)
    history = train(network, prepared, recipe, run, validation=prepared, progress=False)
    read, read_clips = [], TestClips.__getitem__
    TestClips.__getitem__ = lambda self, video: read.append(video) or read_clips(self, video)
    scores = score_videos(network, prepared, CLIPS, num_clips=3, progress=False)
    own = sorted(read)
    written, save = [], Scores.save
    Scores.save = lambda self, path: written.append(path) or save(self, path)
    once = [
        score_once(run / "scores.npz", network, prepared, CLIPS, num_clips=3, progress=False)
        for _ in range(2)
    ]
    once_read = len(read) - len(own)
    with state.main_process_first():
        second = dataclasses.replace(recipe, training=dataclasses.replace(settings, seed=1))
    again = train(network, prepared, second, folder / f"{run.name}_again", progress=False)
    result = {
        "scored": own,
        "scored_once": once_read,
        "written": len(written),
        "once_is_the_same": all((o.probabilities == scores.probabilities).all() for o in once),
        "second_losses": again["loss"].tolist(),
        "processes": state.num_processes,
        "state_of": RunFolder(run).read_state()["processes"],
        "history": history.drop(columns="seconds").to_dict("list"),
        "names": scores.names,
        "probabilities": scores.probabilities.tolist(),
    }
    (folder / f"world{state.num_processes}_rank{state.process_index}.json").write_text(
        json.dumps(result)
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
