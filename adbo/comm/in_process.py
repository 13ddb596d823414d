"""Ranks within one process: a single rank, and a network of queues that carries real messages."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

from adbo.comm.inbox import Inbox
from adbo.core.errors import UsageError
from adbo.core.evaluation import Evaluation
from adbo.core.wire import Encoder, Received, farewell, message

T = TypeVar("T")


class InProcessTransport:
    """A `Transport` of one rank of a network within this process.

    Parameters
    ----------
    queues
        The incoming messages of all ranks.
    rank
        This rank.
    """

    def __init__(self, queues: Sequence[deque[bytes]], rank: int) -> None:
        self.rank = rank
        self.size = len(queues)
        self.failed: set[int] = set()  # the ranks of one process die together
        self.may_use_threads = self.size == 1
        self._queues = queues
        self._inbox = Inbox()
        self.farewells = self._inbox.farewells
        self._encoder = Encoder()

    def broadcast(self, *evaluations: Evaluation) -> None:
        """Put evaluations into the queue of every peer."""
        if self.size > 1:
            self.send(*map(self._encoder.frames, evaluations))

    def send(self, *frames: bytes) -> None:
        """Put frames into the queue of every peer."""
        data = message(frames)
        for peer, queue in enumerate(self._queues):
            if peer != self.rank:
                queue.append(data)

    def receive(self) -> Received:
        """Return everything in this rank's queue."""
        queue = self._queues[self.rank]
        return self._inbox.open([queue.popleft() for _ in range(len(queue))])

    def leave(self, statistics: Mapping[str, Any]) -> None:
        """Tell every peer that no evaluation of this rank follows."""
        self.farewells[self.rank] = dict(statistics)
        self.send(farewell(statistics))

    @property
    def settled(self) -> bool:
        """Whether every rank has left and this rank has received everything."""
        return len(self.farewells) == self.size and not self._queues[self.rank]

    def barrier(self) -> None:
        """Do nothing: the ranks of one process end together."""


def network(size: int) -> list[InProcessTransport]:
    """Return the transports of `size` ranks in this process that hear each other."""
    queues: list[deque[bytes]] = [deque() for _ in range(size)]
    return [InProcessTransport(queues, rank) for rank in range(size)]


class SingleRank:
    """The `Ranks` of a run that has only one."""

    rank = 0
    size = 1

    def transport(self) -> InProcessTransport:
        """Return a network without peers."""
        return network(1)[0]

    def agree(self, value: T) -> list[T]:
        """Return the value of the only rank."""
        return [value]

    def share(self, make: Callable[[], T]) -> T:
        """Return what `make` returns."""
        return make()

    def abort(self, status: int) -> None:
        """Do nothing: there are no other ranks to end."""

    def depart(self, status: int) -> None:
        """Do nothing: there is no MPI library that could wait for the dead."""

    def node(self) -> tuple[int, list[frozenset[int]]]:
        """Return the place of this rank on its node, and the processors of each rank there."""
        return 0, [frozenset(os.sched_getaffinity(0))]

    def groups(self, size: int) -> NoReturn:
        """Refuse: one rank cannot form groups."""
        raise UsageError(f"ranks per trial is {size}: start a multiple of {size} ranks")
