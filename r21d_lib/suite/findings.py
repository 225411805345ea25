"""What the studies found, in sentences rendered from their numbers.

Notebooks 04 and 10 show these as Markdown; the repository's pages hold them between marks, in their
language, which `fill` writes anew.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from r21d_lib import checkpoints
from r21d_lib.errors import DatasetError
from r21d_lib.files import whole_file
from r21d_lib.models.kinds import GROUPS, PAPER_NAMES
from r21d_lib.suite import clip_length, languages, ledger, phrases, speed, tables
from r21d_lib.suite.reasons import of_ablations, of_reasons
from r21d_lib.suite.repository import BENCHMARKS, REPOSITORY
from r21d_lib.suite.statistics import NOISE, OPPOSITE, OTHER_SIZE, SAME, UNORDERED, Study
from r21d_lib.suite.wording import counted, points, stands

_BLOCK = re.compile(r"(<!-- findings: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
# The files that hold findings, and the language of each.
FILES = {
    REPOSITORY / languages.page(name, language): language
    for name in ("README", "docs/install", "docs/student", "docs/researcher", "docs/videos")
    for language in ("", *languages.LANGUAGES)
} | {BENCHMARKS / "README.md": ""}


def of_pair(study: Study, ahead: str, behind: str) -> str:
    """Say how two networks compare in video@1, and what the paper prints of them."""
    found = study.lead(ahead, behind)
    printed = (table[ahead] - table[behind] for table in map(ledger.table_2, ledger.FRAMES))
    of_paper = " and ".join(
        f"{more:+.1f} with {frames} frames" for more, frames in zip(printed, ledger.FRAMES, strict=True)
    )
    one, other = PAPER_NAMES[ahead], PAPER_NAMES[behind]
    return (
        f"{one} {stands(found)} {other}: {points(found, 'video@1')} "
        f"({counted(found['seeds'], found['groups'], study.unit)}); the paper prints {of_paper}."
    )


def of_standings(study: Study) -> str:
    """Name the three networks that stand highest and lowest, and what their first layers look at."""
    table = study.standings().sort_values("mean", ascending=False)
    codes = {paper: name for name, paper in PAPER_NAMES.items()}

    def named(rows: pd.DataFrame) -> str:
        return ", ".join(f"{paper} {row['mean']:.3f}" for paper, row in tables.rows_of(rows))

    text = f"Highest stand {named(table[:3])}; lowest {named(table[-3:])} ({tables.rests_on(study)}). "
    first_3d = [paper for paper in table.index if GROUPS[codes[str(paper)]][0] == "3d"]
    # R2D's first layer takes the whole clip for one picture, and belongs to neither.
    others = [paper for paper in table.index if paper not in (*first_3d, "R2D")]
    if not first_3d or not others:
        return text.strip()
    ranks = {paper: rank for rank, paper in enumerate(table.index)}
    above = sum(ranks[one] < ranks[other] for one in others for other in first_3d)
    return (
        f"{text}Of the {len(others) * len(first_3d)} pairs of a network whose first layer looks at "
        f"space first with one whose first layer is 3D (R3D and MCx), the former stands higher in "
        f"{above}."
    )


def of_compute(points: pd.DataFrame) -> str:
    """Say how far compute and accuracy go together.

    Args:
        points: a row a network, with the columns compute and mean.
    """
    from scipy import stats

    tau = float(stats.kendalltau(points["compute"], points["mean"]).statistic)
    return (
        f"Kendall's tau-b between multiply-adds and video@1 is {tau:+.2f} over the {len(points)} "
        "networks: +1 would be an order by compute, 0 none at all."
    )


def of_training(table: pd.DataFrame) -> str:
    """Say how R(2+1)D's training accuracy compares with the others'.

    Args:
        table: from `ledger.of_figure_3`.
    """
    r3d = table[table["behind"] == "R3D"].iloc[0]
    counts = table["here"].value_counts()
    words = {"ahead": "ahead of", NOISE: "within noise of", "behind": "behind"}
    parts = [f"{words[here]} {counts[here]}" for here in words if here in counts]
    return (
        f"In training accuracy R(2+1)D is {words[r3d['here']]} R3D: {r3d['ours']:+.1f} points "
        f"[{r3d['low']:+.1f}, {r3d['high']:+.1f}] ({r3d['seeds']} seeds; all people of the training "
        f"list are seen). Of all {len(table)} others it is {', '.join(parts)}."
    )


def of_longer_training(draws: pd.DataFrame) -> str:
    """Say what R3D makes of more epochs, beside R(2+1)D with the race's.

    Args:
        draws: from `tables.draws`.
    """
    r3d = draws[draws["network"] == "r3d"].sort_values("epochs")
    short, long = (r3d.iloc[place] for place in (0, -1))
    ahead = draws[draws["network"] == "r2plus1d"].iloc[0]

    def drawn(its: "pd.Series[Any]") -> str:
        return f"{its['mean']:.3f} ({its['draws']} draws, sd {its['sd']:.3f})"

    before, left = (100 * (ahead["mean"] - its["mean"]) for its in (short, long))
    return (
        f"Over seeds and roundings: with {short['epochs']} epochs R3D has {drawn(short)} and R(2+1)D "
        f"{drawn(ahead)}; with {long['epochs']} R3D has {drawn(long)}. More epochs for R3D alone "
        f"change its distance from {before:.1f} to {left:.1f} points."
    )


def of_pairs(pairs: pd.DataFrame) -> str:
    """Count the verdicts of one study's pairs, for each number of frames.

    Args:
        pairs: rows of one `measured_on` of `ledger.of_pairs`.
    """
    lines = []
    for frames, rows in pairs.groupby("frames"):
        counts = rows["verdict"].value_counts()
        agree = counts.get(SAME, 0) + counts.get(OTHER_SIZE, 0)
        text = (
            f"- **{frames} frames**: of {len(rows)} pairs, {agree} have the paper's direction "
            f"({counts.get(SAME, 0)} of them its size too), {counts.get(NOISE, 0)} are within noise "
            f"and {counts.get(OPPOSITE, 0)} are opposite"
        )
        tied = counts.get(UNORDERED, 0)
        lines.append(text + (f"; {tied} the paper prints as equal." if tied else "."))
    one = pairs.iloc[0]
    total = len(pairs[pairs["frames"] == one["frames"]])
    chance = f"{0.05 * total:.0f}" if total >= 20 else f"{0.05 * total:.1f}"
    lines.append(
        f"\nOf {total} intervals of 95% about {chance} would miss zero by chance alone. All are over "
        f"{counted(one['seeds'], one['groups'], one['unit'])}."
    )
    return "\n".join(lines)


def of_order(table: pd.DataFrame) -> str:
    """Say how far the paper's order of the networks is found again.

    Args:
        table: rows of one `measured_on` of `ledger.of_order`.
    """
    lines = []
    for row in table.to_dict("records"):
        if row["low"] > 0:
            said = "more pairs stand as printed than not"
        elif row["high"] < 0:
            said = "more pairs stand the other way round than as printed"
        else:
            said = "an order that has nothing to do with the paper's is not excluded"
        lines.append(
            f"- **{row['frames']} frames**: Kendall's tau-b {row['tau']:+.2f} [{row['low']:+.2f}, "
            f"{row['high']:+.2f}] over {row['networks']} networks "
            f"({counted(row['seeds'], row['groups'], row['unit'])}): {said}."
        )
    return "\n".join(lines)


def of_opposites(pairs: pd.DataFrame) -> str:
    """Name the pairs that stand the other way round, the surest first.

    Args:
        pairs: rows of one `measured_on` of `ledger.of_pairs`.
    """
    rows = pairs[pairs["verdict"] == OPPOSITE].drop_duplicates(["ahead", "behind"])
    if rows.empty:
        return "No pair stands the other way round with an interval that says so."
    rows = rows.sort_values("high")
    named = [f"{r['behind']} above {r['ahead']} ({-r['ours']:.1f})" for r in rows.to_dict("records")]
    return f"Opposite to the paper (8 or 16 frames), by so many points: {', '.join(named)}."


def of_budgets(runs: pd.DataFrame) -> str:
    """Say what a start is worth at each length of training, and whether the longest is long enough.

    Args:
        runs: from `ledger.budgets`.
    """
    starts = list(dict.fromkeys(runs["start"]))
    by_start = {start: runs[runs["start"] == start].set_index("epochs") for start in starts}
    trained, untrained = (by_start[start]["video@1"] for start in starts)
    gains = [
        f"{100 * (trained[epochs] - untrained[epochs]):+.1f} points after {epochs}"
        for epochs in sorted(set(trained.index) & set(untrained.index))
    ]
    lines = [f"Pretraining is worth {', '.join(gains)} epochs (one seed)."]
    for start, rows in by_start.items():
        (before, last), final = rows.index[-2:], rows.iloc[-1]
        gain = final["video@1"] - rows.loc[before, "video@1"]
        flat = rows.loc[before, "high"] >= final["video@1"]
        lines.append(
            f"From {start}, {last} epochs give {final['video@1']:.3f} [{final['low']:.3f}, "
            f"{final['high']:.3f}], {100 * gain:+.1f} points against {before}: "
            f"{'within the interval of the shorter, so about flat' if flat else 'still rising'}."
        )
    return " ".join(lines)


def race() -> str:
    """Return the race's findings as README tells them."""
    study = ledger.studies()[ledger.RACE]
    pairs, order = ledger.of_pairs(), ledger.of_order()
    return "\n\n".join(
        [
            f"{of_pair(study, 'r2plus1d', 'r3d')} {of_pair(study, 'r3d', 'fr2d')}",
            of_standings(study),
            of_training(ledger.of_figure_3()),
            of_longer_training(tables.draws()),
            of_pairs(pairs[pairs["measured_on"] == ledger.RACE]),
            of_order(order[order["measured_on"] == ledger.RACE]),
        ]
    )


