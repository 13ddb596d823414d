"""Workers that stop their trials by successive halving, on a virtual clock.

An objective is called to its end when its trial starts, and its reports are spread evenly over
the duration of the trial. On the virtual clock each rung is judged at the time of its report, from
the reports that all workers have made by then; the rule is that of a real run
(`adbo.core.rungs`). A trial that does not go on ends there: what it did later is forgotten. Like
a real one, a trial is judged only when it asks whether it should be pruned.

Reports are known to all workers at once. One process computes all asks.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import optuna
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, TrialState

from adbo.core.evaluation import Evaluation, to_batch
from adbo.core.history import History
from adbo.core.rungs import Halving, Report, Rungs
from adbo.core.space import FloatArray
from adbo.objective.trial import RankStudy, Trial
from adbo.simulation.virtual_ranks import (
    LogEntry,
    Machine,
    Method,
    Request,
    Started,
    Task,
    VirtualRanks,
)


def run_halved(
    task: Task, machine: Machine, until: float, *, method: Method, halving: Halving
) -> Generator[LogEntry, None, None]:
    """Run all ranks, which judge their trials at the rungs; yield evaluations as they finish.

    Parameters
    ----------
    task, machine, until
        See `adbo.simulation.events.run_asynchronous`.
    method
        Makes the optimizer of a rank; its trials are those of `make_trial`.
    halving
        The rule.
    """
    ranks = VirtualRanks(task, replace(method, make_trial=make_trial), machine)
    known = History(task.signs)
    rungs = Rungs(halving, known)
    durations = [machine.durations(rank) for rank in range(machine.workers)]
    finished: list[LogEntry] = []  # since the last ask
    events: list[tuple[float, int, _Running | None]]
    events = [(0.0, rank, None) for rank in range(machine.workers)]
    while True:
        now, rank, running = heapq.heappop(events)
        if now > until:
            return
        if running is not None and not running.is_over(rungs):
            heapq.heappush(events, (running.next_time, rank, running))
            continue
        if running is not None:
            evaluation = running.evaluation
            known.extend([to_batch(evaluation)])
            finished.append(ranks.finish(evaluation, running.started.ask_seconds))
            yield finished[-1]
        started = ranks.start(Request(rank, now, next(durations[rank]), finished))
        finished = []
        running = _Running(started, halving)
        heapq.heappush(events, (running.next_time, rank, running))


class _NeverPrunes(BasePruner):
    """A pruner that lets a trial go on, and records after how many reports it was asked."""

    def __init__(self) -> None:
        self.asked_after: list[int] = []

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Return False."""
        self.asked_after.append(len(trial.intermediate_values))
        return False


def make_trial(
    history: History,
    point: FloatArray,
    number: int,
    started: float,
    rng: np.random.Generator,
) -> Trial:
    """Return a trial that is not pruned and records when it asks; see `Method`."""
    return RankStudy(history, pruner=_NeverPrunes()).begin(point, number, started, rng)


@dataclass
class _Running:
    """A trial whose reports are made one after the other.

    Parameters
    ----------
    started
        The trial as if it were never stopped.
    halving
        The rule.
    """

    started: Started
    halving: Halving
    evaluation: Evaluation = field(init=False)
    """What is left of it."""

    def __post_init__(self) -> None:
        self.evaluation = self.started.evaluation
        self._values = list(self.evaluation.extras.intermediate_values.values())
        self._steps = self._events()
        self._n_reports, self._rung, self._is_judged = self._next()

    def __lt__(self, other: _Running) -> bool:
        """Order events of the same rank, of which there is one."""
        return False

    @property
    def next_time(self) -> float:
        """The virtual time of the next rung, or of the end."""
        if self._rung is None:
            return self.evaluation.finished
        return self._time_of(self._n_reports)

    def is_over(self, rungs: Rungs) -> bool:
        """Report what is due; return whether the trial has ended, by itself or at a rung."""
        if self._rung is None:
            return True
        name = self.evaluation.rank, self.evaluation.seq
        report = Report(*name, self._rung, self._values[self._rung - 1])
        if not self._is_judged:
            rungs.add(report)
        elif not rungs.judge(report).goes_on:
            self.evaluation = self._stopped()
            return True
        self._n_reports, self._rung, self._is_judged = self._next()
        return False

    def _events(self) -> Iterator[tuple[int, int, bool]]:
        """Yield after how many reports something happens, at which rung, and if it is judged."""
        pruner = self.started.trial.study.pruner
        asked = set(pruner.asked_after) if isinstance(pruner, _NeverPrunes) else set()
        judged = 0
        for n_reports in range(1, len(self._values) + 1):
            rung = self.halving.last_rung(n_reports)
            if rung is None:
                continue
            if n_reports in asked and rung > judged:
                judged = rung
                yield n_reports, rung, True
            elif rung == n_reports:
                yield n_reports, rung, False

    def _next(self) -> tuple[int, int | None, bool]:
        return next(self._steps, (len(self._values), None, False))

    def _time_of(self, n_reports: int) -> float:
        begun = self.evaluation.started
        seconds = self.started.evaluation.finished - begun
        return begun + seconds * n_reports / len(self._values)

    def _stopped(self) -> Evaluation:
        """Return the evaluation as it is after the present report."""
        n = self._n_reports
        extras = self.evaluation.extras
        made = dict(itertools.islice(extras.intermediate_values.items(), n))
        return replace(
            self.evaluation,
            state=TrialState.PRUNED,
            value=self._values[n - 1],
            finished=self._time_of(n),
            extras=replace(extras, intermediate_values=made),
        )
