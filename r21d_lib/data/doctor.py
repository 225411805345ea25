"""A check of any data set: what is missing, doubled, in both parts or unreadable, in plain words."""

import functools
from collections import defaultdict
from pathlib import Path

from tqdm.auto import tqdm

from r21d_lib.data import action_figures, catalog
from r21d_lib.data.decoding_check import Finding, decode_all
from r21d_lib.data.lists import SPLITS, VideoList
from r21d_lib.errors import DatasetError, SettingsError, few
from r21d_lib.files import sha256


def examine(
    data: str, *, decode: bool = True, workers: int | None = None, progress: bool = True
) -> list[Finding]:
    """Check a data set that `r21d prepare listed` made, or any other that a recipe names.

    Args:
        data: as `Recipe.data`.
        decode: decodes every video, in order; otherwise only lists and names are looked at.
        workers: processes; None takes one a core.
        progress: shows a bar when it takes more than two seconds.

    Returns:
        The findings, the wrong ones first; none of level "wrong" if all is well.

    Raises:
        DatasetError: if there is no such data set.
    """
    findings: list[Finding] = []
    files: dict[str, Path] = {}
    for split in SPLITS:
        try:
            train, test = (
                catalog.open_videos(data, split=split, part=part) for part in ("train", "test")
            )
        except (DatasetError, SettingsError) as error:
            root = catalog.folder_of(data)
            if (
                split == 1
                or (root / f"split{split}.csv").is_file()
                or action_figures.drawn_subset(root)
            ):
                findings.append(Finding("wrong", str(error)))
            continue
        findings += _split(split, train, test, progress)
        files |= {name: its.path(i) for its in (train, test) for i, name in enumerate(its.names)}
    if decode:
        lengths, broken = decode_all(files, workers=workers, progress=progress)
        findings += broken
        if single := [name for name, frames in lengths.items() if frames == 1]:
            text = f"{len(single)} videos have one frame, which shows no motion: {few(single)}"
            findings.append(Finding("note", text))
    return sorted(findings, key=lambda finding: finding.level != "wrong")


def _split(split: int, train: VideoList, test: VideoList, progress: bool) -> list[Finding]:
    """Compare the two parts of a split."""
    findings = []
    for part, its in (("train", train), ("test", test)):
        there = set(its.labels)
        if none := [name for label, name in enumerate(its.classes) if label not in there]:
            text = (
                f"split {split} has no {part} video of {few(none)}: its accuracy says nothing of them"
            )
            findings.append(Finding("wrong" if part == "train" else "note", text))
    if shared := sorted(set(train.groups) & set(test.groups)):
        text = (
            f"split {split} trains and tests on videos of {len(shared)} same groups ({few(shared)}), "
            "which resemble each other: its accuracy is too high"
        )
        findings.append(Finding("wrong", text))
    if doubled := _doubled(train, test, progress):
        text = (
            f"split {split} trains and tests on {len(doubled)} same videos under other names: "
            f"{few([f'{a} = {b}' for a, b in doubled])}"
        )
        findings.append(Finding("wrong", text))
    return findings


def _doubled(train: VideoList, test: VideoList, progress: bool) -> list[tuple[str, str]]:
    """Return the pairs of a training and a test video of one content; of one size, that is."""
    sizes: dict[int, list[Path]] = defaultdict(list)
    for index in range(len(train)):
        sizes[train.path(index).stat().st_size].append(train.path(index))
    content = functools.cache(sha256)
    bar = tqdm(test.names, desc="compare", unit="video", disable=not progress, delay=2, leave=False)
    return [
        (its_path.relative_to(train.root).as_posix(), name)
        for index, name in enumerate(bar)
        for its_path in sizes.get(test.path(index).stat().st_size, ())
        if content(its_path) == content(test.path(index))
    ]