def headline() -> str:
    """Return what the race and its changed networks say, for the first page."""
    study = ledger.studies()[ledger.RACE]
    pairs = (("r2plus1d", "r3d"), ("r3d", "fr2d"))
    return "\n\n".join([*(of_pair(study, *pair) for pair in pairs), of_reasons(ledger.ablations())])


def real_videos(data: str = "hmdb51") -> str:
    """Return what was learnt of real videos: a table of Markdown, every pair, and what starts gain.

    Args:
        data: as `ledger.real_videos` takes it.
    """
    studies = ledger.real_videos(data)
    scratch = studies["runs"]
    compared = [scratch.pairs(ledger.table_2(k)).assign(frames=k) for k in ledger.FRAMES]
    pairs = pd.concat(compared).assign(unit=scratch.unit)
    others = (_of_start(scratch, kind, studies[kind]) for kind in studies if kind != "runs")
    return "\n".join([tables.real_videos(studies), "", of_pairs(pairs), "", *others])


def _of_start(scratch: Study, kind: str, its: Study) -> str:
    """Say how R(2+1)D of another start or modality compares with that of RGB and random weights."""
    both = replace(scratch, runs=[*scratch.runs, *({**run, "network": kind} for run in its.runs)])
    found = both.lead(kind, "r2plus1d")
    return (
        f"- R(2+1)D with **{ledger.REAL_STARTS[kind]}** {stands(found)} R(2+1)D with random weights "
        f"and RGB: {points(found, 'video@1')} "
        f"({counted(found['seeds'], found['groups'], scratch.unit)})."
    )


