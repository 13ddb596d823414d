"""The event queue: thousands of ranks on a virtual clock.

It knows when what happens; it does not know what a rank does when it asks, nor what is made of the
log. The rules of the simulated machine:

- An ask takes its cost, then the evaluation its duration; nothing else takes time.
- A record is known to its own rank when the evaluation finishes, to every peer ``latency`` seconds
  later. Of two evaluations that finish at the same instant the lower rank is first.
- The durations of a rank come from a stream of their own, so every method gets the same ones.

Asks run ahead of the clock where nothing can come between: an evaluation that is still being
proposed cannot finish before its ask began plus its duration, which is known. Every event before
the earliest of these moments is settled, so processes can share the work without any effect on the
log.
"""

from __future__ import annotations

import heapq
import multiprocessing
import queue
import signal
import traceback
from collections import deque
from collections.abc import Callable, Generator
from multiprocessing.connection import Connection
from typing import Any, Protocol

from adbo.simulation.virtual_ranks import LogEntry, Machine, Method, Request, Task, VirtualRanks

#: Asks handed to a process before its answers are awaited: enough to keep it busy.
_MAX_OUTSTANDING = 8

#: Seconds between two looks whether the processes are still alive.
_LIVENESS_SECONDS = 1.0


class ProcessDied(RuntimeError):
    """A process that computes asks is gone, killed or by the objective's doing."""


class _RankExecutor(Protocol):
    """Where asks are computed."""

    n_processes: int

    def has_room(self, process: int) -> bool:
        """Whether this process can take another ask now."""

    def submit(self, process: int, request: Request) -> None:
        """Have an ask computed."""

    def collect(self) -> LogEntry:
        """One result, awaited if need be."""

    def close(self) -> None:
        """No more asks."""


def run_asynchronous(
    task: Task, machine: Machine, until: float, *, method: Method
) -> Generator[LogEntry, None, None]:
    """Run all ranks, each with an optimizer of its own; yield evaluations as they finish.

    Parameters
    ----------
    task
        What is to be optimized.
    machine
        On what.
    until
        Virtual seconds after which nothing is of interest.
    method
        Makes the optimizer of a rank.
    """
    ranks = _start(task, method, machine)
    try:
        yield from _asynchronous(ranks, machine, until)
    finally:
        ranks.close()


def run_synchronous(
    task: Task, machine: Machine, until: float, *, method: Method, evaluations: int
) -> Generator[LogEntry, None, None]:
    """Run all ranks with a barrier each time that all have made so many ``evaluations``.

    Records are exchanged at the barrier only; for the rest see `run_asynchronous`.
    """
    ranks = _start(task, method, machine)
    try:
        yield from _in_rounds(ranks, machine, until, evaluations)
    finally:
        ranks.close()


def _start(task: Task, method: Method, machine: Machine) -> _RankExecutor:
    kind = _InProcess if machine.processes == 1 else _ForkedProcesses
    return kind(lambda: VirtualRanks(task, method, machine), machine.processes)


class _Log:
    """The evaluations so far, and how much of them each process has."""

    def __init__(self, n_processes: int) -> None:
        self.entries: list[LogEntry] = []
        self.n_public = 0
        self._n_handed_over = [0] * n_processes

    def publish(self, now: float, latency: float) -> None:
        """Make public what has arrived by now."""
        entries = self.entries
        while self.n_public < len(entries) and entries[self.n_public].finished + latency <= now:
            self.n_public += 1

    def news(self, process: int) -> list[bytes]:
        """What is public and this process does not have yet."""
        start, self._n_handed_over[process] = self._n_handed_over[process], self.n_public
        return [entry.data for entry in self.entries[start : self.n_public]]


def _asynchronous(
    ranks: _RankExecutor, machine: Machine, until: float
) -> Generator[LogEntry, None, None]:
    durations = [machine.durations(rank) for rank in range(machine.workers)]
    free: list[tuple[float, int, LogEntry | None]] = [
        (0.0, r, None) for r in range(machine.workers)
    ]
    asking: dict[int, float] = {}  # rank to the earliest moment at which it can be free again
    log = _Log(ranks.n_processes)
    while True:
        settled = bool(free) and all(free[0][:2] < (bound, r) for r, bound in asking.items())
        if not settled or not ranks.has_room(free[0][1] % ranks.n_processes):
            entry = ranks.collect()
            del asking[entry.rank]
            heapq.heappush(free, (entry.finished, entry.rank, entry))
            continue
        now, rank, finished = heapq.heappop(free)
        if now > until:
            return
        if finished is not None:
            log.entries.append(finished)
            yield finished
        log.publish(now, machine.latency)
        seconds = next(durations[rank])
        process = rank % ranks.n_processes
        ranks.submit(process, Request(rank, now, seconds, log.news(process)))
        asking[rank] = now + seconds


