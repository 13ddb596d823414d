"""Running a program to its end, its time limit, or the end of the evaluation, whichever is first.

The program gets a session of its own, so that all its processes can be ended together.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from adbo.interruption.programs import signal_session

#: Seconds from SIGTERM to SIGKILL. Shorter, srun and mpiexec cannot end their ranks themselves.
_GRACE = 5.0

#: Seconds between two looks at what the program has written.
_LOOK = 0.2

#: A shell script that ends the session $0 when its standard input ends; without the command pkill,
#: it ends the process group of its leader only.
_WATCH = f"""
end() {{ kill "-$1" "-$0"; pkill "-$1" -s "$0"; }}
read -r line; end TERM; sleep {_GRACE:.0f}; end KILL
"""

#: Seconds to wait for the end of a process after SIGKILL; one in an input or output may take long.
_PATIENCE = 2.0


@dataclass(frozen=True)
class Streams:
    """The files that are the standard streams of a program; no input if ``stdin`` is None."""

    stdin: Path | None
    stdout: Path
    stderr: Path


def run(
    command: Sequence[str],
    directory: Path,
    environment: Mapping[str, str],
    streams: Streams,
    timeout: float | None,
    look: Callable[[], None] = lambda: None,
) -> int | None:
    """Run a program, and end what it has left running.

    Parameters
    ----------
    command
        The program and its arguments.
    directory
        Its working directory.
    environment
        All its environment variables.
    streams
        Its standard streams.
    timeout
        Its time limit in seconds, or None.
    look
        Called again and again while the program runs; whatever it raises ends the program.

    Returns
    -------
    int or None
        The exit code, or minus the number of the signal that ended it; None at the time limit.

    Raises
    ------
    OSError
        If it cannot be started.
    """
    with contextlib.ExitStack() as files:
        opened: list[IO[bytes]] = [
            files.enter_context((streams.stdin or Path(os.devnull)).open("rb")),
            files.enter_context(streams.stdout.open("wb")),
            files.enter_context(streams.stderr.open("wb")),
        ]
        child = _Child(command, directory, environment, opened)
        try:
            child.start()
            ended = _wait(child.ended, timeout, look)
        finally:  # also when the evaluation is abandoned
            child.end()
    if child.error is not None:
        raise child.error
    assert child.process is not None
    return child.process.returncode if ended else None


def _wait(ended: threading.Event, timeout: float | None, look: Callable[[], None]) -> bool:
    """Wait for an end, and look meanwhile; return whether it came in time."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        left = _LOOK if deadline is None else min(_LOOK, deadline - time.monotonic())
        if ended.wait(max(left, 0.0)):
            return True
        if deadline is not None and time.monotonic() >= deadline:
            return False
        look()


class _Child(threading.Thread):
    """A thread that starts a program and waits for it.

    Signal handlers, which abandon an evaluation, run in the main thread only. So they cannot come
    between the start of the program and the assignment by which it can be ended.
    """

    def __init__(
        self,
        command: Sequence[str],
        directory: Path,
        environment: Mapping[str, str],
        files: Sequence[IO[bytes]],
    ) -> None:
        super().__init__(name="program", daemon=True)
        self.process: subprocess.Popen[bytes] | None = None
        self.error: OSError | None = None
        self.ended = threading.Event()
        self._arguments = (command, directory, environment, files)
        self._starting = threading.Lock()
        self._is_cancelled = False

    def run(self) -> None:
        """Start the program, and wait for its end."""
        command, directory, environment, (stdin, stdout, stderr) = self._arguments
        try:
            with self._starting:
                if self._is_cancelled:
                    return
                self.process = subprocess.Popen(
                    command,
                    cwd=directory,
                    env=environment,
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                    start_new_session=True,
                )
            with _watched(self.process.pid, environment):
                self.process.wait()
        except OSError as error:
            self.error = error
        except ValueError as error:  # a character that no argument has, or not in this locale
            self.error = OSError(str(error))
        finally:
            self.ended.set()

    def end(self) -> None:
        """End the program and all processes of its session; those of an ended program at once."""
        with self._starting:
            self._is_cancelled = True
        if self.process is None:
            return
        try:
            if not self.ended.is_set():
                self._signal(signal.SIGTERM)
                self.ended.wait(_GRACE)
        finally:
            self._signal(signal.SIGKILL)
            self.ended.wait(_PATIENCE)

    def _signal(self, number: int) -> None:
        assert self.process is not None
        signal_session(self.process.pid, number)


@contextlib.contextmanager
def _watched(session: int, environment: Mapping[str, str]) -> Iterator[None]:
    """End a session if this process dies within the context, even by SIGKILL."""
    with subprocess.Popen(
        ["/bin/sh", "-c", _WATCH, str(session)],
        env=environment,
        stdin=subprocess.PIPE,  # ends with this process
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as watcher:
        try:
            yield
        finally:
            watcher.kill()
