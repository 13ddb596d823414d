"""Stopping: a signal or the deadline requests it, and abandons the evaluation under way.

While adbo's own code runs, a signal is only recorded, so that it cannot cut a message or a
transaction in two. While the objective runs, it raises `EvaluationAbandoned` there, and again at
intervals if the objective catches it. Whatever an abandoned objective returns or raises is
discarded, and the programs that it has started are ended.
"""

from __future__ import annotations

import contextlib
import enum
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, TypeVar

from adbo.interruption import forks
from adbo.interruption.alarm import INTERVAL, Alarm
from adbo.interruption.exits import ENDED_BY, ExitGuard
from adbo.interruption.programs import PATIENCE, Programs
from adbo.interruption.unwinding import Unwinding

T = TypeVar("T")


class StopReason(enum.Enum):
    """Why a rank stops before its study is complete."""

    DEADLINE = "the time was up"
    WALLTIME = "the Slurm job is about to reach its time limit"
    STUDY = "study.stop() was called"
    CALLBACK = "a callback raised an exception"
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

#: By this signal the alarm interrupts the main thread. Its default is to be ignored, so that it
#: does no harm if an objective has set the default.
_NUDGE = signal.SIGURG


#: What the message says of what has ended this process, where user code may be isolated.
ENDED_BY_OBJECTIVE = f"{ENDED_BY}; with --isolate it would be a FAIL trial"

#: Threads that abandoned evaluations have left, for which Python would wait at its end.
abandoned_threads: set[threading.Thread] = set()


class EvaluationAbandoned(BaseException):
    """Raised in the objective when the run must end at once; not an error of the objective.

    Parameters
    ----------
    reason
        Why another rank of the group has abandoned the evaluation; None if this one did.
    """

    def __init__(self, reason: StopReason | None = None) -> None:
        super().__init__()
        self.reason = reason


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


