"""Asynchronous successive halving (Li et al., arXiv 1810.05934) for simulated workers.

With the reduction factor k, a trial that reports intermediate values is compared at its 1st, kth,
k^2th, ... report with the evaluations published before it began. It goes on if it is among the
best 1/k; a report of NaN is pruned, as by Optuna's pruner. The duration of a pruned trial is
shortened to its reports divided by those of the longest trial.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass, field

import numpy as np

from adbo.core.history import History
from adbo.core.space import FloatArray
from adbo.objective.trial import Trial
from adbo.simulation.shared_history import n_published


@dataclass
class Rungs:
    """The sorted costs at each rung of the published evaluations.

    Parameters
    ----------
    reduction_factor
        The best ``1 / reduction_factor`` of the trials at a rung go on to the next one, which
        takes ``reduction_factor`` times as many reports; at least 2.
    """

    reduction_factor: int
    n_read: int = 0
    most_reports: int = 1
    costs: dict[int, list[float]] = field(default_factory=dict)

    def update(self, history: History) -> None:
        """Add the evaluations published since the last call."""
        stop = n_published(history)
        for evaluation in history.evaluations(self.n_read, stop):
            values = list(evaluation.extras.intermediate_values.values())
            self.most_reports = max(self.most_reports, len(values))
            for n_reports, value in enumerate(values, 1):
                if self.is_rung(n_reports) and not math.isnan(value):
                    bisect.insort(self.costs.setdefault(n_reports, []), history.sign * value)
        self.n_read = stop

    def is_beaten(self, n_reports: int, cost: float) -> bool:
        """Whether a cost after ``n_reports`` is too high to go on."""
        if math.isnan(cost):
            return True
        costs = self.costs.get(n_reports, [])
        n_better = bisect.bisect_left(costs, cost)
        return n_better >= max((len(costs) + 1) // self.reduction_factor, 1)

    def is_rung(self, n_reports: int) -> bool:
        """Whether ``n_reports`` is a power of the reduction factor."""
        while n_reports and n_reports % self.reduction_factor == 0:
            n_reports //= self.reduction_factor
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
        rungs.update(history)
        self._rungs = rungs
        self._sign = history.sign

    def should_prune(self) -> bool:
        """Whether the trial has reached a rung and is not among its best."""
        n_reports = self.n_reports
        if not self._rungs.is_rung(n_reports):
            return False
        return self._rungs.is_beaten(n_reports, self._sign * self.last_intermediate_value())

    def duration_fraction(self) -> float:
        """Return the fraction of a full duration that the trial took, judged by its reports."""
        n_reports = self.n_reports
        return n_reports / max(n_reports, self._rungs.most_reports) if n_reports else 1.0


def duration_fraction(trial: Trial) -> float:
    """Return `HalvingTrial.duration_fraction` of a trial, or 1 for any other trial."""
    return trial.duration_fraction() if isinstance(trial, HalvingTrial) else 1.0
