"""The published JavaScript that the static site copies: fetched by npm, checked, and cached.

Nothing of it is in the repository. The files are read out of the packages' archives as they are.
"""

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from r21d_lib.errors import SettingsError
from r21d_lib.files import BUILD, whole_file

CACHE = BUILD / "cache" / "npm"
_SECONDS = 600


@dataclass(frozen=True)
class WebPackage:
    """One version of an npm package.

    Attributes:
        name: as npm calls it.
        version: exact.
        sha512: of its archive, in base64, as npm's "integrity" states it.
    """

    name: str
    version: str
    sha512: str

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


ONNXRUNTIME = WebPackage(
    "onnxruntime-web",
    "1.30.0",
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
)
# Version 3, because its one file draws formulas without fetching fonts; version 4 asks other hosts.
MATHJAX = WebPackage(
    "mathjax",
    "3.2.2",
    "Bt+SSVU8eBG27zChVewOicYs7Xsdt40qm4+UpHyX7k0/O9NliPc+x77k1/FEsPsjKPZGJvtRZM1vO+geW0OhGw==",
)
PACKAGES = (ONNXRUNTIME, MATHJAX)


def read_files(package: WebPackage, *files: str, vendor: Path | None = None) -> dict[str, bytes]:
    """Return files of a package by their names, fetching the package where it is not there yet.

    Args:
        package: one of `PACKAGES`.
        files: their paths in the package; the result has the last parts of these as keys.
        vendor: a node_modules folder to read from instead; what lies there is taken as it is.

    Raises:
        SettingsError: if a file is not in `vendor`, or npm is missing or fails.
    """
    found = {}
    if vendor is not None:
        for file in files:
            path = vendor / package.name / file
            if not path.is_file():
                raise SettingsError(f"{path} is missing: run `npm install {package}` beside {vendor}")
            found[path.name] = path.read_bytes()
        return found
    wanted = {f"package/{file}" for file in files}
    # In one pass: seeking back in a compressed archive would unpack it again for every file.
    with tarfile.open(_archive(package), "r|gz") as archive:
        for member in archive:
            if member.name in wanted and (content := archive.extractfile(member)):
                found[Path(member.name).name] = content.read()
    assert len(found) == len(files), f"{package} lacks one of {files}"
    return found


def _archive(package: WebPackage) -> Path:
    """Return a package's archive in the cache, where npm puts it if it is missing or damaged."""
    kept = CACHE / f"{package.name.strip('@').replace('/', '-')}-{package.version}.tgz"
    if kept.is_file() and _sha512(kept) == package.sha512:
        return kept
    npm = shutil.which("npm")
    way_out = "give --vendor FOLDER, a node_modules folder that holds " + ", ".join(map(str, PACKAGES))
    if npm is None:
        raise SettingsError(f"npm, which fetches {package}, is not installed here: {way_out}")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", str(package), "--silent", "--fetch-retries=1"]
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise SettingsError(
                f"npm did not fetch {package} in {_SECONDS} s: try again, or {way_out}"
            ) from error
        fetched = list(Path(folder).glob("*.tgz"))
        if done.returncode or len(fetched) != 1:
            raise SettingsError(
                f"npm could not fetch {package} (status {done.returncode}): try again, or {way_out}"
            )
        if _sha512(fetched[0]) != package.sha512:
            raise SettingsError(f"what npm fetched is not {package} as it was published: {way_out}")
        with whole_file(kept) as partial:
            shutil.copyfile(fetched[0], partial)
    return kept


def _sha512(path: Path) -> str:
    with open(path, "rb") as file:
        return base64.b64encode(hashlib.file_digest(file, "sha512").digest()).decode()
