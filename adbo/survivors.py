"""What the living owe the dead: every evaluation that some of them received, all of them get.

A rank that dies has sent its stream to some peers further than to others. Since a stream arrives
in order, each survivor has a prefix of the dead rank's evaluations. All tell each other how long
theirs is, and whoever has more passes on the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from adbo.history import History
from adbo.records import Evaluation


class MortalTransport(Protocol):
    """A transport that learns of the death of peers."""

    rank: int
    size: int
    gone: set[int]

    def broadcast(self, evaluation: Evaluation) -> None:
        """Send one evaluation to every living peer."""

    def announce(self, notice: Mapping[str, Any]) -> None:
        """Tell every living peer about the death of a rank."""

    def obituaries(self) -> list[dict[str, Any]]:
        """What peers announced since the last call."""


class Survivors:
    """The agreement of the living on what the dead had sent.

    Parameters
    ----------
    history
        What this rank knows.
    n_before
        Rows of the history that are from earlier runs.
    transport
        The way to the peers.
    """

    def __init__(self, history: History, n_before: int, transport: MortalTransport) -> None:
        self._history = history
        self._n_before = n_before
        self._transport = transport
        # For each dead rank: how many of its evaluations each survivor had when it heard.
        self._reports: dict[int, dict[int, int]] = {}
        self._announced: set[int] = set()
        self._passed_on: dict[int, int] = {}

    def attend(self) -> None:
        """Announce new deaths, and pass on what others lack; call after every receiving."""
        transport = self._transport
        if not transport.gone:
            return
        for dead in transport.gone - self._announced:
            known = len(self._rows(dead))
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
            and len(self._rows(dead)) >= max(self._reports[dead][rank] for rank in living)
            for dead in self._transport.gone
        )

    def _rows(self, rank: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """This run's rows of a rank, in the order in which it made them."""
        mine = self._history.column("rank")[self._n_before :] == rank
        rows = self._n_before + np.flatnonzero(mine)
        return rows[np.argsort(self._history.column("seq")[rows])]

    def _pass_on(self, dead: int, known: int) -> None:
        """Send the dead rank's evaluations from the given one on, each at most once."""
        rows = self._rows(dead)
        stop = min(self._passed_on.get(dead, len(rows)), len(rows))
        for row in rows[known:stop]:
            self._transport.broadcast(self._history.evaluation(int(row)))
        self._passed_on[dead] = min(stop, known)
