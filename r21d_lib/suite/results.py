"""The numbers of a notebook: written to build/results/<name>.json with where they come from."""

import datetime
import json
import os
import platform
import re
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from r21d_lib import __version__
from r21d_lib.errors import DatasetError
from r21d_lib.files import BUILD, CHECKOUT, whole_file

# The runner sets it, so that a run into another folder does not overwrite this one's numbers.
RESULTS_VARIABLE = "R21D_RESULTS"
# The runner measures it before its kernels start, see `arithmetic`.
FINGERPRINT_VARIABLE = "R21D_FINGERPRINT"
# The runner says in it, as JSON, which parameters were not a notebook's own.
PARAMETERS_VARIABLE = "R21D_PARAMETERS"


def results_folder() -> Path:
    """Return where results go: $R21D_RESULTS, or build/results."""
    return Path(os.environ.get(RESULTS_VARIABLE) or BUILD / "results")


def write_results(name: str, values: Mapping[str, Any], *, profile: str, seed: int) -> Path:
    """Write a notebook's numbers, and what they were measured with.

    Args:
        name: the notebook's name without suffix.
        values: numbers, strings and booleans by name; mappings may be nested.
        profile: the profile that it ran with.
        seed: the seed that it ran with.
    """
    path = results_folder() / f"{name}.json"
    content = {"values": values, "provenance": provenance(profile=profile, seed=seed)}
    with whole_file(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n")
    return path


def provenance(**more: Any) -> dict[str, Any]:
    """Return date, commit, versions, machine, arithmetic and this process's memory at its peak [MB]."""
    import torch

    from r21d_lib.models.measured import processor_name

    fingerprint = os.environ.get(FINGERPRINT_VARIABLE)
    parameters = json.loads(os.environ.get(PARAMETERS_VARIABLE) or "{}")
    return {
        **more,
        **({"parameters": parameters} if parameters else {}),
        "date": datetime.date.today().isoformat(),
        "commit": _git("rev-parse", "--short", "HEAD") or "unknown",
        "changed_since_commit": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "r21d_lib": __version__,
        "machine": f"{processor_name()}, {os.cpu_count()} cores"
        + (f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        **({"fingerprint": fingerprint} if fingerprint else {}),
        "peak_mb": peak_mb(),
    }


def peak_mb() -> int:
    """Return the most memory that this process has held [MB].

    Linux hands a new process its parent's peak in getrusage; the kernel's status file does not.
    """
    status = Path("/proc/self/status")
    if status.is_file() and (
        peak := re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8"))
    ):
        return round(int(peak[1]) / 1e3)
    peak_bytes_or_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak_bytes_or_kb / (1e6 if sys.platform == "darwin" else 1e3))


def read_results(path: Path) -> dict[str, Any]:
    """Read a results or recorded file.

    Raises:
        DatasetError: if it is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DatasetError(f"no numbers {path}: run the notebook first") from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is damaged: run the notebook again") from error


def measured_in(file: str, provenance: Mapping[str, Any]) -> str:
    """Say which file of benchmarks/results, of which commit, holds a number."""
    return f"benchmarks/results/{file} ({provenance['commit']})"


def _git(*arguments: str) -> str:
    if CHECKOUT is None:
        return ""
    try:
        done = subprocess.run(
            ["git", "-C", str(CHECKOUT), *arguments], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:  # no git on this machine
        return ""
    return done.stdout.strip()
