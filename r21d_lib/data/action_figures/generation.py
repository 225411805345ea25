"""Writing ActionFigures: real .avi files in HMDB51's layout with its official split files.

<root>/videos/<class>/<name>.avi, <root>/splits/<class>_test_split<k>.txt and dataset.json, which says
what was asked for. Every draw depends on (seed, class, clip) alone, so the number of processes and
interruptions change nothing.
"""

import json
import os
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from r21d_lib.data import lists, video
from r21d_lib.data.action_figures import films
from r21d_lib.data.action_figures.actions import SOURCE_ACTIONS, TARGET_ACTIONS
from r21d_lib.data.action_figures.drawing import (
    Camera,
    Person,
    draw_frame,
    random_camera,
    random_person,
    random_scene,
)
from r21d_lib.data.action_figures.moments import Action, Thing
from r21d_lib.errors import DatasetError, SettingsError, few
from r21d_lib.files import read_text, whole_file

Subset = Literal["target", "source", "films"]
ACTIONS: dict[str, dict[str, Action]] = {
    "target": TARGET_ACTIONS,
    "source": SOURCE_ACTIONS,
    "films": TARGET_ACTIONS,
}
TARGET_CLASSES = tuple(TARGET_ACTIONS)
SOURCE_CLASSES = tuple(SOURCE_ACTIONS)

FPS = 30
# To be raised when the same request draws other videos.
VERSIONS: dict[str, int] = {"target": 3, "source": 3, "films": 1}
TEST_FRACTION = 0.3
_QP_TO_LAMBDA = 118  # FFmpeg's FF_QP2LAMBDA: its quality scale in the encoder's units


@dataclass(frozen=True)
class _Clip:
    """One clip to draw: which action, which person and place (group), which take of it."""

    action: str
    subset: Subset
    group: int
    take: int
    seed: int

    @property
    def moving(self) -> bool:
        """Tell whether the camera moves; every other group is filmed by hand."""
        return self.group % 2 == 1

    @property
    def mirror(self) -> bool:
        """Tell whether everybody faces left."""
        return bool(self.rng("mirror").random() < 0.5)

    @property
    def qscale(self) -> int:
        """MPEG-4's quantiser: 3 is clean, 6 shows blocks; each person was filmed with one."""
        return 3 if self.group % 3 else 6

    def rng(self, purpose: str) -> np.random.Generator:
        """Return the source of what differs from clip to clip."""
        what = f"{self.subset}/{self.action}/{purpose}"
        return np.random.default_rng((self.seed, self.group, self.take, zlib.crc32(what.encode())))

    @property
    def name(self) -> str:
        """The file's name, like HMDB51's: whose, action, body, camera, people, side, quality, take."""
        people = 2 if self.action == "shake_hands" else 1
        front = ACTIONS[self.subset][self.action].view == "front"
        side = "fr" if front else "le" if self.mirror else "ri"
        camera = "cm" if self.moving else "nm"
        quality = "goo" if self.qscale == 3 else "med"
        seen = f"f_{camera}_np{people}_{side}_{quality}"
        return f"figure_{self.group:03d}_{self.action}_{seen}_{self.take}.avi"


