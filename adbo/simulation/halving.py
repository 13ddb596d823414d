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
import optuna
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial

from adbo.core.history import History
from adbo.core.space import FloatArray
from adbo.objective.trial import RankStudy, Trial
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


class HalvingPruner(BasePruner):
    """A pruner that ends a trial at a rung where it is not among the best."""

    def __init__(self, rungs: Rungs, sign: int) -> None:
        self._rungs = rungs
        self._sign = sign

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether the trial has reached a rung and is not among its best."""
        values = trial.intermediate_values
        if not self._rungs.is_rung(len(values)):
            return False
        return self._rungs.is_beaten(len(values), self._sign * values[max(values)])

    def duration_fraction(self, trial: Trial) -> float:
        """Return the fraction of a full duration that a trial took, judged by its reports."""
        n_reports = len(trial.running.intermediate_values)
        return n_reports / max(n_reports, self._rungs.most_reports) if n_reports else 1.0


def make_trial(
    rungs: Rungs,
    history: History,
    point: FloatArray,
    number: int,
    started: float,
    rng: np.random.Generator,
) -> Trial:
    """Return a trial that is pruned at the rungs; see `Method`."""
    rungs.update(history)
    study = RankStudy(history, pruner=HalvingPruner(rungs, history.sign))
    return study.begin(point, number, started, rng)


def duration_fraction(trial: Trial) -> float:
    """Return `HalvingPruner.duration_fraction` of a trial, or 1 with any other pruner."""
    pruner = trial.study.pruner
    return pruner.duration_fraction(trial) if isinstance(pruner, HalvingPruner) else 1.0
