"""The transport over MPI: every record goes directly to every peer, and nobody waits.

The only module that knows MPI. The records of a rank form one stream of frames. Every peer has a
cursor into it and at most `WINDOW` messages under way; a message carries everything between the
cursor and the end of the stream, so a peer that has not listened for a while is sent few, longer
messages instead of many. Sends are synchronous-mode and non-blocking (``Issend``): one completes
only when its receiver has taken it, which bounds the memory at the receiver by ``WINDOW`` messages
per peer and proves the delivery of a stream without acknowledgements of our own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from mpi4py import MPI

from adbo.records import Batch, Decoder, Encoder, Evaluation, farewell, message

#: Messages under way to one peer: a peer may be this many evaluations slower than this rank
#: before news to it wait for it.
WINDOW = 8

#: A message is cut after the frame that reaches this size.
MESSAGE_BYTES = 1 << 20

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
        self.rank = self._comm.Get_rank()
        self.size = self._comm.Get_size()
        self.farewells: dict[int, dict[str, Any]] = {}
        self._encoder = Encoder()
        self._decoder = Decoder()
        self._peers = [peer for peer in range(self.size) if peer != self.rank]
        self._stream: list[bytes] = []
        self._trimmed = 0  # frames that every peer has been sent, and that are gone from _stream
        self._cursor = dict.fromkeys(self._peers, 0)
        self._under_way = dict.fromkeys(self._peers, 0)
        self._requests: list[MPI.Request] = []
        # What a request needs kept alive until it completes: its peer and its buffer.
        self._owners: list[tuple[int, bytes]] = []

    def broadcast(self, evaluation: Evaluation) -> None:
        """Send one evaluation of this rank to every peer, as soon as each can take it."""
        if self._peers:
            self._stream.append(self._encoder.frames(evaluation))
            self._advance()

    def receive(self) -> list[Batch]:
        """Everything that has arrived; also moves waiting sends along."""
        messages: list[bytes] = []
        # A look may be used up by the receipt of a message we sent, with more behind it.
        while self._complete() + self._collect(messages):
            pass
        self._advance()
        received = self._decoder.decode(messages)
        for statistics in received.farewells:
            self.farewells[int(statistics["rank"])] = statistics
        return received.batches

    def leave(self, statistics: Mapping[str, Any]) -> None:
        """Tell every peer that no record of this rank follows.

        The ranks are free to go once `settled`, until then they must go on receiving.
        """
        self.farewells[self.rank] = dict(statistics)
        self._stream.append(farewell(statistics))
        self._advance()

    @property
    def settled(self) -> bool:
        """Whether all that this rank sent was received, and all that its peers sent is here."""
        return (
            len(self.farewells) == self.size
            and not self._requests
            and all(cursor == self._end for cursor in self._cursor.values())
        )

    @property
    def _end(self) -> int:
        return self._trimmed + len(self._stream)

    def _collect(self, messages: list[bytes]) -> int:
        """Take what a look at the network finds; return how many messages that were."""
        before = len(messages)
        status = MPI.Status()
        while True:
            waiting = self._comm.Improbe(MPI.ANY_SOURCE, MPI.ANY_TAG, status)
            if waiting is None:
                return len(messages) - before
            data = bytearray(status.Get_count(MPI.BYTE))
            waiting.Recv([data, MPI.BYTE])
            messages.append(bytes(data))

    def _complete(self) -> int:
        """Let go of what was received by the peers; return how many messages that were."""
        if not self._requests:
            return 0
        done = MPI.Request.Testsome(self._requests) or []
        if done:
            for index in done:
                self._under_way[self._owners[index][0]] -= 1
            finished = set(done)
            keep = [i for i in range(len(self._requests)) if i not in finished]
            self._requests = [self._requests[i] for i in keep]
            self._owners = [self._owners[i] for i in keep]
        return len(done)

    def _advance(self) -> None:
        """Send what may be sent."""
        end = self._end
        cut: dict[int, tuple[int, bytes]] = {}  # peers at one cursor share one message
        for peer in self._peers:
            while self._cursor[peer] < end and self._under_way[peer] < WINDOW:
                start = self._cursor[peer]
                if start not in cut:
                    cut[start] = self._cut(start)
                self._cursor[peer], data = cut[start]
                self._requests.append(self._comm.Issend([data, MPI.BYTE], dest=peer))
                self._owners.append((peer, data))
                self._under_way[peer] += 1
        self._trim()

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
