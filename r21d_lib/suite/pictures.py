"""The pictures of figures/ that need no training: what `r21d draw` writes, as PNG and as SVG."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from matplotlib.patches import FancyBboxPatch
from PIL import Image
from tqdm.auto import tqdm

from r21d_lib import plots
from r21d_lib.data.action_figures import render
from r21d_lib.files import whole_file
from r21d_lib.models.counting import count_parameters
from r21d_lib.models.kinds import GROUPS, PAPER_NAMES
from r21d_lib.models.networks import build_network
from r21d_lib.plots.style import BOTH, DARK, SPACE, TIME, Figure
from r21d_lib.prediction import overlay
from r21d_lib.prediction.recognizer import Recognizer
from r21d_lib.suite import ledger
from r21d_lib.suite.runner import NOTEBOOKS

_UNSEEN_SEED = 77  # the shipped checkpoint was trained on the people of seed 0
# The lane and column of each notebook on the map, and the question that it answers in three words.
_LANES = {"read": SPACE, "train": TIME, "look": BOTH}
_PLACES = {
    "00": ("train", 0, "start here"),
    "01": ("read", 1, "videos\nbecome clips"),
    "02": ("read", 2, "convolutions"),
    "03": ("read", 3, "the networks"),
    "04": ("train", 2, "the race"),
    "04b": ("train", 3, "why\nfactorize?"),
    "05": ("read", 4, "checkpoints"),
    "06": ("train", 4, "finetune"),
    "07": ("look", 4, "evaluate"),
    "07b": ("read", 5, "films and\nclip length"),
    "08": ("look", 2, "does it\nsee motion?"),
    "09": ("look", 3, "inside\nthe network"),
    "09b": ("read", 6, "two\nstreams"),
    "10": ("look", 5, "the ledger"),
}


def write_figures(folder: Path, *, progress: bool = True) -> list[Path]:
    """Write factorization, networks, map, race and conclusions into a folder; return the paths.

    Args:
        folder: made where missing.
        progress: shows a bar when it takes more than two seconds.
    """
    with torch.device("meta"):
        nets = {PAPER_NAMES[name]: build_network(name, 18, clip_len=8) for name in GROUPS}
    parameters = {name: count_parameters(net) for name, net in nets.items()}
    study = ledger.studies()[ledger.RACE]
    compared = ledger.of_pairs()
    of_race = compared[(compared["measured_on"] == ledger.RACE) & (compared["frames"] == 16)]
    figures: dict[str, Callable[[], Figure]] = {
        "factorization": plots.kernels,
        "networks": lambda: plots.network_groups(
            {PAPER_NAMES[name]: kinds for name, kinds in GROUPS.items()}, parameters
        ),
        "map": notebook_map,
        "race": lambda: plots.standings(
            study.standings(),
            study.runs,
            guessing=1 / len(study.runs[0]["per_class"]),
            unit=study.unit,
        ),
        "conclusions": lambda: plots.pairs(of_race),
    }
    written = []
    for name, draw in tqdm(figures.items(), desc="draw", unit="picture", delay=2, disable=not progress):
        figure = draw()
        for suffix, content in ((".png", figure.picture()), (".svg", figure.drawing())):
            with whole_file(folder / f"{name}{suffix}") as partial:
                partial.write_bytes(content)
            written.append(folder / f"{name}{suffix}")
    return written


def write_overlay(folder: Path) -> Path:
    """Write overlay.png: moments of a video of three actions, as `r21d predict --overlay` draws it."""
    actions = ("climb", "golf", "shake_hands")
    takes = [render("source", action, group=3, take=0, seed=_UNSEEN_SEED) for action in actions]
    frames = np.concatenate(takes)
    said = Recognizer("figures", device="cpu").predict(frames, every=0.2, progress=False)
    seen = list(overlay.drawn(frames, said))
    ends = np.cumsum([len(take) for take in takes])
    strip = [seen[end - len(take) // 3] for end, take in zip(ends, takes, strict=True)]
    gap = np.full((len(strip[0]), 8, 3), 255, np.uint8)
    row = np.concatenate([part for picture in strip for part in (gap, picture)][1:], axis=1)
    with whole_file(folder / "overlay.png") as partial:
        Image.fromarray(row).save(partial, optimize=True)
    return folder / "overlay.png"


def notebook_map(
    links: Mapping[str, str] | None = None, say: Callable[[str], str] = lambda words: words
) -> Figure:
    """Draw the notebooks on one page: what is read, trained and looked at, and what needs what.

    Args:
        links: a notebook's name to the address that its box leads to in a `Figure.drawing`.
        say: gives the words in another language.
    """
    address = {name.partition("_")[0]: link for name, link in (links or {}).items()}
    figure = Figure(
        11.5, 4.2, about="The notebooks as boxes in three lanes, with arrows to what needs them"
    )
    ax = figure.subplots()
    rows = {lane: row for row, lane in enumerate(_LANES)}
    centres = {}
    for number, (lane, column, text) in _PLACES.items():
        x, y = 1.75 * column, -1.5 * rows[lane]
        centres[number] = (x, y)
        box = FancyBboxPatch(
            (x - 0.68, y - 0.42), 1.36, 0.84, boxstyle="round,pad=0.02,rounding_size=0.1",
            facecolor=_LANES[lane], edgecolor="none", alpha=0.22, zorder=1,
        )  # fmt: skip
        ax.add_patch(box)
        words = [
            ax.text(x, y + 0.2, number, ha="center", va="center", fontweight="bold", color=DARK),
            ax.text(x, y - 0.14, say(text), ha="center", va="center", fontsize=9),
        ]
        for artist in (box, *words):
            artist.set_url(address.get(number))
    for name, needs in NOTEBOOKS.items():
        for need in needs:
            start, end = (centres[its.partition("_")[0]] for its in (need, name))
            # Over what lies between two boxes of one lane.
            far = end[0] - start[0] if end[1] == start[1] else 0
            bend = f"arc3,rad={-0.27 if far > 6 else -0.36}" if far > 4 else "arc3"
            style = {"arrowstyle": "-|>", "color": DARK, "linewidth": 1.3, "connectionstyle": bend}
            style |= {"shrinkA": 38, "shrinkB": 38}
            ax.annotate("", end, start, arrowprops=style)
    for lane, row in rows.items():
        ax.text(-2.0, -1.5 * row, say(lane), ha="right", va="center", fontsize=12, color=DARK)
    note = say("10 reads the results\nof all the others")
    ax.text(8.75, -1.5 * rows["train"], note, ha="center", fontsize=9)
    ax.set(xlim=(-2.1, 11.35), ylim=(-3.6, 0.6))
    ax.axis("off")
    return figure
