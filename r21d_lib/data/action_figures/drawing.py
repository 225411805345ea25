"""What a frame looks like: people and their clothes, scenes, the camera, and things.

Everything is drawn at twice the size and reduced, which smooths the edges. Far limbs are darker than
near ones, so that the order of the limbs can be seen.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from r21d_lib.data.action_figures.moments import RUNG, Moment, Thing
from r21d_lib.data.action_figures.skeleton import Body, Joints, Point, Pose, along, joints

WIDTH, HEIGHT = 160, 120
_ZOOM = 2  # drawn this much larger than kept
_MARGIN = 40  # of background on every side, for the camera to move over [drawn pixels]

Colour = tuple[int, int, int]

_SKIN: tuple[Colour, ...] = (
    (246, 212, 184),
    (226, 176, 138),
    (186, 128, 92),
    (128, 82, 56),
    (92, 58, 42),
)
_HAIR: tuple[Colour, ...] = ((38, 28, 24), (96, 62, 34), (178, 134, 70), (140, 140, 146), (150, 62, 32))


@dataclass(frozen=True)
class Person:
    """Proportions, colours and clothes of one person."""

    body: Body
    skin: Colour
    hair: Colour
    long_hair: bool
    shirt: Colour
    trousers: Colour
    shoes: Colour
    sleeves: bool
    shorts: bool
    girth: float


@dataclass(frozen=True)
class Camera:
    """Where the camera looks, and how it moves.

    Attributes:
        scale: drawn pixels in a body unit.
        ground: drawn pixels from the top to where the people stand.
        mirror: the scene is seen mirrored, so that everybody faces the other way.
        shake: amplitude of its tremble [drawn pixels].
        pan: drift over the whole clip [drawn pixels].
        light: brightness.
    """

    scale: float
    ground: float
    mirror: bool
    shake: float
    pan: float
    light: float


def random_person(rng: np.random.Generator) -> Person:
    """Draw a person: proportions, skin, hair and clothes."""
    tall, limbs = rng.normal(1.0, 0.05), rng.normal(1.0, 0.03)
    base = Body()
    body = Body(
        torso=base.torso * tall,
        head=base.head * rng.uniform(0.95, 1.12),
        upper_arm=base.upper_arm * limbs,
        forearm=base.forearm * limbs,
        thigh=base.thigh * tall * limbs,
        shin=base.shin * tall * limbs,
        shoulders=base.shoulders * rng.uniform(0.92, 1.12),
    )
    shirt, trousers = _cloth(rng), _cloth(rng)
    return Person(
        body=body,
        skin=_SKIN[rng.integers(len(_SKIN))],
        hair=_HAIR[rng.integers(len(_HAIR))],
        long_hair=bool(rng.random() < 0.4),
        shirt=shirt,
        trousers=trousers,
        shoes=tuple(int(v) for v in rng.integers(20, 120, 3)),  # type: ignore[arg-type]
        sleeves=bool(rng.random() < 0.5),
        shorts=bool(rng.random() < 0.35),
        girth=float(rng.uniform(0.9, 1.2)),
    )


def random_camera(rng: np.random.Generator, *, moving: bool) -> Camera:
    """Draw a camera; a moving one trembles and drifts."""
    scale = float(rng.uniform(76, 90))
    return Camera(
        scale=scale,
        ground=float(rng.uniform(208, 226)),
        mirror=bool(rng.random() < 0.5),
        shake=float(rng.uniform(0.8, 2.0)) if moving else 0.0,
        pan=float(rng.uniform(-22, 22)) if moving else 0.0,
        light=float(rng.uniform(0.82, 1.08)),
    )


def random_scene(rng: np.random.Generator, ground: float) -> Image.Image:
    """Draw a quiet background, larger than the frame by the camera's margin on every side."""
    width, height = WIDTH * _ZOOM + 2 * _MARGIN, HEIGHT * _ZOOM + 2 * _MARGIN
    indoor = rng.random() < 0.5
    wall = rng.uniform(150, 225, 3) if indoor else np.array([150, 190, 225]) + rng.normal(0, 14, 3)
    floor = rng.uniform(105, 175, 3) if indoor else np.array([120, 150, 95]) + rng.normal(0, 18, 3)
    horizon = int(ground + _MARGIN - rng.uniform(14, 46))
    rows = np.empty((height, 1, 3))
    rows[:horizon] = wall + np.linspace(14, -10, horizon)[:, None, None]
    rows[horizon:] = floor + np.linspace(-12, 12, height - horizon)[:, None, None]
    pixels = np.broadcast_to(rows.clip(0, 255), (height, width, 3)).astype(np.uint8)
    scene = Image.fromarray(pixels)
    draw = ImageDraw.Draw(scene)
    for _ in range(int(rng.integers(1, 5))):
        # Quiet props: with loud backgrounds small networks learned nothing in a laptop's budget.
        x, w = float(rng.uniform(0, width - 60)), float(rng.uniform(28, 70))
        tone = tuple(int(v) for v in (wall + rng.normal(0, 16, 3)).clip(40, 240))
        if indoor:
            top = float(rng.uniform(30, 110))
            box = (x, top, x + w, top + float(rng.uniform(30, 75)))
            draw.rectangle(box, fill=tone, outline=_dark(tone, 0.85))  # type: ignore[arg-type]
        else:
            tall = float(rng.uniform(40, 120))
            green = tuple(int(v) for v in (floor * rng.uniform(0.8, 1.05)).clip(0, 255))
            draw.ellipse((x, horizon - tall, x + w, horizon + 6), fill=green)
    return scene


