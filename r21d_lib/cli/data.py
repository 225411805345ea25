"""The commands of `r21d` that make and check data sets: figures, splits, fetch, prepare, doctor."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from r21d_lib.cli import Panel, outputs, say, say_table
from r21d_lib.errors import SettingsError, few
from r21d_lib.files import BUILD, DATA_SPLITS, check_name

if TYPE_CHECKING:
    from r21d_lib.data.decoding_check import Finding

app = typer.Typer()

SeedOption = Annotated[int, typer.Option(help="Seed of every draw.")]
WorkersOption = Annotated[
    int | None, typer.Option(min=1, help="Processes to use; all cores where not given.")
]


@app.command(
    rich_help_panel=Panel.data,
    epilog="**Examples:** `r21d figures` · `r21d figures ~/figures --clips 200 --seed 7` · "
    "`r21d figures --source` · `r21d figures --films --clips 60`",
)
def figures(
    folder: Annotated[
        Path | None, typer.Argument(help="Where to; build/data/... where not given.")
    ] = None,
    source: Annotated[
        bool, typer.Option("--source", help="Draw the other actions, those for pretraining.")
    ] = False,
    films: Annotated[
        bool, typer.Option("--films", help="Draw films of 4 to 6 s, with idle time around the action.")
    ] = False,
    clips: Annotated[
        int | None, typer.Option(help="Clips a class, 20 or more; 100, 200 with --source, or 60 films.")
    ] = None,
    seed: SeedOption = 0,
    workers: WorkersOption = None,
) -> None:
    """Draw the data set ActionFigures: real .avi files in HMDB51's layout, with three splits."""
    from r21d_lib.data import action_figures, catalog

    if source and films:
        raise SettingsError("--source and --films are two data sets: give one")
    name = "action_figures_source" if source else "action_films" if films else "action_figures"
    subset, usual = catalog.FIGURES[name]
    root = folder or BUILD / "data" / name
    action_figures.generate(
        root,
        subset=subset,
        clips_per_class=usual if clips is None else clips,
        seed=seed,
        workers=workers,
    )
    say(f"ActionFigures ({'films' if films else f'{subset} classes'}) is in {root}")


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
    force: outputs.Force = False,
) -> None:
    """Rewrite official split lists in this project's form: data_splits/NAME/split1.csv and so on."""
    from r21d_lib.data import hmdb51
    from r21d_lib.data import lists as listed

    check = hmdb51.check_counts if name == "hmdb51" else None
    written = listed.convert_splits(source, to, dataset=name, check=check, force=force)
    say(*(f"wrote {path}" for path in written))


@app.command(
    rich_help_panel=Panel.data,
    epilog="**Examples:** `r21d fetch` lists the sources · `r21d fetch hmdb51` · "
    "`r21d fetch hmdb51 --from original` · `r21d fetch hmdb51 --classes golf,wave --to ~/two`",
)
def fetch(
    dataset: Annotated[
        str | None, typer.Argument(help="hmdb51; where not given, the sources are listed.")
    ] = None,
    source: Annotated[
        str | None, typer.Option("--from", help="The source; the first listed where not given.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="Some of the classes, by commas; all where not given.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="The folder to fill; $R21D_HMDB51 or build/data/hmdb51 if none.")
    ] = None,
    decode: Annotated[
        bool, typer.Option(help="Decode every video in the check, too: minutes for all of HMDB51.")
    ] = False,
    workers: WorkersOption = None,
) -> None:
    """Fetch a data set from the Hugging Face Hub, prepare and check it; goes on where it was stopped.

    Exits with 1 if something is wrong with it.
    """
    from r21d_lib.data import hmdb51

    if dataset is None:
        _check_unused(
            "the list of sources",
            {
                "--from": source,
                "--classes": classes,
                "--to": to,
                "--decode": decode,
                "--workers": workers,
            },
        )
        _list_sources()
        return
    if dataset != "hmdb51":
        raise SettingsError(f"no data set {dataset!r} can be fetched: choose hmdb51")
    chosen, folder = hmdb51.find(source), to or hmdb51.default_folder()
    names = None if classes is None else [name.strip() for name in classes.split(",")]
    if names is not None and not all(names):
        raise SettingsError(
            f"--classes {classes!r} has a place without a name: leave it out for all 51"
        )
    say(f"{chosen.repo}: {chosen.form}, {chosen.size}, licence: {chosen.licence}")
    made = hmdb51.fetch(source, folder, classes=names, workers=workers)
    _say_made(made, folder)
    findings = hmdb51.examine(
        folder, classes=names, splits=chosen.splits, decode=decode, workers=workers
    )
    what = "the lists name of these classes" if names else "of the three splits"
    if len(chosen.splits) == 1:
        what = f"split {chosen.splits[0]} lists"
    _say_findings(findings, f"{folder} holds all {what}" + ("" if decode else " (not decoded)"))
    if names:
        say(f"next: r21d prepare listed {folder} --name some, with a split of its own")
        return
    setting = f"R21D_HMDB51={folder} " if folder != hmdb51.default_folder() else ""
    say(f"next: {setting}r21d train hmdb51_finetune checkpoint=...")


