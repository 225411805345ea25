"""What was measured on this machine, kept so that every process here makes the same choice by it.

Two paths of nearly the same speed win in turn, and bfloat16 answers of one differ from the other's in
the third digit: measured anew in each process, the same video would get other probabilities. And the
first answer would wait for it.
"""

import contextlib
import hashlib
import json
import os
import platform
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import torch
from torch import nn

from r21d_lib import __version__
from r21d_lib.errors import R21DError
from r21d_lib.files import only_writer, whole_file

CACHE_VARIABLE = "R21D_CACHE"
MOST_ANSWERS = 400  # numbers of weights that are kept: of some two hundred networks
_ANSWER = "of_weights-"  # begins their files' names


def cache_folder() -> Path:
    """Return the folder of what was measured: below $R21D_CACHE, else where the user's caches are."""
    chosen = os.environ.get(CACHE_VARIABLE)
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "r21d_lib"
    return (Path(chosen) if chosen else caches).expanduser() / "speeds"


def processor_name() -> str:
    """Return the processor's name, with family and model where Linux tells them: names are shared."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        first = info.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
        lines = [line.partition(":") for line in first.splitlines()]
        known = {name.strip(): value.strip() for name, _, value in lines}
        if {"model name", "cpu family", "model"} <= known.keys():
            return f"{known['model name']} (family {known['cpu family']}, model {known['model']})"
    return platform.processor() or platform.machine()


def identity(network: nn.Module) -> str:
    """Return what tells one network's layers and weights from any other's: a SHA-256."""
    found = hashlib.sha256(str(network).encode())
    for name, values in network.state_dict().items():
        found.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        found.update(values.cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def kept(what: str, measure: Callable[[], float], *, timed: bool = False) -> float:
    """Return a measured number of this machine: the kept one, or `measure`'s, which is then kept.

    A file in `cache_folder` holds it; delete the file and it is measured anew. Another processor,
    instruction set, number of threads or version of torch, OpenVINO or this package has a number of
    its own. Where the folder cannot be written, it is measured in each process.

    Times depend on a network's shape, and few are kept. Other numbers are of weights, and a training
    has new ones every epoch: of these the newest `MOST_ANSWERS` are kept.

    Args:
        what: names all else that the number depends on, such as the network's settings or `identity`.
        measure: returns the number; takes a second or so.
        timed: the number is of times. One that was measured beside much other work serves until the
            machine is calm, and is then measured anew: it can be wrong a hundredfold.
    """
    busy = timed and _is_busy()
    depends = {
        "what": what,
        "processor": processor_name(),
        "instructions": [torch.backends.cpu.get_cpu_capability(), os.environ.get("ONEDNN_MAX_CPU_ISA")],
        "card": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "openvino": _version("openvino"),
        "r21d_lib": __version__,
    }
    name = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:16]
    file = cache_folder() / (f"{name}.json" if timed else f"{_ANSWER}{name}.json")
    # One lock for all numbers of weights: a lock leaves a file, too, and these do not end.
    lock = file if timed else file.with_name(_ANSWER)
    if (number := _read(file, busy)) is not None:
        return number
    try:
        with only_writer(lock):  # two that start at once disturb each other's measurement
            number = _read(file, busy)
            if number is None:
                number = measure()
                with whole_file(file) as partial:
                    partial.write_text(
                        json.dumps({"number": number, "busy": busy, **depends}), encoding="utf-8"
                    )
                _forget_old_answers(file.parent)
    except (OSError, R21DError):
        number = measure() if number is None else number
    return number


def _forget_old_answers(folder: Path) -> None:
    """Delete the oldest numbers of weights beyond `MOST_ANSWERS`; other processes may do so, too."""
    written: list[tuple[float, Path]] = []
    for file in folder.glob(f"{_ANSWER}*.json"):
        with contextlib.suppress(FileNotFoundError):  # another process has deleted it meanwhile
            written.append((file.stat().st_mtime, file))
    for _, file in sorted(written)[:-MOST_ANSWERS]:
        file.unlink(missing_ok=True)


def _is_busy() -> bool:
    """Tell whether more has been running here in the last minute than the processors can take."""
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > (os.cpu_count() or 1)


def _read(file: Path, busy: bool) -> float | None:
    """Return the number in a file; None where there is none, a damaged one, or now a better one."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        number, was_busy = content["number"], content["busy"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    if was_busy and not busy:
        return None
    return float(number) if isinstance(number, int | float) and number >= 0 else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
