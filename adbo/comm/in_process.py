"""Ranks within one process: one that is alone, and a network of queues that carries real bytes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

from adbo.core.errors import UsageError
from adbo.core.evaluation import Batch, Evaluation
from adbo.core.wire import Decoder, Encoder, change, farewell, message, obituary

T = TypeVar("T")


class LocalTransport:
    """One rank of a network within this process.

    Parameters
    ----------
    inboxes
        The queues of all ranks.
    rank
        Which of them is this rank's own.
    """

    def __init__(self, inboxes: Sequence[deque[bytes]], rank: int) -> None:
        self.rank = rank
        self.size = len(inboxes)
        self.farewells: dict[int, dict[str, Any]] = {}
        self.gone: set[int] = set()  # ranks of one process die together
        self.may_use_threads = False
        self._inboxes = inboxes
        self._obituaries: list[dict[str, Any]] = []
        self._changes: list[list[Any]] = []
        self._encoder = Encoder()
        self._decoder = Decoder()

    def broadcast(self, evaluation: Evaluation) -> None:
        """Put one evaluation into every peer's queue."""
        if self.size > 1:
            self._send(self._encoder.frames(evaluation))

    def publish(self, texts: Sequence[str]) -> None:
        """Put changes of a study into every peer's queue."""
        self._send(b"".join(change(text) for text in texts))

    def receive(self) -> list[Batch]:
        """Everything in this rank's queue."""
        inbox = self._inboxes[self.rank]
        received = self._decoder.decode([inbox.popleft() for _ in range(len(inbox))])
        for statistics in received.farewells:
            self.farewells[int(statistics["rank"])] = statistics
        self._obituaries += received.obituaries
        self._changes += received.changes
        return received.batches

    def leave(self, statistics: Mapping[str, Any]) -> None:
        """Tell every peer that no record of this rank follows."""
        self.farewells[self.rank] = dict(statistics)
        self._send(farewell(statistics))

    def part(self) -> None:
        """There is nobody to wait for."""

    def announce(self, notice: Mapping[str, Any]) -> None:
        """Tell every peer about the death of a rank."""
        self._send(obituary(notice))

    def obituaries(self) -> list[dict[str, Any]]:
        """What peers announced since the last call."""
        news, self._obituaries = self._obituaries, []
        return news

    def changes(self) -> list[list[Any]]:
        """What peers published since the last call."""
        news, self._changes = self._changes, []
        return news

    @property
    def settled(self) -> bool:
        """Whether every rank has left and everything has been received."""
        return len(self.farewells) == self.size and not self._inboxes[self.rank]

    def _send(self, frames: bytes) -> None:
        data = message([frames])
        for peer, inbox in enumerate(self._inboxes):
            if peer != self.rank:
                inbox.append(data)


def network(size: int) -> list[LocalTransport]:
    """``size`` ranks in this process that hear each other."""
    inboxes: list[deque[bytes]] = [deque() for _ in range(size)]
    return [LocalTransport(inboxes, rank) for rank in range(size)]


class Alone:
    """The ranks of a run that has only one."""

    rank = 0
    size = 1

    def transport(self) -> LocalTransport:
        """A network without peers."""
        return network(1)[0]

    def agree(self, value: T) -> list[T]:
        """What every rank says."""
        return [value]

    def share(self, make: Callable[[], T]) -> T:
        """What rank 0 makes."""
        return make()

    def abort(self, status: int) -> None:
        """Nobody else to end."""

    def node(self) -> tuple[int, list[frozenset[int]]]:
        """This rank's place on its node, and the processors of each rank there."""
        return 0, [frozenset(os.sched_getaffinity(0))]

    def groups(self, size: int) -> NoReturn:
        """One rank makes no groups."""
        raise UsageError(f"ranks per trial is {size}: start a multiple of {size} ranks")

    def depart(self, status: int) -> None:
        """There is no MPI to leave behind."""
