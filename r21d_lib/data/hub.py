"""Files of the Hugging Face Hub: listed, fetched with a bar, compared with their checksums, kept.

huggingface_hub does the transfer: it goes on where a connection broke, and HF_ENDPOINT (a mirror),
HF_TOKEN, HF_HUB_OFFLINE and HF_HUB_DISABLE_XET mean what they mean to it. It compares sizes alone, so
the checksums that the Hub states are compared here. Nor does it keep what a stopped process had of a
file, so a large one that goes into a folder is written here, by HTTP, into a part that stays.
"""

import contextlib
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from tqdm.auto import tqdm

from r21d_lib.errors import HubError, R21DError
from r21d_lib.files import (
    LONGEST_NAME,
    UNWRITABLE,
    UnwritableError,
    only_writer,
    sha256,
    stays_inside,
    writing,
)

Kind = Literal["dataset", "model"]
T = TypeVar("T")

_AT_A_TIME = 8
_BUSY = (429, 500, 502, 503, 504)  # too many requests, or a server in trouble: both pass
_BROKEN = ("RemoteProtocolError", "ReadError", "ReadTimeout")  # a connection, amid an answer
_WAITS = (2.0, 8.0, 30.0, 120.0)  # seconds; the Hub counts requests over five minutes
_LONGEST_WAIT = 300.0
_FEW = 20  # files that get a bar each
_LARGE = 20_000_000  # bytes of a file of which a part is kept
_KEPT = "what was fetched is kept, run it again to go on"


@dataclass(frozen=True)
class HubFile:
    """One file of a repository, as the Hub states it.

    Attributes:
        path: in the repository.
        size: bytes.
        sha256: 64 hexadecimal digits; None of a small file, which git keeps itself.
        git_sha1: what git calls the content of such a file.
    """

    path: str
    size: int
    sha256: str | None
    git_sha1: str

    def part(self, folder: Path) -> Path:
        """Return where a folder keeps what was fetched of this very content and is not whole yet."""
        place = folder / self.path
        return place.with_name(f"{place.name}.{(self.sha256 or self.git_sha1)[:12]}.part")

    def is_in(self, file: Path) -> bool:
        """Tell whether a file on disk has the stated content."""
        if not file.is_file() or file.stat().st_size != self.size:
            return False
        if self.sha256 is not None:
            return sha256(file) == self.sha256
        content = file.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == self.git_sha1


@dataclass(frozen=True)
class Listing:
    """What a repository holds in one version.

    Attributes:
        repo: "owner/name".
        kind: "dataset" or "model".
        commit: the version, 40 hexadecimal digits.
        files: all of its files.
    """

    repo: str
    kind: Kind
    commit: str
    files: tuple[HubFile, ...]


