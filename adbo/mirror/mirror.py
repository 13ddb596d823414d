"""Copies finished evaluations to a database from a thread, which lags behind rather than blocks.

This module knows a cursor, batches, pauses and patience. It does not know SQL, Optuna or MPI: the
source gives it evaluations, the writer stores them, and ``report`` takes lines for the user.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from adbo.core.evaluation import Evaluation
from adbo.mirror.settings import DEFAULTS, Pace

#: Seconds for which the end of a run waits for a database in trouble before it says so.
_SILENT_SECONDS = 10.0


class DataLossError(Exception):
    """The database no longer has evaluations that it had confirmed, perhaps after a crash."""


class StudyGoneError(DataLossError):
    """The study is not there at present: deleted, or its file was removed."""


class Writer(Protocol):
    """Stores evaluations, each one once."""

    def write(self, evaluations: Sequence[Evaluation]) -> None:
        """Store those of the evaluations that are not stored yet.

        Raises
        ------
        ValueError
            If one of them can never be stored as it is, so that trying again is pointless.
        DataLossError
            If evaluations of earlier calls are missing and all must be written again.
        Exception
            Any other error is trouble that may pass. Whether anything was stored may then be
            unknown; the writer finds out when it is called again.
        """


class Mirror:
    """Writes the evaluations of a source from its own thread until it is closed.

    Errors of the database do not reach the run. A failing database is reported once and tried
    again with growing pauses; an evaluation that the database refuses is set aside.

    Parameters
    ----------
    writer
        Stores evaluations.
    source
        Returns the next evaluations from a cursor on, in the order in which they were appended;
        none if there are no more. It is called from the mirror's thread, and from cursor 0 again
        if the database lost evaluations.
    report
        Takes one line for the user. It is called from the mirror's thread.
    cursor
        The initial cursor.
    pace
        How many evaluations are written at once, and how often.
    attend
        Other work with the database. It is called from the mirror's thread about once in an
        interval of the pace, until the mirror is closed. It takes the same pauses if it raises.
    conclude
        The last work with the database. It is called from the mirror's thread, once the mirror is
        closed and all evaluations are stored or refused; again after a pause if it raises.
    is_own
        Whether an evaluation would be lost if this mirror did not write it. Other evaluations are
        written only after the database has lost them.
    """

    def __init__(  # noqa: PLR0913 - two are required
        self,
        writer: Writer,
        source: Callable[[int], Sequence[Evaluation]],
        *,
        report: Callable[[str], None],
        cursor: int = 0,
        pace: Pace = DEFAULTS.pace,
        attend: Callable[[], None] = lambda: None,
        conclude: Callable[[], None] = lambda: None,
        is_own: Callable[[Evaluation], bool] = lambda evaluation: True,
    ) -> None:
        self._writer = writer
        self._source = source
        self._report = report
        self._cursor = cursor
        self._pace = pace
        self._batch = pace.batch
        self._attend = attend
        self._conclude = conclude
        #: Whether `conclude` has returned.
        self.has_concluded = False
        self._attend_at = -math.inf  # on the monotonic clock
        self._has_attended = True  # without an error, when it was last due
        self._is_own = is_own
        self._has_lost = False  # whether the database lost evaluations
        self._has_more = True  # whether the source should be looked at again at once
        self._pending: list[Evaluation] = []
        self._postponed: list[Evaluation] = []
        self._failed_alone: dict[tuple[int, int], set[int]] = {}
        self._n_successes = 0  # batches since the batch size was reduced
        self._refused: dict[tuple[int, int], Evaluation] = {}
        self._trouble: _Trouble | None = None
        self._reason = ""
        self._progress = 0
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._abandoned = threading.Event()
        # A daemon: a database that never answers must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="adbo-mirror", daemon=True)

    def start(self) -> None:
        """Start the thread.

        Raises
        ------
        RuntimeError
            If it was started before.
        """
        self._thread.start()

    def flush_and_close(self, patience: Callable[[], float]) -> list[Evaluation]:
        """Write all evaluations, conclude and end the thread; return what could not be written.

        A database that makes progress is given all the time it needs.

        Parameters
        ----------
        patience
            Returns the seconds without progress after which the remaining evaluations are given
            up. If they change meanwhile, they count from then.
        """
        self._closing.set()
        tell_at: float = time.monotonic() + _SILENT_SECONDS
        progress, seconds, deadline = -1, 0.0, math.inf
        while self._thread.is_alive() and time.monotonic() < deadline:
            before = progress, seconds
            progress, seconds = self._progress, patience()
            if (progress, seconds) != before:
                deadline = time.monotonic() + seconds
            self._thread.join(self._pace.poll)
            if self._trouble is not None and time.monotonic() > tell_at:
                tell_at = math.inf
                self._report(f"waiting for the database, up to {seconds:.0f} s without progress")
        self._abandoned.set()
        unwritten = self.unwritten()
        if unwritten:
            self._report(
                f"{len(unwritten)} evaluations could not be written to the database"
                f" ({self._reason or 'it did not answer'})"
            )
        return unwritten

    def unwritten(self) -> list[Evaluation]:
        """Return what is not known to be stored: refused, waiting, or being written right now.

        If the database has lost evaluations, these include what others had stored there.
        """
        with self._lock:
            rest = [*self._refused.values(), *self._pending, *self._postponed]
            cursor = self._cursor
            while page := self._source(cursor):
                rest += page
                cursor += len(page)
        return rest if self._has_lost else [e for e in rest if self._is_own(e)]

    def _run(self) -> None:
        while not self._abandoned.is_set():
            # Read before the source, so that nothing appended before closing is missed.
            is_closing = self._closing.is_set()
            try:
                self._copy()
                if is_closing:
                    self._conclude()
                    self.has_concluded = True
                    return
            except Exception as error:  # the run must go on without its mirror, whatever it is
                if isinstance(error, StudyGoneError):
                    self._start_again()
                self._pause_after(error)
                continue
            self._closing.wait(self._pace.interval)

    def _copy(self) -> None:
        """Write the evaluations that the source has now, and attend to other work."""
        self._has_more = True
        while self._has_more and not self._abandoned.is_set():
            if not self._pending:
                self._take_page()
            while self._pending and not self._abandoned.is_set():
                self._write_batch(self._pending[: self._batch])
                self._recover()
                self._attend_if_due()
        self._attend_if_due()
        if not self._closing.is_set():
            self._recover()

    def _write_batch(self, batch: Sequence[Evaluation]) -> None:
        """Write the first of the pending evaluations."""
        try:
            self._write(batch)
        except StudyGoneError:
            raise
        except DataLossError as error:
            self._report(f"the database has lost evaluations; they are written again ({error})")
            self._start_again()
            return
        except Exception as error:
            self._reduce_batch(batch, error)
            raise
        with self._lock:
            del self._pending[: len(batch)]
        self._progress += 1
        self._n_successes += 1
        if self._n_successes % self._pace.growth_after == 0:
            self._batch = min(2 * self._batch, self._pace.batch)

    def _attend_if_due(self) -> None:
        """Attend to other work, once in an interval and at most a quarter of a processor."""
        began, used = time.monotonic(), time.thread_time()
        if began < self._attend_at or self._closing.is_set():
            return
        self._attend_at = began + self._pace.interval
        self._has_attended = False
        self._attend()
        self._has_attended = True
        used = time.thread_time() - used
        self._attend_at = max(self._attend_at, time.monotonic() + 3 * used)

    def _take_page(self) -> None:
        """Take the next evaluations from the source; if it has none, those that were postponed.

        After a page that is not full, the source has no more that are worth a transaction. Those
        that arrive meanwhile are written an interval later, or at once when the mirror is closed.
        """
        with self._lock:
            self._pending = list(self._source(self._cursor))
            self._cursor += len(self._pending)
            is_full = len(self._pending) >= self._pace.batch
            is_urgent = self._closing.is_set() or bool(self._postponed)
            self._has_more = is_full or (is_urgent and bool(self._pending))
            if not self._pending:
                self._pending, self._postponed = self._postponed, []

    def _start_again(self) -> None:
        """Return to the first evaluation of all; the writer skips what is stored."""
        with self._lock:
            self._pending, self._postponed, self._cursor = [], [], 0
            self._has_lost = self._has_more = True

    def _reduce_batch(self, batch: Sequence[Evaluation], error: Exception) -> None:
        """Halve the batch size after a failure; postpone an evaluation that failed alone.

        An evaluation that fails again and again while others are stored is the cause itself, such
        as a packet that is too big for the server. It is set aside.
        """
        self._batch = max(1, self._batch // 2)
        self._n_successes = 0
        if len(batch) > 1:
            return
        failures = self._failed_alone.setdefault((batch[0].rank, batch[0].seq), set())
        failures.add(self._progress)
        is_cause = len(failures) > self._pace.max_failures_alone
        with self._lock:
            del self._pending[0]
            if not is_cause:
                self._postponed += batch
        if is_cause:
            self._refuse(batch[0], error)

    def _write(self, evaluations: Sequence[Evaluation]) -> None:
        """Write own evaluations, or after a loss those of all jobs; set aside what is refused."""
        wanted = [
            e
            for e in evaluations
            if (self._is_own(e) or (self._has_lost and e.rank >= 0))
            and (e.rank, e.seq) not in self._refused
        ]
        for evaluation, error in write_all(self._writer, wanted).values():
            self._refuse(evaluation, error)

    def _refuse(self, evaluation: Evaluation, error: Exception) -> None:
        """Set an evaluation aside that the database does not take."""
        self._reason = _first_line(error)
        if not self._refused:
            self._report(f"the database refuses an evaluation: {self._reason}")
        with self._lock:
            self._refused[evaluation.rank, evaluation.seq] = evaluation

    def _pause_after(self, error: Exception) -> None:
        """Report the first of a series of failures, and that the study is gone; then pause."""
        self._reason = _first_line(error)
        is_gone = isinstance(error, StudyGoneError)
        is_new = self._trouble is None
        if self._trouble is None:
            self._trouble = _Trouble(time.monotonic(), self._pace.first_pause)
        if is_new or (is_gone and not self._trouble.is_gone):
            self._trouble.is_gone = is_gone
            self._report(
                f"the database does not take evaluations ({self._reason});"
                " the run goes on and the mirror keeps trying"
            )
        pause = self._trouble.pause
        self._trouble.pause = min(2 * pause, self._pace.longest_pause)
        if not self._closing.wait(pause):
            return
        self._abandoned.wait(min(pause, self._pace.longest_closing_pause))

    def _recover(self) -> None:
        """Reset the pause after a success; end the trouble if nothing is left to repeat."""
        if self._trouble is None:
            return
        self._trouble.pause = self._pace.first_pause
        if self._has_attended and not self._postponed:
            seconds = time.monotonic() - self._trouble.since
            self._report(f"the database takes evaluations again, after {seconds:.0f} s")
            self._trouble = None


def write_all(
    writer: Writer, evaluations: Sequence[Evaluation]
) -> dict[tuple[int, int], tuple[Evaluation, ValueError]]:
    """Write evaluations; return those that the database refuses by name, found by bisection."""
    try:
        writer.write(evaluations)
    except ValueError as error:
        if len(evaluations) == 1:
            return {(evaluations[0].rank, evaluations[0].seq): (evaluations[0], error)}
        half = len(evaluations) // 2
        return write_all(writer, evaluations[:half]) | write_all(writer, evaluations[half:])
    return {}


@dataclass
class _Trouble:
    """A series of failures."""

    since: float
    """When it began, on the monotonic clock."""
    pause: float
    """Seconds before the next attempt."""
    is_gone: bool = False
    """Whether it has been reported that the study is not there."""


def _first_line(error: Exception) -> str:
    """Return the first line of an error's text, or the name of its class."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
