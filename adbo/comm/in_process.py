"""Ranks within one process: a single rank, and a network of queues that carries real messages."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import NoReturn, TypeVar

from adbo.comm.endpoint import Endpoint
from adbo.core.errors import UsageError

T = TypeVar("T")


class Queues:
    """The `Mail` of one rank of a network within this process.

    Parameters
    ----------
    queues
        The incoming messages of all ranks, each with its sender.
    rank
        This rank.
    """

    def __init__(self, queues: Sequence[deque[tuple[int, bytes]]], rank: int) -> None:
        self.rank = rank
        self.size = len(queues)
        self.failed: set[int] = set()  # the ranks of one process die together
        self.may_use_threads = self.size == 1
        self._queues = queues

    def room(self, peer: int) -> int:
        """Return that a queue has room for another message."""
        return 1

    def post(self, peer: int, data: bytes) -> None:
        """Put a message into the queue of a peer."""
        self._queues[peer].append((self.rank, data))

    def collect(self) -> list[tuple[int, bytes]]:
        """Return everything in this rank's queue."""
        queue = self._queues[self.rank]
        return [queue.popleft() for _ in range(len(queue))]

    @property
    def is_idle(self) -> bool:
        """Whether everything sent has arrived: it is in the queues."""
        return True

    def barrier(self) -> None:
        """Do nothing: the ranks of one process end together."""


def network(size: int) -> list[Endpoint]:
    """Return the transports of `size` ranks in this process that hear each other."""
    queues: list[deque[tuple[int, bytes]]] = [deque() for _ in range(size)]
    return [Endpoint(Queues(queues, rank)) for rank in range(size)]


class SingleRank:
    """The `Ranks` of a run that has only one."""

    rank = 0
    size = 1

    def transport(self) -> Endpoint:
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
