"""The virtual ranks of one process and the log they share.

This module knows which records a rank has received when it asks; the event loops and the clock are
in `adbo.simulation.events`.

A record is published when every rank knows it: ``latency`` seconds after its evaluation finished,
or ``job_latency`` if there are several jobs. Records are published in the order in which they
finished, so those that a rank knows are a prefix of one log and a few unpublished ones: those of
its peers in the same job that are older than ``latency``, and its own.

Each process keeps one history instead of one per rank. It is advanced to the time of an ask, and
the unpublished records that the asking rank knows are appended for the duration of the ask
(`SharedHistory`).

The rows are in the order of publication, followed by the unpublished ones of the job, then by the
asking rank's own. A real rank has them in the order of receipt: this changes which rows are drawn,
but not their probabilities. Every rank has its own loop (`adbo.run.loop.work`), random streams and
encoder, and all records travel as bytes.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from optuna.trial import TrialState

from adbo.core.evaluation import Batch, Evaluation, to_batch
from adbo.core.history import History
from adbo.core.space import FloatArray
from adbo.core.wire import Decoder, Encoder, message
from adbo.objective.evaluate import Objective, evaluate
from adbo.objective.trial import RankStudy, Trial
from adbo.optimizer.ask import Proposal
from adbo.run.loop import work
from adbo.simulation.news import News
from adbo.simulation.shared_history import SharedHistory

Propose = Callable[[History], Proposal]

#: A rank and the number of ranks, which share out the points of a finite space.
Part = tuple[int, int]


@dataclass(frozen=True)
class Method:
    """How a rank chooses and runs its evaluations.

    Parameters
    ----------
    make_propose
        Makes the optimizer of a rank from the mean of kappa, the rank's random stream, and the
        rank among those of its job.
    make_trial
        Makes the trial of a point from the history, the point, the trial's number, its start time,
        and the rank's random stream for parameters that are not yet in the search space.
    ask_cost
        Returns the seconds of an ask for the number of known evaluations, unless the machine has
        an ``ask_cost`` of its own; None to measure them. Messages and the records that they bring
        are charged besides, if the machine charges them.
    """

    make_propose: Callable[[float, np.random.Generator, Part], Propose]
    make_trial: Callable[[History, FloatArray, int, float, np.random.Generator], Trial] = (
        lambda history, *rest: RankStudy(history).begin(*rest)
    )
    ask_cost: Callable[[int], float] | None = None


#: Records over which the cost of receiving one is measured; more make it more precise.
_N_MEASURED = 1000


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
        Seconds from the end of an evaluation until the other ranks of its job know the record.
    ask_cost
        Returns the seconds charged for an ask for the number of known evaluations. None charges
        the measured CPU time of the ask, the time to decode and append the records received
        since the previous one, and that of messages.
    seed
        Seed of all random streams.
    processes
        Processes that compute the asks.
    jobs
        Number of jobs; it divides ``workers``. The ranks of a job are consecutive.
    job_latency
        Seconds from the end of an evaluation until the ranks of other jobs know the record, at
        least ``latency``; without effect if there is one job.
    news
        What messages cost; None if they are free.
    """

    workers: int
    duration: Callable[[np.random.Generator], float]
    latency: float = 0.0
    ask_cost: Callable[[int], float] | None = None
    seed: int = 0
    processes: int = 1
    jobs: int = 1
    job_latency: float = 1.0
    news: News | None = None

    @property
    def publication_latency(self) -> float:
        """Seconds from the end of an evaluation until every rank knows the record."""
        return self.latency if self.jobs == 1 else self.job_latency

    def job(self, rank: int) -> int:
        """Return the job of a rank, from 0 on."""
        return rank // (self.workers // self.jobs)

    def part(self, rank: int) -> Part:
        """Return the number of a rank within its job, and the number of ranks of a job."""
        size = self.workers // self.jobs
        return rank % size, size

    def streams(self, rank: int) -> list[np.random.Generator]:
        """Return a rank's random streams: asks and trials, as in a real run, and durations."""
        seed = np.random.SeedSequence(self.seed, spawn_key=(rank, 0))
        return [np.random.default_rng(child) for child in seed.spawn(3)]

    def durations(self, rank: int) -> Iterator[float]:
        """Yield the durations of a rank's evaluations, in seconds, without end."""
        rng = self.streams(rank)[2]
        while True:
            yield self.duration(rng)


class Task(NamedTuple):
    """The problem: an objective, and the mean of kappa."""

    objective: Objective
    signs: tuple[int, ...]
    """+1 to minimize or -1 to maximize, for each value of the objective."""
    kappa: float


class Request(NamedTuple):
    """The ask of a rank at time ``now``; its evaluation will take ``seconds``."""

    rank: int
    now: float
    seconds: float
    finished: list[LogEntry]
    """Evaluations that finished since the previous request to the same process."""


class Started(NamedTuple):
    """An evaluation that a rank has begun, with its result, its trial and the cost of its ask."""

    evaluation: Evaluation
    ask_seconds: float
    trial: Trial


class LogEntry(NamedTuple):
    """One evaluation of the log; entries are ordered by their finish times."""

    finished: float
    rank: int
    ask_seconds: float
    cost: float
    """Value to be minimized; NaN if the evaluation is not complete, or has several values."""
    data: bytes
    """The evaluation as a message."""


def log_entry(
    evaluation: Evaluation, ask_seconds: float, data: bytes, signs: Sequence[int]
) -> LogEntry:
    """Return an evaluation as an entry of the log."""
    has_cost = evaluation.state is TrialState.COMPLETE and len(signs) == 1
    cost = signs[0] * evaluation.value if has_cost else math.nan
    return LogEntry(evaluation.finished, evaluation.rank, ask_seconds, cost, data)


