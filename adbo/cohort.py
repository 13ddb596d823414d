"""The simulated ranks of one process, and the log they share.

It knows what each rank has heard of when it asks; the queue of events and the clock are
`adbo.events`.

With one latency for all pairs, records reach every rank in one order. So what a rank knows is a
prefix of one log, and its own records that are still on their way. Instead of 4,096 histories for
4,096 ranks there is one for each process, advanced to the time of the ask and overlaid with the
asking rank's own records for as long as the ask takes (`SharedHistory`). Rows stand in the order
of publication, the overlay last; in a real rank they stand in the order in which it heard of them,
which decides what is drawn but not how likely it is. Every rank has a loop (`adbo.worker.work`),
random streams and an encoder of its own, and all records travel as bytes.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from optuna.trial import TrialState

from adbo.history import History
from adbo.objective import Objective, Trial, evaluate
from adbo.records import Batch, Decoder, Encoder, Evaluation, message, to_batch
from adbo.space import FloatArray
from adbo.worker import work

Propose = Callable[[History], FloatArray]

#: Makes the optimizer of a rank from the mean of kappa and the rank's random stream.
Method = Callable[[float, np.random.Generator], Propose]

#: Records over which the cost of receiving one is measured.
_RECEIVED = 1000


@dataclass(frozen=True)
class Machine:
    """The simulated machine.

    Parameters
    ----------
    workers
        Number of ranks.
    duration
        Draws the seconds of one evaluation.
    latency
        Seconds until a peer knows a record.
    ask_cost
        Seconds charged for an ask; None for the CPU time that it takes here, and that a rank would
        need to receive what has arrived since its last one.
    seed
        Of all random streams.
    processes
        Processes that compute the asks.
    """

    workers: int
    duration: Callable[[np.random.Generator], float]
    latency: float = 0.0
    ask_cost: float | None = None
    seed: int = 0
    processes: int = 1

    def streams(self, rank: int) -> list[np.random.Generator]:
        """Random streams of a rank: its asks and its trials as in a real run, its durations."""
        seed = np.random.SeedSequence(self.seed, spawn_key=(rank, 0))
        return [np.random.default_rng(child) for child in seed.spawn(3)]

    def durations(self, rank: int) -> Iterator[float]:
        """Seconds of the evaluations of a rank, without end."""
        rng = self.streams(rank)[2]
        while True:
            yield self.duration(rng)


class Task(NamedTuple):
    """What is to be optimized: the objective, +1 to minimize or -1 to maximize, mean of kappa."""

    objective: Objective
    sign: int
    kappa: float


class Request(NamedTuple):
    """A rank is free at ``now`` and asks for an evaluation that will take ``seconds``."""

    rank: int
    now: float
    seconds: float
    arrivals: list[bytes]
    """Messages that are public by now and were not handed to this process before."""


class Entry(NamedTuple):
    """One evaluation of the log; entries are ordered by when they finish."""

    finished: float
    rank: int
    ask_seconds: float
    cost: float
    """Value to be minimized; NaN if the evaluation is not complete."""
    data: bytes
    """The evaluation as a message."""


class SharedHistory(History):
    """A history that many ranks read, each with its own unpublished records on top."""

    def __init__(self, sign: int) -> None:
        super().__init__(sign)
        self._published = 0

    @contextmanager
    def overlaid(self, own: Sequence[Batch]) -> Iterator[None]:
        """Let the asking rank append its ``own`` records; afterwards all is as it was before.

        Nothing is copied but the search space, and that only if ``own`` brings a new layout.
        """
        self._published = self._n
        before = dict(self.__dict__)
        self.counts = dict(self.counts)
        if any(batch.layout.key not in self._layout_index for batch in own):
            self.space = copy.deepcopy(self.space)
            self._layouts = list(self._layouts)
            self._layout_columns = list(self._layout_columns)
            self._layout_index = dict(self._layout_index)
        try:
            yield
        finally:
            if self._n > self._published:
                self._forget(slice(self._published, self._n))
                self.__dict__.update(before)

    def contains(self, values: FloatArray) -> NDArray[np.bool_]:
        """Which points ``(m, d)`` of internal values have been evaluated, ``(m,)``."""
        n, self._n = self._n, min(self._n, self._published)  # what is in the set stays in it
        found = super().contains(values)
        self._n = n
        for row in self._values[self._published : n]:
            found |= ((values == row) | (np.isnan(values) & np.isnan(row))).all(axis=1)
        return found

    def _forget(self, rows: slice) -> None:
        header = self._header[rows]
        keys = header["rank"].astype(np.int64) << 32 | header["seq"].astype(np.int64)
        self._seen.difference_update(keys.tolist())
        for row in range(rows.start, rows.stop):
            self._extras.pop(row, None)
        self._values[rows] = np.nan


class _Delivered:
    """The transport of a simulated rank: whoever resumes the rank has delivered everything."""

    def broadcast(self, evaluation: Evaluation) -> None:
        """Nothing to do: the event of this evaluation publishes it."""

    def receive(self) -> Sequence[Batch]:
        """Nothing: the shared history is already at the time of the ask."""
        return ()


@dataclass
class _Rank:
    """One rank between its asks."""

    loop: Generator[FloatArray, Evaluation, None]
    rng: np.random.Generator
    encoder: Encoder
    seq: int = 0
    n_known: int = 0
    running: Evaluation | None = None
    unpublished: Sequence[Evaluation] = ()


class Cohort:
    """The ranks of one process and the log they share."""

    def __init__(self, task: Task, method: Method, machine: Machine) -> None:
        self._task = task
        self._method = method
        self._machine = machine
        self._history = SharedHistory(task.sign)
        self._decoder = Decoder()
        self._ranks: dict[int, _Rank] = {}
        self._receive_seconds: float | None = None

    def ask(self, request: Request) -> Entry:
        """Let a rank tell what it evaluated last, ask, and evaluate.

        The objective is called here and now, since its value does not depend on its duration.
        """
        for data in request.arrivals:  # one by one, since a decoder groups records by layout
            self._history.extend(self._decoder.decode([data]).batches)
        rank = self._ranks.get(request.rank) or self._begin(request.rank)
        machine = self._machine
        earlier = [e for e in rank.unpublished if e.finished + machine.latency > request.now]
        newest = [] if rank.running is None else [rank.running]
        with self._history.overlaid([to_batch(e) for e in [*earlier, *newest]]):
            self._history.extend([to_batch(e) for e in earlier])
            began = time.thread_time()
            point = next(rank.loop) if rank.running is None else rank.loop.send(rank.running)
            ask_seconds = self._charge(rank, time.thread_time() - began)
            started = request.now + ask_seconds
            finished = started + request.seconds
            number = rank.seq * machine.workers + request.rank
            trial = Trial(self._history.space, point, number, started, rank.rng)
            name = (request.rank, rank.seq)
            evaluation = evaluate(self._task.objective, trial, name, lambda: finished)
        rank.unpublished = [*earlier, *newest]
        rank.running = evaluation
        rank.seq += 1
        complete = evaluation.state is TrialState.COMPLETE
        cost = self._task.sign * evaluation.value if complete else math.nan
        data = message([rank.encoder.frames(evaluation)])
        return Entry(finished, request.rank, ask_seconds, cost, data)

    def _begin(self, number: int) -> _Rank:
        ask_rng, trial_rng, _ = self._machine.streams(number)
        propose = self._method(self._task.kappa, ask_rng)
        loop = work(self._history, propose, _Delivered(), lambda: False)
        rank = self._ranks[number] = _Rank(loop, trial_rng, Encoder())
        return rank

    def _charge(self, rank: _Rank, seconds: float) -> float:
        """What this ask costs on the virtual clock."""
        if self._machine.ask_cost is not None:
            return self._machine.ask_cost
        if self._receive_seconds is None and rank.running is not None:
            self._receive_seconds = receive_seconds(rank.running)
        n_new = len(self._history) - rank.n_known - 1
        rank.n_known = len(self._history)
        return seconds + max(n_new, 0) * (self._receive_seconds or 0.0)


def receive_seconds(evaluation: Evaluation) -> float:
    """CPU seconds that a rank needs to decode and append one record like this one."""
    encoder = Encoder()
    messages = [
        message([encoder.frames(replace(evaluation, seq=seq))]) for seq in range(_RECEIVED)
    ]
    history, decoder = History(), Decoder()
    began = time.thread_time()
    history.extend(decoder.decode(messages).batches)
    return (time.thread_time() - began) / _RECEIVED