@contextlib.contextmanager
def ended_by_ctrl_c() -> Iterator[None]:
    """Let Ctrl-C end this process at once within this context, also while it waits in C.

    Python's own handler would wait for the end of the call, and print where that was.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class Interruption:
    """A context that watches for signals and for a deadline, and in which user code is called.

    Outside the main thread Python delivers no signals; there, only `check` sees the deadline.

    Parameters
    ----------
    seconds
        Seconds from the entry of the context to the deadline; None for no deadline.
    walltime
        Another deadline, in seconds since the epoch; the earlier one counts.
    name
        What to call this process in the message if user code ends it.
    ended_by
        What this message says of what has ended it.
    """

    def __init__(
        self,
        seconds: float | None,
        walltime: float | None = None,
        name: str = "the process",
        ended_by: str = ENDED_BY_OBJECTIVE,
    ) -> None:
        self.reason: StopReason | None = None
        self.since: float | None = None
        #: The reason that the deadline would give.
        self.deadline_reason = StopReason.DEADLINE
        self._seconds = seconds
        self._walltime = walltime
        self._name, self._ended_by = name, ended_by
        self._deadline: float | None = None
        self._pid = os.getpid()
        self._calls_user_code = False
        #: When the present or the latest call was interrupted, by the monotonic clock.
        self._abandoned_at: float | None = None
        self._previous: dict[int, Any] = {}
        self._programs: Programs | None = None
        self._threads: set[threading.Thread] = set()
        self._unwinding = Unwinding(EvaluationAbandoned, self._call_user_code.__code__)
        self._guard = ExitGuard(self._complaint)
        self._alarm: Alarm | None = None

    def __enter__(self) -> Interruption:
        seconds = self._seconds
        if self._walltime is not None:
            left = max(self._walltime - time.time(), 0.0)
            if seconds is None or left < seconds:
                seconds, self.deadline_reason = left, StopReason.WALLTIME
        if seconds is not None:
            self._deadline = time.monotonic() + seconds
        self._programs = Programs()
        self._threads = set(threading.enumerate())
        self._guard.install()
        if threading.current_thread() is threading.main_thread():
            for number in (*_SIGNALS, _NUDGE):
                # None is a handler that Python does not know.
                self._previous[number] = signal.getsignal(number) or signal.SIG_DFL
            self._alarm = Alarm(self._deadline, self._heeds, self._ring)
            forks.register(self)
            self._alarm.start()
            self._set_handlers()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._alarm is not None:
            forks.unregister(self)
            self.give_back()
            self._alarm.end()
        self._guard.remove()

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

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call user code, which a signal or the deadline interrupts, and return its result.

        A process that the code forks, and that comes back from it, ends here.

        Raises
        ------
        EvaluationAbandoned
            If a stop was requested, or the code was interrupted, whatever came of it.
        BaseException
            What the code raises.
        """
        self._abandoned_at = None
        self._set_handlers()  # a library may have replaced them
        self._calls_user_code = True
        try:
            result = self._call_user_code(function, *arguments)
        except BaseException as error:
            self._leave_user_code(error)
            if self._abandoned_at is None:
                raise
        else:
            self._leave_user_code(None)
            if self._abandoned_at is None:
                return result
        raise EvaluationAbandoned

    def _call_user_code(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function. While this frame is on the stack, `_handle` raises; see there."""
        if self.check() is not None:
            raise EvaluationAbandoned
        return function(*arguments)

    def _leave_user_code(self, error: BaseException | None) -> None:
        if os.getpid() != self._pid:
            forks.end_child(error)
        self._calls_user_code = False
        self._unwinding.disarm()
        self._set_handlers()
        if isinstance(error, KeyboardInterrupt):
            # Ctrl-C, where a library had replaced the handler.
            self.request_stop(StopReason.SIGINT)
            self._abandoned_at = time.monotonic()
        if isinstance(error, EvaluationAbandoned) and error.reason is not None:
            self.request_stop(error.reason)
        if self._abandoned_at is not None and self._programs is not None:
            self._programs.end()
            left = set(threading.enumerate()) - self._threads
            abandoned_threads.update(thread for thread in left if not thread.daemon)

    def _set_handlers(self) -> None:
        if self._alarm is None:
            return
        for number in self._previous:
            signal.signal(number, self._handle)
        self._alarm.listen()

    def give_back(self) -> None:
        """Set the handlers that were there before the context, except where others are now."""
        for number, previous in self._previous.items():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, previous)
        assert self._alarm is not None
        self._alarm.listen_no_more()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Record a signal. In user code raise, and again when the alarm rings the next time.

        Between the two, user code may clean up.
        """
        self.check()
        if number in _SIGNALS:
            self.request_stop(_SIGNALS[number])
        if self.reason is None or self._guard.runs(frame) or not self._unwinding.covers(frame):
            return
        now = time.monotonic()
        if self._abandoned_at is None:
            self._abandoned_at = now
        elif now < self._abandoned_at + INTERVAL / 2:
            return
        else:
            self._unwinding.arm(frame)
        raise EvaluationAbandoned

    def _heeds(self, number: int) -> bool:
        """Return whether a signal ends the run even if the main thread does not handle it.

        A library that has replaced the handler of SIGTERM may do its part until the second ring.
        Other signals may be its own.
        """
        is_ours = number in _SIGNALS and signal.getsignal(number) == self._handle
        return is_ours or number == signal.SIGTERM

    def _ring(self, number: int | None, times: int) -> None:
        """Interrupt user code, called by the alarm; the second time also what it waits for."""
        self.request_stop(self.deadline_reason if number is None else _SIGNALS[number])
        if not self._calls_user_code:
            return
        if number is None or times > 0:  # at first, a signal has a handler of its own
            # Nothing but a signal wakes a main thread that is blocked.
            signal.pthread_kill(threading.main_thread().ident or 0, _NUDGE)
        if times > 0 and self._programs is not None:
            # The main thread may wait for a program in code that no signal interrupts.
            is_patient = times * INTERVAL <= PATIENCE
            self._programs.send(signal.SIGTERM if is_patient else signal.SIGKILL)

    def _complaint(self) -> str | None:
        if not self._calls_user_code:
            return None
        subject = f"{self._name} vanished: the objective, or a library that it calls,"
        return f"{subject} {self._ended_by}"
