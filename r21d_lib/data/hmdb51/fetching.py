"""HMDB51 from the Hugging Face Hub: who keeps it there, in what form, and how to fetch it."""

import fnmatch
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from r21d_lib.data import hub, lists
from r21d_lib.data.hmdb51.official import FOLDER, default_folder
from r21d_lib.data.hmdb51.preparation import prepare_files
from r21d_lib.errors import DatasetError, SettingsError

TABLE = Path(__file__).with_name("sources.toml")


@dataclass(frozen=True)
class Source:
    """One place that keeps HMDB51.

    Attributes:
        name: what `fetch` takes.
        repo: its repository on the Hub, "owner/name".
        form: in words.
        files: patterns of the paths that hold the videos; {class} stands for each class's name.
        size: in words.
        licence: what the repository's page states.
        seen: the year in which others fetched from it.
        splits: whose videos it holds.
    """

    name: str
    repo: str
    form: str
    files: tuple[str, ...]
    size: str
    licence: str
    seen: str
    splits: tuple[int, ...] = lists.SPLITS

    def patterns(self, classes: Sequence[str]) -> tuple[str, ...]:
        """Return the patterns of the files that hold these classes, or that hold all."""
        return tuple(
            pattern.replace("{class}", name)
            for pattern in self.files
            for name in (classes if "{class}" in pattern else ("",))
        )


@cache
def sources() -> dict[str, Source]:
    """Return the table, by name; the first is the usual one."""
    from pydantic import TypeAdapter

    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    named = {name: {"name": name, **entry} for name, entry in table.items()}
    return TypeAdapter(dict[str, Source]).validate_python(named)


def fetch(
    source: str | None = None,
    to: str | Path | None = None,
    *,
    classes: Sequence[str] | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> list[str]:
    """Fetch HMDB51 and bring it into the form <to>/<class>/<name>.avi; go on where it was stopped.

    What is fetched lies in <to>.fetched/<source> beside it and stays there: single clips are the same
    files under another name, archives may be deleted when all is well.

    Args:
        source: a name of `sources()`; None takes the first.
        to: the folder to fill; None takes `default_folder()`.
        classes: some of the 51; None takes all. Only single clips are fetched one class at a time.
        workers: as for `prepare_files`.
        progress: shows bars.

    Returns:
        The classes that were made or added to, as `prepare_files`.

    Raises:
        SettingsError: if there is no such source or class.
        HubError: if the source cannot be had; what was fetched is kept.
        DatasetError: if the source holds nothing of that form, and as `prepare_files`.
        UnwritableError: if the disk is full or read-only.
    """
    entry = find(source)
    known = lists.read_split(FOLDER, 1)[0]
    if unknown := [name for name in classes or () if name not in known]:
        raise SettingsError(f"HMDB51 has no class {unknown[0]!r}: see {FOLDER / 'classes.txt'}")
    to = Path(to).expanduser() if to else default_folder()
    listing = hub.list_files(entry.repo, "dataset")
    patterns = entry.patterns(classes or known)
    wanted = [
        file
        for file in listing.files
        if any(fnmatch.fnmatchcase(f"/{file.path}", f"*/{p.removeprefix('*/')}") for p in patterns)
    ]
    if not wanted:
        raise DatasetError(
            f"{entry.repo} holds no {' or '.join(entry.files)} any more: take another source "
            f"(--from {', '.join(sources())})"
        )
    folder = to.with_name(f"{to.name}.fetched") / entry.name
    hub.fetch(listing, wanted, folder, progress=progress)
    return prepare_files(folder, to, classes=classes, workers=workers, progress=progress)


def find(name: str | None) -> Source:
    """Return a source by its name, the first where none is named.

    Raises:
        SettingsError: if there is none.
    """
    table = sources()
    if name is not None and name not in table:
        raise SettingsError(f"HMDB51 has no source {name!r}: choose {', '.join(table)}")
    return table[name] if name else next(iter(table.values()))