def _list_sources() -> None:
    """Print where HMDB51 can be fetched from."""
    from r21d_lib.data import hmdb51

    for number, its in enumerate(hmdb51.sources().values()):
        usual = "" if number else " (taken where none is named)"
        say(f"hmdb51 --from {its.name}{usual}")
        say(f"    {its.repo}: {its.form}, {its.size}")
        say(f"    licence: {its.licence}; seen alive: {its.seen}")


@app.command(
    rich_help_panel=Panel.data,
    epilog="**Examples:** `r21d prepare hmdb51 ~/Downloads/hmdb51_org.rar` · "
    "`r21d prepare hmdb51 ~/hmdb51_rars --to /data/hmdb51` · "
    "`r21d prepare listed mine.csv --videos ~/videos --name mine` · "
    "`r21d prepare listed ~/clips --name mine` · "
    "`r21d prepare listed train.csv --test val.csv --labels classes.txt --name kinetics400` · "
    "`r21d prepare listed ~/ucfTrainTestlist --videos ~/UCF-101 --name ucf101`",
)
def prepare(
    dataset: Annotated[str, typer.Argument(help="hmdb51, or listed for your own videos.")],
    source: Annotated[
        list[Path],
        typer.Argument(
            help="hmdb51: hmdb51_org.rar, a .zip, or a folder of class archives or folders; "
            "listed: CSV lists with the columns video and label_name, a folder of class folders (also "
            "in folders train and test), or of UCF101's trainlist01.txt, testlist01.txt, ... and "
            "classInd.txt."
        ),
    ],
    to: Annotated[
        Path | None, typer.Option(help="The folder to fill; build/data/... where not given.")
    ] = None,
    videos: Annotated[
        Path | None,
        typer.Option(
            help="listed: the folder that the list's names start from; this one if not given."
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="listed: the data set's name; the first list's or folder's if not given."),
    ] = None,
    test: Annotated[list[Path] | None, typer.Option(help="listed: lists of test videos.")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="listed: class names, a JSON list or one a line.")
    ] = None,
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="listed: leave out listed videos that are not there.")
    ] = False,
    workers: WorkersOption = None,
) -> None:
    """Bring a data set's files into the form that training reads; goes on where it was stopped."""
    if dataset == "listed":
        _check_unused("prepare listed", {"--workers": workers})
        _prepare_listed(source, to, videos or Path("."), name, test or [], labels, skip_missing)
        return
    from r21d_lib.data import hmdb51

    if dataset != "hmdb51":
        raise SettingsError(f"no data set {dataset!r} is known here: choose hmdb51 or listed")
    of_lists = {"--videos": videos, "--name": name, "--test": test, "--labels": labels}
    _check_unused("prepare hmdb51", {**of_lists, "--skip-missing": skip_missing})
    if len(source) != 1:
        raise SettingsError(f"hmdb51 comes from one archive or folder, not {len(source)}: give one")
    folder = to or hmdb51.default_folder()
    made = hmdb51.prepare_files(source[0], folder, workers=workers)
    _say_made(made, folder)
    say(f"next: r21d doctor hmdb51 {folder}")


def _check_unused(what: str, options: Mapping[str, object]) -> None:
    """Refuse options that another form of the command takes, rather than do without them.

    Raises:
        SettingsError: naming those that were given.
    """
    given = [option for option, value in options.items() if value not in (None, False, [], ())]
    if given:
        raise SettingsError(f"{what} does not use {', '.join(given)}: leave that out")


