"""Taking files out of archives: .zip, and .rar through whichever of bsdtar, 7z and unar is there.

Nothing is written before every name in the archive was seen to stay inside the target folder.
"""

import json
import shutil
import stat
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from r21d_lib.errors import DatasetError

SUFFIXES = (".rar", ".zip")


@dataclass(frozen=True)
class _Tool:
    """A program that lists and extracts .rar files.

    Attributes:
        program: its name.
        list_command: arguments that list; the archive follows.
        names: from the list command's output to the names in the archive.
        extract_command: from archive and folder to the arguments that extract.
    """

    program: str
    list_command: tuple[str, ...]
    names: Callable[[str], list[str]]
    extract_command: Callable[[str, str], list[str]]


def _names_of_7z(text: str) -> list[str]:
    """Read `7z l -slt`: after a line of dashes, one "Path = ..." an entry."""
    _, _, entries = text.partition("\n----------\n")
    return [line.removeprefix("Path = ") for line in entries.splitlines() if line.startswith("Path = ")]


def _names_of_lsar(text: str) -> list[str]:
    return [entry["XADFileName"] for entry in json.loads(text)["lsarContents"]]


_TOOLS = (
    _Tool("bsdtar", ("bsdtar", "-tf"), str.splitlines, lambda a, to: ["bsdtar", "-xf", a, "-C", to]),
    _Tool("7z", ("7z", "l", "-slt"), _names_of_7z, lambda a, to: ["7z", "x", "-y", f"-o{to}", a]),
    _Tool("unar", ("lsar", "-json"), _names_of_lsar, lambda a, to: ["unar", "-q", "-D", "-o", to, a]),
)


def is_archive(path: Path) -> bool:
    """Tell by its name whether a file is an archive that `extract` takes."""
    return path.is_file() and path.suffix.lower() in SUFFIXES


def extract(archive: Path, to: Path) -> None:
    """Take all files out of an archive into a folder that does not exist yet.

    Raises:
        DatasetError: if no program can read the archive, it is damaged, or a name in it leaves the
            folder; then the folder is not there.
    """
    names, unpack = _zip(archive) if archive.suffix.lower() == ".zip" else _rar(archive)
    for name in names:
        if not _stays_inside(name):
            raise DatasetError(
                f"{archive} is refused: its entry {name!r} would be written outside of {to}"
            )
    to.mkdir(parents=True)
    try:
        unpack(to)
        for path in to.rglob("*"):
            if path.is_symlink():
                raise DatasetError(f"{archive} is refused: its entry {path.name!r} is a link")
    except BaseException:
        shutil.rmtree(to, ignore_errors=True)
        raise


def _stays_inside(name: str) -> bool:
    """Tell whether a name, by the rules of Linux and of Windows, is a place below the folder."""
    for path in (PurePosixPath(name), PureWindowsPath(name)):
        if path.is_absolute() or path.drive or path.root or ".." in path.parts:
            return False
    return "\n" not in name and "\0" not in name


def _zip(archive: Path) -> tuple[list[str], Callable[[Path], None]]:
    try:
        with zipfile.ZipFile(archive) as file:
            entries = file.infolist()
    except (zipfile.BadZipFile, OSError) as error:
        raise DatasetError(f"{archive} is damaged ({error}): copy it again") from error
    for entry in entries:
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise DatasetError(f"{archive} is refused: its entry {entry.filename!r} is a link")

    def unpack(to: Path) -> None:
        try:
            with zipfile.ZipFile(archive) as file:
                file.extractall(to)
        except (zipfile.BadZipFile, OSError, RuntimeError) as error:
            raise DatasetError(f"{archive} cannot be unpacked ({error}): copy it again") from error

    return [entry.filename for entry in entries], unpack


def _rar(archive: Path) -> tuple[list[str], Callable[[Path], None]]:
    tool = next((tool for tool in _TOOLS if shutil.which(tool.program)), None)
    if tool is None:
        raise DatasetError(
            f"{archive} needs a program that reads .rar: apt-get install libarchive-tools "
            "(or 7zip, or unar; macOS and conda: libarchive)"
        )
    names = tool.names(_run([*tool.list_command, str(archive)], archive))

    def unpack(to: Path) -> None:
        _run(tool.extract_command(str(archive), str(to)), archive)

    return names, unpack


def _run(command: list[str], archive: Path) -> str:
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"{command[0]} ended with {done.returncode}"
        raise DatasetError(f"{archive} cannot be unpacked ({reason}): copy it again")
    return done.stdout.decode(errors="surrogateescape")
