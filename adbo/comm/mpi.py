"""The transport over MPI: every record goes directly to every peer, and nobody waits.

The only module that knows MPI. The records of a rank form one stream of frames. Every peer has a
cursor into it and at most `WINDOW` messages under way; a message carries everything between the
cursor and the end of the stream, so a peer that has not listened for a while is sent few, longer
messages instead of many. Sends are synchronous-mode and non-blocking (``Issend``): one completes
only when its receiver has taken it, which bounds the memory at the receiver by ``WINDOW`` messages
per peer and proves the delivery of a stream without acknowledgements of our own.

Where the MPI library reports the death of ranks instead of ending the job (User Level Failure
Mitigation, chapter 15 of MPI 5.0), the living go on without the dead.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from mpi4py import MPI

from adbo.core.evaluation import Batch, Evaluation
from adbo.core.wire import Decoder, Encoder, change, farewell, message, obituary

#: Seconds that the ranks wait for each other when all is said, how often they look, and how
#: often after, for the receipts of the others.
PARTING, _PARTING_PAUSE, _LAST_LOOKS = 60.0, 5e-3, 10

#: Messages under way to one peer: a peer may be this many evaluations slower than this rank
#: before news to it wait for it.
WINDOW = 8

#: A message is cut after the frame that reaches this size.
MESSAGE_BYTES = 1 << 20

#: The share of a rank's time that messages may take. When they would take more, records wait and
#: share messages. Cold, as between evaluations, a message sent and one received took 35 to 40
#: microseconds of CPU on a shared machine, 1 to 3 in a tight loop (experiments/messaging.py): so
#: the cost is measured where it arises.
MESSAGING_SHARE = 0.01

#: Seconds by which a rank may be ahead of that share, so that the records of a few short
#: evaluations are not withheld while a long one runs.
CREDIT = 5.0

#: Microseconds per message until there are measurements, and over how many of these the median
#: is taken: the first messages to a peer are slow.
_FIRST_COST, _COSTS = 10e-6, 15

T = TypeVar("T")


class MpiTransport:
    """The stream of this rank to its peers, and theirs to it.

    Parameters
    ----------
    comm
        The ranks that optimize together. Duplicated, so that messages of the objective on the
        same communicator cannot be mistaken; all ranks must construct the transport together.
    """

    def __init__(self, comm: MPI.Intracomm) -> None:
        self._comm = comm.Dup()
        self._comm.Set_errhandler(MPI.ERRORS_RETURN)
        self.rank = self._comm.Get_rank()
        self.size = self._comm.Get_size()
        self.farewells: dict[int, dict[str, Any]] = {}
        self.gone: set[int] = set()
        self.may_use_threads = self.size > 1 and MPI.Query_thread() >= MPI.THREAD_MULTIPLE
        self._obituaries: list[dict[str, Any]] = []
        self._changes: list[list[Any]] = []
        self._encoder = Encoder()
        self._decoder = Decoder()
        self._stream: list[bytes] = []
        self._trimmed = 0  # frames that every peer has been sent, and that are gone from _stream
        self._cursor = {peer: 0 for peer in range(self.size) if peer != self.rank}
        self._under_way = dict.fromkeys(self._cursor, 0)
        self._behind: set[int] = set()  # peers that were not sent all yet
        self._paid_until = 0.0  # when the messages sent so far will have been within their share
        self._send_costs = deque([_FIRST_COST], maxlen=_COSTS)
        self._receive_costs = deque([_FIRST_COST], maxlen=_COSTS)
        self._requests: list[MPI.Request] = []
        # What a request needs kept alive until it completes: its peer and its buffer.
        self._owners: list[tuple[int, bytes]] = []
        self._lost: list[tuple[MPI.Request, bytes]] = []  # under way to a peer that died

    def broadcast(self, evaluation: Evaluation) -> None:
        """Send one evaluation to every peer, as soon as each can take it."""
        if self._cursor:
            self._append(self._encoder.frames(evaluation))
            self._advance()

    def publish(self, texts: Sequence[str]) -> None:
        """Send changes of a study to every peer, as soon as each can take them."""
        if self._cursor:
            for text in texts:
                self._append(change(text))
            self._advance()

    def receive(self) -> list[Batch]:
        """Everything that has arrived; also moves waiting sends along."""
        messages: list[bytes] = []
        start = time.thread_time()
        # A look may be used up by the receipt of a message we sent, with more behind it.
        while self._complete() + self._collect(messages):
            pass
        if messages:
            self._receive_costs.append((time.thread_time() - start) / len(messages))
        self._advance()
        received = self._decoder.decode(messages)
        for parting in received.farewells:
            self.farewells[int(parting["rank"])] = parting
        self._obituaries += received.obituaries
        self._changes += received.changes
        return received.batches

    def leave(self, statistics: Mapping[str, Any]) -> None:
        """Tell every peer that no evaluation of this rank follows.

        The ranks are free to go once `settled`, until then they must go on receiving.
        """
        self.farewells[self.rank] = dict(statistics)
        self._append(farewell(statistics))
        self._paid_until = 0.0
        self._advance()

    def announce(self, notice: Mapping[str, Any]) -> None:
        """Tell every peer about the death of a rank."""
        self._append(obituary(notice))
        self._paid_until = 0.0
        self._advance()

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
        """Whether all that this rank sent was received, and all that its peers sent is here."""
        return (
            self.rank in self.farewells
            and all(peer in self.farewells for peer in self._cursor)
            and not self._requests
            and all(cursor == self._end for cursor in self._cursor.values())
        )

    def part(self) -> None:
        """Wait until all ranks are settled; give up when one died, or after `PARTING` seconds.

        A receipt may still be in this process when its message is done with. Where MPICH ends it
        no longer sends anything: of 64 ranks on 2 cores, 34 then waited for ever.
        """
        deadline = time.monotonic() + PARTING
        try:
            everybody = self._comm.Ibarrier()
            while not everybody.Test() and time.monotonic() < deadline:
                time.sleep(_PARTING_PAUSE)
            for _ in range(_LAST_LOOKS):
                self._comm.Iprobe(MPI.ANY_SOURCE, MPI.ANY_TAG)
                time.sleep(_PARTING_PAUSE / _LAST_LOOKS)
        except MPI.Exception:
            self._bury()

    @property
    def _end(self) -> int:
        return self._trimmed + len(self._stream)

    def _append(self, frames: bytes) -> None:
        self._stream.append(frames)
        self._behind.update(self._cursor)

    def _collect(self, messages: list[bytes]) -> int:
        """Take what a look at the network finds; return how many messages that were."""
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
                self._bury()
                continue
            messages.append(bytes(data))

    def _complete(self) -> int:
        """Let go of what was received by the peers; return how many messages that were."""
        if not self._requests:
            return 0
        try:
            if not MPI.Request.Testsome(self._requests):
                return 0
        except MPI.Exception:
            self._bury()
        # Those that are done have become null, whether by success or by the death of the peer.
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
        """Send what may be sent, unless messages had their share of the time already."""
        now = time.monotonic()
        if not self._behind or now < self._paid_until - CREDIT:
            return
        start = time.thread_time()
        before = len(self._requests)
        end = self._end
        cut: dict[int, tuple[int, bytes]] = {}  # peers at one cursor share one message
        for peer in sorted(self._behind, key=self._distance):
            while self._cursor.get(peer, end) < end and self._under_way[peer] < WINDOW:
                position = self._cursor[peer]
                if position not in cut:
                    cut[position] = self._cut(position)
                self._send(peer, *cut[position])
        self._behind = {peer for peer, cursor in self._cursor.items() if cursor < end}
        self._trim()
        n_messages = len(self._requests) - before
        if n_messages:
            self._send_costs.append((time.thread_time() - start) / n_messages)
            cost = statistics.median(self._send_costs) + statistics.median(self._receive_costs)
            self._paid_until = max(self._paid_until, now) + n_messages * cost / MESSAGING_SHARE

    def _distance(self, peer: int) -> int:
        """Every rank begins with its neighbour: else all would flood the same peer at once."""
        return (peer - self.rank) % self.size

    def _send(self, peer: int, position: int, data: bytes) -> None:
        try:
            self._requests.append(self._comm.Issend([data, MPI.BYTE], dest=peer))
        except MPI.Exception:
            self._bury()
            return
        self._owners.append((peer, data))
        self._under_way[peer] += 1
        self._cursor[peer] = position

    def _bury(self) -> None:
        """After an error: find out who died, and stop waiting for them.

        Raises
        ------
        MPI.Exception
            The error being handled, if nobody died.
        """
        try:
            failed = self._comm.Get_failed()
            self._comm.Ack_failed()  # looking for messages from anybody works again
        except (NotImplementedError, MPI.Exception):
            raise MPI.Exception(MPI.ERR_OTHER) from None
        indices = MPI.Group.Translate_ranks(failed, None, self._comm.Get_group())
        dead = {int(rank) for rank in indices} - self.gone
        if not dead and not self.gone:
            raise
        self.gone |= dead
        for rank in dead:
            self._cursor.pop(rank, None)
            self._under_way.pop(rank, None)
        self._behind -= dead
        pairs = list(zip(self._requests, self._owners, strict=False))
        self._lost += [(request, owner[1]) for request, owner in pairs if owner[0] in dead]
        self._requests = [request for request, owner in pairs if owner[0] not in dead]
        self._owners = [owner for _, owner in pairs if owner[0] not in dead]

    def _cut(self, start: int) -> tuple[int, bytes]:
        """One message of the stream from ``start`` on, and where the next one starts."""
        frames: list[bytes] = []
        size = 0
        for frame in self._stream[start - self._trimmed :]:
            frames.append(frame)
            size += len(frame)
            if size >= MESSAGE_BYTES:
                break
        return start + len(frames), message(frames)

    def _trim(self) -> None:
        reached = min(self._cursor.values(), default=self._end)
        del self._stream[: reached - self._trimmed]
        self._trimmed = max(self._trimmed, reached)


class MpiChannel:
    """How the ranks of one group talk; the first of them leads.

    Parameters
    ----------
    comm
        The group; all its ranks must construct the channel together.
    """

    def __init__(self, comm: MPI.Intracomm) -> None:
        self.comm = comm
        self.rank = comm.Get_rank()
        self.size = comm.Get_size()
        self._words = comm.Dup()  # what the objective sends on its communicator is not ours
        self._under_way: list[MPI.Request] = []

    def tell(self, word: object) -> None:
        """Send a word to every other rank of the group."""
        for rank in range(1, self.size):
            self._send(word, rank)

    def answer(self, word: object) -> None:
        """Send a word to the leader."""
        self._send(word, 0)

    def hear(self) -> tuple[int, Any] | None:
        """The next word and the rank it is from, if one has arrived."""
        self._under_way = [request for request in self._under_way if not request.Test()]
        status = MPI.Status()
        message = self._words.improbe(MPI.ANY_SOURCE, MPI.ANY_TAG, status)
        return None if message is None else (status.Get_source(), message.recv())

    def _send(self, word: object, rank: int) -> None:
        self._under_way.append(self._words.isend(word, dest=rank))


class MpiRanks:
    """The ranks of a communicator.

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
        """A way to the peers; collective."""
        return MpiTransport(self._comm)

    def groups(self, size: int) -> tuple[MpiRanks, MpiChannel]:
        """Split into groups of neighbours; collective.

        Returns
        -------
        MpiRanks, MpiChannel
            The leaders of all groups, for who is one, and this rank's group.
        """
        leads = self.rank % size == 0
        leaders = MPI.Intracomm(self._comm.Split(0 if leads else 1, self.rank))
        group = MPI.Intracomm(self._comm.Split(self.rank // size, self.rank))
        return MpiRanks(leaders), MpiChannel(group)

    def node(self) -> tuple[int, list[frozenset[int]]]:
        """This rank's place on its node, and the processors of each rank there; collective."""
        node = self._comm.Split_type(MPI.COMM_TYPE_SHARED, self.rank)
        processors = node.allgather(frozenset(os.sched_getaffinity(0)))
        place = node.Get_rank()
        node.Free()
        return place, processors

    def agree(self, value: T) -> list[T]:
        """What every rank says, by rank, on every rank; collective."""
        return self._comm.allgather(value)

    def share(self, make: Callable[[], T]) -> T:
        """What rank 0 makes, or the exception it raises, on every rank; collective."""
        value: T | None = None
        error: Exception | None = None
        if self.rank == 0:
            try:
                value = make()
            except Exception as caught:  # whatever it is, every rank must hear of it
                error = caught
        value, error = self._comm.bcast((value, error), root=0)
        if error is not None:
            raise error
        return value

    def abort(self, status: int) -> None:
        """End the whole job at once, without waiting for anybody."""
        self._comm.Abort(status)

    def depart(self, status: int) -> None:
        """End this process without `MPI_Finalize`, which may wait for the dead for ever."""
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
