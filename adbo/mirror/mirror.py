"""Copies finished evaluations to a database from a thread, and falls behind rather than wait.

This module knows a cursor, batches, pauses and patience. It does not know SQL, Optuna or MPI: the
source gives it evaluations, the writer stores them, ``report`` takes its few lines for people.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from adbo.core.evaluation import Evaluation

#: How often the closing thread looks whether the mirror still makes progress, in seconds.
_LOOK = 0.05


#: So often an evaluation may fail alone while others are stored, until it is taken for the cause.
_CHANCES = 8

#: After so many batches that were stored, a batch that had become smaller may grow.
_GROWTH = 100


class LostError(Exception):
    """The database no longer has what it had confirmed, as one that crashed may."""


class Writer(Protocol):
    """Stores evaluations, each one once."""

    def write(self, evaluations: Sequence[Evaluation]) -> None:
        """Store all of them, or none; those that are stored already are left alone.

        Raises
        ------
        ValueError
            If one of them can never be stored as it is, so that trying again is pointless.
        LostError
            If evaluations of earlier calls are missing and must be written again.
        Exception
            Any other: trouble that may pass. Whether anything was stored may then be unknown;
            the writer finds out when it is called again.
        """


@dataclass(frozen=True)
class Pace:
    """How much at once, and how often.

    Parameters
    ----------
    batch
        Evaluations per write. The cost per evaluation is flat from about 500 on; more would only
        make others wait longer for the database.
    interval
        Seconds between two looks at the source: people see an evaluation after that time.
    first_pause, longest_pause
        Seconds before the first and before late new attempts at a failing database; in between
        each pause is twice the one before it.
    """

    batch: int = 1000
    interval: float = 1.0
    first_pause: float = 0.5
    longest_pause: float = 30.0


#: While closing, somebody waits for the mirror: it tries again at least this often, in seconds.
_CLOSING_PAUSE = 2.0


class Mirror:
    """Writes what a source has to offer, from its own thread, until it is closed.

    Nothing that happens to the database reaches the run: a failing one is reported once and tried
    again with growing pauses, and an evaluation that it refuses is set aside.

    Parameters
    ----------
    writer
        Stores evaluations.
    source
        Gives the next evaluations from a cursor on, in the order in which they were appended, as
        many as it likes to make at once; none if there are none. It is called from the mirror's
        thread, and from the beginning again if the database lost what it had.
    report
        Takes one line for people. It is called from the mirror's thread.
    cursor
        Where in the source to begin.
    attend
        Called from the mirror's thread whenever all that there is has been written: for what else
        is to be done about the database from time to time.
    """

    def __init__(
        self,
        writer: Writer,
        source: Callable[[int], Sequence[Evaluation]],
        *,
        report: Callable[[str], None],
        cursor: int = 0,
        pace: Pace = Pace(),
        attend: Callable[[], None] = lambda: None,
    ) -> None:
        self._writer = writer
        self._source = source
        self._report = report
        self._start = self._cursor = cursor
        self._pace = pace
        self._size = pace.batch
        self._attend = attend
        self._pending: list[Evaluation] = []
        self._postponed: list[Evaluation] = []
        self._failed_alone: dict[tuple[int, int], list[int]] = {}
        self._n_good = 0
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
        """Begin to copy.

        Raises
        ------
        RuntimeError
            If it was started before.
        """
        self._thread.start()

    def flush_and_close(self, patience: float) -> list[Evaluation]:
        """Write what is left and end; return what could not be written.

        A database that answers is given all the time it needs.

        Parameters
        ----------
        patience
            Seconds without any progress after which the rest is given up.
        """
        self._closing.set()
        progress, deadline = self._progress, time.monotonic() + patience
        while self._thread.is_alive() and time.monotonic() < deadline:
            self._thread.join(_LOOK)
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
        """What is not known to be stored: refused, waiting, or being written right now."""
        with self._lock:
            rest = [*self._refused.values(), *self._pending, *self._postponed]
            cursor = self._cursor
            while page := self._source(cursor):
                rest += page
                cursor += len(page)
        return rest

    def _run(self) -> None:
        while not self._abandoned.is_set():
            # Read before the source: what was appended before closing must not be missed.
            closing = self._closing.is_set()
            try:
                self._copy()
            except Exception as error:  # whatever it is, the run goes on without its mirror
                self._rest(error)
                continue
            if closing:
                return
            self._closing.wait(self._pace.interval)

    def _copy(self) -> None:
        """Write all that the source has now."""
        while not self._abandoned.is_set():
            if not self._pending:
                self._turn_page()
            if not self._pending:
                self._attend()
                return
            batch = self._pending[: self._size]
            try:
                self._write(batch)
            except LostError as error:
                self._report(
                    f"the database has lost evaluations; they are written again ({error})"
                )
                with self._lock:
                    self._pending, self._postponed, self._cursor = [], [], self._start
                continue
            except Exception as error:
                self._try_others_first(batch, error)
                raise
            with self._lock:
                del self._pending[: len(batch)]
            self._progress += 1
            self._n_good += 1
            if self._n_good % _GROWTH == 0:
                self._size = min(2 * self._size, self._pace.batch)
            self._recover()

    def _recover(self) -> None:
        """The database works; the trouble is over if nothing is left of it."""
        if self._trouble is None:
            return
        self._trouble.pause = self._pace.first_pause
        if not self._postponed:
            seconds = time.monotonic() - self._trouble.since
            self._report(f"the database takes evaluations again, after {seconds:.0f} s")
            self._trouble = None

    def _turn_page(self) -> None:
        """Take the next evaluations from the source, or those that failed before."""
        with self._lock:
            self._pending = list(self._source(self._cursor))
            self._cursor += len(self._pending)
            if not self._pending:
                self._pending, self._postponed = self._postponed, []

    def _try_others_first(self, batch: Sequence[Evaluation], error: Exception) -> None:
        """Make batches smaller; one that failed alone waits until others have been tried.

        If others are stored and it fails again and again, it is the cause: a packet that is too
        big for the server, say.
        """
        self._size = max(1, self._size // 2)
        self._n_good = 0
        if len(batch) > 1:
            return
        failures = self._failed_alone.setdefault((batch[0].rank, batch[0].seq), [])
        if self._progress not in failures:
            failures.append(self._progress)
        with self._lock:
            del self._pending[0]
            if len(failures) <= _CHANCES:
                self._postponed += batch
        if len(failures) > _CHANCES:
            self._refuse(batch[0], error)

    def _write(self, evaluations: Sequence[Evaluation]) -> None:
        """Write evaluations; find those that the database refuses by halving, set them aside."""
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
        """Set one aside."""
        self._reason = _line(error)
        if not self._refused:
            self._report(f"the database refuses an evaluation: {self._reason}")
        with self._lock:
            self._refused[evaluation.rank, evaluation.seq] = evaluation

    def _rest(self, error: Exception) -> None:
        """Report the first of a series of failures, and pause."""
        self._reason = _line(error)
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
        self._abandoned.wait(min(pause, _CLOSING_PAUSE))


@dataclass
class _Trouble:
    """A series of failures: its beginning, and the pause before the next attempt."""

    since: float
    pause: float


def _line(error: Exception) -> str:
    """The first line of an error, never empty."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