def draw_frame(
    moment: Moment,
    people: tuple[Person, ...],
    scene: Image.Image,
    camera: Camera,
    *,
    progress: float,
    scroll: float = 0.0,
) -> np.ndarray:
    """Draw one frame.

    Args:
        moment: poses and things.
        people: who takes the poses, in order.
        scene: from `random_scene`.
        camera: from `random_camera`.
        progress: 0 to 1 through the clip, for the camera's movement.
        scroll: how far the camera has followed somebody, in body units.

    Returns:
        (120, 160, 3) uint8.
    """
    tremble = camera.shake * math.sin(31 * progress), camera.shake * math.cos(23 * progress)
    shift = camera.pan * (progress - 0.5) + tremble[0]
    # The background slides less than the ground does, as far things do, and never runs out.
    slide = max(-_MARGIN, min(_MARGIN, shift + _MARGIN * math.sin(scroll * 0.5)))
    left, top = _MARGIN + slide, _MARGIN + tremble[1]
    frame = scene.crop((int(left), int(top), int(left) + WIDTH * _ZOOM, int(top) + HEIGHT * _ZOOM))
    pen = _Pen(ImageDraw.Draw(frame), camera, WIDTH * _ZOOM / 2 - shift, camera.ground - tremble[1])
    for thing in moment.things:
        _draw_thing(pen, thing)
    for pose, person, flip in zip(moment.poses, people, (1, -1), strict=False):
        placed = joints(pose if flip == 1 else pose.but(x=-pose.x), person.body)
        pen.flip = flip
        _draw_person(pen, placed, pose, person)
        for thing in moment.things:
            _draw_held(pen, thing, placed)
    pixels = np.asarray(frame.reduce(_ZOOM), np.float32) * camera.light
    pixels = pixels[:, ::-1] if camera.mirror else pixels
    return pixels.clip(0, 255).astype(np.uint8)


class _Pen:
    """Draws in body units."""

    def __init__(self, draw: ImageDraw.ImageDraw, camera: Camera, centre: float, ground: float) -> None:
        self.draw, self.scale, self.centre, self.ground = draw, camera.scale, centre, ground
        self.flip = 1

    def at(self, point: Point) -> Point:
        """Return a point in drawn pixels."""
        x, y = point
        return self.centre + self.flip * x * self.scale, self.ground - y * self.scale

    def disc(self, point: Point, radius: float, colour: Colour) -> None:
        x, y = self.at(point)
        r = radius * self.scale
        self.draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)

    def limb(self, start: Point, end: Point, width: float, colour: Colour) -> None:
        """Draw a capsule."""
        pixels = max(1, round(width * self.scale))
        self.draw.line((*self.at(start), *self.at(end)), fill=colour, width=pixels)
        for point in (start, end):
            self.disc(point, width / 2, colour)

    def shape(self, points: list[Point], colour: Colour) -> None:
        self.draw.polygon([self.at(p) for p in points], fill=colour)


def _draw_person(pen: _Pen, joint: Joints, pose: Pose, person: Person) -> None:
    front = pose.view == "front"
    shades = (1.0, 1.0) if front else (0.72, 1.0)
    girth = person.girth
    # From the side: far arm, far leg, near leg, torso, head, near arm. From the front: arms last.
    if not front:
        _draw_arm(pen, joint, person, 0, shades[0])
    for side in (0, 1):
        trousers, skin = _dark(person.trousers, shades[side]), _dark(person.skin, shades[side])
        hip, knee, foot = joint.hips[side], joint.knees[side], joint.feet[side]
        pen.limb(knee, foot, 0.105 * girth, skin if person.shorts else trousers)
        pen.limb(hip, knee, 0.15 * girth, trousers)
        pen.limb(foot, joint.toes[side], 0.085, _dark(person.shoes, shades[side]))
    if front:
        left, right = joint.shoulders
        low_left, low_right = joint.hips
        pen.shape([left, right, low_right, low_left], person.shirt)
        for a, b in ((left, low_left), (right, low_right), (left, right)):
            pen.limb(a, b, 0.13 * girth, person.shirt)
    else:
        pen.limb(joint.pelvis, joint.neck, 0.24 * girth, person.shirt)
    pen.limb(joint.pelvis, joint.pelvis, 0.2 * girth, person.trousers)
    _draw_head(pen, joint, person, front)
    for side in (0, 1) if front else (1,):
        _draw_arm(pen, joint, person, side, 0.94 if front else 1.0)


