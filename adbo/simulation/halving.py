"""Asynchronous successive halving (Li et al., arXiv 1810.05934) for simulated workers.

A trial that reports intermediate values is compared, at its 1st, 4th, 16th, ... report, with the
evaluations that everybody knew of when it began, and goes on if it is among the best quarter; one
that reports NaN does not (as with Optuna's pruner). A pruned trial takes the fraction of its
duration that it used of the reports of the longest trial.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass, field

import numpy as np

from adbo.core.history import History
from adbo.core.space import FloatArray
from adbo.objective.trial import Trial
from adbo.simulation.virtual_ranks import n_published

#: One of so many goes on at each rung (Optuna's default, and that of the published comparison).
REDUCTION = 4


@dataclass
class Rungs:
    """Costs at each rung, sorted, of the evaluations that are public."""

    n_read: int = 0
    most_reports: int = 1
    costs: dict[int, list[float]] = field(default_factory=dict)

    def read(self, history: History) -> None:
        """Take in what became public."""
        stop = n_published(history)
        for evaluation in history.evaluations(self.n_read, stop):
            values = list(evaluation.extras.intermediate_values.values())
            self.most_reports = max(self.most_reports, len(values))
            for n_reports, value in enumerate(values, 1):
                if is_rung(n_reports) and not math.isnan(value):
                    bisect.insort(self.costs.setdefault(n_reports, []), history.sign * value)
        self.n_read = stop

    def is_beaten(self, n_reports: int, cost: float) -> bool:
        """Whether a cost at this rung is not among the best of its kind."""
        if math.isnan(cost):
            return True
        costs = self.costs.get(n_reports, [])
        n_better = bisect.bisect_left(costs, cost)
        return n_better >= max((len(costs) + 1) // REDUCTION, 1)


def is_rung(n_reports: int) -> bool:
    """Whether a number is a power of `REDUCTION`."""
    while n_reports % REDUCTION == 0 and n_reports:
        n_reports //= REDUCTION
    return n_reports == 1


class HalvingTrial(Trial):
    """A trial that is pruned at the rungs."""

    def __init__(
        self,
        rungs: Rungs,
        history: History,
        point: FloatArray,
        number: int,
        started: float,
        rng: np.random.Generator,
    ) -> None:
        super().__init__(history.space, point, number, started, rng)
        rungs.read(history)
        self.rungs = rungs
        self._sign = history.sign

    def should_prune(self) -> bool:
        """Whether the trial has reached a rung and is not good enough."""
        n_reports = len(self._intermediate_values)
        if not is_rung(n_reports):
            return False
        return self.rungs.is_beaten(n_reports, self._sign * self.last_intermediate_value())


def share(trial: Trial) -> float:
    """The fraction of its duration that a trial took, by its reports."""
    assert isinstance(trial, HalvingTrial)
    n_reports = len(trial._intermediate_values)
    return n_reports / max(n_reports, trial.rungs.most_reports) if n_reports else 1.0
