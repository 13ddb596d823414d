"""One run of an optimizer on a case: parallel workers on a virtual clock, and what they find.

An optimizer with ask and tell is asynchronous: each worker asks for its next point when its last
evaluation ends, and evaluations take different times. A minimizer calls the objective itself, in
batches as large as the number of workers or one after the other, so that it needs no clock.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from cases import Case
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.trial import BaseTrial, FixedTrial

from adbo.core.space import SearchSpace

#: Virtual seconds of an evaluation: mean and standard deviation of a normal distribution, minimum.
DURATION = (60.0, 10.0, 1.0)

FloatArray = NDArray[np.float64]
Space = Mapping[str, BaseDistribution]


class Searcher(Protocol):
    """An optimizer with ask and tell; the objective asks each trial for its parameters."""

    def ask(self) -> BaseTrial:
        """Return the next trial."""

    def tell(self, trial: BaseTrial, value: float | None) -> None:
        """Take the value of a trial, or None if the evaluation failed."""


@dataclass(frozen=True)
class Budget:
    """How many evaluations a run has, and how many of them at the same time."""

    workers: int
    evaluations: int


class BudgetSpent(Exception):
    """All evaluations of a run are made."""


class ConditionalSpace(Exception):
    """The objective does not ask for all parameters, which the method cannot handle."""


class Evaluation(NamedTuple):
    """The result of an evaluation.

    Parameters
    ----------
    regret
        The noiseless value less the minimum.
    observed
        The value with noise, or None if the evaluation failed.
    """

    regret: float
    observed: float | None


class Evaluations:
    """The evaluations of a run.

    Parameters
    ----------
    case
        The problem.
    budget
        How many evaluations there may be.
    seed
        Determines the noise.

    Attributes
    ----------
    n_started
        Number of evaluations that have started.
    regrets
        After each evaluation that has ended, the regret of the point with the best observed value,
        without noise; infinity before the first evaluation that does not fail.
    """

    def __init__(self, case: Case, budget: Budget, seed: int) -> None:
        self.case = case
        self.budget = budget
        self.n_started = 0
        self.regrets: list[float] = []
        self._noise = np.random.default_rng([seed, 3])
        self._best = np.inf, np.inf

    def start(self, trial: BaseTrial) -> Evaluation:
        """Evaluate a trial, which samples its parameters now; its result is known later.

        Raises
        ------
        BudgetSpent
            If no more evaluations may start.
        """
        if self.n_started == self.budget.evaluations:
            raise BudgetSpent
        self.n_started += 1
        true = self.case.regret(trial)
        if self.case.fails(trial.params):
            return Evaluation(true, None)
        return Evaluation(true, true + self.case.noise * self._noise.standard_normal())

    def end(self, evaluation: Evaluation) -> None:
        """Record a result when it becomes known."""
        if evaluation.observed is not None:
            self._best = min(self._best, (evaluation.observed, evaluation.regret))
        self.regrets.append(self._best[1])


class Penalty:
    """Replaces failed evaluations by the worst value so far, for methods that need a value."""

    #: The value of a failed evaluation before any other is known.
    FIRST = 1e6

    def __init__(self) -> None:
        self._worst = -np.inf

    def __call__(self, observed: float | None) -> float:
        """Return a value for an observed one, or for None."""
        if observed is None:
            return self._worst if np.isfinite(self._worst) else self.FIRST
        self._worst = max(self._worst, observed)
        return observed


MakeSearcher = Callable[[Space, int, Budget], Searcher]
Minimizer = Callable[[Callable[[FloatArray], float], int, int, Budget], None]

#: Makes all evaluations of a run with a seed.
Run = Callable[[Evaluations, int], None]


def regrets_of(run: Run, case: Case, budget: Budget, seed: int) -> FloatArray:
    """Return the `Evaluations.regrets` of a run ``(evaluations,)``."""
    evaluations = Evaluations(case, budget, seed)
    run(evaluations, seed)
    return np.array(evaluations.regrets)


def asynchronously(make_searcher: MakeSearcher) -> Run:
    """Return a run with ask and tell, where each worker asks as soon as it is idle."""

    def run(evaluations: Evaluations, seed: int) -> None:
        searcher = make_searcher(evaluations.case.space, seed, evaluations.budget)
        mean, deviation, least = DURATION
        rng = np.random.default_rng([seed, 1])

        def start(now: float, worker: int) -> None:
            trial = searcher.ask()
            end = now + max(rng.normal(mean, deviation), least)
            heapq.heappush(running, (end, worker, trial, evaluations.start(trial)))

        running: list[tuple[float, int, BaseTrial, Evaluation]] = []
        for worker in range(min(evaluations.budget.workers, evaluations.budget.evaluations)):
            start(0.0, worker)
        while running:
            now, worker, trial, evaluation = heapq.heappop(running)
            evaluations.end(evaluation)
            searcher.tell(trial, evaluation.observed)
            if evaluations.n_started < evaluations.budget.evaluations:
                start(now, worker)

    return run


def in_unit_cube(minimize: Minimizer) -> Run:
    """Return a run of a function that minimizes on the unit cube.

    It gets the objective, the dimension, the seed and the budget, and goes on until the objective
    raises `BudgetSpent`. Points are rounded to the nearest valid ones, and a choice is the cell
    of the unit interval that a coordinate is in. Failed evaluations have the value of `Penalty`.

    Raises
    ------
    ConditionalSpace
        From the run, if the objective does not ask for all parameters.
    """

    def run(evaluations: Evaluations, seed: int) -> None:
        space = SearchSpace(evaluations.case.space)
        penalty = Penalty()

        def objective(units: FloatArray) -> float:
            (values,) = space.from_unit(np.clip(units, 0.0, 1.0)[np.newaxis])
            trial = FixedTrial(space.decode(values))
            evaluation = evaluations.start(trial)
            evaluations.end(evaluation)
            if len(trial.params) < len(space):
                raise ConditionalSpace
            return penalty(evaluation.observed)

        try:
            minimize(objective, len(space), seed, evaluations.budget)
        except BudgetSpent:
            return
        raise AssertionError("the minimizer must go on until the budget is spent")

    return run
