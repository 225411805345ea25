"""Films that browsers play: any video as WebM, the mistakes of scored lists, drawn examples."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from r21d_lib.data import safe_decoder, video
from r21d_lib.errors import VideoError
from r21d_lib.prediction.overlay import COMMENT
from r21d_lib.training.scored import ScoredList

_MOST_MISTAKES = 60  # the most confident ones; a film has about 30 kB
_OPTIONS = {"b": "400k", "crf": "10"}
_FPS = 30


def write_webm(path: Path, to: Path) -> Path:
    """Rewrite a video as .webm (VP8, 30 frames a second, no sound), and return its path.

    Raises:
        VideoError: if it cannot be read.
    """
    frames = (frame for _, frame in video.at_rate(safe_decoder.timed(path), _FPS))
    video.write(to, frames, fps=_FPS, codec="libvpx", options=_OPTIONS, comment=COMMENT)
    return to


def encode_webm(frames: np.ndarray, folder: Path) -> bytes:
    """Return (T, H, W, 3) uint8 frames as the content of a .webm file, made in a folder."""
    path = folder / "example.webm"
    video.write(path, frames, fps=_FPS, codec="libvpx", options=_OPTIONS)
    data = path.read_bytes()
    path.unlink()
    return data


def write_mistakes(lists: Sequence[ScoredList], folder: Path) -> dict[str, str]:
    """Write the most confident mistakes of scored lists as films.

    Args:
        lists: of one test list; those whose videos are not at hand have no films.
        folder: where they go, numbered.

    Returns:
        The video's name in the lists to the film's file name. A video that cannot be read has none.
    """
    wanted: dict[str, tuple[float, Path]] = {}
    for scored in lists:
        mean = scored.scores.video_probabilities
        for number in np.flatnonzero(mean.argmax(1) != scored.scores.labels):
            name, sure = scored.scores.names[number], float(mean[number].max())
            if scored.videos and sure > wanted.get(name, (0.0,))[0]:
                wanted[name] = sure, scored.videos / name
    chosen = sorted(wanted, key=lambda name: -wanted[name][0])[:_MOST_MISTAKES]
    films: dict[str, str] = {}
    for name in tqdm(chosen, desc="films", delay=2):
        try:
            films[name] = write_webm(wanted[name][1], folder / f"{len(films)}.webm").name
        except VideoError:
            continue
    return films
