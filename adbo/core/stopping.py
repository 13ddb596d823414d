"""Stopping: a signal or the deadline requests it, and abandons the evaluation under way.

While adbo's own code runs, a signal is only recorded, so that it cannot cut a message or a
transaction in two. While the objective runs, it raises `EvaluationAbandoned`.
"""

from __future__ import annotations

import contextlib
import enum
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any


class StopReason(enum.Enum):
    """Why a rank stops before its study is complete."""

    DEADLINE = "the time was up"
    WALLTIME = "the Slurm job is about to reach its time limit"
    SIGINT = "Ctrl-C"
    SIGTERM = "SIGTERM"
    SIGUSR1 = "SIGUSR1"
    TARGET = "the target was reached"
    PATIENCE = "no improvement"
    FAILURES = "all evaluations failed"

    @property
    def is_signal(self) -> bool:
        """Whether it is a signal that this process received."""
        return self in _SIGNALS.values()


#: Batch systems can announce the end of a job by SIGUSR1 (``sbatch --signal``).
_SIGNALS: dict[int, StopReason] = {
    signal.SIGINT: StopReason.SIGINT,
    signal.SIGTERM: StopReason.SIGTERM,
    signal.SIGUSR1: StopReason.SIGUSR1,
}


class EvaluationAbandoned(BaseException):
    """Raised in the objective when the run must end at once; not an error of the objective."""


@contextlib.contextmanager
def signals_ignored() -> Iterator[None]:
    """Ignore Ctrl-C and SIGTERM within this context, which should be short."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python delivers signals to the main thread only
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(number, lambda *_: None) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)


class Interruption:
    """A context that watches for signals and for a deadline.

    Outside the main thread Python delivers no signals; there, only `check` sees the deadline.

    Parameters
    ----------
    seconds
        Seconds from the entry of the context to the deadline; None for no deadline.
    walltime
        Another deadline, in seconds since the epoch; the earlier one counts.
    """

    def __init__(self, seconds: float | None, walltime: float | None = None) -> None:
        self.reason: StopReason | None = None
        self.since: float | None = None
        #: The reason that the deadline would give.
        self.deadline_reason = StopReason.DEADLINE
        self._seconds = seconds
        self._walltime = walltime
        self._deadline: float | None = None
        self._abandonable = False
        self._previous: dict[int, Any] = {}
        self._timer: threading.Timer | None = None

    def __enter__(self) -> Interruption:
        seconds = self._seconds
        if self._walltime is not None:
            left = max(self._walltime - time.time(), 0.0)
            if seconds is None or left < seconds:
                seconds, self.deadline_reason = left, StopReason.WALLTIME
        if seconds is not None:
            self._deadline = time.monotonic() + seconds
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._previous[number] = signal.signal(number, self._handle)
            if seconds is not None:
                self._timer = threading.Timer(seconds, self._expire)
                self._timer.daemon = True
                self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()
        for number, previous in self._previous.items():
            signal.signal(number, previous)

    def check(self) -> StopReason | None:
        """Return why to stop, or None."""
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self.request_stop(self.deadline_reason)
        return self.reason

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the deadline, or None if there is none."""
        return None if self._deadline is None else self._deadline - time.monotonic()

    def request_stop(self, reason: StopReason) -> None:
        """Request a stop for this reason, unless one was requested before."""
        if self.reason is None:
            self.reason, self.since = reason, time.monotonic()

    @contextlib.contextmanager
    def abandonable(self) -> Iterator[None]:
        """Run user code that a signal or the deadline ends with `EvaluationAbandoned`."""
        # Set the flag before the check: a signal between the two must not be missed.
        self._abandonable = True
        try:
            if self.check() is not None:
                raise EvaluationAbandoned
            yield
        finally:
            self._abandonable = False

    def _expire(self) -> None:
        # A real signal, since nothing else wakes a main thread that is blocked.
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.check()
        self.request_stop(_SIGNALS[number])
        if self._abandonable:
            self._abandonable = False
            raise EvaluationAbandoned
