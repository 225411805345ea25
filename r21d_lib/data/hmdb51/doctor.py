"""A check of HMDB51's files: what is missing, misnamed or unreadable, in plain words."""

import difflib
import os
from collections.abc import Collection
from pathlib import Path

from r21d_lib.data import lists
from r21d_lib.data.decoding_check import Finding, decode_all
from r21d_lib.data.hmdb51.official import FOLDER, NUM_CLIPS, known_names
from r21d_lib.errors import DatasetError, few

# Other projects' frame counts differ from the truth by a few frames, more in long clips.
_FRAMES_OFF, _SHARE_OFF = 5, 0.1


def examine(
    root: str | Path,
    *,
    classes: Collection[str] | None = None,
    splits: Collection[int] = lists.SPLITS,
    decode: bool = True,
    workers: int | None = None,
    progress: bool = True,
) -> list[Finding]:
    """Check HMDB51's class folders, names, counts and files.

    Args:
        root: the folder of the 51 class folders.
        classes: those that should be there; None expects all.
        splits: those whose clips should be there.
        decode: decodes every clip, in order; otherwise only names and counts are looked at.
        workers: processes; None takes one a core.
        progress: shows a bar when it takes more than two seconds.

    Returns:
        The findings, the wrong ones first; none of level "wrong" if all is well.

    Raises:
        DatasetError: if there is no such folder.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise DatasetError(f"no folder {root}: make it with `r21d prepare hmdb51 SOURCE --to {root}`")
    known = {
        name: frames
        for name, frames in known_names(splits).items()
        if classes is None or name.split("/")[0] in classes
    }
    classes = [name for name in lists.read_split(FOLDER, 1)[0] if classes is None or name in classes]
    present = {
        f"{name}/{path.name}": path
        for name in classes
        if (root / name).is_dir()
        for path in sorted((root / name).iterdir())
        if path.suffix == ".avi" and path.is_file() and not path.name.startswith("._")  # of macOS
    }
    findings = _classes(root, classes)
    findings += _names(root, known, present)
    findings += _splits(known, present, splits)
    if decode:
        findings += _files(known, present, workers, progress)
    return sorted(findings, key=lambda finding: finding.level != "wrong")


def _classes(root: Path, classes: Collection[str]) -> list[Finding]:
    missing = [name for name in classes if not (root / name).is_dir()]
    official = lists.read_split(FOLDER, 1)[0]
    others = sorted(p.name for p in root.iterdir() if p.is_dir() and p.name not in official)
    findings = []
    if missing:
        findings.append(
            Finding(
                "wrong",
                f"{len(missing)} of {len(classes)} class folders are missing ({few(missing)}): run "
                "`r21d prepare hmdb51 SOURCE` again with the archives that hold them",
            )
        )
    if others:
        findings.append(
            Finding("note", f"{len(others)} folders are no class of HMDB51 and not used: {few(others)}")
        )
    return findings


def _names(root: Path, known: dict[str, int | None], present: dict[str, Path]) -> list[Finding]:
    """Compare the files' names with the lists'; unpacking sometimes changes odd characters."""
    absent = sorted(known.keys() - present.keys())
    extra = sorted(present.keys() - known.keys())
    findings = []
    if absent:
        text = f"{len(absent)} listed clips are absent ({few(absent)})"
        if os.path.lexists(root / absent[0]):
            text += f"; {absent[0]} is a link to a file that is not there: prepare again from the files"
            return [Finding("wrong", text)]
        near = difflib.get_close_matches(absent[0], extra, n=1, cutoff=0.85)
        if near:
            text += f"; {near[0]} may be one of them under another name: unpack with another program"
        else:
            text += ": unpack or copy their classes again"
        findings.append(Finding("wrong", text))
    if len(present) != NUM_CLIPS and not absent:
        findings.append(
            Finding(
                "note",
                f"there are {len(present)} clips, and HMDB51 has {NUM_CLIPS}; all listed are there",
            )
        )
    return findings


def _splits(known: Collection[str], present: Collection[str], splits: Collection[int]) -> list[Finding]:
    findings = []
    for split in splits:
        parts = lists.read_split(FOLDER, split)[1]
        for part in ("train", "test"):
            names = [name for name, its_part in parts.items() if its_part == part and name in known]
            there = sum(name in present for name in names)
            if there < len(names):
                text = f"split {split} has {there:,} of its {len(names):,} {part} clips"
                findings.append(Finding("wrong", text))
    return findings


def _files(
    known: dict[str, int | None], present: dict[str, Path], workers: int | None, progress: bool
) -> list[Finding]:
    """Decode every clip and compare its length with the list."""
    lengths, findings = decode_all(present, workers=workers, progress=progress)
    odd = [
        f"{name} ({frames}, listed {known[name]})"
        for name, frames in lengths.items()
        if _is_odd(frames, known.get(name))
    ]
    if odd:
        text = f"{len(odd)} clips have other lengths than listed, as cut files have: {few(odd)}"
        findings.append(Finding("note", text))
    return findings


def _is_odd(frames: int, listed_frames: int | None) -> bool:
    if listed_frames is None:
        return False
    return abs(frames - listed_frames) > max(_FRAMES_OFF, _SHARE_OFF * listed_frames)
