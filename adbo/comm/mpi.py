"""Ranks over MPI: every record goes directly to every peer, and no rank waits for another.

This is the only module that knows MPI. What a rank sends forms one stream of frames. Each peer has
a cursor into it and at most `MessagingSettings.window` messages under way; a message carries
everything between the cursor and the end of the stream. So a peer that has not received for a
while is sent a few long messages instead of many short ones. Sends are synchronous and
non-blocking (``Issend``): a send completes only when its receiver has taken the message. This
bounds the memory at the receiver, and proves the delivery without acknowledgements of our own.

If the MPI library reports the death of ranks instead of ending the job (User Level Failure
Mitigation, chapter 15 of MPI 5.0), the other ranks go on.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from mpi4py import MPI

from adbo.comm.inbox import Inbox
from adbo.core.evaluation import Evaluation
from adbo.core.wire import Encoder, Received, farewell, message

T = TypeVar("T")


@dataclass(frozen=True)
class MessagingSettings:
    """How much messages may cost.

    Parameters
    ----------
    window
        Messages under way to one peer; bounds the memory at a peer that does not receive.
    message_bytes
        A message ends with the frame that reaches this size.
    share
        Largest fraction of a rank's time for messages; beyond it, records wait and share messages.
    credit
        Seconds by which a rank may exceed its share, so that a short burst is not delayed.
    first_cost
        Seconds assumed for one message until there are measurements.
    n_costs
        Number of latest measurements whose median counts, since the first messages are slow.
    barrier_patience
        Seconds that ranks wait for each other at the end of a run.
    """

    window: int = 8
    message_bytes: int = 1 << 20
    share: float = 0.01
    credit: float = 5.0
    first_cost: float = 10e-6
    n_costs: int = 15
    barrier_patience: float = 60.0


#: Seconds between two looks while ranks wait for each other at the end, and looks after that.
_BARRIER_PAUSE, _LAST_LOOKS = 5e-3, 10


def finalize() -> None:
    """Wait for all ranks of the job, and end MPI."""
    if not MPI.Is_finalized():
        MPI.Finalize()


class MpiTransport:
    """A `Transport` over MPI.

    Parameters
    ----------
    comm
        The ranks that optimize together. It is duplicated, so that messages of the objective on
        the same communicator cannot be mistaken; constructing the transport is collective.
    settings
        How much messages may cost.
    """

    def __init__(
        self, comm: MPI.Intracomm, settings: MessagingSettings = MessagingSettings()
    ) -> None:
        self._comm = comm.Dup()
        self._comm.Set_errhandler(MPI.ERRORS_RETURN)
        self._settings = settings
        self.rank = self._comm.Get_rank()
        self.size = self._comm.Get_size()
        self.failed: set[int] = set()
        self.may_use_threads = self.size > 1 and MPI.Query_thread() >= MPI.THREAD_MULTIPLE
        self._encoder = Encoder()
        self._inbox = Inbox()
        self.farewells = self._inbox.farewells
        self._stream: list[bytes] = []
        self._trimmed = 0  # frames removed from the start of _stream: every peer was sent them
        self._cursor = {peer: 0 for peer in range(self.size) if peer != self.rank}
        self._under_way = dict.fromkeys(self._cursor, 0)
        self._behind: set[int] = set()  # peers that have not been sent the whole stream
        self._paid_until = 0.0  # when the messages sent so far will be within their share
        self._send_costs = deque([settings.first_cost], maxlen=settings.n_costs)
        self._receive_costs = deque([settings.first_cost], maxlen=settings.n_costs)
        self._requests: list[MPI.Request] = []
        # The peer and the buffer of each request; the buffer must live until it completes.
        self._owners: list[tuple[int, bytes]] = []
        self._lost: list[tuple[MPI.Request, bytes]] = []  # under way to a peer that died

    def broadcast(self, *evaluations: Evaluation) -> None:
        """Send evaluations to every peer, as soon as each can take them."""
        if self._cursor:
            self.send(*map(self._encoder.frames, evaluations))

    def send(self, *frames: bytes) -> None:
        """Send frames to every peer, as soon as each can take them."""
        if self._cursor:
            self._stream += frames
            self._behind.update(self._cursor)
            self._advance()

    def receive(self) -> Received:
        """Return everything that has arrived; also go on sending."""
        messages: list[bytes] = []
        start = time.thread_time()
        # One look may be used up by the receipt of a message we sent, with more behind it.
        while self._complete() + self._collect(messages):
            pass
        if messages:
            self._receive_costs.append((time.thread_time() - start) / len(messages))
        self._advance()
        return self._inbox.open(messages)

    def leave(self, statistics: Mapping[str, Any]) -> None:
        """Tell every peer that no evaluation of this rank follows."""
        self.farewells[self.rank] = dict(statistics)
        self.send(farewell(statistics))

    @property
    def settled(self) -> bool:
        """Whether all living ranks have left, and everything sent to and by this one arrived."""
        return (
            self.rank in self.farewells
            and all(peer in self.farewells for peer in self._cursor)
            and not self._requests
            and all(cursor == self._end for cursor in self._cursor.values())
        )

    def barrier(self) -> None:
        """Wait until all ranks are settled; give up after a time, or when a rank has died.

        The receipt of a message may still be in this process when its send has completed. If
        MPICH ended the process then, the receipt would never be sent, and its receiver would wait
        forever.
        """
        deadline = time.monotonic() + self._settings.barrier_patience
        try:
            everybody = self._comm.Ibarrier()
            while not everybody.Test() and time.monotonic() < deadline:
                time.sleep(_BARRIER_PAUSE)
            for _ in range(_LAST_LOOKS):
                self._comm.Iprobe(MPI.ANY_SOURCE, MPI.ANY_TAG)
                time.sleep(_BARRIER_PAUSE / _LAST_LOOKS)
        except MPI.Exception:
            self._mark_failed()

    @property
    def _end(self) -> int:
        return self._trimmed + len(self._stream)

    def _collect(self, messages: list[bytes]) -> int:
        """Append the messages that have arrived; return their number."""
        before = len(messages)
        status = MPI.Status()
        while True:
            try:
                waiting = self._comm.Improbe(MPI.ANY_SOURCE, MPI.ANY_TAG, status)
                if waiting is None:
                    return len(messages) - before
                data = bytearray(status.Get_count(MPI.BYTE))
                waiting.Recv([data, MPI.BYTE])
            except MPI.Exception:
                self._mark_failed()
                continue
            messages.append(bytes(data))

    def _complete(self) -> int:
        """Forget the sends that have completed; return their number."""
        if not self._requests:
            return 0
        try:
            if not MPI.Request.Testsome(self._requests):
                return 0
        except MPI.Exception:
            self._mark_failed()
        # Completed requests have become null, by success or by the death of the peer.
        before = len(self._requests)
        waiting = [i for i, request in enumerate(self._requests) if request]
        if len(waiting) < before:
            for peer in self._under_way:
                self._under_way[peer] = 0
            self._requests = [self._requests[i] for i in waiting]
            self._owners = [self._owners[i] for i in waiting]
            for peer, _ in self._owners:
                self._under_way[peer] += 1
        return before - len(self._requests)

    def _advance(self) -> None:
        """Send what may be sent, unless messages have had their share of the time."""
        now = time.monotonic()
        if not self._behind or self._is_over_budget(now):
            return
        start = time.thread_time()
        before = len(self._requests)
        end = self._end
        cut: dict[int, tuple[int, bytes]] = {}  # peers with equal cursors share one message
        for peer in sorted(self._behind, key=self._distance):
            while (
                self._cursor.get(peer, end) < end and self._under_way[peer] < self._settings.window
            ):
                position = self._cursor[peer]
                if position not in cut:
                    cut[position] = self._cut(position)
                self._post(peer, *cut[position])
        self._behind = {peer for peer, cursor in self._cursor.items() if cursor < end}
        self._trim()
        n_messages = len(self._requests) - before
        if n_messages:
            self._send_costs.append((time.thread_time() - start) / n_messages)
            cost = statistics.median(self._send_costs) + statistics.median(self._receive_costs)
            cost *= n_messages / self._settings.share
            self._paid_until = max(self._paid_until, now) + cost

    def _is_over_budget(self, now: float) -> bool:
        """Return whether records must wait; not once this rank has nothing else to do."""
        has_left = self.rank in self.farewells
        return not has_left and now < self._paid_until - self._settings.credit

    def _distance(self, peer: int) -> int:
        """Return a sort key: each rank begins with its neighbour, not all with the same peer."""
        return (peer - self.rank) % self.size

    def _post(self, peer: int, position: int, data: bytes) -> None:
        """Begin to send a message after which the cursor of the peer is at `position`."""
        try:
            self._requests.append(self._comm.Issend([data, MPI.BYTE], dest=peer))
        except MPI.Exception:
            self._mark_failed()
            return
        self._owners.append((peer, data))
        self._under_way[peer] += 1
        self._cursor[peer] = position

    def _mark_failed(self) -> None:
        """After an error: find out which ranks died, and expect nothing more of them.

        Raises
        ------
        MPI.Exception
            The error being handled, if no rank died.
        """
        try:
            failed = self._comm.Get_failed()
            self._comm.Ack_failed()  # allows receiving from any rank again
        except (NotImplementedError, MPI.Exception):
            raise MPI.Exception(MPI.ERR_OTHER) from None
        indices = MPI.Group.Translate_ranks(failed, None, self._comm.Get_group())
        dead = {int(rank) for rank in indices} - self.failed
        if not dead and not self.failed:
            raise
        self.failed |= dead
        for rank in dead:
            self._cursor.pop(rank, None)
            self._under_way.pop(rank, None)
        self._behind -= dead
        pairs = list(zip(self._requests, self._owners, strict=False))
        self._lost += [(request, owner[1]) for request, owner in pairs if owner[0] in dead]
        self._requests = [request for request, owner in pairs if owner[0] not in dead]
        self._owners = [owner for _, owner in pairs if owner[0] not in dead]

    def _cut(self, start: int) -> tuple[int, bytes]:
        """Return one message of the stream from `start`, and where the next one starts."""
        frames: list[bytes] = []
        size = 0
        for frame in self._stream[start - self._trimmed :]:
            frames.append(frame)
            size += len(frame)
            if size >= self._settings.message_bytes:
                break
        return start + len(frames), message(frames)

    def _trim(self) -> None:
        """Remove from the stream what every peer was sent."""
        reached = min(self._cursor.values(), default=self._end)
        del self._stream[: reached - self._trimmed]
        self._trimmed = max(self._trimmed, reached)


class MpiChannel:
    """A `Channel` over MPI.

    Parameters
    ----------
    comm
        The group; constructing the channel is collective.
    """

    def __init__(self, comm: MPI.Intracomm) -> None:
        self.comm = comm
        self.rank = comm.Get_rank()
        self.size = comm.Get_size()
        self._words = comm.Dup()  # apart from what the objective sends on its communicator
        self._under_way: list[MPI.Request] = []

    def tell(self, word: object) -> None:
        """Send an object to every other rank of the group."""
        for rank in range(1, self.size):
            self._send(word, rank)

    def answer(self, word: object) -> None:
        """Send an object to the leader."""
        self._send(word, 0)

    def hear(self) -> tuple[int, Any] | None:
        """Return the next object and the rank it is from, or None if none has arrived."""
        self._under_way = [request for request in self._under_way if not request.Test()]
        status = MPI.Status()
        message = self._words.improbe(MPI.ANY_SOURCE, MPI.ANY_TAG, status)
        return None if message is None else (status.Get_source(), message.recv())

    def abort(self, status: int) -> None:
        """End the whole job at once."""
        self.comm.Abort(status)

    def _send(self, word: object, rank: int) -> None:
        self._under_way.append(self._words.isend(word, dest=rank))


class MpiRanks:
    """The `Ranks` of a communicator.

    Parameters
    ----------
    comm
        The communicator; None for all ranks of the job.
    """

    def __init__(self, comm: MPI.Intracomm | None = None) -> None:
        self._comm = MPI.COMM_WORLD if comm is None else comm
        self.rank = self._comm.Get_rank()
        self.size = self._comm.Get_size()

    def transport(self) -> MpiTransport:
        """Return a transport between the ranks; collective."""
        return MpiTransport(self._comm)

    def groups(self, size: int) -> tuple[MpiRanks, MpiChannel]:
        """Split the ranks into groups of neighbours; collective.

        Returns
        -------
        MpiRanks, MpiChannel
            The leaders of all groups, if this rank is one, and this rank's group.
        """
        leads = self.rank % size == 0
        leaders = MPI.Intracomm(self._comm.Split(0 if leads else 1, self.rank))
        group = MPI.Intracomm(self._comm.Split(self.rank // size, self.rank))
        return MpiRanks(leaders), MpiChannel(group)

    def node(self) -> tuple[int, list[frozenset[int]]]:
        """Return the place of this rank on its node, and the processors of each rank there.

        Collective.
        """
        node = self._comm.Split_type(MPI.COMM_TYPE_SHARED, self.rank)
        processors = node.allgather(frozenset(os.sched_getaffinity(0)))
        place = node.Get_rank()
        node.Free()
        return place, processors

    def agree(self, value: T) -> list[T]:
        """Return the values of all ranks, on every rank; collective."""
        return self._comm.allgather(value)

    def share(self, make: Callable[[], T]) -> T:
        """Return what `make` returns on rank 0, or raise what it raises there; collective."""
        value: T | None = None
        error: Exception | None = None
        if self.rank == 0:
            try:
                value = make()
            except Exception as caught:  # every rank must raise it
                error = caught
        value, error = self._comm.bcast((value, error), root=0)
        if error is not None:
            raise error
        return value

    def abort(self, status: int) -> None:
        """End the whole job at once."""
        self._comm.Abort(status)

    def depart(self, status: int) -> None:
        """End this process without `MPI_Finalize`, which may wait forever for dead ranks."""
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
