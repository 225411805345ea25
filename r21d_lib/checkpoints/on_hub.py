"""Weight files on the Hugging Face Hub: hf://owner/repo[@revision][/file], fetched and compared."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from r21d_lib.data import hub
from r21d_lib.errors import CheckpointError, HubError, few
from r21d_lib.files import sha256

# A Path makes one slash of two.
_NAME = re.compile(r"hf:/{1,2}(?P<repo>[^/@]+/[^/@]+)(?:@(?P<revision>[^/]+))?(?:/(?P<file>.+))?")
_FORMS = ((".safetensors",), (".pth", ".pt", ".ckpt", ".bin", ".pkl", ".pyth", ".tar"))
_USUAL = "model.safetensors"


def is_on_hub(name: str) -> bool:
    """Tell whether a name of weights means a place on the Hub."""
    return name.startswith("hf:/")


def repo_of(name: str) -> str | None:
    """Return the "owner/repo" of a place on the Hub, None of any other name."""
    match = _NAME.fullmatch(name)
    return match["repo"] if match else None


def fetch_weights(name: str) -> Path:
    """Return the weight file of a place on the Hub, fetched into the Hub's cache where it is not there.

    Args:
        name: hf://owner/repo[@revision][/file]. Without a file the repository's one .safetensors is
            taken, `model.safetensors` of several, a pickle only where there is none.

    Raises:
        CheckpointError: if the name is none, or the repository holds no weight file or several.
        HubError: if it cannot be had, and was not fetched before.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise CheckpointError(
            f"{name} is no place on the Hub: give hf://owner/repo or hf://owner/repo/file"
        )
    repo, revision, file = match.group("repo", "revision", "file")
    try:
        listing = hub.list_files(repo, "model", revision=revision)
    except HubError:
        kept = _kept(repo, revision)
        if not kept:
            raise
        return _checked(kept, _choose(repo, kept, file))
    files = {its.path: its for its in listing.files}
    return hub.fetch(listing, [files[_choose(repo, files, file)]])[0]


def weights_in(folder: Path) -> Path:
    """Return the weight file of a folder that `r21d publish` wrote, or that was fetched from the Hub.

    Raises:
        CheckpointError: if it holds none or several.
    """
    return folder / _choose(str(folder), [path.name for path in folder.iterdir()], None)


def _choose(place: str, names: Iterable[str], file: str | None) -> str:
    """Return the file that is meant: safetensors before pickles, the top folder before others."""
    names = list(names)
    if file is not None:
        if file not in names:
            raise CheckpointError(f"{place} has no file {file}: it holds {few(sorted(names), 5)}")
        return file
    for suffixes in _FORMS:
        found = [name for name in names if name.lower().endswith(suffixes)]
        top = [name for name in found if "/" not in name] or found
        if _USUAL in top or len(top) == 1:
            return _USUAL if _USUAL in top else top[0]
        if top:
            raise CheckpointError(
                f"{place} holds several weight files: name one of {few(sorted(top), 5)}"
            )
    raise CheckpointError(f"{place} holds no weight file (safetensors, pth, pkl, ...): name another")


def _kept(repo: str, revision: str | None) -> dict[str, Path]:
    """Return what the Hub's cache holds of a repository, the latest version first asked for."""
    from huggingface_hub import CacheNotFound, scan_cache_dir

    try:
        repos = scan_cache_dir().repos
    except CacheNotFound:
        return {}
    versions = [
        v for its in repos if (its.repo_type, its.repo_id) == ("model", repo) for v in its.revisions
    ]
    for version in sorted(versions, key=lambda v: v.last_modified, reverse=True):
        if revision is None or version.commit_hash.startswith(revision) or revision in version.refs:
            return {
                f.file_path.relative_to(version.snapshot_path).as_posix(): f.file_path
                for f in version.files
            }
    return {}


def _checked(kept: Mapping[str, Path], name: str) -> Path:
    """Return a kept file, compared with its SHA-256, which is the name of its content in the cache."""
    path, stated = kept[name], kept[name].resolve().name
    if re.fullmatch(r"[0-9a-f]{64}", stated) and sha256(path) != stated:
        raise CheckpointError(f"{path} is damaged: delete it, and fetch it again with a network")
    return path
