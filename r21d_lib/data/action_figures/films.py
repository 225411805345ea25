"""Films: 4 to 6 s of somebody who stands about, does an action of 1.6 to 3.2 s, and stands about again.

They have ten frames a second, so that 8, 16 and 32 consecutive ones last from under a second to three.

Real clips of HMDB51 have such parts before and after the action. A clip cut out of one says little, so
that one clip and a whole film are scored differently. A single action of a motion pair (`MOTION_PAIRS`)
rests in its first and last pose instead, for standing up again after `sit` would be `stand`.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from r21d_lib.data.action_figures.actions import MOTION_PAIRS
from r21d_lib.data.action_figures.drawing import Camera, Person, draw_frame
from r21d_lib.data.action_figures.moments import Action, Thing
from r21d_lib.data.action_figures.skeleton import Limb, Point, Pose

FPS = 10
_SECONDS = 4.0, 6.0
_CYCLIC_SECONDS = 2.2, 3.2  # that somebody walks, claps and so on
_SLOWER = 1.6, 2.3  # times as long as in the short clips a single action takes
_FRAMES = FPS / 30  # of a film, in one of the frames that `Action.frames` counts
_EDGE = 0.12  # of the idle time, at least so much before the action and after it
_TURN = 3  # frames from standing to an action's pose
_WIDEST = 0.5  # body units from the middle that walkers who are not followed reach
_PAIRED = {name for pair in MOTION_PAIRS for name in pair}
_STANDING = {
    "side": Pose(),
    "front": Pose(view="front", arms=((8.0, 6.0), (8.0, 6.0)), legs=((5.0, 3.0), (5.0, 3.0))),
}
_HANGING = (-0.264, 0.775), (0.264, 0.775)  # hands of the front's arms, seen from x and the ground


@dataclass(frozen=True)
class Course:
    """When the action of a film happens.

    Attributes:
        frames: of the film.
        begin: the action's first frame; a fraction, as it begins between two.
        end: where it is over.
        cycle: frames of one cycle, or of the whole single action.
        offset: the phase that it begins with.
        amplitude: about 1.
    """

    frames: int
    begin: float
    end: float
    cycle: float
    offset: float
    amplitude: float

    def phase(self, frame: float) -> float:
        """Return the action's phase; before and after it, that of its beginning and its end."""
        return self.offset + (min(max(frame, self.begin), self.end) - self.begin) / self.cycle

    def idle(self, frame: float) -> float:
        """Return 0 while the action lasts, 1 where somebody stands about, and between them a rise."""
        away = max(self.begin - frame, frame - self.end, 0.0) / _TURN
        return (1 - math.cos(math.pi * min(away, 1.0))) / 2


def plan(action: Action, rng: np.random.Generator) -> Course:
    """Draw how long a film is, and when its action happens."""
    frames = round(FPS * rng.uniform(*_SECONDS))
    if action.cyclic:
        cycle = _FRAMES * action.frames * rng.uniform(0.82, 1.2)
        length, offset = FPS * rng.uniform(*_CYCLIC_SECONDS), float(rng.random())
    else:
        length = cycle = _FRAMES * action.frames * rng.uniform(*_SLOWER)
        offset = 0.0
    begin = (frames - length) * float(rng.uniform(_EDGE, 1 - _EDGE))
    amplitude = float(rng.uniform(0.85, 1.1))
    return Course(frames, begin, begin + length, cycle, offset, amplitude)


def draw(
    name: str,
    action: Action,
    people: tuple[Person, ...],
    camera: Camera,
    scene: Image.Image,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw a film: (T, 120, 160, 3) uint8, T from 4 to 6 s of frames.

    Args:
        name: of the action.
        action: what is done.
        people: who does it.
        camera: how it is filmed.
        scene: where.
        rng: source of the film's course and of how people stand about.
    """
    course = plan(action, rng)
    follow = rng.random() < 0.5
    place = rng.uniform(-0.25, 0.25)
    chair_x = float(rng.choice((-1, 1)) * rng.uniform(0.9, 1.5))
    spare_chair = name not in ("sit", "stand") and rng.random() < 0.3
    sway = tuple(zip(rng.uniform(0.25, 0.7, 3), rng.uniform(0, 2 * math.pi, 3), strict=True))
    way = action.travel * (course.end - course.begin) / course.cycle
    # As in the short clips, but nobody leaves the picture: the camera goes along with the rest.
    across = 0.0 if follow or not way else min(0.55, 2 * _WIDEST / way)
    pictures = []
    for number in range(course.frames):
        moment = action.at(course.phase(number), course.amplitude)
        idle = course.idle(number)
        swing = [idle * math.sin(2 * math.pi * hz * number / FPS + start) for hz, start in sway]
        moment = replace(
            moment,
            poses=tuple(_stand_about(p, 0.0 if name in _PAIRED else idle, swing) for p in moment.poses),
        )
        gone = action.travel * (course.phase(number) - course.phase(course.frames / 2))
        scroll = (1 - across) * gone
        moment = moment.moved(place + across * gone)
        if spare_chair:
            moment = replace(moment, things=(Thing("chair", (chair_x - scroll, 0.41)), *moment.things))
        progress = number / course.frames
        pictures.append(draw_frame(moment, people, scene, camera, progress=progress, scroll=scroll))
    return np.stack(pictures)


def _stand_about(pose: Pose, share: float, swing: list[float]) -> Pose:
    """Bring a pose nearer to standing, by a share from 0 to 1, and let the body sway a little."""
    rest, (lean, nod, arms) = _STANDING[pose.view], swing
    drift = 6 * arms
    near = [
        _mixed(limb, target, share, drift) for limb, target in zip(pose.arms, rest.arms, strict=True)
    ]
    legs = [_mixed(limb, target, share, 0.0) for limb, target in zip(pose.legs, rest.legs, strict=True)]
    holds = pose.holds
    if holds is not None:
        left, right = (_mixed(p, q, share, 0.02 * arms) for p, q in zip(holds, _HANGING, strict=True))
        holds = left, right
    return pose.but(
        torso=_mix(pose.torso, rest.torso, share) + 2.5 * lean,
        head=_mix(pose.head, rest.head, share) + 9 * nod,
        lift=_mix(pose.lift, rest.lift, share),
        arms=tuple(near),
        legs=tuple(legs),
        holds=holds,
    )


def _mix(a: float, b: float, share: float) -> float:
    return a + (b - a) * share


def _mixed(a: Limb | Point, b: Limb | Point, share: float, drift: float) -> tuple[float, float]:
    return _mix(a[0], b[0], share) + drift, _mix(a[1], b[1], share) + drift
