"""Work on video files in processes that may hang or crash, without harm to anything else."""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from r21d_lib.data.safe_decoder import guard_this_process, patience
from r21d_lib.errors import VideoError

Result = TypeVar("Result")

# Only so many are under way that their results fit into memory.
_JOBS_A_PROCESS = 4


def guarded_map(
    function: Callable[..., Result],
    jobs: Sequence[tuple[Any, ...]],
    *,
    processes: int,
    seconds: float,
) -> Generator[Result | VideoError]:
    """Yield function(*job) for each job, in their order, however many there are.

    Args:
        function: of a module, so that another process finds it.
        jobs: the arguments; the first is the video's path.
        processes: 1 works in this process, without the guard: the function minds the time itself,
            and decodes by `safe_decoder`.
        seconds: a job that takes longer is given up, that of a large file later (see `patience`).

    Yields:
        What the function returned, or a VideoError where it hung or crashed.
    """
    if processes == 1:
        for job in jobs:
            yield function(*job)
        return
    from loky.backend import get_context
    from pebble import ProcessExpired, ProcessPool

    # A fork of a process that runs torch threads may hang, and a spawned process runs the user's script
    # again, which then needs `if __name__ == "__main__"`; loky's do neither.
    pool = ProcessPool(
        processes,
        context=get_context("loky"),
        initializer=_begin,
    )
    with pool:
        try:
            coming = iter(jobs)
            running = deque(
                pool.schedule(function, job, timeout=patience(job[0], seconds))
                for job in islice(coming, _JOBS_A_PROCESS * processes)
            )
            for file, *_ in jobs:
                try:
                    yield running.popleft().result()
                except FutureTimeoutError:
                    yield given_up(file, patience(file, seconds))
                except ProcessExpired as error:
                    yield _error(file, f"makes the decoder crash ({error})")
                running.extend(
                    pool.schedule(function, job, timeout=patience(job[0], seconds))
                    for job in islice(coming, 1)
                )
        finally:
            pool.stop()


def _begin() -> None:
    import torch

    torch.set_num_threads(1)  # the processes are the parallelism
    guard_this_process()


def given_up(file: Path, seconds: float) -> VideoError:
    """Return the error of a video that took longer than it may."""
    return _error(file, f"was given up after {seconds:g} s")


def _error(file: Path, what: str) -> VideoError:
    return VideoError(f"{file} {what}: copy the file again")
