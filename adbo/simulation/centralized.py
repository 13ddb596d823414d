"""Methods that are not decentralized: one optimizer for all workers.

`run_managed` has a manager in front of which workers queue, `run_on_storage` an optimizer that every worker
runs for itself, on a storage in front of which they queue. The clock is that of
`adbo.simulation.events`; latency is paid for each message between worker and manager or storage.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState

from adbo.core.evaluation import Evaluation, to_batch
from adbo.core.history import History
from adbo.core.space import FloatArray, SearchSpace
from adbo.core.wire import Encoder, message
from adbo.objective.evaluate import evaluate
from adbo.objective.trial import Trial
from adbo.simulation.virtual_ranks import LogEntry, Machine, Task, log_entry

Name = tuple[int, int]

#: Seconds of an RDB for one trial, to create it, its parameters and its value. PostgreSQL 15 on
#: the machine of its clients took 15, 23 and 18 trials per second from 1, 8 and 32 processes
#: (experiments/storage_throughput.py): one after the other, however many ask.
STORAGE_SECONDS = 0.05


class Manager(Protocol):
    """An optimizer for all workers."""

    objective_seconds: float
    """CPU seconds so far in the objective, which the workers run and no manager pays for."""

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Take in results."""

    def ask(self, names: Sequence[Name]) -> list[Evaluation]:
        """New points with their values, one for each ``(rank, seq)``; their times are open."""


#: Makes a manager from the task and its random stream.
MakeManager = Callable[[Task, np.random.Generator], Manager]


def run_managed(
    task: Task,
    machine: Machine,
    until: float,
    *,
    make_manager: MakeManager,
    fits: Callable[[int], int] = lambda batch: 1,
) -> Generator[LogEntry, None, None]:
    """Rank 0 asks for all others, for all that wait at a time; yield evaluations as they finish.

    Parameters
    ----------
    task, machine, until
        See `adbo.simulation.events.run_asynchronous`.
    make_manager
        Makes the manager.
    fits
        Surrogates fitted for a batch of asks: how often a given cost of an ask is charged.
    """
    clock = _ManagerClock(task, machine, make_manager)
    running: list[tuple[LogEntry, Evaluation]] = []
    waiting = list(range(1, machine.workers))
    begin = 0.0
    while True:
        seconds, evaluations = clock.ask(waiting, fits(len(waiting)))
        end = begin + seconds
        for evaluation in evaluations:
            share = seconds / len(evaluations)
            heapq.heappush(running, clock.start(evaluation, end + machine.latency, share))
        begin = max(end, running[0][0].finished + machine.latency)
        waiting = []
        while running and running[0][0].finished + machine.latency <= begin:
            entry, evaluation = heapq.heappop(running)
            if entry.finished > until:
                return
            clock.tell(evaluation)
            waiting.append(entry.rank)
            yield entry


def run_on_storage(
    task: Task, machine: Machine, until: float, *, make_manager: MakeManager
) -> Generator[LogEntry, None, None]:
    """Every worker asks for itself, and queues for the storage; see `run_managed`.

    The storage takes `STORAGE_SECONDS` for each trial, the worker what its ask costs.
    """
    clock = _ManagerClock(task, machine, make_manager)
    running: list[tuple[LogEntry, Evaluation]] = []
    free = [(0.0, rank) for rank in range(machine.workers)]
    served = 0.0
    while True:
        for now, rank in free:
            seconds, [evaluation] = clock.ask([rank], 1)
            served = max(served, now + machine.latency) + STORAGE_SECONDS
            start = served + machine.latency + seconds
            heapq.heappush(running, clock.start(evaluation, start, seconds))
        entry, evaluation = heapq.heappop(running)
        if entry.finished > until:
            return
        clock.tell(evaluation)
        free = [(entry.finished, entry.rank)]
        yield entry


