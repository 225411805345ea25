"""The actions, each a function from a phase to poses and things: twelve targets, fourteen sources.

A cyclic action repeats with every whole phase; a single one runs from phase 0 to 1 and rests there.
"""

import math
from itertools import pairwise
from typing import Any

from r21d_lib.data.action_figures.moments import RUNG, Action, Moment, Thing
from r21d_lib.data.action_figures.skeleton import Pose


def _sin(phase: float) -> float:
    return math.sin(2 * math.pi * phase)


def _ease(phase: float) -> float:
    """Go smoothly from 0 to 1 as the phase does, and stay there outside."""
    return (1 - math.cos(math.pi * min(max(phase, 0.0), 1.0))) / 2


def _mix(a: float, b: float, w: float) -> float:
    return a + (b - a) * w


def _keyed(phase: float, *keys: tuple[float, float]) -> float:
    """Interpolate smoothly between (phase, value) keys."""
    for (p0, v0), (p1, v1) in pairwise(keys):
        if phase < p1:
            return _mix(v0, v1, _ease((phase - p0) / (p1 - p0)))
    return keys[-1][1]


def _stride(phase: float, swing: float, flex: float, lean: float) -> tuple[float, float]:
    """Return thigh and shin of one leg of a walk or run."""
    thigh = lean + swing * _sin(phase)
    return thigh, thigh - 6 - flex * max(0.0, math.cos(2 * math.pi * phase)) ** 1.5


def _alone(*things: Thing, **pose: Any) -> Moment:
    """Return a moment of one person in a pose, with things beside."""
    return Moment((Pose(**pose),), things)


# Target classes -----------------------------------------------------------------------------------


def _walk(p: float, a: float) -> Moment:
    arms = tuple((-22 * a * _sin(q), -22 * a * _sin(q) + 14) for q in (p, p + 0.5))
    legs = (_stride(p, 26 * a, 45, 0), _stride(p + 0.5, 26 * a, 45, 0))
    return _alone(torso=3, arms=arms, legs=legs)


def _run(p: float, a: float) -> Moment:
    arms = tuple((-48 * a * _sin(q), -48 * a * _sin(q) + 92) for q in (p, p + 0.5))
    legs = (_stride(p, 46 * a, 95, 12), _stride(p + 0.5, 46 * a, 95, 12))
    lift = 0.09 * abs(_sin(p + 0.02))
    return _alone(torso=15, arms=arms, legs=legs, lift=lift)


def _jump(p: float, a: float) -> Moment:
    q = p % 1
    crouch = _keyed(q, (0, 0), (0.28, 1), (0.42, -0.1), (0.72, 0.1), (0.84, 0.8), (1, 0))
    arm = _keyed(q, (0, 10), (0.26, -60), (0.45, 165), (0.7, 120), (1, 10))
    lift = 0.4 * a * max(0.0, math.sin(math.pi * (q - 0.38) / 0.38)) if 0.38 < q < 0.76 else 0.0
    thigh, shin = 62 * crouch, -52 * crouch
    return _alone(
        torso=38 * crouch,
        arms=((arm, arm + 12), (arm - 6, arm + 8)),
        legs=((thigh, shin), (thigh - 5, shin - 4)),
        lift=lift,
    )


def _clap(p: float, a: float) -> Moment:
    # From palms together before the chest to beside the shoulders.
    apart = 0.5 - 0.5 * math.cos(2 * math.pi * p)
    away, height = 0.04 + 0.42 * a * apart, 1.24 + 0.2 * apart
    pose = Pose(view="front", holds=((-away, height), (away, height)), bend=1, legs=((5, 3), (5, 3)))
    return Moment((pose,))


def _wave(p: float, a: float) -> Moment:
    arm = 128.0, 182 + 40 * a * _sin(p)
    return _alone(view="front", arms=((8, 6), arm), legs=((5, 3), (5, 3)))


def _pick(p: float, a: float) -> Moment:
    down = _keyed(p, (0, 0), (0.5, 1), (0.58, 1), (1, 0))
    pose = Pose(
        torso=88 * down * min(a, 1.05),
        arms=((4 + 26 * down, 10 + 10 * down), (2 + 30 * down, 10 + 12 * down)),
        legs=((38 * down, -26 * down), (34 * down - 3, -30 * down)),
        anchor="foot",
        x=-0.15,
        head=-20 * down,
    )
    if p < 0.54:
        return Moment((pose,), (Thing("box", (0.28, 0.0), (0.2, 0.17)),))
    return Moment((pose,), (Thing("held box", size=(0.2, 0.17)),))


