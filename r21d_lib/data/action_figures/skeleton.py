"""An articulated figure in the picture plane: limb lengths, poses, and where every joint then is.

Lengths are in body units (a person of average height is 1.75), x to the right, y up, the ground at 0.
Angles are in degrees. A limb's angle is absolute: 0 hangs straight down, 90 points forward (to +x,
or outward in a front view), 180 points up. The torso's 0 is upright, 90 lies forward.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Point = tuple[float, float]
View = Literal["side", "front"]
Limb = tuple[float, float]  # angles of upper arm and forearm, or of thigh and shin


@dataclass(frozen=True)
class Body:
    """Lengths of one person, in body units."""

    torso: float = 0.56
    neck: float = 0.09
    head: float = 0.13
    upper_arm: float = 0.31
    forearm: float = 0.30
    thigh: float = 0.43
    shin: float = 0.44
    shoulders: float = 0.19
    hips: float = 0.10


@dataclass(frozen=True)
class Pose:
    """What the body does at one moment; the first limb of a pair is the far or left one.

    Attributes:
        torso: lean.
        arms: angles of the two arms.
        legs: angles of the two legs.
        hands: where the hands reach, relative to their shoulders; replaces `arms` where given.
        holds: where the hands are in the scene, from x and the ground: on things that stand still.
        steps: where the feet are in the scene, likewise; replaces `legs` where given.
        bend: which way elbows bend when hands reach: 1 or -1; knees bend the other way.
        turn: rotation of the whole body in the picture plane, clockwise seen from the camera.
        x: place on the ground.
        lift: height above the ground of the lowest joint.
        anchor: the point that stays at (x, lift): "lowest" joint's height only, the near "foot", the
            "pelvis", or the "hands", from which a body hangs.
        view: side or front.
        head: nod, added to the torso's lean.
    """

    torso: float = 0.0
    arms: tuple[Limb, Limb] = ((8.0, 14.0), (-6.0, 4.0))
    legs: tuple[Limb, Limb] = ((4.0, 2.0), (-4.0, -6.0))
    hands: tuple[Point, Point] | None = None
    holds: tuple[Point, Point] | None = None
    steps: tuple[Point, Point] | None = None
    bend: float = 1.0
    turn: float = 0.0
    x: float = 0.0
    lift: float = 0.0
    anchor: Literal["lowest", "foot", "pelvis", "hands"] = "lowest"
    view: View = "side"
    head: float = 0.0

    def but(self, **changes: object) -> "Pose":
        """Return the pose with some of its attributes changed."""
        return replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Joints:
    """Places of the joints, in body units; pairs are (far or left, near or right)."""

    pelvis: Point
    neck: Point
    head: Point
    shoulders: tuple[Point, Point]
    elbows: tuple[Point, Point]
    hands: tuple[Point, Point]
    hips: tuple[Point, Point]
    knees: tuple[Point, Point]
    feet: tuple[Point, Point]
    toes: tuple[Point, Point] = field(default=((0.0, 0.0), (0.0, 0.0)))


def along(start: Point, angle: float, length: float) -> Point:
    """Return the point `length` away from `start` in a limb's direction."""
    a = math.radians(angle)
    return start[0] + length * math.sin(a), start[1] - length * math.cos(a)


def reach(dx: float, dy: float, upper: float, lower: float, bend: float) -> Limb:
    """Return the angles that bring a two-bone limb's end to (dx, dy) from its root.

    A target out of reach is approached as far as the limb goes.
    """
    distance = min(max(math.hypot(dx, dy), abs(upper - lower) + 1e-3), upper + lower - 1e-3)
    direction = math.degrees(math.atan2(dx, -dy))
    cosine = (upper**2 + distance**2 - lower**2) / (2 * upper * distance)
    first = direction - bend * math.degrees(math.acos(max(-1.0, min(1.0, cosine))))
    elbow = along((0.0, 0.0), first, upper)
    scale = distance / max(math.hypot(dx, dy), 1e-6)
    rest = dx * scale - elbow[0], dy * scale - elbow[1]
    return first, math.degrees(math.atan2(rest[0], -rest[1]))


