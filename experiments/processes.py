"""Processes that wait for each other at gates, which are files in a directory."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

#: Seconds after which processes that have not come to a gate, or not ended, have failed.
_PATIENCE = 300.0

#: Seconds after SIGTERM before a process is killed.
_SECONDS_TO_END = 20.0

#: Seconds between two looks at a gate.
_POLL = 0.02


class ProcessesFailed(Exception):
    """A process failed, or took too long."""


def pass_gate(directory: Path, gate: str, index: int) -> float:
    """Wait until a gate is opened; return the seconds since the epoch at which it was.

    Parameters
    ----------
    directory
        That of the `Processes`.
    gate
        Its name.
    index
        A number of this process that no other one has.
    """
    (directory / f"{gate}-{index}").touch()
    path = directory / gate
    while not path.exists():
        time.sleep(_POLL)
    return float(path.read_text())


class Processes(contextlib.AbstractContextManager["Processes"]):
    """The processes of a run, which end with the context."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, command: Sequence[str]) -> None:
        """Start a process, in a session of its own, with its messages in a file."""
        with (self._directory / f"{len(self.processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                start_new_session=True,
            )
        self.processes.append(process)

    def open_gate(self, gate: str, n: int) -> float:
        """Wait for `n` processes, then let them pass; return the time at which they do."""
        self._wait_until(lambda: sum(1 for _ in self._directory.glob(f"{gate}-*")) == n)
        now = time.time()
        path = self._directory / f"{gate}.new"
        path.write_text(repr(now))
        path.rename(self._directory / gate)
        return now

    def wait(self) -> None:
        """Wait until all have ended."""
        self._wait_until(lambda: all(p.poll() is not None for p in self.processes))

    def __exit__(self, *_: object) -> None:
        # SIGTERM first: only mpiexec can end its ranks.
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(_SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _wait_until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while True:
            is_done = done()  # first: a process may fail after it did its part
            for number, process in enumerate(self.processes):
                if process.poll():
                    log = (self._directory / f"{number}.log").read_text()
                    raise ProcessesFailed(f"a process ended with {process.returncode}:\n{log}")
            if is_done:
                return
            if time.monotonic() > deadline:
                raise ProcessesFailed(f"the processes did not do their part in {_PATIENCE:g} s")
            time.sleep(_POLL)