def shipped_checkpoint() -> str:
    """Return what the shipped checkpoint's card says of its training."""
    card = checkpoints.read_card("r2plus1d_10_figures")
    return (
        f"`{card.training['command']}` makes it: {card.training['epochs']} epochs, "
        f"{card.training['minutes']:.0f} minutes on one core, video@1 {card.accuracy['video@1']:.3f} "
        f"on the test videos of its own {len(card.classes)} classes."
    )


BLOCKS = {
    "headline": headline,
    "race": race,
    "race_table": lambda: tables.standings(ledger.studies()[ledger.RACE]),
    "ablation_table": lambda: tables.standings(ledger.ablations()),
    "ablation_rates": lambda: tables.rates("rates_ablations.json"),
    "rates": tables.rates,
    "ablations": lambda: of_ablations(ledger.ablations()),
    "reasons": lambda: of_reasons(ledger.ablations()),
    "times": tables.times,
    "notebooks": tables.notebooks,
    "images": tables.images,
    "colab": tables.colab,
    "spread": lambda: f"{tables.spread()}\n\n{of_longer_training(tables.draws())}",
    "real_videos": real_videos,
    "real_videos_ucf": lambda: real_videos("ucf6"),
    "starts": tables.starts,
    "clip_length": lambda: clip_length.sentences(
        clip_length.ClipLengths.load(), ledger.of_clip_length()
    ),
    "budgets": lambda: of_budgets(ledger.budgets()),
    "shipped_checkpoint": shipped_checkpoint,
    "scoring": speed.scoring,
    "data": speed.data,
    "dashboard": speed.dashboard,
    "training": speed.training,
    "predicting": speed.predicting,
    "busy_machine": speed.busy_machine,
    "low_precision": speed.low_precision,
}


def filled(text: str, language: str = "") -> str:
    """Return a text with what stands between its marks rendered anew, in a language, "" for English.

    Raises:
        DatasetError: if a mark names no findings.
    """

    def render(match: re.Match[str]) -> str:
        if match[2] not in BLOCKS:
            raise DatasetError(f"there are no findings {match[2]!r}: choose {', '.join(BLOCKS)}")
        return f"{match[1]}{phrases.say(BLOCKS[match[2]](), language)}\n{match[3]}"

    return _BLOCK.sub(render, text)


def fill(files: Mapping[Path, str] = FILES) -> None:
    """Write the findings into the files that hold marks for them, each in its language."""
    for file, language in files.items():
        text = filled(file.read_text(encoding="utf-8"), language)
        with whole_file(file) as partial:
            partial.write_text(text, encoding="utf-8")
