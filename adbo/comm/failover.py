"""What the living owe the dead: everything that some of them received, all of them get.

A rank that dies has sent its stream to some peers further than to others. Since a stream arrives
in order, each survivor has a prefix of what the dead rank sent. All tell each other how long
theirs is, and whoever has more passes on the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from adbo.core.evaluation import Evaluation
from adbo.core.history import History


class Estate(Protocol):
    """What a rank knows of the others' streams."""

    def known(self, rank: int) -> int:
        """How far it knows the stream of a rank; never less than before."""

    def pass_on(self, rank: int, start: int, stop: int) -> None:
        """Send what it knows of the stream of a rank between two such places to all peers."""


class EvaluatingTransport(Protocol):
    """A transport for evaluations."""

    def broadcast(self, evaluation: Evaluation) -> None:
        """Send one evaluation to every living peer."""


class Evaluations:
    """The evaluations of the others in a history.

    Parameters
    ----------
    history
        What this rank knows.
    n_before
        Rows of the history that are from earlier runs.
    transport
        The way to the peers.
    """

    def __init__(self, history: History, n_before: int, transport: EvaluatingTransport) -> None:
        self._history = history
        self._n_before = n_before
        self._transport = transport

    def known(self, rank: int) -> int:
        """How many evaluations of a rank are here."""
        return len(self._rows(rank))

    def pass_on(self, rank: int, start: int, stop: int) -> None:
        """Send a stretch of a rank's evaluations."""
        for row in self._rows(rank)[start:stop]:
            self._transport.broadcast(self._history.evaluation(int(row)))

    def _rows(self, rank: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """This run's rows of a rank, in the order in which it made them."""
        mine = self._history.column("rank")[self._n_before :] == rank
        rows = self._n_before + np.flatnonzero(mine)
        return rows[np.argsort(self._history.column("seq")[rows])]


class MortalTransport(Protocol):
    """A transport that learns of the death of peers."""

    rank: int
    size: int
    gone: set[int]

    def announce(self, notice: Mapping[str, Any]) -> None:
        """Tell every living peer about the death of a rank."""

    def obituaries(self) -> list[dict[str, Any]]:
        """What peers announced since the last call."""


class Survivors:
    """The agreement of the living on what the dead had sent.

    Parameters
    ----------
    estate
        What this rank knows.
    transport
        The way to the peers.
    """

    def __init__(self, estate: Estate, transport: MortalTransport) -> None:
        self._estate = estate
        self._transport = transport
        # For each dead rank: how much of its stream each survivor had when it heard.
        self._reports: dict[int, dict[int, int]] = {}
        self._announced: set[int] = set()
        self._passed_on: dict[int, int] = {}

    def attend(self) -> None:
        """Announce new deaths, and pass on what others lack; call after every receiving."""
        transport = self._transport
        if not transport.gone:
            return
        for dead in transport.gone - self._announced:
            known = self._estate.known(dead)
            self._announced.add(dead)
            self._reports.setdefault(dead, {})[transport.rank] = known
            transport.announce({"rank": dead, "by": transport.rank, "known": known})
        for notice in transport.obituaries():
            dead, known = int(notice["rank"]), int(notice["known"])
            self._reports.setdefault(dead, {})[int(notice["by"])] = known
            self._pass_on(dead, known)

    @property
    def lowest(self) -> int:
        """The lowest living rank."""
        return min(set(range(self._transport.size)) - self._transport.gone)

    @property
    def agreed(self) -> bool:
        """Whether this rank has all that any living rank had of the dead."""
        living = set(range(self._transport.size)) - self._transport.gone
        return all(
            living <= self._reports.get(dead, {}).keys()
            and self._estate.known(dead) >= max(self._reports[dead][rank] for rank in living)
            for dead in self._transport.gone
        )

    def _pass_on(self, dead: int, start: int) -> None:
        """Send the dead rank's stream from the given place on, all of it at most once."""
        known = self._estate.known(dead)
        stop = min(self._passed_on.get(dead, known), known)
        if start < stop:
            self._estate.pass_on(dead, start, stop)
        self._passed_on[dead] = min(stop, start)