class _ManagerClock:
    """A manager on the virtual clock."""

    def __init__(self, task: Task, machine: Machine, make_manager: MakeManager) -> None:
        self._task = task
        self._machine = machine
        self._manager = make_manager(task, machine.streams(0)[0])
        self._durations = [machine.durations(rank) for rank in range(machine.workers)]
        self._counts = [0] * machine.workers
        self._encoders = [Encoder() for _ in range(machine.workers)]
        self._n_told = 0
        self._told_seconds = 0.0

    def tell(self, evaluation: Evaluation) -> None:
        began = time.thread_time()
        self._manager.tell([evaluation])
        self._told_seconds += time.thread_time() - began
        self._n_told += 1

    def ask(self, ranks: Sequence[int], n_fits: int) -> tuple[float, list[Evaluation]]:
        """What is charged for telling and asking, and what is to be run."""
        names = [(rank, self._counts[rank]) for rank in ranks]
        for rank in ranks:
            self._counts[rank] += 1
        began = time.thread_time() - self._manager.objective_seconds
        evaluations = self._manager.ask(names)
        ended = time.thread_time() - self._manager.objective_seconds
        seconds = self._told_seconds + ended - began
        self._told_seconds = 0.0
        if self._machine.ask_cost is not None:
            seconds = n_fits * self._machine.ask_cost(self._n_told)
        return seconds, evaluations

    def start(
        self, evaluation: Evaluation, start: float, ask_seconds: float
    ) -> tuple[LogEntry, Evaluation]:
        rank = evaluation.rank
        finished = start + next(self._durations[rank])
        timed = replace(evaluation, started=start, finished=finished)
        data = message([self._encoders[rank].frames(timed)])
        return log_entry(timed, ask_seconds, data, self._task.sign), timed


class BatchManager:
    """A manager that proposes points as arrays.

    Parameters
    ----------
    task
        What is to be optimized.
    rng
        Its random stream.
    propose
        So many points ``(k, d)`` of internal values from the history.
    """

    def __init__(
        self,
        task: Task,
        rng: np.random.Generator,
        propose: Callable[[History, int, np.random.Generator], FloatArray],
    ) -> None:
        self._task = task
        self._rng = rng
        self._propose = propose
        self._history = History(task.sign)
        self._n = 0
        self.objective_seconds = 0.0

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Take in results."""
        self._history.extend([to_batch(e) for e in evaluations])

    def ask(self, names: Sequence[Name]) -> list[Evaluation]:
        """New points with their values."""
        evaluations = []
        for name, point in zip(
            names, self._propose(self._history, len(names), self._rng), strict=True
        ):
            trial = Trial(self._history.space, point, self._n, 0.0, self._rng)
            began = time.thread_time()
            evaluations.append(evaluate(self._task.objective, trial, name, lambda: 0.0))
            self.objective_seconds += time.thread_time() - began
            self._n += 1
        return evaluations


class TPEManager:
    """Optuna's TPE, which lets the objective choose its parameters one by one."""

    def __init__(self, task: Task, rng: np.random.Generator) -> None:
        self._task = task
        sampler = optuna.samplers.TPESampler(seed=int(rng.integers(2**31)), constant_liar=True)
        direction = StudyDirection.MINIMIZE if task.sign > 0 else StudyDirection.MAXIMIZE
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(sampler=sampler, direction=direction)
        optuna.logging.set_verbosity(verbosity)
        self._asked: dict[Name, optuna.Trial] = {}
        self.objective_seconds = 0.0

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Take in results."""
        for evaluation in evaluations:
            trial = self._asked.pop((evaluation.rank, evaluation.seq))
            complete = evaluation.state is TrialState.COMPLETE
            self._study.tell(trial, evaluation.value if complete else None, state=evaluation.state)

    def ask(self, names: Sequence[Name]) -> list[Evaluation]:
        """New points with their values."""
        evaluations = []
        for name in names:
            asked = self._asked[name] = self._study.ask()
            trial = _OptunaTrial(asked)
            began = time.thread_time()
            evaluations.append(evaluate(self._task.objective, trial, name, lambda: 0.0))
            self.objective_seconds += time.thread_time() - began - trial.sampling_seconds
        return evaluations


class _OptunaTrial(Trial):
    """A trial whose points come from an Optuna trial."""

    def __init__(self, asked: optuna.Trial) -> None:
        nothing = np.empty(0)
        super().__init__(SearchSpace(), nothing, asked.number, 0.0, np.random.default_rng(0))
        self._asked = asked
        self.sampling_seconds = 0.0

    def _choose(self, name: str, distribution: BaseDistribution) -> float:
        began = time.thread_time()
        value = self._asked._suggest(name, distribution)
        self.sampling_seconds += time.thread_time() - began
        return float(distribution.to_internal_repr(value))