def list_files(repo: str, kind: Kind, *, revision: str | None = None) -> Listing:
    """Return what a repository holds.

    Args:
        repo: "owner/name".
        kind: "dataset" or "model".
        revision: a branch, tag or commit; None takes the main one.

    Raises:
        HubError: if there is none, it is not open to you, or the Hub cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    api = HfApi(endpoint=endpoint())

    def ask() -> tuple[str, list[RepoFile]]:
        commit = api.repo_info(repo, repo_type=kind, revision=revision).sha or ""
        entries = api.list_repo_tree(repo, recursive=True, revision=commit, repo_type=kind)
        return commit, [entry for entry in entries if isinstance(entry, RepoFile)]

    with explained(repo, kind):
        commit, entries = _patiently(ask)
    files = [HubFile(e.path, e.size, e.lfs.sha256 if e.lfs else None, e.blob_id) for e in entries]
    for file in files:
        if not stays_inside(file.path):
            raise HubError(f"{repo} is refused: it lists {file.path!r}, which lies outside of it")
        if max(len(part.encode("utf-8", "replace")) for part in file.path.split("/")) > LONGEST_NAME:
            raise HubError(f"{repo} is refused: it lists {file.path!r}, a name that no disk takes")
    return Listing(repo, kind, commit, tuple(files))


def fetch(
    listing: Listing, files: Iterable[HubFile], folder: Path | None = None, *, progress: bool = True
) -> list[Path]:
    """Fetch files that are not there yet, and compare each with its checksum.

    A connection that breaks is taken up where it broke, and so is a large file of which a stopped
    process left a part in `folder`. What is there is read and compared, not fetched again; what is not
    as stated is deleted and fetched once more.

    Args:
        listing: of the repository.
        files: some of its files.
        folder: where they go, under their paths; None takes the Hub's own cache.
        progress: shows bars.

    Returns:
        The files on disk, in the order of `files`.

    Raises:
        HubError: if one cannot be had or has another checksum; those that were fetched stay.
        UnwritableError: if the disk has no room for them, before anything is fetched, or is full.
    """
    wanted = list(files)
    if folder is not None:
        _check_room(wanted, folder)
    few = len(wanted) <= _FEW
    bar = tqdm(
        total=len(wanted), desc=f"fetch {listing.repo}", unit="file", disable=not progress or few
    )
    with explained(listing.repo, listing.kind, folder), _bars_of_files(progress and few), bar:
        if few:  # maybe large: one after the other, here, where Ctrl-C stops at once
            return [_fetch_one(listing, file, folder) for file in wanted]
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            futures = [pool.submit(_fetch_one, listing, file, folder) for file in wanted]
            try:
                for future in as_completed(futures):
                    future.result()
                    bar.update()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
            return [future.result() for future in futures]


def upload(folder: Path, repo: str, *, private: bool = False, leave_out: Sequence[str] = ()) -> str:
    """Upload a folder as a model's repository, made where there is none; return its address.

    Args:
        folder: with README.md and weights.
        repo: "owner/name".
        private: of a new repository.
        leave_out: names of files that stay here.

    Raises:
        HubError: if the Hub does not take it.
    """
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint())
    with explained(repo, "model"):
        made = api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo, folder_path=folder, ignore_patterns=list(leave_out))
    return str(made)


def _fetch_one(listing: Listing, file: HubFile, folder: Path | None) -> Path:
    for _ in range(2):
        path = Path(_patiently(lambda: _transfer(listing, file, folder)))
        if file.is_in(path):
            return path
        if folder is None:
            path.resolve().unlink()  # in the Hub's cache a name is a link to the content
        path.unlink(missing_ok=True)
    raise HubError(
        f"{file.path} of {listing.repo} came with another content than the Hub states (SHA-256, size) "
        f"and is deleted: try again later or from another source; {_KEPT}"
    )


def _transfer(listing: Listing, file: HubFile, folder: Path | None) -> str | Path:
    """Bring a file where it belongs, if it is not there; a large one goes on from its part."""
    from huggingface_hub import hf_hub_download, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    repo, kind, commit, at = listing.repo, listing.kind, listing.commit, endpoint()
    if folder is None or file.size < _LARGE:
        return hf_hub_download(
            repo, file.path, repo_type=kind, revision=commit, local_dir=folder, endpoint=at
        )
    path, part = folder / file.path, file.part(folder)
    with only_writer(part):
        if path.is_file():
            return path
        part.parent.mkdir(parents=True, exist_ok=True)
        if part.is_file() and part.stat().st_size > file.size:
            part.unlink()
        try:
            with part.open("ab") as stream:
                http_get(
                    hf_hub_url(repo, file.path, repo_type=kind, revision=commit, endpoint=at),
                    stream,
                    resume_size=stream.tell(),
                    headers=build_hf_headers(),
                    expected_size=file.size,
                    displayed_filename=path.name,
                )
        except OSError as error:
            if error.errno in UNWRITABLE:
                part.unlink()
            raise
        return part.replace(path)


def _check_room(files: Iterable[HubFile], folder: Path) -> None:
    def there(file: HubFile) -> int:
        if (folder / file.path).is_file():
            return file.size
        part = file.part(folder)
        return part.stat().st_size if part.is_file() else 0

    missing = sum(file.size - there(file) for file in files)
    place = folder
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if missing > free:
        raise UnwritableError(
            f"{folder} has room for {free / 1e9:.1f} GB and needs {missing / 1e9:.1f}: free space or "
            "choose another place"
        )


def endpoint() -> str | None:
    """Return the Hub's address as HF_ENDPOINT says at this moment; None is huggingface_hub's own."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or None


