"""Stopping: signals and the deadline, as one request that breaks off an evaluation.

A signal only takes note while adbo itself is at work, so that no message, record or transaction is
cut in two; only while the objective runs does it raise.
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

    @property
    def is_signal(self) -> bool:
        return self in _SIGNALS.values()


#: Batch systems announce the end of a job by SIGUSR1 if told to, as by ``sbatch --signal``.
_SIGNALS: dict[int, StopReason] = {
    signal.SIGINT: StopReason.SIGINT,
    signal.SIGTERM: StopReason.SIGTERM,
    signal.SIGUSR1: StopReason.SIGUSR1,
}


class EvaluationAbandoned(BaseException):
    """Raised in the objective when the run is to end at once. Not an error of the objective."""


@contextlib.contextmanager
def signals_ignored() -> Iterator[None]:
    """A stretch, a short one, that Ctrl-C and SIGTERM do not end."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are for the main thread
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(number, lambda *_: None) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)


class Interruption:
    """Listens for signals and for a deadline while it is entered.

    Outside the main thread Python delivers no signals; then only `check` sees the deadline.

    Parameters
    ----------
    seconds
        Until the deadline, counted from entering; None for no deadline.
    walltime
        Another one, in seconds since the epoch; the earlier counts.
    """

    def __init__(self, seconds: float | None, walltime: float | None = None) -> None:
        self.reason: StopReason | None = None
        self.since: float | None = None
        #: What the deadline would be the end by.
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
        """Why to stop, if at all."""
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self.request_stop(self.deadline_reason)
        return self.reason

    @property
    def seconds_left(self) -> float | None:
        """Until the deadline, if there is one."""
        return None if self._deadline is None else self._deadline - time.monotonic()

    def request_stop(self, reason: StopReason) -> None:
        """Stop for this reason, unless there was an earlier one."""
        if self.reason is None:
            self.reason, self.since = reason, time.monotonic()

    @contextlib.contextmanager
    def abandonable(self) -> Iterator[None]:
        """A stretch of user code that a signal or the deadline ends by `EvaluationAbandoned`."""
        # First breakable, then the look: a signal in between must not go signals_ignored.
        self._abandonable = True
        try:
            if self.check() is not None:
                raise EvaluationAbandoned
            yield
        finally:
            self._abandonable = False

    def _expire(self) -> None:
        # A real signal, since nothing else wakes a main thread that sleeps or waits.
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.check()
        self.request_stop(_SIGNALS[number])
        if self._abandonable:
            self._abandonable = False
            raise EvaluationAbandoned
