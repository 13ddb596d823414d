"""Failure recovery: survivors exchange the records that they have from failed ranks.

A rank that dies has sent its stream to some peers further than to others. Streams arrive in order,
so each survivor has a prefix of what the failed rank sent. All survivors tell each other the
length of theirs, and those with a longer one send the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np

from adbo.comm.protocols import Transport
from adbo.core.history import History
from adbo.core.job import Job
from adbo.core.wire import death_notice


class StreamStore(Protocol):
    """What this rank has received of the streams of others."""

    def known(self, rank: int) -> int:
        """Return how far the stream of a rank is known; it never becomes less."""

    def resend(self, rank: int, start: int, stop: int) -> None:
        """Send what is known of the stream of a rank, from `start` to `stop`, to all peers."""


class EvaluationStreams:
    """The evaluations of other ranks in a history, as a `StreamStore`.

    Parameters
    ----------
    history
        What this rank knows.
    job
        The job of the ranks.
    n_before
        Rows of the history that are older than the job.
    transport
        The way to the peers.
    """

    def __init__(self, history: History, job: Job, n_before: int, transport: Transport) -> None:
        self._history = history
        self._job = job
        self._n_before = n_before
        self._transport = transport

    def known(self, rank: int) -> int:
        """Return how many evaluations of a rank are known."""
        return len(self._rows(rank))

    def resend(self, rank: int, start: int, stop: int) -> None:
        """Send evaluations of a rank to all peers."""
        rows = self._rows(rank)[start:stop].tolist()
        self._transport.broadcast(*map(self._history.evaluation, rows))

    def _rows(self, rank: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return the rows of a rank of this job, in the order in which the rank made them."""
        ranks = self._history.column("rank")[self._n_before :]
        seqs = self._history.column("seq")[self._n_before :]
        rows = np.flatnonzero((ranks == rank) & self._job.made(ranks, seqs))
        return self._n_before + rows[np.argsort(seqs[rows])]


class Failover:
    """Brings all survivors to the same knowledge of the failed ranks.

    Parameters
    ----------
    store
        What this rank knows.
    transport
        The way to the peers.
    """

    def __init__(self, store: StreamStore, transport: Transport) -> None:
        self._store = store
        self._transport = transport
        self._notices: list[dict[str, Any]] = []
        # Failed rank to survivor to the length of the stream that the survivor had.
        self._reports: dict[int, dict[int, int]] = {}
        self._announced: set[int] = set()
        self._resent: dict[int, int] = {}

    def note(self, death_notices: Iterable[dict[str, Any]]) -> None:
        """Keep notices for `attend`, which must see the records received with them first."""
        self._notices += death_notices

    def attend(self) -> None:
        """Announce new deaths, and send what others lack; call it after every receiving."""
        transport = self._transport
        if not transport.failed:
            return
        for dead in transport.failed - self._announced:
            known = self._store.known(dead)
            self._announced.add(dead)
            self._reports.setdefault(dead, {})[transport.rank] = known
            transport.send(death_notice({"rank": dead, "by": transport.rank, "known": known}))
        notices, self._notices = self._notices, []
        for notice in notices:
            dead, known = int(notice["rank"]), int(notice["known"])
            self._reports.setdefault(dead, {})[int(notice["by"])] = known
            self._resend(dead, known)

    @property
    def lowest(self) -> int:
        """The lowest living rank."""
        return min(set(range(self._transport.size)) - self._transport.failed)

    @property
    def agreed(self) -> bool:
        """Whether this rank has all that any living rank had of the failed ones."""
        living = set(range(self._transport.size)) - self._transport.failed
        return all(
            living <= self._reports.get(dead, {}).keys()
            and self._store.known(dead) >= max(self._reports[dead][rank] for rank in living)
            for dead in self._transport.failed
        )

    def _resend(self, dead: int, start: int) -> None:
        """Send the stream of a failed rank from `start` on, each part of it at most once."""
        known = self._store.known(dead)
        stop = min(self._resent.get(dead, known), known)
        if start < stop:
            self._store.resend(dead, start, stop)
        self._resent[dead] = min(stop, start)