def _say_made(made: Sequence[str], folder: Path) -> None:
    """Print what was made, counted on disk."""
    counts = {
        path.name: sum(clip.name[0] != "." for clip in path.iterdir())
        for path in folder.iterdir()
        if path.is_dir() and path.name[0] != "."
    }
    clips = sum(counts[name] for name in made)
    say(
        f"{len(made)} classes with {clips:,} clips were made; "
        f"{folder} holds {len(counts)} classes with {sum(counts.values()):,} clips"
    )


def _prepare_listed(
    lists: list[Path],
    to: Path | None,
    videos: Path,
    name: str | None,
    test: list[Path],
    labels: Path | None,
    skip_missing: bool,
) -> None:
    """Make a data set of your own videos."""
    import pandas as pd

    from r21d_lib import checkpoints
    from r21d_lib.data import csv_lists

    first = lists[0].absolute()
    name = name or (first.name if os.path.isdir(first) else first.stem)  # of a name of any length
    check_name(name)
    folder = to or BUILD / "data" / name
    before = _linked(folder)
    classes = checkpoints.read_labels(labels) if labels else None
    made = csv_lists.make_folder(
        lists,
        folder,
        videos=videos,
        test=test,
        labels=classes,
        skip_missing=skip_missing,
    )
    with pd.option_context("display.max_rows", 100, "display.width", 100):
        say_table(made.table())
    for split in made.counts:
        parts = made.total(split)
        say(f"split {split}: {parts['train']:,} training and {parts['test']:,} test videos")
    if made.missing:
        say(f"{len(made.missing):,} videos are not there: {few(made.missing)}", err=True)
    say(*made.left_out, err=True)
    if before and before != _linked(folder):
        old = few(sorted({link.partition("/")[0] for link in before}))
        say(f"replaced: {folder} held {len(before):,} videos of {old} before", err=True)
    pairs = [f"{one!r} and {other!r}" for one, other in made.alike]
    if pairs:
        say(f"classes {few(pairs)} differ by one slip: are they one?", err=True)
    say(f"the data set is {folder}; next: r21d train small_finetune data={folder}")


def _linked(folder: Path) -> dict[str, str]:
    """Return where the links of a data set lead to, by class and name; none if there is none."""
    links = {}
    for label, _, names in os.walk(folder / "videos"):
        for name in names:
            link = Path(label, name)
            leads_to = str(link.readlink()) if link.is_symlink() else ""
            links[link.relative_to(folder / "videos").as_posix()] = leads_to
    return links


@app.command(
    rich_help_panel=Panel.data,
    epilog="**Examples:** `r21d doctor hmdb51` · `r21d doctor hmdb51 /data/hmdb51 --no-decode` · "
    "`r21d doctor mine`",
)
def doctor(
    data: Annotated[str, typer.Argument(help="hmdb51, or a data set's name or folder.")],
    folder: Annotated[
        Path | None, typer.Argument(help="hmdb51: its class folders; $R21D_HMDB51 where not given.")
    ] = None,
    decode: Annotated[bool, typer.Option(help="Decode every video, not only look at names.")] = True,
    workers: WorkersOption = None,
) -> None:
    """Check a data set's classes, names, counts and files, and say how to mend what is wrong.

    Exits with 1 if something is wrong.
    """
    from r21d_lib.data import doctor, hmdb51

    if data == "hmdb51":
        root = folder or hmdb51.default_folder()
        findings = hmdb51.examine(root, decode=decode, workers=workers)
        well = f"{root} holds all of HMDB51's three splits"
    elif folder is not None:
        raise SettingsError(f"{data} names its own folder: leave {folder} out")
    else:
        findings = doctor.examine(data, decode=decode, workers=workers)
        well = f"nothing is wrong with {data}"
    _say_findings(findings, well + ("" if decode else " (not decoded)"))


def _say_findings(findings: Sequence["Finding"], well: str) -> None:
    """Print what a check found, or `well`; end with 1 if something is wrong."""
    for finding in findings:
        say(f"{finding.level}: {finding.text}")
    if any(finding.level == "wrong" for finding in findings):
        raise typer.Exit(1)
    say(well)
