"""What the studies and benchmarks measured, as tables of Markdown: `findings` puts them into texts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from r21d_lib.models.kinds import PAPER_NAMES
from r21d_lib.models.settings import LABELS
from r21d_lib.suite import ledger, results
from r21d_lib.suite.repository import BENCHMARKS, RECORDED
from r21d_lib.suite.statistics import Study
from r21d_lib.suite.wording import counted


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def standings(study: Study) -> str:
    """Return a study's networks: rate, accuracies and minutes of each."""
    table, minutes = study.standings(), means(study, "minutes")
    clips, training = means(study, "clip@1"), means(study, "train_accuracy")
    codes = {label: name for name, label in LABELS.items()}
    people = f"{len(study.groups)} {study.unit}"
    header = ("network", "rate", "seeds", f"video@1 [95%: {people}]", "clip@1", "training clips right")
    rows = []
    for name, row in rows_of(table):
        counts = f"{study.rates[codes[name]]:g}", f"{row['seeds']:.0f}"
        accuracies = _interval(row), f"{clips[name]:.3f}", f"{training[name]:.3f}"
        rows.append([name, *counts, *accuracies, f"{minutes[name]:.1f}"])
    return markdown([*header, "minutes"], rows)


def times() -> str:
    """Return how long README's commands took in a fresh clone, on each kind of machine."""
    rows = []
    for command, of_machines in _read("fresh_clone.json").items():
        for machine, row in of_machines.items():
            ended = "" if row["passed"] else " (failed)"
            where = f"{machine}, no GPU, commit {row['provenance']['commit']}"
            rows.append([f"`make {command}`", f"{row['minutes']:.0f}{ended}", where])
    return markdown(["command", "minutes", "on"], rows)


def notebooks() -> str:
    """Return how long each notebook took in `make run`, and whether time and memory were as planned."""
    measured = _read("suite.json")
    run, seconds = measured["run"], sum(row["seconds"] for row in measured["notebooks"].values())
    rows = [
        [name, f"{row['seconds']:.0f}", f"{row['peak_mb']:,}"]
        for name, row in measured["notebooks"].items()
    ]
    rows.append(["all", f"{60 * measured['minutes']:.0f}", f"{measured['peak_mb']:,}"])
    met = {name: "met" if reached else "not met" for name, reached in measured["met"].items()}
    return "\n".join(
        [
            f"**{run['machine']}** ({run['date']}, commit {run['commit']})\n",
            markdown(["notebook", "seconds", "peak MB of its kernel"], rows),
            "",
            f"Their seconds sum up to {seconds / 60:.1f} minutes. The aims were 10 minutes on two "
            f"cores ({met['minutes']}) and 2 GB a kernel ({met['peak_mb']}).",
        ]
    )


def images() -> str:
    """Return what each target of Dockerfile adds to Debian."""
    rows = []
    for target, row in _read("image_size.json").items():
        largest = ", ".join(f"{name} {size:,}" for name, size in list(row["largest_mb"].items())[:5])
        proved = [row["proved"].get(name, {}) for name in ("predict", "notebook")]
        seconds = (one.get("cpu_seconds") for one in proved)
        spent = "; ".join("-" if each is None else f"{each:.0f}" for each in seconds)
        versions = f"Debian {row['debian']} ({row['debian_mb']} MB), {row['torch']}"
        rows.append([f"`{target}`", f"{row['adds_mb'] / 1000:.2f} GB", largest, spent, versions])
    spent = "first predict; notebook [CPU s]"
    return markdown(["target", "adds to Debian", "largest parts [MB]", spent, "with"], rows)


def colab() -> str:
    """Return what became of notebooks in the imitated Colab and Kaggle."""
    measured = _read("colab.json")
    rows = []
    for run in measured["ran"]:
        given = (f"{name}={value}" for name, value in run["parameters"].items() if name != "changes")
        named = [run["notebook"], *given, run["parameters"].get("changes", "")]
        notebook = " ".join(filter(None, named))
        added, seconds = ", ".join(run["installed"]), f"{run['cpu_seconds']:.0f}"
        typed = f"`{run['typed']}` and " if run["typed"] else ""
        rows.append([run["machine"].title(), f"{typed}`{notebook}`", f"`{added}`", seconds])
    versions = ", ".join(f"`{name}=={version}`" for name, version in measured["versions"].items())
    table = markdown(["machine", "notebook", "installed beside what was there", "CPU s"], rows)
    return f"{table}\n\n`Python=={measured['python']}`, {versions}"


