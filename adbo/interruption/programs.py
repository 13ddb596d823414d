"""The programs that an evaluation has started, and that end with it if it is abandoned."""

from __future__ import annotations

import contextlib
import signal

import psutil

#: Seconds for which a program may react to SIGTERM before it is killed.
PATIENCE = 2.0

#: A part of the command line of the process, multiprocessing's or loky's, that removes shared
#: memory after the end of this one. It must outlive everything else.
_TRACKER = "resource_tracker import main"


class Programs:
    """The descendants of this process that were not there when the object was made."""

    def __init__(self) -> None:
        self._before = set(_descendants())

    def send(self, number: signal.Signals) -> list[psutil.Process]:
        """Send a signal to each of them, and return them."""
        programs = [p for p in _descendants() if p not in self._before and not _is_tracker(p)]
        for program in programs:
            with contextlib.suppress(psutil.Error):
                program.send_signal(number)
        return programs

    def end(self) -> None:
        """End them: by SIGTERM, and those that go on by SIGKILL."""
        programs = self.send(signal.SIGTERM)
        if programs and psutil.wait_procs(programs, PATIENCE)[1]:
            psutil.wait_procs(self.send(signal.SIGKILL), PATIENCE)


def _descendants() -> list[psutil.Process]:
    try:
        return list(psutil.Process().children(recursive=True))
    except (psutil.Error, OSError):
        return []  # the system does not tell


def _is_tracker(process: psutil.Process) -> bool:
    try:
        return any(_TRACKER in word for word in process.cmdline())
    except psutil.Error:
        return False