def _sit(p: float, a: float) -> Moment:
    down = _ease(p)
    lean = 34 * a * math.sin(math.pi * min(max(p, 0.0), 1.0))
    thigh, shin = 86 * down, -4 * down
    pose = Pose(
        torso=lean + 2,
        arms=((6 + 34 * down, 14 + 60 * down), (-2 + 34 * down, 8 + 58 * down)),
        legs=((thigh + 4, shin + 4), (thigh - 3, shin - 3)),
        anchor="foot",
        x=0.15,
    )
    return Moment((pose,), (Thing("chair", (-0.08, 0.41)),))


def _stand(p: float, a: float) -> Moment:
    return _sit(1 - p, a)


def _cartwheel(p: float, a: float) -> Moment:
    turn = 360 * _mix(p, _ease(p), 0.4)
    spread = _keyed(p, (0, 0), (0.18, 1), (0.82, 1), (1, 0))
    arms = (168.0, 172.0)
    leg = 8 + 38 * spread * a
    return _alone(
        view="front",
        arms=(arms, arms),
        legs=((leg, leg), (leg, leg)),
        turn=turn,
        x=_mix(-0.7, 0.7, p),
    )


def _put(p: float, a: float) -> Moment:
    return _pick(1 - p, a)


def _throw(p: float, a: float) -> Moment:
    upper = _keyed(p, (0, 20), (0.35, -70), (0.55, 150), (0.7, 80), (1, 10))
    fore = _keyed(p, (0, 60), (0.35, -150), (0.48, 205), (0.62, 110), (1, 20))
    lead = _keyed(p, (0, 15), (0.35, 80), (0.6, 0), (1, -10))
    step = _keyed(p, (0, 2), (0.35, 40 * a), (0.6, 28), (1, 24))
    lean = _keyed(p, (0, 0), (0.35, -16), (0.65, 24), (1, 14))
    pose = Pose(
        torso=lean,
        arms=((lead, lead + 20), (upper, fore)),
        legs=((step, step * 0.3), (-18, -34)),
        x=-0.2,
    )
    if p < 0.58:
        return Moment((pose,), (Thing("held ball", size=(0.09, 0.0)),))
    flight = (p - 0.58) * 5
    at = (0.35 + flight, 1.5 + 0.5 * flight - 0.7 * flight**2)
    return Moment((pose,), (Thing("ball", at, (0.09, 0.0)),))


def _catch(p: float, a: float) -> Moment:
    return _throw(1 - p, a)


# Source classes -----------------------------------------------------------------------------------


def _kick(p: float, a: float) -> Moment:
    q = p % 1
    thigh = _keyed(q, (0, -4), (0.25, -38), (0.5, 92 * a), (0.65, 80 * a), (1, -4))
    shin = _keyed(q, (0, -6), (0.25, -95), (0.42, 20), (0.52, 92 * a), (0.66, 60), (1, -6))
    lean = _keyed(q, (0, 0), (0.25, 10), (0.52, -20), (1, 0))
    arm = -0.5 * thigh
    return _alone(
        torso=lean,
        arms=((-arm + 12, -arm + 50), (arm, arm + 30)),
        legs=((2, -4), (thigh, shin)),
        anchor="lowest",
    )


def _punch(p: float, a: float) -> Moment:
    def arm(q: float) -> tuple[float, float]:
        out = max(0.0, _sin(q)) ** 0.7
        return _mix(28, 91, out * min(a, 1.05)), _mix(148, 91, out)

    return _alone(
        torso=8 + 6 * abs(_sin(p)),
        arms=(arm(p + 0.5), arm(p)),
        legs=((30, 8), (-16, -34)),
    )


def _pushup(p: float, a: float) -> Moment:
    height = _mix(0.56, 0.16, (0.5 - 0.5 * math.cos(2 * math.pi * p)) * min(a, 1.0))
    slope = math.degrees(math.asin((height + 0.02) / 1.42))
    hands = ((0.0, -height), (0.03, -height))
    line = 90 - slope
    return _alone(
        torso=line,
        hands=hands,
        bend=1,
        legs=((-line, -line), (-line - 1, -line + 1)),
        head=-18,
        anchor="foot",
        x=-0.85,
    )