class _NullTransport:
    """The transport of a virtual rank, whose records are exchanged by the event loop."""

    def broadcast(self, evaluation: Evaluation) -> None:
        """Do nothing: the event loop publishes the evaluation."""

    def receive(self) -> Sequence[Batch]:
        """Return nothing: the shared history is already advanced to the time of the ask."""
        return ()


@dataclass
class _RankState:
    """The state of one rank between two asks."""

    loop: Generator[Proposal, Evaluation, None]
    rng: np.random.Generator
    encoder: Encoder
    seq: int = 0
    n_known: int = 0
    last_ask: float = 0.0
    newest: Evaluation | None = None
    unpublished: list[Evaluation] = field(default_factory=list)


class VirtualRanks:
    """The virtual ranks of one process and the history they share."""

    def __init__(self, task: Task, method: Method, machine: Machine) -> None:
        self._task = task
        self._method = method
        self._machine = machine
        self._history = SharedHistory(task.signs)
        self._decoder = Decoder()
        self._unpublished: deque[tuple[LogEntry, Sequence[Batch]]] = deque()
        self._ranks: dict[int, _RankState] = {}
        self._receive_seconds: float | None = None

    def ask(self, request: Request) -> LogEntry:
        """Let a rank tell its last result, ask, and evaluate.

        The objective is called at once, since its value does not depend on its virtual duration.
        """
        started = self.start(request)
        return self.finish(started.evaluation, started.ask_seconds)

    def start(self, request: Request) -> Started:
        """Let a rank tell its last result, ask, and evaluate; the result is not told yet."""
        self._publish(request)
        rank = self._ranks.get(request.rank) or self._begin(request.rank)
        rank.unpublished = [e for e in rank.unpublished if not self._history.knows(e.rank, e.seq)]
        own = [to_batch(e) for e in rank.unpublished]
        with self._history.overlaid(self._heard_in_job(request) + own):
            began = time.thread_time()
            proposal = next(rank.loop) if rank.newest is None else rank.loop.send(rank.newest)
            ask_seconds = self._charge(rank, request.now, time.thread_time() - began)
            started = request.now + ask_seconds
            number = rank.seq * self._machine.workers + request.rank
            point, origin = proposal
            trial = self._method.make_trial(self._history, point, number, started, rank.rng)
            evaluation = evaluate(
                self._task.objective,
                trial,
                (request.rank, rank.seq),
                lambda: started + request.seconds,
            )
        return Started(replace(evaluation, origin=origin), ask_seconds, trial)

    def finish(self, evaluation: Evaluation, ask_seconds: float) -> LogEntry:
        """Give a rank its result, which it tells when it asks again."""
        rank = self._ranks[evaluation.rank]
        rank.unpublished.append(evaluation)
        rank.newest = evaluation
        rank.seq += 1
        data = message([rank.encoder.frames(evaluation)])
        return log_entry(evaluation, ask_seconds, data, self._task.signs)

    def _publish(self, request: Request) -> None:
        """Advance the history to the records that every rank knows at the time of a request."""
        for entry in request.finished:  # one by one, since a decoder groups records by layout
            batches = self._decoder.decode([entry.data]).batches
            self._unpublished.append((entry, batches))
        latency = self._machine.publication_latency
        while self._unpublished and self._unpublished[0][0].finished + latency <= request.now:
            self._history.extend(self._unpublished.popleft()[1])

    def _heard_in_job(self, request: Request) -> list[Batch]:
        """Return the unpublished records of its peers that a rank knows when it asks."""
        machine = self._machine
        if machine.jobs == 1:  # all ranks know a record as soon as one does
            return []
        return [
            batch
            for entry, batches in self._unpublished
            if entry.rank != request.rank
            and machine.job(entry.rank) == machine.job(request.rank)
            and entry.finished + machine.latency <= request.now
            for batch in batches
        ]

    def _begin(self, number: int) -> _RankState:
        ask_rng, trial_rng, _ = self._machine.streams(number)
        propose = self._method.make_propose(self._task.kappa, ask_rng, self._machine.part(number))
        loop = work(self._history, propose, _NullTransport(), lambda: False)
        rank = self._ranks[number] = _RankState(loop, trial_rng, Encoder())
        return rank

    def _charge(self, rank: _RankState, now: float, seconds: float) -> float:
        """Return the virtual seconds charged for an ask that took ``seconds`` of CPU."""
        n_known = len(self._history)
        n_new, rank.n_known = n_known - rank.n_known - 1, n_known
        if self._machine.ask_cost is not None:
            return self._machine.ask_cost(n_known)
        if self._method.ask_cost is not None:
            seconds = self._method.ask_cost(n_known)
            if self._machine.news is None:
                return seconds
        if self._receive_seconds is None and rank.newest is not None:
            self._receive_seconds = measure_receive_seconds(rank.newest)
        elapsed, rank.last_ask = now - rank.last_ask, now
        if self._machine.news is not None:
            seconds += self._machine.news.seconds(elapsed, max(n_new, 0))
        return seconds + max(n_new, 0) * (self._receive_seconds or 0.0)


def measure_receive_seconds(evaluation: Evaluation) -> float:
    """Measure the CPU seconds a rank needs to decode and append a record like this one."""
    encoder = Encoder()
    messages = [
        message([encoder.frames(replace(evaluation, seq=seq))]) for seq in range(_N_MEASURED)
    ]
    history, decoder = History(), Decoder()
    began = time.thread_time()
    history.extend(decoder.decode(messages).batches)
    return (time.thread_time() - began) / _N_MEASURED