@contextlib.contextmanager
def _bars_of_files(on: bool) -> Iterator[None]:
    """Leave huggingface_hub's own bars, one a file, or take them away: thousands say nothing."""
    from huggingface_hub import utils

    if on or utils.are_progress_bars_disabled():
        yield
        return
    utils.disable_progress_bars()
    try:
        yield
    finally:
        utils.enable_progress_bars()


def _patiently(call: Callable[[], T]) -> T:
    """Call, and call again after a while where the Hub is busy or a connection broke."""
    for wait in _WAITS:
        try:
            return call()
        except Exception as error:  # of whichever HTTP library this huggingface_hub uses
            status, asked = _answer(error)
            broken = type(error).__name__ in _BROKEN
            if status not in _BUSY and not broken:
                raise
            wait = min(asked or wait, _LONGEST_WAIT)
            said = "broke off" if broken else f"answers {status}"
            tqdm.write(f"the Hub {said}; trying again in {wait:.0f} s", file=sys.stderr)
            time.sleep(wait)
    return call()


def _answer(error: BaseException | None) -> tuple[int | None, float | None]:
    """Return the HTTP status behind an error, and the seconds that the server asks to wait."""
    while error is not None:
        response = getattr(error, "response", None)
        if response is not None:
            after = response.headers.get("Retry-After", "")
            return response.status_code, float(after) if after.isdecimal() else None
        error = error.__cause__ or error.__context__
    return None, None


@contextlib.contextmanager
def explained(repo: str, kind: Kind, folder: Path | None = None) -> Iterator[None]:
    """Say in one line what keeps something inside from reaching a repository.

    Args:
        repo: "owner/name".
        kind: "dataset" or "model".
        folder: what is written into.

    Raises:
        HubError: for whatever the Hub or the network answers.
        UnwritableError: if the disk is full, read-only or the like.
    """
    from huggingface_hub import errors

    try:
        with writing(folder) if folder is not None else contextlib.nullcontext():
            yield
    except R21DError:
        raise
    except errors.GatedRepoError as error:
        raise HubError(
            f"{repo} is open only to those who accepted its terms: do so on its page, then log in "
            "(`hf auth login`, or HF_TOKEN)"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise HubError(
            f"no {kind} {repo} on the Hugging Face Hub, or it is private: check the name, or log in "
            "(`hf auth login`, or HF_TOKEN)"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise HubError(f"{repo} has no such revision: leave it out, or see its page") from error
    except errors.HFValidationError as error:
        raise HubError(f"{repo!r} is no name of a repository: give owner/name") from error
    except Exception as error:  # of whichever HTTP library this huggingface_hub uses
        raise HubError(_in_words(repo, error)) from error


def _in_words(repo: str, error: Exception) -> str:
    status, _ = _answer(error)
    if status in (401, 403):
        return (
            f"the Hub does not let you at {repo} ({status}): log in with a token that may "
            "(`hf auth login`, or HF_TOKEN)"
        )
    if status == 404:
        return f"the Hub has nothing at {repo} of what was asked (404): it may have been moved"
    if status == 429:
        return (
            f"the Hub takes no more requests for {repo} for some minutes (429): wait, or log in for a "
            f"higher limit (`hf auth login`, or HF_TOKEN); {_KEPT}"
        )
    if status is not None:
        return f"the Hub is in trouble ({status} for {repo}): try again later; {_KEPT}"
    reason = (str(error).splitlines() or [""])[0] or type(error).__name__
    return (
        f"the Hugging Face Hub cannot be reached for {repo} ({reason}): check the network, or name a "
        f"mirror with HF_ENDPOINT; {_KEPT}"
    )
