"""Transports within one process: none at all, and a network of queues that carries real bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from adbo.records import Batch, Decoder, Encoder, Evaluation, farewell, message


class LocalTransport:
    """One rank of a network within this process; alone it has no peers.

    Parameters
    ----------
    inboxes
        The queues of all ranks.
    rank
        Which of them is this rank's own.
    """

    def __init__(self, inboxes: Sequence[deque[tuple[int, bytes]]] = (deque(),), rank: int = 0):
        self.rank = rank
        self.size = len(inboxes)
        self.farewells: dict[int, dict[str, Any]] = {}
        self._inboxes = inboxes
        self._encoder = Encoder()
        self._decoder = Decoder()

    def broadcast(self, evaluation: Evaluation) -> None:
        """Put one evaluation into every peer's queue."""
        if self.size > 1:
            self._send(self._encoder.frames(evaluation))

    def receive(self) -> list[Batch]:
        """Everything in this rank's queue."""
        batches: list[Batch] = []
        inbox = self._inboxes[self.rank]
        while inbox:
            source, data = inbox.popleft()
            received = self._decoder.decode([data])
            batches += received.batches
            for statistics in received.farewells:
                self.farewells[source] = statistics
        return batches

    def leave(self, statistics: Mapping[str, Any]) -> None:
        """Tell every peer that no record of this rank follows."""
        self.farewells[self.rank] = dict(statistics)
        self._send(farewell(statistics))

    @property
    def settled(self) -> bool:
        """Whether every rank has left and everything has been received."""
        return len(self.farewells) == self.size and not self._inboxes[self.rank]

    def _send(self, frames: bytes) -> None:
        data = message([frames])
        for peer, inbox in enumerate(self._inboxes):
            if peer != self.rank:
                inbox.append((self.rank, data))


def network(size: int) -> list[LocalTransport]:
    """``size`` ranks in this process that hear each other."""
    inboxes: list[deque[tuple[int, bytes]]] = [deque() for _ in range(size)]
    return [LocalTransport(inboxes, rank) for rank in range(size)]