def _in_rounds(
    ranks: _RankExecutor, machine: Machine, until: float, evaluations: int
) -> Generator[LogEntry, None, None]:
    durations = [machine.durations(rank) for rank in range(machine.workers)]
    log = _Log(ranks.n_processes)
    barrier = 0.0
    while barrier <= until:
        log.n_public = len(log.entries)
        free = deque((barrier, rank) for rank in range(machine.workers))
        left = [evaluations] * machine.workers
        finished: list[LogEntry] = []
        n_asking = 0
        while free or n_asking:
            if free and ranks.has_room(free[0][1] % ranks.n_processes):
                now, rank = free.popleft()
                process = rank % ranks.n_processes
                request = Request(rank, now, next(durations[rank]), log.news(process))
                ranks.submit(process, request)
                n_asking += 1
                continue
            entry = ranks.collect()
            n_asking -= 1
            left[entry.rank] -= 1
            finished.append(entry)
            if left[entry.rank] and entry.finished <= until:
                free.append((entry.finished, entry.rank))
        finished.sort()
        log.entries += finished
        yield from (entry for entry in finished if entry.finished <= until)
        barrier = finished[-1].finished + machine.latency


class _InProcess:
    """All ranks in this process."""

    def __init__(self, begin: Callable[[], VirtualRanks], n_processes: int) -> None:
        self.n_processes = n_processes
        self._ranks = begin()
        self._entries: deque[LogEntry] = deque()

    def has_room(self, process: int) -> bool:
        return not self._entries

    def submit(self, process: int, request: Request) -> None:
        self._entries.append(self._ranks.ask(request))

    def collect(self) -> LogEntry:
        return self._entries.popleft()

    def close(self) -> None:
        pass


class _ForkedProcesses:
    """Rank r in child process r modulo their number.

    Answers come through a queue, which never blocks a child, so that a child always gets to read
    its requests, and writing them cannot block this process for good.
    """

    def __init__(self, begin: Callable[[], VirtualRanks], n_processes: int) -> None:
        context = multiprocessing.get_context("fork")  # an objective need not be picklable
        self.n_processes = n_processes
        self._entries: Any = context.Queue()
        self._outstanding = [0] * n_processes
        self._requests: list[Connection] = []
        self._children = []
        for _ in range(n_processes):
            reader, writer = context.Pipe(duplex=False)
            child = context.Process(
                target=_serve, args=(begin, (reader, writer), self._entries), daemon=True
            )
            child.start()
            reader.close()
            self._requests.append(writer)
            self._children.append(child)

    def has_room(self, process: int) -> bool:
        return self._outstanding[process] < _MAX_OUTSTANDING

    def submit(self, process: int, request: Request) -> None:
        self._outstanding[process] += 1
        self._requests[process].send(request)

    def collect(self) -> LogEntry:
        while True:
            try:
                answer: LogEntry | str = self._entries.get(timeout=_LIVENESS_SECONDS)
            except queue.Empty:
                if not all(child.is_alive() for child in self._children):
                    raise ProcessDied("a process of the simulation died") from None
                continue
            if isinstance(answer, str):
                raise RuntimeError(f"a process of the simulation failed:\n{answer}")
            self._outstanding[answer.rank % self.n_processes] -= 1
            return answer

    def close(self) -> None:
        for child in self._children:
            child.terminate()
            child.join()
        for writer in self._requests:
            writer.close()


def _serve(
    begin: Callable[[], VirtualRanks], requests: tuple[Connection, Connection], entries: Any
) -> None:
    """Answer requests until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    reader, writer = requests
    writer.close()  # or the end of the asking process would go unnoticed
    try:
        virtual_ranks = begin()
        while True:
            entries.put(virtual_ranks.ask(reader.recv()))
    except EOFError:
        pass
    except BaseException:
        entries.put(traceback.format_exc())
