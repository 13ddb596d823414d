"""What all processes of pytest-xdist share."""

from __future__ import annotations

import contextlib
import fcntl
import pickle
from collections.abc import Callable, Iterator
from io import IOBase
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def shared(
    directory: Path, name: str, start: Callable[[], T], stop: Callable[[T], None]
) -> Iterator[T]:
    """Start something where it is needed first; the last process to leave stops it.

    Parameters
    ----------
    directory
        A directory of all processes.
    name
        Its name there.
    start
        Starts it, and returns a description that can be pickled.
    stop
        Stops it.
    """
    description, lock = directory / f"{name}.pickle", directory / f"{name}.lock"
    # Every user holds a shared lock of this file, which ends with the process at the latest.
    with (directory / f"{name}.users").open("w") as users:
        with locked(lock):
            if not description.exists():
                description.write_bytes(pickle.dumps(start()))
            value = pickle.loads(description.read_bytes())
            fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield value
        finally:
            with locked(lock):
                if _is_last(users):
                    description.unlink()
                    stop(value)


def _is_last(users: IOBase) -> bool:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def few_more(n_trials: int, workers: int) -> range:
    """Return how many trials a study may have: at most 10 more for each worker than asked for.

    A worker that hears late of the last ones, where processors are overloaded, begins others.
    """
    return range(n_trials, n_trials + 10 * workers + 1)