def generate(
    root: str | Path,
    *,
    subset: Subset = "target",
    clips_per_class: int = 100,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> None:
    """Draw the clips that `root` does not hold yet, and the three splits.

    Args:
        root: the data set's folder.
        subset: "target" (twelve actions of HMDB51, for the notebooks; six of them in pairs that only
            the order of the frames tells apart, `actions.MOTION_PAIRS`), "source" (fourteen others,
            for pretraining) or "films" (the twelve, each somewhere within 4 to 6 s).
        clips_per_class: 20 or more, each of another person; 70% train and 30% test in each split, no
            person in both, and no test person of one split in another's test part.
        seed: of people, scenes, cameras and movements.
        workers: processes; None takes one a core.
        progress: shows a bar when it takes more than two seconds.

    Raises:
        SettingsError: if the request makes no sense.
        DatasetError: if `root` holds a data set of another request, something else, or lists that were
            changed.
    """
    root = Path(root)
    _check_subset(subset)
    if clips_per_class < 20:
        raise SettingsError(
            f"{clips_per_class} clips a class are too few for splits: ask for 20 or more"
        )
    if seed < 0:
        raise SettingsError(f"seed {seed} is negative: choose 0 or more")
    if workers is not None and workers < 1:
        raise SettingsError(f"{workers} workers draw nothing: choose 1 or more, or None for all cores")
    request = {
        "name": f"action_figures_{subset}",
        "version": VERSIONS[subset],
        "clips_per_class": clips_per_class,
        "seed": seed,
    }
    note = root / "dataset.json"
    if note.is_file() and _read_note(note) != request:
        raise DatasetError(
            f"{root} holds another data set ({note.read_text().strip()}): "
            f"delete the folder or choose another one for {json.dumps(request)}"
        )
    there = {path.name for path in root.iterdir()} if root.is_dir() else set()
    if not note.is_file() and (foreign := sorted(n for n in there if not n.startswith("."))):
        raise DatasetError(f"{root} holds {few(foreign)}, which is no part of it: name another folder")
    clips = _plan(subset, clips_per_class, seed)
    _check_splits(root, clips, subset)
    with whole_file(note) as partial:
        partial.write_text(json.dumps(request) + "\n")
    _write_splits(root / "splits", clips, subset)
    todo = [(clip, root / "videos" / clip.action / clip.name) for clip in clips]
    todo = [(clip, path) for clip, path in todo if not path.is_file()]
    if not todo:
        return
    from loky import ProcessPoolExecutor  # whose processes do not run the user's script again

    with ProcessPoolExecutor(min(workers or os.cpu_count() or 1, len(todo))) as pool:
        written = pool.map(_write_clip, *zip(*todo, strict=True))
        for _ in tqdm(
            written, total=len(todo), desc="draw", unit="clip", disable=not progress, delay=2
        ):
            pass


def load(
    root: str | Path, *, subset: Subset = "target", split: int = 1, part: lists.Part
) -> lists.VideoList:
    """Return the train or test videos of a split, as the folder's own official lists give them.

    Raises:
        SettingsError: if the subset, split or part does not exist.
        DatasetError: if the folder is missing, incomplete or holds the other subset.
    """
    if split not in lists.SPLITS or part not in ("train", "test"):
        raise SettingsError(f"there is no split {split} {part}: choose 1, 2 or 3, train or test")
    _check_subset(subset)
    root = Path(root)
    if not (root / "splits").is_dir():
        raise DatasetError(f"{root} holds no ActionFigures: draw them with `r21d figures`")
    classes, parts = lists.read_official(root / "splits", split)
    if classes != tuple(sorted(ACTIONS[subset])):
        raise DatasetError(
            f"{root} does not hold the {subset} classes of ActionFigures: give the folder that "
            f"was drawn with subset={subset!r}"
        )
    names = tuple(name for name, its_part in sorted(parts.items()) if its_part == part)
    videos_ = lists.VideoList(
        f"ActionFigures ({subset}) split {split} {part}",
        classes,
        root / "videos",
        names,
        tuple(classes.index(name.split("/")[0]) for name in names),
    )
    lists.check_files(videos_)
    return videos_


def render(subset: Subset, action: str, group: int, take: int, *, seed: int = 0) -> np.ndarray:
    """Draw one clip without writing it: (T, 120, 160, 3) uint8.

    Raises:
        SettingsError: if the subset or action does not exist.
    """
    _check_subset(subset)
    if action not in ACTIONS[subset]:
        raise SettingsError(f"{action!r} is none of the {subset} actions: {', '.join(ACTIONS[subset])}")
    return _draw(_Clip(action, subset, group, take, seed))


def film_course(action: str, group: int, *, seed: int = 0) -> films.Course:
    """Return when the action of a film happens, in frames.

    Raises:
        SettingsError: if the action does not exist.
    """
    if action not in ACTIONS["films"]:
        raise SettingsError(f"{action!r} is none of the actions: {', '.join(ACTIONS['films'])}")
    clip = _Clip(action, "films", group, 0, seed)
    return films.plan(ACTIONS["films"][action], clip.rng("movement"))


def _check_subset(subset: str) -> None:
    if subset not in ACTIONS:
        raise SettingsError(f"ActionFigures has no subset {subset!r}: choose {', '.join(ACTIONS)}")


def drawn_subset(root: Path) -> Subset | None:
    """Return which subset `generate` drew into a folder, by its note; None where it drew none.

    Raises:
        DatasetError: if the note is damaged.
    """
    note = root / "dataset.json"
    said = _read_note(note) if note.is_file() else None
    name = said.get("name") if isinstance(said, dict) else None
    subsets: tuple[Subset, ...] = get_args(Subset)
    return next((subset for subset in subsets if name == f"action_figures_{subset}"), None)


def _read_note(note: Path) -> object:
    try:
        return json.loads(note.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DatasetError(f"{note} is damaged: delete {note.parent} and draw again") from error


def _plan(subset: Subset, clips_per_class: int, seed: int) -> list[_Clip]:
    """List the clips: each person does every action once."""
    return [
        _Clip(action, subset, person, 0, seed)
        for action in sorted(ACTIONS[subset])
        for person in range(clips_per_class)
    ]


def _check_splits(root: Path, clips: list[_Clip], subset: Subset) -> None:
    """Refuse lists that somebody changed: they would be put back."""
    for split in lists.SPLITS if (root / "splits").is_dir() else ():
        for name, text in lists.official(split, *_split(clips, subset, split)).items():
            file = root / "splits" / name
            if file.is_file() and read_text(file) != text:
                raise DatasetError(
                    f"{file} was changed: delete it to have it written again, or copy {root} to a "
                    "folder of your own and name that in its place, whose lists stay as they are"
                )


def _write_splits(folder: Path, clips: list[_Clip], subset: Subset) -> None:
    for split in lists.SPLITS:
        lists.write_official(folder, split, *_split(clips, subset, split))


def _split(
    clips: list[_Clip], subset: Subset, split: int
) -> tuple[tuple[str, ...], dict[str, lists.Part]]:
    """Give each split's test part a third of the groups of its own; a person is never in both."""
    groups = sorted({clip.group for clip in clips})
    num_test = round(TEST_FRACTION * len(groups))
    order = np.random.default_rng(len(groups)).permutation(groups)
    test = set(order[(split - 1) * num_test : split * num_test].tolist())
    parts: dict[str, lists.Part] = {
        f"{c.action}/{c.name}": "test" if c.group in test else "train" for c in clips
    }
    return tuple(sorted(ACTIONS[subset])), parts


def _write_clip(clip: _Clip, path: Path) -> None:
    video.write(
        path,
        _draw(clip),
        fps=films.FPS if clip.subset == "films" else FPS,
        options={"flags": "+qscale", "global_quality": str(_QP_TO_LAMBDA * clip.qscale)},
    )


def _cast(clip: _Clip) -> tuple[tuple[Person, Person], Camera, Image.Image]:
    """Draw who is filmed, by which camera and where.

    They belong to the group, whatever it does: they must not give the action away. The sets share
    nobody, so that a network is never tested on people whom it saw in pretraining.
    """
    rng = np.random.default_rng((clip.seed, clip.group, zlib.crc32(clip.subset.encode())))
    people = random_person(rng), random_person(rng)
    camera = replace(random_camera(rng, moving=clip.moving), mirror=clip.mirror)
    return people, camera, random_scene(rng, camera.ground)


def _draw(clip: _Clip) -> np.ndarray:
    """Draw all frames of a clip: (T, 120, 160, 3) uint8."""
    action = ACTIONS[clip.subset][clip.action]
    people, camera, scene = _cast(clip)
    rng = clip.rng("movement")
    if clip.subset == "films":
        return films.draw(clip.action, action, people, camera, scene, rng)
    num_frames = int(rng.integers(36, 45))
    frames = action.frames * rng.uniform(0.82, 1.2)
    amplitude = float(rng.uniform(0.85, 1.1))
    offset = rng.uniform(-0.12, 0.12) if not action.cyclic else rng.random()
    if not action.cyclic:
        # A single action fills most of its clip, with a little rest before and after.
        frames = min(frames, num_frames - 2)
        offset = -rng.uniform(0, num_frames - frames) / frames
    follow = rng.random() < 0.5
    place_x = rng.uniform(-0.12, 0.12)
    # Chairs stand about in other actions too: one alone does not say that somebody sits down.
    chair_x = float(rng.choice((-1, 1)) * rng.uniform(0.9, 1.5))
    spare_chair = clip.action not in ("sit", "stand") and rng.random() < 0.3
    pictures = []
    for number in range(num_frames):
        phase = number / frames + offset
        moment = action.at(phase if action.cyclic else min(max(phase, 0.0), 1.0), amplitude)
        gone = action.travel * (number - num_frames / 2) / frames
        # Half the walkers cross the picture, half are followed: the place alone says nothing.
        x = place_x + (0.0 if follow else 0.55 * gone)
        moment = moment.moved(x)
        scroll = gone if follow else 0.45 * gone
        if spare_chair:
            chair = Thing("chair", (chair_x - scroll, 0.41))
            moment = replace(moment, things=(chair, *moment.things))
        pictures.append(
            draw_frame(
                moment,
                people,
                scene,
                camera,
                progress=number / num_frames,
                scroll=scroll,
            )
        )
    return np.stack(pictures)