def _climb(p: float, a: float) -> Moment:
    # The camera climbs too: the body stays, the ladder sinks by two rungs a cycle, and each hand and
    # foot rides one rung down for half of it and then reaches for the next but one.
    def height(q: float, top: float) -> float:
        q = q % 1
        return top - RUNG * (2 * q if q < 0.5 else 1 - _ease(2 * q - 1))

    pose = Pose(
        torso=6,
        holds=((0.3, height(p, 5 * RUNG)), (0.32, height(p + 0.5, 5 * RUNG))),
        steps=((0.26, height(p + 0.5, 2 * RUNG)), (0.28, height(p, 2 * RUNG))),
        bend=-1,
        anchor="pelvis",
        lift=1.05 + 0.02 * a * _sin(2 * p),
        x=-0.12,
    )
    return Moment((pose,), (Thing("ladder", (0.18, 0.0), (0.0, 2 * RUNG * p)),))


def _dribble(p: float, a: float) -> Moment:
    # The hand meets the ball at its top and follows it a little; the floor throws it back.
    height = 0.12 + 0.62 * (1 - abs(2 * (p % 1) - 1) ** 1.6)
    hand = 0.3, -0.36 + 0.12 * a * math.cos(2 * math.pi * (p - 0.5))
    pose = Pose(
        torso=20,
        hands=((-0.12, -0.44), hand),
        bend=-1,
        legs=((34, -18), (14, -34)),
        x=-0.2,
    )
    return Moment((pose,), (Thing("ball", (0.28, height), (0.12, 0.0)),))


def _fall_floor(p: float, a: float) -> Moment:
    q = _ease(p) ** 1.4
    buckle = math.sin(math.pi * min(p, 1.0))
    return _alone(
        torso=-14 * buckle,
        arms=((30 + 90 * q, 50 + 80 * q), (10 + 120 * q, 30 + 110 * q)),
        legs=((38 * buckle + 6, -28 * buckle), (20 * buckle - 4, -40 * buckle)),
        turn=-88 * q,
        x=_mix(0.25, 0.1, q),
    )


def _golf(p: float, a: float) -> Moment:
    # Seen from the front: both hands on the club swing from high on one side to high on the other.
    angle = _keyed(p, (0, 0), (0.1, 0), (0.45, -128 * a), (0.62, 10), (0.85, 130), (1, 130))
    x, y = 0.5 * math.sin(math.radians(angle)), -0.5 * math.cos(math.radians(angle))
    hands = ((x + 0.17, y), (x - 0.17, y))
    club = angle * 1.25
    flight = max(0.0, p - 0.6) * 3.2
    things = (
        Thing("held stick", (club, 0.86), (0.035, 0.0)),
        Thing("ball", (0.06 + flight, 0.05 + 0.7 * flight), (0.05, 0.0)),
    )
    pose = Pose(view="front", hands=hands, bend=-1, legs=((14, 6), (14, 6)), torso=angle * 0.05)
    return Moment((pose,), things)


def _handstand(p: float, a: float) -> Moment:
    turn = _keyed(p, (0, 0), (0.15, 10), (0.7, 180), (1, 180))
    arm = _keyed(p, (0, 20), (0.2, 160), (0.4, 178), (1, 180))
    split = 46 * a * math.sin(math.pi * min(max((p - 0.1) / 0.75, 0.0), 1.0))
    wobble = 5 * _sin(2 * p) if p > 0.6 else 0.0
    return _alone(
        torso=0,
        arms=((arm, arm), (arm - 2, arm + 2)),
        legs=((split + wobble, split * 0.6), (-split + wobble, -split)),
        turn=turn,
        x=_mix(-0.3, 0.1, _ease(p)),
    )


def _pullup(p: float, a: float) -> Moment:
    up = 0.5 - 0.5 * math.cos(2 * math.pi * p)
    height = _mix(0.57, 0.12, up * min(a, 1.0))
    return _alone(
        Thing("bar", (0.0, 1.98)),
        view="front",
        hands=((-0.14, height), (0.14, height)),
        bend=1,
        legs=((4, 2), (6, 3)),
        anchor="hands",
        lift=1.98,
    )


def _push(p: float, a: float) -> Moment:
    legs = (_stride(p, 24 * a, 40, -12), _stride(p + 0.5, 24 * a, 40, -12))
    pose = Pose(torso=32, holds=((0.78, 1.0), (0.78, 0.94)), bend=-1, legs=legs, x=-0.42)
    return Moment((pose,), (Thing("box", (0.42, 0.0), (0.8, 1.15)),))