def _draw_arm(pen: _Pen, joint: Joints, person: Person, side: int, shade: float) -> None:
    shirt, skin = _dark(person.shirt, shade * 0.92), _dark(person.skin, shade)
    shoulder, elbow, hand = joint.shoulders[side], joint.elbows[side], joint.hands[side]
    pen.limb(elbow, hand, 0.085, shirt if person.sleeves else skin)
    pen.limb(shoulder, elbow, 0.105, shirt)
    pen.disc(hand, 0.062, skin)


def _draw_head(pen: _Pen, joint: Joints, person: Person, front: bool) -> None:
    radius = person.body.head
    x, y = joint.head
    up = (x - joint.neck[0], y - joint.neck[1])
    length = math.hypot(*up) or 1.0
    up = up[0] / length, up[1] / length
    ahead = up[1], -up[0]
    pen.limb(joint.neck, joint.head, 0.09, person.skin)

    def offset(forward: float, upward: float) -> Point:
        return (
            x + radius * (forward * ahead[0] + upward * up[0]),
            y + radius * (forward * ahead[1] + upward * up[1]),
        )

    if person.long_hair:
        back = 0.0 if front else -0.55
        pen.disc(offset(back, -0.35), radius * 0.95, person.hair)
    pen.disc(offset(0 if front else -0.12, 0.16), radius * 1.08, person.hair)
    pen.disc(offset(0 if front else 0.14, -0.1), radius * 0.94, person.skin)
    if front:
        for eye in (-0.38, 0.38):
            pen.disc(offset(eye, 0.05), radius * 0.13, (40, 30, 30))
    else:
        pen.disc(offset(1.0, -0.15), radius * 0.2, person.skin)
        pen.disc(offset(0.6, 0.1), radius * 0.13, (40, 30, 30))


def _draw_thing(pen: _Pen, thing: Thing) -> None:
    """Draw a thing that stands or flies by itself."""
    (x, y), (a, b) = thing.at, thing.size
    wood, dark = (150, 108, 66), (92, 70, 52)
    if thing.kind == "ball":
        pen.disc((x, y), a, (214, 112, 44) if a > 0.1 else (245, 245, 240))
    elif thing.kind == "box":
        pen.shape([(x, y), (x + a, y), (x + a, y + b), (x, y + b)], wood)
        pen.shape(
            [(x, y + 0.45 * b), (x + a, y + 0.45 * b), (x + a, y + 0.55 * b), (x, y + 0.55 * b)], dark
        )
    elif thing.kind == "chair":
        pen.limb((x, y), (x - 0.5, y), 0.07, dark)
        pen.limb((x - 0.5, y), (x - 0.55, y + 0.55), 0.07, dark)
        for leg in (x - 0.03, x - 0.47):
            pen.limb((leg, y), (leg, 0.0), 0.055, dark)
    elif thing.kind == "bar":
        pen.limb((x - 0.95, y), (x + 0.95, y), 0.06, dark)
        for post in (x - 0.95, x + 0.95):
            pen.limb((post, y), (post, 0.0), 0.06, dark)
    elif thing.kind == "ladder":
        for rail in (x - 0.05, x + 0.09):
            pen.limb((rail, 0.0), (rail, 2.8), 0.05, dark)
        for rung in range(-1, 9):
            height = rung * RUNG - b % RUNG
            pen.limb((x - 0.05, height), (x + 0.09, height), 0.07, wood)


def _draw_held(pen: _Pen, thing: Thing, joint: Joints) -> None:
    """Draw a thing that is in somebody's hands."""
    (angle, length), (a, b) = thing.at, thing.size
    (x0, y0), (x1, y1) = joint.hands
    middle = (x0 + x1) / 2, (y0 + y1) / 2
    if thing.kind == "held ball":
        pen.disc(joint.hands[1], a, (245, 245, 240))
    elif thing.kind == "held box":
        x, y = middle[0] - a / 2 + 0.04, middle[1] - b
        pen.shape([(x, y), (x + a, y), (x + a, y + b), (x, y + b)], (150, 108, 66))
    elif thing.kind == "held stick":
        pen.limb(middle, along(middle, angle, length), a, (70, 56, 48))


def _dark(colour: Colour, factor: float) -> Colour:
    return tuple(int(v * factor) for v in colour)  # type: ignore[return-value]


def _cloth(rng: np.random.Generator) -> Colour:
    hue, value = rng.random(), rng.uniform(0.35, 0.9)
    wheel = [0.5 + 0.5 * math.cos(2 * math.pi * (hue - k / 3)) for k in range(3)]
    saturation = rng.uniform(0.35, 0.9)
    return tuple(int(255 * value * (1 - saturation * (1 - w))) for w in wheel)  # type: ignore[return-value]
