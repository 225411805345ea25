"""The commands of `r21d` that make and check data sets: figures, splits, prepare, doctor."""

from pathlib import Path
from typing import Annotated

import typer

from r21d_lib.cli import Panel
from r21d_lib.errors import SettingsError
from r21d_lib.files import BUILD, DATA_SPLITS

app = typer.Typer()

SeedOption = Annotated[int, typer.Option(help="Seed of every draw.")]
WorkersOption = Annotated[int | None, typer.Option(help="Processes to use; all cores where not given.")]


@app.command(
    rich_help_panel=Panel.data,
    epilog="**Examples:** `r21d figures` · `r21d figures ~/figures --clips 200 --seed 7` · "
    "`r21d figures --source`",
)
def figures(
    folder: Annotated[
        Path | None, typer.Argument(help="Where to; build/data/... where not given.")
    ] = None,
    source: Annotated[
        bool, typer.Option("--source", help="Draw the other actions, those for pretraining.")
    ] = False,
    clips: Annotated[int, typer.Option(help="Clips a class.")] = 100,
    seed: SeedOption = 0,
    workers: WorkersOption = None,
) -> None:
    """Draw the data set ActionFigures: real .avi files in HMDB51's layout, with three splits."""
    from r21d_lib.data import action_figures

    default = BUILD / "data" / ("action_figures_source" if source else "action_figures")
    root = folder or default
    action_figures.generate(
        root,
        subset="source" if source else "target",
        clips_per_class=clips,
        seed=seed,
        workers=workers,
    )
    typer.echo(f"ActionFigures ({'source' if source else 'target'} classes) is in {root}")


@app.command(
    rich_help_panel=Panel.data,
    epilog="**Examples:** `r21d splits ~/testTrainMulti_7030_splits --name hmdb51` · "
    "`r21d splits build/data/action_figures/splits --name action_figures`",
)
def splits(
    source: Annotated[
        Path, typer.Argument(help="Folder of <class>_test_split<k>.txt or split<k> CSV lists.")
    ],
    name: Annotated[str, typer.Option(help="Name of the data set, and of the folder to write.")],
    to: Annotated[Path, typer.Option(help="Where the folder goes.")] = DATA_SPLITS,
) -> None:
    """Rewrite official split lists in this project's form: data_splits/NAME/split1.csv and so on."""
    from r21d_lib.data import hmdb51
    from r21d_lib.data import lists as listed

    check = hmdb51.check_counts if name == "hmdb51" else None
    written = listed.convert_splits(source, to, dataset=name, check=check)
    typer.echo("\n".join(f"wrote {path}" for path in written))


@app.command(
    rich_help_panel=Panel.data,
    epilog="**Examples:** `r21d prepare hmdb51 ~/Downloads/hmdb51_org.rar` · "
    "`r21d prepare hmdb51 ~/hmdb51_rars --to /data/hmdb51` · "
    "`r21d prepare listed mine.csv --videos ~/videos --name mine` · "
    "`r21d prepare listed train.csv --test val.csv --labels classes.txt --name kinetics400`",
)
def prepare(
    dataset: Annotated[str, typer.Argument(help="hmdb51, or listed for your own videos.")],
    source: Annotated[
        list[Path],
        typer.Argument(
            help="hmdb51: hmdb51_org.rar, a .zip, or a folder of class archives or folders; "
            "listed: CSV lists with the columns video and label_name."
        ),
    ],
    to: Annotated[
        Path | None, typer.Option(help="The folder to fill; build/data/... where not given.")
    ] = None,
    videos: Annotated[
        Path, typer.Option(help="listed: the folder that the list's names start from.")
    ] = Path("."),
    name: Annotated[
        str | None, typer.Option(help="listed: the data set's name; the first list's if not given.")
    ] = None,
    test: Annotated[list[Path] | None, typer.Option(help="listed: lists of test videos.")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="listed: class names, a JSON list or one a line.")
    ] = None,
    workers: WorkersOption = None,
) -> None:
    """Bring a data set's files into the form that training reads; goes on where it was stopped."""
    if dataset == "listed":
        _prepare_listed(source, to, videos, name, test or [], labels)
        return
    from r21d_lib.data import hmdb51

    _check_dataset(dataset, "hmdb51 or listed")
    if len(source) != 1:
        raise SettingsError(f"hmdb51 comes from one archive or folder, not {len(source)}: give one")
    folder = to or hmdb51.default_folder()
    made = hmdb51.prepare_files(source[0], folder, workers=workers)
    typer.echo(f"{len(made)} classes were added to {folder}; next: r21d doctor hmdb51 {folder}")


def _prepare_listed(
    lists: list[Path],
    to: Path | None,
    videos: Path,
    name: str | None,
    test: list[Path],
    labels: Path | None,
) -> None:
    """Make a data set of your own videos."""
    from r21d_lib import checkpoints
    from r21d_lib.data import csv_lists

    name = name or lists[0].stem
    if name != Path(name).name or name in (".", ".."):
        raise SettingsError(f"{name!r} is no name but a place: give the folder with --to")
    folder = to or BUILD / "data" / name
    classes = checkpoints.read_labels(labels) if labels else None
    counts = csv_lists.make_folder(lists, folder, videos=videos.expanduser(), test=test, labels=classes)
    for split, parts in counts.items():
        typer.echo(f"split {split}: {parts['train']:,} training and {parts['test']:,} test videos")
    typer.echo(f"the data set is {folder}; next: r21d train small_finetune data={folder}")


@app.command(
    rich_help_panel=Panel.data,
    epilog="**Examples:** `r21d doctor hmdb51` · `r21d doctor hmdb51 /data/hmdb51 --no-decode`",
)
def doctor(
    dataset: Annotated[str, typer.Argument(help="hmdb51.")],
    folder: Annotated[
        Path | None, typer.Argument(help="The class folders; $R21D_HMDB51 where not given.")
    ] = None,
    decode: Annotated[bool, typer.Option(help="Decode every clip, not only look at names.")] = True,
    workers: WorkersOption = None,
) -> None:
    """Check a data set's classes, names, counts and files, and say how to mend what is wrong.

    Exits with 1 if something is wrong.
    """
    from r21d_lib.data import hmdb51

    _check_dataset(dataset, "hmdb51")
    root = folder or hmdb51.default_folder()
    findings = hmdb51.examine(root, decode=decode, workers=workers)
    for finding in findings:
        typer.echo(f"{finding.level}: {finding.text}")
    wrong = sum(finding.level == "wrong" for finding in findings)
    if wrong:
        raise typer.Exit(1)
    typer.echo(f"{root} holds all of HMDB51's three splits" + ("" if decode else " (not decoded)"))


def _check_dataset(name: str, known: str) -> None:
    if name != "hmdb51":
        raise SettingsError(f"no data set {name!r} is known here: choose {known}")
