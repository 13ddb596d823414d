"""Copies finished evaluations to a database from a thread, which lags behind rather than blocks.

This module knows a cursor, batches, pauses and patience. It does not know SQL, Optuna or MPI: the
source gives it evaluations, the writer stores them, and ``report`` takes lines for the user.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from adbo.core.evaluation import Evaluation
from adbo.mirror.settings import DEFAULTS, Pace


class DataLossError(Exception):
    """The database no longer has evaluations that it had confirmed, perhaps after a crash."""


class Writer(Protocol):
    """Stores evaluations, each one once."""

    def write(self, evaluations: Sequence[Evaluation]) -> None:
        """Store those of the evaluations that are not stored yet.

        Raises
        ------
        ValueError
            If one of them can never be stored as it is, so that trying again is pointless.
        DataLossError
            If evaluations of earlier calls are missing and must be written again.
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
        none if there are no more. It is called from the mirror's thread, and from the initial
        cursor again if the database lost evaluations.
    report
        Takes one line for the user. It is called from the mirror's thread.
    cursor
        The initial cursor.
    pace
        How many evaluations are written at once, and how often.
    attend
        Other work with the database. It is called from the mirror's thread whenever all
        evaluations of the source are written, and again after a pause if it raises.
    """

    def __init__(
        self,
        writer: Writer,
        source: Callable[[int], Sequence[Evaluation]],
        *,
        report: Callable[[str], None],
        cursor: int = 0,
        pace: Pace = DEFAULTS.pace,
        attend: Callable[[], None] = lambda: None,
    ) -> None:
        self._writer = writer
        self._source = source
        self._report = report
        self._start = self._cursor = cursor
        self._pace = pace
        self._batch = pace.batch
        self._attend = attend
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

    def flush_and_close(self, patience: float) -> list[Evaluation]:
        """Write all evaluations and end the thread; return those that could not be written.

        A database that makes progress is given all the time it needs.

        Parameters
        ----------
        patience
            Seconds without progress after which the remaining evaluations are given up.
        """
        self._closing.set()
        progress, deadline = self._progress, time.monotonic() + patience
        while self._thread.is_alive() and time.monotonic() < deadline:
            self._thread.join(self._pace.poll)
            if self._progress != progress:
                progress, deadline = self._progress, time.monotonic() + patience
        self._abandoned.set()
        unwritten = self.unwritten()
        if unwritten:
            self._report(
                f"{len(unwritten)} evaluations could not be written to the database"
                f" ({self._reason or 'it did not answer'})"
            )
        return unwritten

    def unwritten(self) -> list[Evaluation]:
        """Return what is not known to be stored: refused, waiting, or being written right now."""
        with self._lock:
            rest = [*self._refused.values(), *self._pending, *self._postponed]
            cursor = self._cursor
            while page := self._source(cursor):
                rest += page
                cursor += len(page)
        return rest

    def _run(self) -> None:
        while not self._abandoned.is_set():
            # Read before the source, so that nothing appended before closing is missed.
            is_closing = self._closing.is_set()
            try:
                self._copy()
            except Exception as error:  # the run must go on without its mirror, whatever it is
                self._pause_after(error)
                continue
            if is_closing:
                return
            self._closing.wait(self._pace.interval)

    def _copy(self) -> None:
        """Write all evaluations that the source has now, then attend to other work."""
        while not self._abandoned.is_set():
            if not self._pending:
                self._take_page()
            if not self._pending:
                self._attend()
                if not self._closing.is_set():
                    self._recover()
                return
            batch = self._pending[: self._batch]
            try:
                self._write(batch)
            except DataLossError as error:
                self._start_again(error)
                continue
            except Exception as error:
                self._reduce_batch(batch, error)
                raise
            with self._lock:
                del self._pending[: len(batch)]
            self._progress += 1
            self._n_successes += 1
            if self._n_successes % self._pace.growth_after == 0:
                self._batch = min(2 * self._batch, self._pace.batch)
            self._recover()

    def _take_page(self) -> None:
        """Take the next evaluations from the source; if it has none, those that were postponed."""
        with self._lock:
            self._pending = list(self._source(self._cursor))
            self._cursor += len(self._pending)
            if not self._pending:
                self._pending, self._postponed = self._postponed, []

    def _start_again(self, error: DataLossError) -> None:
        """Return to the initial cursor; the writer skips what is stored."""
        self._report(f"the database has lost evaluations; they are written again ({error})")
        with self._lock:
            self._pending, self._postponed, self._cursor = [], [], self._start

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
        """Write evaluations; find those that the database refuses by bisection, set them aside."""
        evaluations = [e for e in evaluations if (e.rank, e.seq) not in self._refused]
        try:
            self._writer.write(evaluations)
        except ValueError as error:
            if len(evaluations) > 1:
                half = len(evaluations) // 2
                self._write(evaluations[:half])
                self._write(evaluations[half:])
                return
            for evaluation in evaluations:
                self._refuse(evaluation, error)

    def _refuse(self, evaluation: Evaluation, error: Exception) -> None:
        """Set an evaluation aside that the database does not take."""
        self._reason = _first_line(error)
        if not self._refused:
            self._report(f"the database refuses an evaluation: {self._reason}")
        with self._lock:
            self._refused[evaluation.rank, evaluation.seq] = evaluation

    def _pause_after(self, error: Exception) -> None:
        """Report the first of a series of failures, and pause."""
        self._reason = _first_line(error)
        if self._trouble is None:
            self._trouble = _Trouble(time.monotonic(), self._pace.first_pause)
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
        """Reset the pause after a success; end the trouble if nothing is postponed."""
        if self._trouble is None:
            return
        self._trouble.pause = self._pace.first_pause
        if not self._postponed:
            seconds = time.monotonic() - self._trouble.since
            self._report(f"the database takes evaluations again, after {seconds:.0f} s")
            self._trouble = None


@dataclass
class _Trouble:
    """A series of failures."""

    since: float
    """When it began, on the monotonic clock."""
    pause: float
    """Seconds before the next attempt."""


def _first_line(error: Exception) -> str:
    """Return the first line of an error's text, or the name of its class."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
