"""What a network says of one video: the best classes, when they were seen, and a picture of it."""

import base64
import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from r21d_lib.plots.style import Figure


class Answer(NamedTuple):
    """One class of a prediction.

    Attributes:
        label: the class's name.
        probability: 0 to 1, the mean over the clips.
        agreement: share of the clips whose best class it is, 0 to 1.
    """

    label: str
    probability: float
    agreement: float


class Spell(NamedTuple):
    """A stretch of a video whose clips all say the same.

    Attributes:
        start: seconds from the video's first frame.
        end: seconds.
        label: the class's name.
        probability: 0 to 1, the mean over its clips.
    """

    start: float
    end: float
    label: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """What a network says of one video.

    Attributes:
        name: the video's path, or "" for frames from memory.
        classes: class names.
        probabilities: (clips, classes) float32, softmax of each clip, in time's order.
        starts: (clips,) int64, the first of each clip's frames, counted at the rate of the clips.
        span: frames that a clip covers, likewise.
        times: (frames + 1,) float64, when each of the video's frames is shown, and the end [s].
        moments: the same of the frames that clips were cut from: `times`, unless the checkpoint has a
            rate of its own (`ClipSettings.fps`).
        pictures: a few (h, w, 3) uint8 frames, evenly spaced, to show.
        features: an activation's name to (clips, ...) float32, those that were asked for.
        knows: what the network can answer at all, as its card says (`Card.world`).
    """

    name: str
    classes: tuple[str, ...]
    probabilities: np.ndarray
    starts: np.ndarray
    span: int
    times: np.ndarray
    moments: np.ndarray
    pictures: tuple[np.ndarray, ...] = ()
    features: Mapping[str, np.ndarray] = field(default_factory=dict)
    knows: str = ""

    @property
    def num_frames(self) -> int:
        """The frames that were decoded."""
        return len(self.times) - 1

    @property
    def fps(self) -> float:
        """Frames a second, on average."""
        return self.num_frames / float(self.times[-1])

    def seconds(self, frames: np.ndarray) -> np.ndarray:
        """Return when frames that clips are cut from are shown [s]; halves are between two."""
        return np.interp(frames, np.arange(len(self.moments)), self.moments)

    def top(self, count: int = 5) -> list[Answer]:
        """Return the classes with the highest mean probability, the best first."""
        return self._answers(self.probabilities.mean(0), count)

    def at(self, seconds: float, count: int = 5) -> list[Answer]:
        """Return the best classes at a moment, the agreement being the whole video's.

        The surest clip that holds the moment and says what `spells` says of it is asked: a clip that
        runs over a cut, or over the end of an action, says anything, but seldom surely.
        """
        place = float(np.interp(seconds, self.moments, np.arange(len(self.moments))))
        spells = self._spells
        spell = next((s for s in spells if place + 1e-6 < s.end), spells[-1])
        same = np.flatnonzero(self._best == self.classes.index(spell.label))
        # A clip is as far from a moment that it holds as from any other that it holds.
        away = np.maximum(np.maximum(self.starts[same] - place, place - self._ends[same]), 0)
        nearest = same[away == away.min()]
        return self._answers(self.probabilities[nearest[self._sureness[nearest].argmax()]], count)

    def timeline(self) -> "pd.DataFrame":
        """Return a row a clip: start and end [s], its best class (label) and that one's probability."""
        import pandas as pd

        return pd.DataFrame(
            {
                "start": self.seconds(self.starts),
                "end": self.seconds(self._ends),
                "label": [self.classes[i] for i in self._best],
                "probability": self._sureness,
            }
        )

    def spells(self) -> list[Spell]:
        """Return what happens from when to when: each moment's class is that of its surest clip.

        What lasts less than one clip is left to the surer neighbour: no clip has seen it alone.
        """
        found = self._spells
        at = [self.seconds(np.array((spell.start, spell.end))).tolist() for spell in found]
        return [s._replace(start=a, end=b) for s, (a, b) in zip(found, at, strict=True)]

    @cached_property
    def _spells(self) -> list[Spell]:
        """The spells with frames for seconds."""
        edges, chosen = self._surest
        labels, lengths = self._best[chosen], np.diff(edges)
        changes = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist(), len(labels)]
        found = [
            Spell(
                float(edges[first]),
                float(edges[after]),
                self.classes[labels[first]],
                float(np.average(self._sureness[chosen[first:after]], weights=lengths[first:after])),
            )
            for first, after in pairwise(changes)
        ]
        while len(found) > 1:
            shortest = min(range(len(found)), key=lambda i: found[i].end - found[i].start)
            if found[shortest].end - found[shortest].start >= self.span:
                break
            _give_away(found, shortest)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return name, length, the five best classes and the spells as plain values, for JSON."""
        return {
            "video": self.name,
            "frames": self.num_frames,
            "fps": self.fps,
            "clips": len(self.starts),
            "top": [answer._asdict() for answer in self.top()],
            "timeline": [spell._asdict() for spell in self.spells()],
            "knows": self.knows,
        }

    def figure(self) -> "Figure":
        """Draw the video's frames, what its clips say over time, and the mean as bars.

        A clip's column reaches half way to its neighbours' centres.
        """
        from r21d_lib import plots

        best = self.top()
        edges = np.concatenate([self.starts[:1], self._middles, self._ends[-1:]])
        return plots.prediction(
            self.pictures,
            self.probabilities[:, [self.classes.index(answer.label) for answer in best]],
            [answer.label for answer in best],
            [answer.agreement for answer in best],
            edges=self.seconds(edges),
            title=self.name.replace("\\", "/").rsplit("/", 1)[-1],
        )

    def _repr_html_(self) -> str:
        figure = self.figure()
        said = ", ".join(f"{answer.label} {answer.probability:.2f}" for answer in self.top())
        picture = base64.b64encode(figure.picture()).decode()
        source = f"data:image/{figure.format};base64,{picture}"
        note = f"<br><small>The network {html.escape(self.knows)}.</small>" if self.knows else ""
        return f'<img src="{source}" alt="{html.escape(said)}" style="max-width: 100%">{note}'

    @cached_property
    def _best(self) -> np.ndarray:
        return self.probabilities.argmax(1)

    @cached_property
    def _ends(self) -> np.ndarray:
        """(clips,) the frame after each clip's last; a short video ends before its only clip does."""
        return np.minimum(self.starts + self.span, len(self.moments) - 1)

    @cached_property
    def _middles(self) -> np.ndarray:
        """(clips - 1,) frames half way between a clip and the next, whether they overlap or not."""
        return (self._ends[:-1] + self.starts[1:]) / 2

    @cached_property
    def _sureness(self) -> np.ndarray:
        """(clips,) the probability of each clip's best class."""
        return self.probabilities.max(1)

    @cached_property
    def _surest(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (N + 1,) edges [frames] of stretches held by the same clips, and (N,) the surest."""
        # Where clips leave gaps, each reaches half way to the next.
        begins = np.minimum(self.starts, np.concatenate([self.starts[:1], self._middles]))
        ends = np.maximum(self._ends, np.concatenate([self._middles, self._ends[-1:]]))
        edges = np.unique(np.concatenate([begins, ends]))
        first = np.searchsorted(ends, edges[:-1], side="right")
        after = np.searchsorted(begins, edges[:-1], side="right")
        surest = [f + int(self._sureness[f:a].argmax()) for f, a in zip(first, after, strict=True)]
        return edges, np.array(surest)

    @cached_property
    def _agreement(self) -> np.ndarray:
        """(classes,) share of the clips whose best class each is."""
        return np.bincount(self._best, minlength=len(self.classes)) / len(self._best)

    def _answers(self, probabilities: np.ndarray, count: int) -> list[Answer]:
        order = np.argsort(-probabilities, kind="stable")[:count]
        return [
            Answer(self.classes[i], float(probabilities[i]), float(self._agreement[i])) for i in order
        ]


def clock(seconds: float) -> str:
    """Return a time as minutes and seconds, with hours where there are any: 1:02.5, 1:00:02.5."""
    tenths = round(10 * seconds)
    hours, minutes, rest = tenths // 36000, tenths // 600 % 60, tenths % 600
    return (f"{hours}:{minutes:02}" if hours else f"{minutes}") + f":{rest / 10:04.1f}"


def _give_away(spells: list[Spell], index: int) -> None:
    """Leave the time of one spell to its surer neighbour, and join what is then one spell."""
    gone = spells.pop(index)
    neighbours = [i for i in (index - 1, index) if 0 <= i < len(spells)]
    heir = max(neighbours, key=lambda i: spells[i].probability)
    start, end = min(gone.start, spells[heir].start), max(gone.end, spells[heir].end)
    spells[heir] = spells[heir]._replace(start=start, end=end)
    if len(neighbours) == 2 and spells[index - 1].label == spells[index].label:
        before, after = spells[index - 1], spells.pop(index)
        sure = max(before.probability, after.probability)
        spells[index - 1] = before._replace(end=after.end, probability=sure)
