"""Ranks over MPI. This is the only module that knows MPI.

What is sent to whom, and when, is the affair of `adbo.comm.dissemination`.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

from mpi4py import MPI

from adbo.comm.endpoint import Endpoint
from adbo.core.errors import RankDied, UsageError
from adbo.core.streams import flush_all

T = TypeVar("T")


#: Messages under way to one peer; bounds the memory at a peer that does not receive.
_WINDOW = 4

#: Seconds that ranks wait for each other at the end of a run.
_BARRIER_PATIENCE = 60.0

#: Seconds between two looks while ranks wait for each other at the end, and looks after that.
_BARRIER_PAUSE, _LAST_LOOKS = 5e-3, 10


def finalize() -> None:
    """Wait for all ranks of the job, and end MPI."""
    if not MPI.Is_finalized():
        MPI.Finalize()


class MpiMail:
    """A `Mail` over MPI.

    Sends are synchronous and non-blocking (``Issend``): a send completes only when its receiver
    has taken the message. This bounds the memory at the receiver, and proves the delivery without
    acknowledgements of our own.

    If the MPI library reports the death of ranks instead of ending the job (User Level Failure
    Mitigation, chapter 15 of MPI 5.0), the other ranks go on.

    Parameters
    ----------
    comm
        The ranks that optimize together. It is duplicated, so that messages of the objective on
        the same communicator cannot be mistaken; constructing the mail is collective. After a
        `barrier` at which all ranks met, the duplicate is freed: MPICH has 2,048 of them.
    """

    def __init__(self, comm: MPI.Intracomm) -> None:
        self._comm = comm.Dup()
        self._comm.Set_errhandler(MPI.ERRORS_RETURN)
        self.rank = self._comm.Get_rank()
        self.size = self._comm.Get_size()
        self.failed: set[int] = set()
        self.may_use_threads = self.size > 1 and MPI.Query_thread() >= MPI.THREAD_MULTIPLE
        self._under_way: Counter[int] = Counter()
        self._requests: list[MPI.Request] = []
        # The peer and the buffer of each request; the buffer must live until it completes.
        self._owners: list[tuple[int, bytes]] = []
        self._lost: list[tuple[MPI.Request, bytes]] = []  # under way to a peer that died
        self._arriving: list[tuple[MPI.Request, int, bytearray]] = []  # with sender and buffer

    def room(self, peer: int) -> int:
        """Return the number of messages that may be posted to a peer now."""
        return _WINDOW - self._under_way[peer] if self._comm else 0

    def post(self, peer: int, data: bytes) -> None:
        """Begin to send a message."""
        if peer in self.failed:
            return
        try:
            self._requests.append(self._comm.Issend([data, MPI.BYTE], dest=peer))
        except MPI.Exception:
            self._mark_failed()
            return
        self._owners.append((peer, data))
        self._under_way[peer] += 1

    def collect(self) -> list[tuple[int, bytes]]:
        """Return the messages that have arrived, each with its sender."""
        messages: list[tuple[int, bytes]] = []
        # One look may be used up by the receipt of a message we sent, with more behind it.
        while self._comm and self._complete() + self._take(messages):
            pass
        return messages

    @property
    def is_idle(self) -> bool:
        """Whether no message to or from a living rank is under way.

        MPI writes into the buffer of one that is arriving, so nobody must leave before it has.
        """
        return not self._requests and self.failed.issuperset(s for _, s, _ in self._arriving)

    def barrier(self) -> None:
        """Wait until all ranks call it; give up after a time, or when a rank has died.

        Messages that arrive meanwhile are taken, since their senders wait for that.

        The receipt of a message may still be in this process when its send has completed. If
        MPICH ended the process then, the receipt would never be sent, and its receiver would wait
        forever.
        """
        deadline = time.monotonic() + _BARRIER_PATIENCE
        try:
            everybody = self._comm.Ibarrier()
            while (
                not (all_are_here := everybody.Test() and not self._arriving)
                and time.monotonic() < deadline
            ):
                self.collect()
                time.sleep(_BARRIER_PAUSE)
            for _ in range(_LAST_LOOKS):
                self._comm.Iprobe(MPI.ANY_SOURCE, MPI.ANY_TAG)
                time.sleep(_BARRIER_PAUSE / _LAST_LOOKS)
            if all_are_here and self.is_idle and not self.failed:
                self._comm.Free()
        except MPI.Exception:
            self._mark_failed()

    def _take(self, messages: list[tuple[int, bytes]]) -> int:
        """Append the messages that have arrived as a whole; return their number.

        A large one arrives only as far as its sender calls MPI, so nobody must wait for it.
        """
        self._begin_to_receive()
        before = len(messages)
        arriving, self._arriving = self._arriving, []
        late: set[int] = set()  # senders of which later messages must wait for an earlier one
        for request, sender, data in arriving:
            try:
                if sender not in late and request.Test():
                    messages.append((sender, bytes(data)))
                    continue
            except MPI.Exception:
                self._mark_failed()  # it was lost with its sender
                continue
            late.add(sender)
            self._arriving.append((request, sender, data))
        return len(messages) - before

    def _begin_to_receive(self) -> None:
        """Begin to receive all messages that have been announced."""
        status = MPI.Status()
        while True:
            try:
                waiting = self._comm.Improbe(MPI.ANY_SOURCE, MPI.ANY_TAG, status)
                if waiting is None:
                    return
                data = bytearray(status.Get_count(MPI.BYTE))
                request = waiting.Irecv([data, MPI.BYTE])
            except MPI.Exception:
                self._mark_failed()
                continue
            self._arriving.append((request, status.Get_source(), data))

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
        self._keep([i for i, request in enumerate(self._requests) if request])
        return before - len(self._requests)

    def _keep(self, places: list[int]) -> None:
        """Keep the requests at some places of the list."""
        if len(places) < len(self._requests):
            self._requests = [self._requests[i] for i in places]
            self._owners = [self._owners[i] for i in places]
            self._under_way = Counter(peer for peer, _ in self._owners)

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
        pairs = list(zip(self._requests, self._owners, strict=False))
        self._lost += [(request, owner[1]) for request, owner in pairs if owner[0] in dead]
        self._keep([i for i, owner in enumerate(self._owners) if owner[0] not in dead])


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

    @property
    def is_idle(self) -> bool:
        """Whether everything sent arrives without further calls of MPI by this rank."""
        self._forget_sent()
        return not self._under_way

    def hear(self) -> tuple[int, Any] | None:
        """Return the next object and the rank it is from, or None if none has arrived."""
        self._forget_sent()
        status = MPI.Status()
        message = self._words.improbe(MPI.ANY_SOURCE, MPI.ANY_TAG, status)
        return None if message is None else (status.Get_source(), message.recv())

    def abort(self, status: int) -> None:
        """End the whole job at once."""
        self.comm.Abort(status)

    def _send(self, word: object, rank: int) -> None:
        self._under_way.append(self._words.isend(word, dest=rank))

    def _forget_sent(self) -> None:
        self._under_way = [request for request in self._under_way if not request.Test()]


class MpiRanks:
    """The `Ranks` of a communicator.

    Parameters
    ----------
    comm
        The communicator; None for all ranks of the job.
    """

    def __init__(self, comm: MPI.Intracomm | None = None) -> None:
        self._comm = MPI.COMM_WORLD if comm is None else comm
        if not isinstance(self._comm, MPI.Intracomm):
            raise UsageError(f"comm is {comm!r}: it must be an mpi4py communicator")
        self.rank = self._comm.Get_rank()
        self.size = self._comm.Get_size()

    def transport(self) -> Endpoint:
        """Return a transport between the ranks; collective."""
        return Endpoint(self._together(lambda: MpiMail(self._comm)))

    def groups(self, size: int) -> tuple[MpiRanks, MpiChannel]:
        """Split the ranks into groups of neighbours; collective.

        Returns
        -------
        MpiRanks, MpiChannel
            The leaders of all groups, if this rank is one, and this rank's group.
        """
        leads = self.rank % size == 0
        leaders = MPI.Intracomm(
            self._together(lambda: self._comm.Split(0 if leads else 1, self.rank))
        )
        group = MPI.Intracomm(
            self._together(lambda: self._comm.Split(self.rank // size, self.rank))
        )
        return MpiRanks(leaders), MpiChannel(group)

    def node(self) -> tuple[int, list[frozenset[int]]]:
        """Return the place of this rank on its node, and the processors of each rank there.

        Collective.
        """
        node = self._together(lambda: self._comm.Split_type(MPI.COMM_TYPE_SHARED, self.rank))
        processors = self._together(lambda: node.allgather(frozenset(os.sched_getaffinity(0))))
        place = node.Get_rank()
        node.Free()
        return place, processors

    def agree(self, value: T) -> list[T]:
        """Return the values of all ranks, on every rank; collective."""
        return self._together(lambda: self._comm.allgather(value))

    def share(self, make: Callable[[], T]) -> T:
        """Return what `make` returns on rank 0, or raise what it raises there; collective."""
        value: T | None = None
        error: Exception | None = None
        if self.rank == 0:
            try:
                value = make()
            except Exception as caught:  # every rank must raise it
                error = caught
        value, error = self._together(lambda: self._comm.bcast((value, error), root=0))
        if error is not None:
            raise error
        return value

    def _together(self, call: Callable[[], T]) -> T:
        """Return what a collective call returns.

        Raises
        ------
        RankDied
            On every living rank, if one has died: others may wait in the call for this one.
        """
        try:
            result = call()
            died = False
        except MPI.Exception as error:
            if error.Get_error_class() not in (MPI.ERR_PROC_FAILED, MPI.ERR_REVOKED):
                raise
            self._comm.Revoke()
            died = True
        if not self._agree_that(not died):
            raise self._death()
        return result

    def _agree_that(self, holds: bool) -> bool:
        """Return whether something holds on all living ranks, on each the same; collective.

        A collective call may succeed on some ranks and fail on others. Without this, those on
        which it succeeded would leave, and the others wait for them.
        """
        try:
            return bool(self._comm.Agree(int(holds)))
        except NotImplementedError:
            return holds  # this MPI library ends the job when a rank dies
        except MPI.Exception as error:
            if error.Get_error_class() == MPI.ERR_UNSUPPORTED_OPERATION:
                return holds  # the same
            if error.Get_error_class() != MPI.ERR_PROC_FAILED:
                raise
            return False

    def _death(self) -> RankDied:
        """Return the error that says which ranks died; collective among the living ones."""
        living = self._comm.Shrink()  # is the same on each, whichever die meanwhile
        group = MPI.Group.Difference(self._comm.Get_group(), living.Get_group())
        dead = MPI.Group.Translate_ranks(group, None, self._comm.Get_group())
        names = sorted(map(int, dead))
        text = f"ranks {names} died while the run was starting: start it again"
        return RankDied(text, living.Get_rank() == 0)

    def abort(self, status: int) -> None:
        """End the whole job at once."""
        self._comm.Abort(status)

    def depart(self, status: int) -> None:
        """End this process without `MPI_Finalize`, which may wait forever for dead ranks."""
        flush_all()
        os._exit(status)
