"""The event loops: thousands of ranks on a virtual clock.

This module decides what happens when; it does not know what a rank does in an ask, nor what the
log is used for. The rules of the simulated machine:

- An ask takes its cost, then the evaluation its duration; nothing else takes time.
- A record is known to its own rank when the evaluation finishes, to the other ranks of its job
  ``latency`` seconds later, and to the ranks of other jobs ``job_latency`` seconds later. Of two
  evaluations that finish at the same time, the lower rank comes first.
- Each rank draws its durations from a random stream of its own, so that all methods are
  simulated with the same durations.

Asks are computed ahead of the clock where this cannot change the log. The evaluation of a running
ask finishes no earlier than the start of the ask plus the duration, which is known. All events
before the earliest of these times are settled, so several processes can compute asks.
"""

from __future__ import annotations

import heapq
import multiprocessing
import queue
import signal
import traceback
from collections import deque
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from multiprocessing.connection import Connection
from typing import Any, Protocol

from adbo.simulation.virtual_ranks import LogEntry, Machine, Method, Request, Task, VirtualRanks

#: Asks that a process may have outstanding; fewer leave it idle between two asks.
_MAX_OUTSTANDING = 8

#: Seconds without an answer after which the processes are checked for their death.
_LIVENESS_SECONDS = 1.0


class ProcessDied(RuntimeError):
    """A process that computes asks died: it was killed or the objective ended it."""


class _RankExecutor(Protocol):
    """Computes asks in one or several processes."""

    def has_room(self, process: int) -> bool:
        """Whether the process can accept another ask now."""

    def submit(self, process: int, request: Request) -> None:
        """Start to compute an ask."""

    def collect(self) -> LogEntry:
        """Wait for one result and return it."""

    def close(self) -> None:
        """End the processes."""


def run_asynchronous(
    task: Task, machine: Machine, until: float, *, method: Method
) -> Generator[LogEntry, None, None]:
    """Run all ranks, each with an optimizer of its own; yield evaluations as they finish.

    Parameters
    ----------
    task
        The optimization problem.
    machine
        The simulated machine.
    until
        Virtual seconds after which the simulation ends.
    method
        Makes the optimizer of a rank.
    """
    free: list[tuple[float, int, LogEntry | None]]
    free = [(0.0, rank, None) for rank in range(machine.workers)]
    asking: dict[int, float] = {}  # rank to the earliest time at which it can be free again
    with closing(_Dispatcher(task, method, machine)) as dispatcher:
        while True:
            settled = bool(free) and all(free[0][:2] < (bound, r) for r, bound in asking.items())
            if not settled or not dispatcher.has_room(free[0][1]):
                entry = dispatcher.collect()
                del asking[entry.rank]
                heapq.heappush(free, (entry.finished, entry.rank, entry))
                continue
            now, rank, finished = heapq.heappop(free)
            if now > until:
                return
            if finished is not None:
                dispatcher.log.append(finished)
                yield finished
            asking[rank] = dispatcher.submit(rank, now)


def run_synchronous(
    task: Task, machine: Machine, until: float, *, method: Method, evaluations: int
) -> Generator[LogEntry, None, None]:
    """Run all ranks in rounds, with a barrier after ``evaluations`` evaluations of each rank.

    Records are exchanged at the barrier only, which adds the latency to a round; there is one job.
    For the other parameters see `run_asynchronous`.
    """
    barrier = 0.0
    with closing(_Dispatcher(task, method, machine)) as dispatcher:
        while barrier <= until:
            finished = _run_round(dispatcher, machine.workers, (barrier, until), evaluations)
            dispatcher.log += finished
            yield from (entry for entry in finished if entry.finished <= until)
            barrier = finished[-1].finished + machine.latency


def _run_round(
    dispatcher: _Dispatcher, workers: int, interval: tuple[float, float], evaluations: int
) -> list[LogEntry]:
    """Return the evaluations of one round that begins and ends within ``interval``, in order."""
    begin, until = interval
    free = deque((begin, rank) for rank in range(workers))
    remaining = [evaluations] * workers
    finished: list[LogEntry] = []
    n_asking = 0
    while free or n_asking:
        if free and dispatcher.has_room(free[0][1]):
            now, rank = free.popleft()
            dispatcher.submit(rank, now)
            n_asking += 1
            continue
        entry = dispatcher.collect()
        n_asking -= 1
        remaining[entry.rank] -= 1
        finished.append(entry)
        if remaining[entry.rank] and entry.finished <= until:
            free.append((entry.finished, entry.rank))
    return sorted(finished)


class _Dispatcher:
    """Hands asks to the ranks, together with the evaluations that finished before.

    The log is in the order in which the evaluations finished.
    """

    def __init__(self, task: Task, method: Method, machine: Machine) -> None:
        executor = _InProcess if machine.processes == 1 else _ForkedProcesses
        self.log: list[LogEntry] = []
        self._durations = [machine.durations(rank) for rank in range(machine.workers)]
        self._n_delivered = [0] * machine.processes  # entries of the log that each process has
        self._executor: _RankExecutor = executor(
            lambda: VirtualRanks(task, method, machine), machine.processes
        )

    def has_room(self, rank: int) -> bool:
        """Whether the process of a rank can accept another ask now."""
        return self._executor.has_room(self._process(rank))

    def submit(self, rank: int, now: float) -> float:
        """Start to compute an ask; return the earliest time at which its evaluation can finish."""
        seconds = next(self._durations[rank])
        process = self._process(rank)
        first, self._n_delivered[process] = self._n_delivered[process], len(self.log)
        self._executor.submit(process, Request(rank, now, seconds, self.log[first:]))
        return now + seconds

    def collect(self) -> LogEntry:
        """Wait for one result and return it."""
        return self._executor.collect()

    def close(self) -> None:
        """End the processes."""
        self._executor.close()

    def _process(self, rank: int) -> int:
        return rank % len(self._n_delivered)


class _InProcess:
    """All ranks are in this process."""

    def __init__(self, begin: Callable[[], VirtualRanks], n_processes: int) -> None:
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
    """Rank r is in child process r modulo the number of processes.

    Answers come through a queue. Putting one never blocks a child, so the child goes on to read
    its requests, and sending them cannot deadlock this process.
    """

    def __init__(self, begin: Callable[[], VirtualRanks], n_processes: int) -> None:
        context = multiprocessing.get_context("fork")  # an objective need not be picklable
        self._n_processes = n_processes
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
        # `collect` finds out that a child has died, or why it failed.
        with suppress(BrokenPipeError):
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
            self._outstanding[answer.rank % self._n_processes] -= 1
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
    """Answer requests until the asking process closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    reader, writer = requests
    writer.close()  # otherwise the pipe stays open when the asking process ends
    try:
        virtual_ranks = begin()
        while True:
            entries.put(virtual_ranks.ask(reader.recv()))
    except EOFError:
        pass
    except BaseException:
        entries.put(traceback.format_exc())