def rates(file: str = "rates.json") -> str:
    """Return what each rate gave each network on the people held out, and which were given up."""
    content = _read(file)
    trials = pd.DataFrame(content["trials"])
    tried = trials.pivot_table(index="network", columns="rate", values="video@1", sort=False)
    tried = tried.reindex(columns=sorted(tried.columns))
    rows = []
    for name in (name for name in LABELS if name in tried.index):
        row = tried.loc[name].to_numpy(float)
        cells = ["" if np.isnan(value) else f"{value:.3f}" for value in row]
        best = int(np.nanargmax(row))
        cells[best] = f"**{cells[best]}**"
        rows.append([LABELS[name], *cells])
    given_up: dict[tuple[str, float], list[str]] = {}
    for run in content.get("given_up", ()):
        given_up.setdefault((run["network"], run["rate"]), []).append(
            f"seed {run['seed']} (training accuracy {run['train_accuracy_at_quarter']:.3f}, "
            f"{run['train_accuracy']:.3f} at the end)"
        )
    lines = [
        f"\n{LABELS[network]} takes the next lower rate than {rate:g}, with which the race had runs at "
        f"chance after a quarter of their epochs: {', '.join(its)}."
        for (network, rate), its in given_up.items()
    ]
    header = ["network", *(f"{rate:g}" for rate in tried.columns)]
    return "\n".join([markdown(header, rows), *lines])


def draws() -> pd.DataFrame:
    """Return what `benchmarks/spread.py` drew, a row a network and length of training.

    Returns:
        network and epochs; draws, and the mean, sd, lowest and highest of their video@1; at_quarter,
        the lowest training accuracy after a quarter of the epochs.
    """
    parts = []
    for content in map(_read, ("spread.json", "spread_longer.json")):
        epochs = content["recipe"]["training"]["epochs"]
        parts.append(pd.DataFrame(content["draws"]).assign(epochs=epochs))
    return (
        pd.concat(parts)
        .groupby(["network", "epochs"], sort=False)
        .agg(
            draws=("video@1", "size"),
            mean=("video@1", "mean"),
            sd=("video@1", "std"),
            lowest=("video@1", "min"),
            highest=("video@1", "max"),
            at_quarter=("train_accuracy_at_quarter", "min"),
        )
        .reset_index()
    )


def spread() -> str:
    """Return how far video@1 moves from draw to draw."""
    table = draws()
    rows = [
        [PAPER_NAMES[row["network"]], *(f"{row[key]}" for key in ("epochs", "draws"))]
        + [f"{row[key]:.3f}" for key in ("mean", "sd", "lowest", "highest", "at_quarter")]
        for row in table.to_dict("records")
    ]
    return markdown([*table.columns[:-1], "at a quarter"], rows)


def real_videos(studies: Mapping[str, Study]) -> str:
    """Return what the networks and starts of `ledger.real_videos` learn of real videos."""
    rows = []
    for kind, its in studies.items():
        clips, start = means(its, "clip@1"), ledger.REAL_STARTS.get(kind, "random weights")
        for paper, row in rows_of(its.standings()):
            rows.append([paper, start, f"{row['seeds']:.0f}", f"{clips[paper]:.3f}", _interval(row)])
    scratch = studies["runs"]
    people = f"{len(scratch.groups)} {scratch.unit}"
    return markdown(["network", "start", "seeds", "clip@1", f"video@1 [95%: {people}]"], rows)


def starts() -> str:
    """Return what notebook 06's starts reached in its recorded run."""
    values = results.read_results(RECORDED / "06_finetune_hmdb51.json")["values"]
    named = {
        "finetuned": "the shipped checkpoint",
        "last block": "the same, training its last block alone",
        "head only": "the same, training its last layer alone",
        "from scratch": "random weights",
    }
    rows = (
        [said, *(f"{values[name][key]:.3f}" for key in ("clip@1", "video@1"))]
        for name, said in named.items()
    )
    return markdown(["start", "clip@1", "video@1"], rows)


def rests_on(study: Study) -> str:
    """Say how many seeds and groups a study's intervals rest on."""
    return counted(len({run["seed"] for run in study.runs}), len(study.groups), study.unit)


def rows_of(table: pd.DataFrame) -> list[tuple[str, dict[str, float]]]:
    """Return the rows of `Study.standings` with their names."""
    rows = cast(list[dict[str, float]], table.to_dict("records"))
    return list(zip(cast(list[str], table.index.tolist()), rows, strict=True))


def means(study: Study, measure: str) -> dict[str, float]:
    """Return the mean of a measure over the seeds of each network."""
    return {name: row["mean"] for name, row in rows_of(study.standings(measure))}


def _interval(row: dict[str, float]) -> str:
    return f"{row['mean']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"


def _read(file: str) -> dict[str, Any]:
    return results.read_results(BENCHMARKS / "results" / file)
