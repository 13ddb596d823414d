"""Methods with one optimizer for all workers.

`run_managed` has a manager that proposes points for waiting workers in batches. In
`run_on_storage` every worker runs the optimizer itself, on a storage that serves one worker at a
time. The virtual clock is that of `adbo.simulation.events`; each message between a worker and the
manager or the storage takes the latency.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from adbo.core.evaluation import Evaluation, to_batch
from adbo.core.history import History
from adbo.core.space import FloatArray
from adbo.core.wire import Encoder, message
from adbo.objective.evaluate import evaluate
from adbo.objective.trial import RankStudy
from adbo.simulation.virtual_ranks import LogEntry, Machine, Task, log_entry

Name = tuple[int, int]


class Manager(Protocol):
    """One optimizer for all workers."""

    objective_seconds: float
    """CPU seconds spent in the objective so far; the manager's clock does not charge them."""

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Add finished evaluations."""

    def ask(self, names: Sequence[Name]) -> list[Evaluation]:
        """Propose and evaluate one point for each ``(rank, seq)``; the times are set later."""


#: Makes a manager from the task and a random stream.
MakeManager = Callable[[Task, np.random.Generator], Manager]


def run_managed(
    task: Task,
    machine: Machine,
    until: float,
    *,
    make_manager: MakeManager,
    n_fits: Callable[[int], int] = lambda batch_size: 1,
) -> Generator[LogEntry, None, None]:
    """Let rank 0 ask for all waiting workers at once; yield evaluations as they finish.

    Parameters
    ----------
    task, machine, until
        See `adbo.simulation.events.run_asynchronous`.
    make_manager
        Makes the manager.
    n_fits
        Returns the number of surrogates fitted for a batch; a given cost of an ask is charged for
        each of them.
    """
    clock = _ManagerClock(task, machine, make_manager)
    running: list[tuple[LogEntry, Evaluation]] = []
    waiting = list(range(1, machine.workers))
    begin = 0.0
    while True:
        seconds, evaluations = clock.ask(waiting, n_fits(len(waiting)))
        end = begin + seconds
        for evaluation in evaluations:
            ask_seconds = seconds / len(evaluations)
            heapq.heappush(running, clock.start(evaluation, end + machine.latency, ask_seconds))
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
    task: Task,
    machine: Machine,
    until: float,
    *,
    make_manager: MakeManager,
    storage_seconds: float,
) -> Generator[LogEntry, None, None]:
    """Let every worker ask for itself after it has queued for the storage.

    The storage serves one trial in ``storage_seconds``; then the worker pays for its own ask. For
    the other parameters see `run_managed`.
    """
    clock = _ManagerClock(task, machine, make_manager)
    running: list[tuple[LogEntry, Evaluation]] = []
    free = [(0.0, rank) for rank in range(machine.workers)]
    served = 0.0
    while True:
        for now, rank in free:
            seconds, [evaluation] = clock.ask([rank], 1)
            served = max(served, now + machine.latency) + storage_seconds
            start = served + machine.latency + seconds
            heapq.heappush(running, clock.start(evaluation, start, seconds))
        entry, evaluation = heapq.heappop(running)
        if entry.finished > until:
            return
        clock.tell(evaluation)
        free = [(entry.finished, entry.rank)]
        yield entry


class _ManagerClock:
    """Charges a manager's asks to the virtual clock and times the evaluations."""

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
        """Return the seconds charged for telling and asking, and the untimed evaluations."""
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
        return log_entry(timed, ask_seconds, data, self._task.signs), timed


class BatchManager:
    """A manager that proposes points as arrays.

    Parameters
    ----------
    task
        The optimization problem.
    rng
        The random stream of the proposals.
    propose
        Returns points ``(size, d)`` of internal values for a history, ``size`` and ``rng``.
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
        self._history = History(task.signs)
        self._study = RankStudy(self._history)
        self._n = 0
        self.objective_seconds = 0.0

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Add finished evaluations."""
        self._history.extend([to_batch(e) for e in evaluations])

    def ask(self, names: Sequence[Name]) -> list[Evaluation]:
        """Propose and evaluate one point for each name."""
        evaluations = []
        for name, point in zip(
            names, self._propose(self._history, len(names), self._rng), strict=True
        ):
            trial = self._study.begin(point, self._n, 0.0, self._rng)
            began = time.thread_time()
            evaluations.append(evaluate(self._task.objective, trial, name, lambda: 0.0))
            self.objective_seconds += time.thread_time() - began
            self._n += 1
        return evaluations


class TPEManager:
    """Optuna's TPE, which samples a parameter when the objective suggests it."""

    def __init__(self, task: Task, rng: np.random.Generator) -> None:
        self._task = task
        sampler = optuna.samplers.TPESampler(seed=int(rng.integers(2**31)), constant_liar=True)
        direction = StudyDirection.MINIMIZE if task.signs == (1,) else StudyDirection.MAXIMIZE
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(sampler=sampler, direction=direction)
        optuna.logging.set_verbosity(verbosity)
        self._known = RankStudy(History(task.signs))
        self._no_rng = np.random.default_rng(0)
        self._asked: dict[Name, optuna.Trial] = {}
        self.objective_seconds = 0.0

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Add finished evaluations."""
        for evaluation in evaluations:
            trial = self._asked.pop((evaluation.rank, evaluation.seq))
            complete = evaluation.state is TrialState.COMPLETE
            self._study.tell(trial, evaluation.value if complete else None, state=evaluation.state)

    def ask(self, names: Sequence[Name]) -> list[Evaluation]:
        """Propose and evaluate one point for each name."""
        evaluations = []
        for name in names:
            asked = self._asked[name] = self._study.ask()
            trial = self._known.begin((), asked.number, 0.0, self._no_rng)
            trial.study.sampler = sampler = _AskedSampler(asked)
            began = time.thread_time()
            evaluations.append(evaluate(self._task.objective, trial, name, lambda: 0.0))
            self.objective_seconds += time.thread_time() - began - sampler.seconds
        return evaluations


class _AskedSampler(BaseSampler):
    """A sampler that asks another trial of Optuna for each parameter."""

    def __init__(self, asked: optuna.Trial) -> None:
        self._asked = asked
        self.seconds = 0.0

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return nothing: parameters are sampled one by one."""
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return what the other trial suggests."""
        began = time.thread_time()
        value = self._asked._suggest(param_name, param_distribution)
        self.seconds += time.thread_time() - began
        return value
