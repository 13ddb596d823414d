"""Trainings that report, of parallel workers on a virtual clock that stops them at rungs.

Each worker asks, trains, and asks again. A training is known in advance as its values after each
step and the time of each step. At the steps of `RUNGS` the searcher decides, from what all
workers have reported by then, whether it goes on; nothing else happens at other steps. News is
known to all workers at once.

A searcher that keeps its trials in a database pays for that: the database serves one write after
the other. Costs are minimized; whoever maximizes changes the sign.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Params = Mapping[str, Any]

#: Steps after which a training can be stopped: powers of the reduction factor.
REDUCTION_FACTOR = 3
RUNGS = (1, 3, 9, 27)


class Training(NamedTuple):
    """What comes of training a configuration."""

    costs: FloatArray
    """Cost after each step ``(k,)``."""
    seconds: FloatArray
    """Virtual seconds from the beginning to the end of each step ``(k,)``."""
    failed_after: float | None = None
    """Virtual seconds after which it fails, or None."""
    expected: float = math.nan
    """The cost in the end without noise."""


@dataclass
class Trial:
    """A training of a worker.

    Parameters
    ----------
    params
        The configuration.
    number
        Its number among the trials.
    first
        Number of steps that were made before; more than 0 if a trial is continued.
    asked
        What the searcher keeps of it.
    reports
        The cost after each step, when the searcher gets to know the trial.
    """

    params: Params
    number: int
    first: int = 0
    asked: Any = None
    reports: dict[int, float] = field(default_factory=dict)


class Searcher(Protocol):
    """Proposes trials and decides which of them go on."""

    prunes: bool
    """Whether it is asked at the rungs."""
    n_writes: int
    """Writes to a database for a trial beside its reports; 0 if there is no database."""

    def ask(self, now: float, worker: int) -> Trial:
        """Return the next trial of a worker."""

    def ask_seconds(self) -> float:
        """Return the virtual seconds that the latest ask took its worker."""

    def goes_on(self, trial: Trial, step: int, cost: float) -> bool:
        """Take the cost of a trial at a rung; return whether the trial goes on."""

    def tell(self, trial: Trial, cost: float | None, started: float, finished: float) -> None:
        """Take the cost of a trial that was trained to its end, or None if it failed."""

    def stop(self, trial: Trial, started: float, finished: float) -> None:
        """Learn that a trial was stopped at a rung."""


class Improvement(NamedTuple):
    """A new best cost of the trials that were trained to their end."""

    seconds: float
    cost: float
    expected: float
    """The cost without noise."""


@dataclass
class Outcome:
    """What the workers have done.

    Parameters
    ----------
    n_complete, n_pruned, n_failed
        Numbers of trials that ended.
    n_steps
        Steps of all of them.
    busy_seconds
        Time of the workers for them.
    improvements
        The best costs, in time.
    """

    n_complete: int = 0
    n_pruned: int = 0
    n_failed: int = 0
    n_steps: int = 0
    busy_seconds: float = 0.0
    improvements: list[Improvement] = field(default_factory=list)

    def best_at(self, seconds: float) -> float:
        """Return the best cost at a time, infinity if there is none."""
        costs = [i.cost for i in self.improvements if i.seconds <= seconds]
        return costs[-1] if costs else math.inf

    def seconds_to(self, cost: float) -> float:
        """Return when a cost was reached, infinity if it was not."""
        return next((i.seconds for i in self.improvements if i.cost <= cost), math.inf)


class _Running(NamedTuple):
    """An event: a trial reaches a step, or its end."""

    now: float
    order: int
    worker: int
    trial: Trial
    training: Training
    started: float
    step: int
    """The rung that is reached; 0 at the end."""


class Clock:
    """Parallel workers, from time 0 until a time.

    Parameters
    ----------
    searcher
        What proposes and stops trials.
    train
        Returns the training of a configuration.
    workers
        Number of workers.
    write_seconds
        Virtual seconds of a write to the database.
    """

    def __init__(
        self,
        searcher: Searcher,
        train: Callable[[Params], Training],
        workers: int,
        write_seconds: float = 0.004,
    ) -> None:
        self._searcher = searcher
        self._train = train
        self._workers = workers
        self._write_seconds = write_seconds
        self._served = 0.0
        self._order = itertools.count()
        self._events: list[_Running] = []
        self._free: list[tuple[float, int, int]] = []
        self.outcome = Outcome()

    def run(self, until: float) -> Outcome:
        """Let all workers work; return what they had done at a time."""
        for worker in range(self._workers):
            self._start(0.0, worker)
        while self._events[0].now <= until:
            event = heapq.heappop(self._events)
            if event.step:
                self._reach(event)
            else:
                self._end(event)
        return self.outcome

    def _start(self, now: float, worker: int) -> None:
        trial = self._searcher.ask(now, worker)
        started = self._write(now, self._searcher.n_writes) + self._searcher.ask_seconds()
        training = self._train(trial.params)
        self._push(_Running(started, 0, worker, trial, training, started, trial.first))

    def _push(self, event: _Running) -> None:
        """Schedule the next rung of a trial, or its end."""
        training, first = event.training, event.trial.first
        offset = event.started - (training.seconds[first - 1] if first else 0.0)
        last = len(training.costs)
        step = next((r for r in RUNGS if event.step < r < last), 0)
        if not self._searcher.prunes:
            step = 0
        if training.failed_after is not None:
            step, seconds = 0, training.failed_after
        else:
            seconds = training.seconds[(step or last) - 1]
        event = event._replace(now=offset + seconds, order=next(self._order), step=step)
        heapq.heappush(self._events, event)

    def _reach(self, event: _Running) -> None:
        step, cost = event.step, float(event.training.costs[event.step - 1])
        event.trial.reports = _reports(event.training, step)
        if self._searcher.n_writes:
            self._write(event.now, step - max((r for r in RUNGS if r < step), default=0))
        if self._searcher.goes_on(event.trial, step, cost):
            self._push(event)
            return
        self.outcome.n_pruned += 1
        self.outcome.n_steps += step - event.trial.first
        self.outcome.busy_seconds += event.now - event.started
        self._searcher.stop(event.trial, event.started, event.now)
        self._start(event.now, event.worker)

    def _end(self, event: _Running) -> None:
        training, trial, outcome = event.training, event.trial, self.outcome
        outcome.n_steps += len(training.costs) - trial.first
        outcome.busy_seconds += event.now - event.started
        if training.failed_after is not None or not np.isfinite(training.costs[-1]):
            outcome.n_failed += 1
            self._searcher.tell(trial, None, event.started, event.now)
        else:
            outcome.n_complete += 1
            cost = float(training.costs[-1])
            trial.reports = _reports(training, len(training.costs))
            if cost < outcome.best_at(math.inf):
                outcome.improvements.append(Improvement(event.now, cost, training.expected))
            self._searcher.tell(trial, cost, event.started, event.now)
        self._start(event.now, event.worker)

    def _write(self, now: float, n_writes: int) -> float:
        """Return when the database has made some writes."""
        if not n_writes:
            return now
        self._served = max(self._served, now) + n_writes * self._write_seconds
        return self._served


def _reports(training: Training, step: int) -> dict[int, float]:
    """Return the costs after the steps from 1 to ``step``."""
    return dict(enumerate(training.costs[:step].tolist(), 1))