def _shake_hands(p: float, a: float) -> Moment:
    shake = 9 * a * _sin(p)
    arm = (38 + shake, 84 + shake)
    left = Pose(x=-0.54, arms=((-4, 6), arm), torso=4)
    right = Pose(x=0.54, arms=((-4, 6), arm), torso=4)
    return Moment((left, right))


def _situp(p: float, a: float) -> Moment:
    up = 0.5 - 0.5 * math.cos(2 * math.pi * p)
    torso = _mix(-88, 22, up * min(a, 1.0))
    arm = 180 - torso
    return _alone(
        torso=torso,
        arms=((arm - 50, arm + 95), (arm - 55, arm + 90)),
        legs=((128, 22), (124, 18)),
        anchor="foot",
        x=0.6,
    )


def _somersault(p: float, a: float) -> Moment:
    tuck = _keyed(p, (0, 0.25), (0.22, 1), (0.8, 1), (1, 0.25))
    turn = 360 * _ease((p - 0.1) / 0.8)
    return _alone(
        torso=52 * tuck,
        head=34 * tuck,
        arms=((40 + 30 * tuck, 60 * tuck), (36 + 30 * tuck, 56 * tuck)),
        legs=((112 * tuck, -44 * tuck), (108 * tuck, -48 * tuck)),
        turn=turn,
        x=_mix(-0.65, 0.65, p),
    )


def _swing_baseball(p: float, a: float) -> Moment:
    # The hands cross at chest height while the bat turns from over the back shoulder to the front.
    x = _keyed(p, (0, -0.26), (0.3, -0.3), (0.62, 0.42), (1, 0.3))
    y = _keyed(p, (0, 0.02), (0.3, 0.06), (0.5, -0.16), (1, 0.1))
    bat = _keyed(p, (0, 205), (0.3, 225), (0.6, 90), (0.8, 55), (1, 40))
    step = _keyed(p, (0, 0), (0.35, 12), (0.6, 22), (1, 22))
    pose = Pose(
        torso=_keyed(p, (0, 0), (0.3, -8), (0.65, 8), (1, 4)) * a,
        hands=((x, y), (x + 0.03, y - 0.06)),
        bend=-1,
        legs=((14 + step, 8), (-14, -24)),
    )
    return Moment((pose,), (Thing("held stick", (bat, 0.66), (0.06, 0.0)),))


TARGET_ACTIONS: dict[str, Action] = {
    "cartwheel": Action(_cartwheel, 32, cyclic=False, view="front"),
    "catch": Action(_catch, 30, cyclic=False),
    "clap": Action(_clap, 12, cyclic=True, view="front"),
    "jump": Action(_jump, 28, cyclic=True),
    "pick": Action(_pick, 34, cyclic=False),
    "put": Action(_put, 34, cyclic=False),
    "run": Action(_run, 17, cyclic=True, travel=1.5),
    "sit": Action(_sit, 30, cyclic=False),
    "stand": Action(_stand, 30, cyclic=False),
    "throw": Action(_throw, 30, cyclic=False),
    "walk": Action(_walk, 30, cyclic=True, travel=1.1),
    "wave": Action(_wave, 14, cyclic=True, view="front"),
}
# The second of each pair is the first played backwards: their frames are the same, and only the order
# tells them apart. A network that does not see it gets half of these six classes right at most.
MOTION_PAIRS = (("pick", "put"), ("sit", "stand"), ("throw", "catch"))
ORDER_BLIND_CEILING = 1 - len(MOTION_PAIRS) / len(TARGET_ACTIONS)
SOURCE_ACTIONS: dict[str, Action] = {
    "climb": Action(_climb, 26, cyclic=True),
    "dribble": Action(_dribble, 15, cyclic=True),
    "fall_floor": Action(_fall_floor, 26, cyclic=False),
    "golf": Action(_golf, 36, cyclic=False, view="front"),
    "handstand": Action(_handstand, 36, cyclic=False),
    "kick": Action(_kick, 26, cyclic=True),
    "pullup": Action(_pullup, 34, cyclic=True, view="front"),
    "punch": Action(_punch, 20, cyclic=True),
    "push": Action(_push, 34, cyclic=True, travel=0.7),
    "pushup": Action(_pushup, 26, cyclic=True),
    "shake_hands": Action(_shake_hands, 11, cyclic=True),
    "situp": Action(_situp, 34, cyclic=True),
    "somersault": Action(_somersault, 34, cyclic=False),
    "swing_baseball": Action(_swing_baseball, 30, cyclic=False),
}
