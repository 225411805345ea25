"""What an action is made of: moments with poses and things, and how an action is timed."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from r21d_lib.data.action_figures.skeleton import Point, Pose, View

RUNG = 0.34  # from one rung of the ladder to the next


@dataclass(frozen=True)
class Thing:
    """An object beside the people: a kind, a place, and what else the kind needs.

    Kinds: "ball" at a point; "stick" from a point to another, of a width; "box" (corner, size);
    "chair" (its seat's front edge); "bar" (height); "ladder" (x, scroll); `held` things follow a
    hand: "held ball", "held box", and "held stick" (angle, length) leave it from both hands.
    """

    kind: str
    at: Point = (0.0, 0.0)
    size: Point = (0.0, 0.0)


@dataclass(frozen=True)
class Moment:
    """One moment of an action: one or two people, and things."""

    poses: tuple[Pose, ...]
    things: tuple[Thing, ...] = ()

    def moved(self, x: float) -> "Moment":
        """Shift one person and the things beside, but not those held, along the ground; two stay."""
        if len(self.poses) > 1:
            return self
        return Moment(
            tuple(pose.but(x=pose.x + x) for pose in self.poses),
            tuple(
                thing
                if thing.kind.startswith("held")
                else replace(thing, at=(thing.at[0] + x, thing.at[1]))
                for thing in self.things
            ),
        )


@dataclass(frozen=True)
class Action:
    """How an action moves.

    Attributes:
        at: from phase and amplitude (about 1) to the moment.
        frames: frames of one cycle, or of the whole single action, at average speed.
        cyclic: repeats, or runs once.
        travel: how far the person goes per cycle, in body units, where it is a locomotion.
        view: seen from the side or from the front.
    """

    at: Callable[[float, float], Moment]
    frames: float
    cyclic: bool
    travel: float = 0.0
    view: View = "side"
