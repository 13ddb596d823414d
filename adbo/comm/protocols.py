"""What the rest of adbo asks of whatever connects ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar

from adbo.core.evaluation import Batch, Evaluation
from adbo.core.wire import Received

T = TypeVar("T")


class Exchange(Protocol):
    """What the loop of a rank needs of its peers. Neither method waits."""

    def broadcast(self, evaluation: Evaluation) -> None:
        """Send one evaluation of this rank to every peer."""

    def receive(self) -> Iterable[Batch]:
        """Return everything that has arrived since the last call."""


class Transport(Protocol):
    """One stream of frames from this rank to its peers, and their streams to this rank.

    Frames are delivered to every living peer, in order, each once; see
    `adbo.comm.dissemination`. Nothing but `barrier` waits.
    """

    rank: int
    size: int
    farewells: dict[int, dict[str, Any]]
    """The statistics of each rank that has left, this one included."""
    failed: set[int]
    """Ranks whose processes have ended before this one."""
    may_use_threads: bool
    """Whether one thread at a time may use the transport, but not always the same."""

    def broadcast(self, *evaluations: Evaluation) -> None:
        """Send evaluations to every peer."""

    def send(self, *frames: bytes) -> None:
        """Send changes or notices (see `adbo.core.wire`) to every peer."""

    def receive(self) -> Received:
        """Return everything that has arrived since the last call; also go on sending."""

    def leave(self, statistics: Mapping[str, Any]) -> None:
        """Tell every peer that no evaluation of this rank follows.

        The ranks must go on receiving until they are `settled`.
        """

    @property
    def agreed(self) -> bool:
        """Whether this rank has all that any living rank has of the failed ones."""

    @property
    def seconds_until_due(self) -> float:
        """Seconds until messages may be sent again; a call of `receive` before only receives."""

    @property
    def settled(self) -> bool:
        """Whether every living rank has everything, as far as this one is needed for it."""

    def barrier(self) -> None:
        """Wait until every rank is settled; give up if one has died."""


class Mail(Protocol):
    """What carries messages between two ranks: each once, those of a sender in their order.

    Nothing but `barrier` waits.
    """

    rank: int
    size: int
    may_use_threads: bool
    """Whether one thread at a time may use it, but not always the same."""
    failed: set[int]
    """Ranks whose processes have ended before this one."""

    def room(self, peer: int) -> int:
        """Return the number of messages that may be posted to a peer now."""

    def post(self, peer: int, data: bytes) -> None:
        """Begin to send a message."""

    def collect(self) -> list[tuple[int, bytes]]:
        """Return the messages that have arrived since the last call, each with its sender."""

    @property
    def is_idle(self) -> bool:
        """Whether no message to or from a living rank is under way, as far as this one knows."""

    def barrier(self) -> None:
        """Wait until all ranks call it, and ignore what arrives; give up if one has died."""


class Ranks(Protocol):
    """All ranks of a run, seen from one of them. A collective method is called by all of them."""

    rank: int
    size: int

    def transport(self) -> Transport:
        """Return a transport between the ranks; collective."""

    def agree(self, value: T) -> list[T]:
        """Return the values of all ranks, on every rank; collective."""

    def share(self, make: Callable[[], T]) -> T:
        """Return what `make` returns on rank 0, or raise what it raises there; collective."""

    def abort(self, status: int) -> None:
        """End the whole job at once."""

    def depart(self, status: int) -> None:
        """End this process after others have died."""

    def node(self) -> tuple[int, list[frozenset[int]]]:
        """Return the place of this rank on its node, and the processors of each rank there.

        Collective.
        """

    def groups(self, size: int) -> tuple[Ranks, Channel]:
        """Return the leaders of groups of `size` ranks, and this rank's group; collective."""


class Channel(Protocol):
    """How the ranks of one group talk. Rank 0 of a group leads it; nothing waits."""

    comm: Any
    rank: int
    size: int

    def tell(self, word: object) -> None:
        """Send an object to every other rank of the group."""

    def answer(self, word: object) -> None:
        """Send an object to the leader."""

    @property
    def is_idle(self) -> bool:
        """Whether everything sent arrives without further calls of MPI by this rank."""

    def hear(self) -> tuple[int, Any] | None:
        """Return the next object and the rank it is from, or None if none has arrived."""

    def abort(self, status: int) -> None:
        """End the whole job at once."""
