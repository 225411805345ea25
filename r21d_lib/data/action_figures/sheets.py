"""Contact sheets of ActionFigures: two clips of each class as strips, to be looked at by a person."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm.auto import tqdm

from r21d_lib.data.action_figures.drawing import HEIGHT, WIDTH
from r21d_lib.data.action_figures.generation import ACTIONS, Subset, render
from r21d_lib.files import whole_file

_LABEL = 150  # of the class name [pixels]
_GAP = 4
_FRAMES = 8  # of a strip


def contact_sheet(subset: Subset, *, progress: bool = True) -> Image.Image:
    """Draw two clips of each class of a subset, eight evenly spaced frames a clip, one strip a line.

    Args:
        subset: whose classes.
        progress: shows a bar when it takes more than two seconds.
    """
    line, actions = HEIGHT + _GAP, sorted(ACTIONS[subset])
    sheet = Image.new("RGB", (_LABEL + _FRAMES * (WIDTH + _GAP), 2 * line * len(actions)), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(18)
    bar = tqdm(actions, desc=f"sheet of {subset}", unit="class", delay=2, disable=not progress)
    for number, action in enumerate(bar):
        for take in range(2):
            top = (2 * number + take) * line
            # Two people of different looks, not two takes of one.
            frames = render(subset, action, group=3 * number + 7 * take, take=take)
            picked = np.linspace(0, len(frames) - 1, _FRAMES).round().astype(int)
            for column, index in enumerate(picked):
                sheet.paste(Image.fromarray(frames[index]), (_LABEL + column * (WIDTH + _GAP), top))
        draw.text((8, 2 * number * line + line - 12), action, fill="black", font=font)
    return sheet


def write_contact_sheets(folder: Path, *, progress: bool = True) -> list[Path]:
    """Write action_figures_target.jpg and action_figures_source.jpg; return their paths.

    Args:
        folder: made where missing.
        progress: shows a bar when it takes more than two seconds.
    """
    paths = []
    for subset in ("target", "source"):
        path = folder / f"action_figures_{subset}.jpg"
        with whole_file(path) as partial:
            contact_sheet(subset, progress=progress).save(partial, quality=80)
        paths.append(path)
    return paths
