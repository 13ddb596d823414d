"""The programs that an evaluation has started, and that end with it if it is abandoned."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

import psutil

#: Seconds for which a program may react to SIGTERM before it is killed.
PATIENCE = 2.0

#: A part of the command line of the process, multiprocessing's or loky's, that removes shared
#: memory after the end of this one. It must outlive everything else.
_TRACKER = "resource_tracker import main"


class Programs:
    """The children of this process that were not there when the object was made, and theirs.

    A server that was there before is left alone, with the processes that it starts.
    """

    def __init__(self) -> None:
        self._before = set(_children())

    def send(self, number: signal.Signals) -> list[psutil.Process]:
        """Send a signal to each of them, and return them."""
        new = [child for child in _children() if child not in self._before]
        programs = [p for child in new for p in _with_descendants(child) if not _is_tracker(p)]
        for program in programs:
            with contextlib.suppress(psutil.Error):
                program.send_signal(number)
        return programs

    def end(self) -> None:
        """End them: by SIGTERM, and those that go on by SIGKILL."""
        programs = self.send(signal.SIGTERM)
        if programs and psutil.wait_procs(programs, PATIENCE)[1]:
            psutil.wait_procs(self.send(signal.SIGKILL), PATIENCE)


def signal_session(leader: int, number: int) -> None:
    """Send a signal to all processes of a session, unless they have ended.

    Not to the process group of its leader alone: the command ``timeout`` and shells with job
    control make groups of their own. That of its leader comes first, lest it make more of them.
    """
    _signal(leader, number)
    for group in set(_groups(leader)) - {leader}:
        _signal(group, number)


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _groups(session: int) -> Iterator[int]:
    """Yield the process groups of a session, once for each process."""
    for process in _processes():
        with contextlib.suppress(OSError):  # it has ended
            if os.getsid(process) == session:
                yield os.getpgid(process)


def _processes() -> list[int]:
    try:
        return psutil.pids()
    except (psutil.Error, OSError):
        return []  # the system does not tell


def _children() -> list[psutil.Process]:
    try:
        return list(psutil.Process().children())
    except (psutil.Error, OSError):
        return []  # the system does not tell


def _with_descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except (psutil.Error, OSError):
        return [process]


def _is_tracker(process: psutil.Process) -> bool:
    try:
        return any(_TRACKER in word for word in process.cmdline())
    except psutil.Error:
        return False