def joints(pose: Pose, body: Body) -> Joints:
    """Return where every joint of a body in a pose is."""
    front = pose.view == "front"
    pelvis: Point = (0.0, 0.0)
    neck = along(pelvis, 180 - pose.torso, body.torso)
    head = along(neck, 180 - pose.torso - pose.head, body.neck + body.head)
    # A front view shows both shoulders; from the side they nearly cover each other.
    width = body.shoulders if front else 0.025
    hip = body.hips if front else 0.02
    across = math.radians(pose.torso)
    root = along(neck, -pose.torso, 0.05)

    def beside(point: Point, by: float) -> Point:
        return point[0] + by * math.cos(across), point[1] - by * math.sin(across)

    places: dict[str, list[Point]] = {
        name: [] for name in ("shoulders", "elbows", "hands", "hips", "knees", "feet", "toes")
    }
    for side, sign in enumerate((-1.0, 1.0)):
        # In a front view the left limbs mirror the right ones: angles count outward.
        mirror = sign if front else 1.0
        shoulder = beside(root, sign * width)
        if pose.hands is None:
            upper, fore = pose.arms[side]
        else:
            dx, dy = pose.hands[side]
            upper, fore = reach(dx * mirror, dy, body.upper_arm, body.forearm, pose.bend)
        elbow = along(shoulder, upper * mirror, body.upper_arm)
        thigh, shin = pose.legs[side]
        hip_point = beside(pelvis, sign * hip)
        knee = along(hip_point, thigh * mirror, body.thigh)
        foot = along(knee, shin * mirror, body.shin)
        toe = along(foot, (shin + (90 if not front else 35)) * mirror, 0.14 if not front else 0.07)
        for name, point in (
            ("shoulders", shoulder),
            ("elbows", elbow),
            ("hands", along(elbow, fore * mirror, body.forearm)),
            ("hips", hip_point),
            ("knees", knee),
            ("feet", foot),
            ("toes", toe),
        ):
            places[name].append(point)
    single = {"pelvis": pelvis, "neck": neck, "head": head}
    placed = _placed(pose, single, places)
    for side, sign in enumerate((-1.0, 1.0)):
        mirror = sign if front else 1.0
        if pose.holds is not None:
            lengths = body.upper_arm, body.forearm
            ends = _stretch(
                placed["shoulders"][side], pose.holds[side], pose, lengths, pose.bend * mirror
            )
            placed["elbows"][side], placed["hands"][side] = ends
        if pose.steps is not None:
            lengths = body.thigh, body.shin
            ends = _stretch(placed["hips"][side], pose.steps[side], pose, lengths, -pose.bend * mirror)
            placed["knees"][side], placed["feet"][side] = ends
            placed["toes"][side] = ends[1][0] + 0.14, ends[1][1]
    return Joints(**{name: p if name in single else tuple(p) for name, p in placed.items()})


def _stretch(
    root: Point, end: Point, pose: Pose, lengths: tuple[float, float], bend: float
) -> tuple[Point, Point]:
    """Return the joint and the end of a limb that reaches from its root to a place in the scene."""
    upper, lower = reach(pose.x + end[0] - root[0], end[1] - root[1], *lengths, bend)
    joint = along(root, upper, lengths[0])
    return joint, along(joint, lower, lengths[1])


def _placed(pose: Pose, single: dict[str, Point], pairs: dict[str, list[Point]]) -> dict[str, Any]:
    """Turn the body about its pelvis and move it to where its anchor says."""
    a = math.radians(pose.turn)

    def turned(p: Point) -> Point:
        return (
            p[0] * math.cos(a) + p[1] * math.sin(a),
            -p[0] * math.sin(a) + p[1] * math.cos(a),
        )

    single = {name: turned(p) for name, p in single.items()}
    pairs = {name: [turned(p) for p in ps] for name, ps in pairs.items()}
    if pose.anchor == "hands":
        (x1, y1), (x2, y2) = pairs["hands"]
        dx, dy = pose.x - (x1 + x2) / 2, pose.lift - (y1 + y2) / 2
    elif pose.anchor == "pelvis":
        dx, dy = pose.x, pose.lift
    else:
        lowest = min(y for ps in (list(single.values()), *pairs.values()) for _, y in ps)
        dy = pose.lift - lowest
        dx = pose.x - (pairs["feet"][1][0] if pose.anchor == "foot" else 0.0)

    def moved(p: Point) -> Point:
        return p[0] + dx, p[1] + dy

    places: dict[str, Any] = {name: moved(p) for name, p in single.items()}
    return places | {name: [moved(p) for p in ps] for name, ps in pairs.items()}
