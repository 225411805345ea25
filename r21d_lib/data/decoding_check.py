"""What a check of a data set finds, and the decoding of all its videos, which every check ends with."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tqdm.auto import tqdm

from r21d_lib.data import safe_decoder
from r21d_lib.data.safe_pool import guarded_map
from r21d_lib.errors import VideoError

_SECONDS_A_VIDEO = 120.0


@dataclass(frozen=True)
class Finding:
    """One thing that the check found.

    Attributes:
        level: "wrong" where training or testing on a split would fail or be false, else "note".
        text: what, and how to mend it.
    """

    level: Literal["wrong", "note"]
    text: str


def decode_all(
    files: Mapping[str, Path], *, workers: int | None = None, progress: bool = True
) -> tuple[dict[str, int], list[Finding]]:
    """Decode videos in other processes: the frames of each that can be, and a finding of each other.

    Args:
        files: a video's name to its file.
        workers: processes; None takes one a core.
        progress: shows a bar when it takes more than two seconds.
    """
    counts = guarded_map(
        _count_frames,
        [(path,) for path in files.values()],
        processes=workers or os.cpu_count() or 1,
        seconds=_SECONDS_A_VIDEO,
    )
    bar = tqdm(counts, total=len(files), desc="decode", unit="video", disable=not progress, delay=2)
    lengths, findings = {}, []
    for name, found in zip(files, bar, strict=True):
        if isinstance(found, VideoError):
            findings.append(Finding("wrong", str(found)))
        else:
            lengths[name] = found
    return lengths, findings


def _count_frames(path: Path) -> int | VideoError:
    """Return a video's frames, or why it cannot be decoded."""
    try:
        return sum(1 for _ in safe_decoder.stream(path))
    except VideoError as error:
        return error
