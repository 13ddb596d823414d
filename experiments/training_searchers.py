"""Searchers of `training_clock`: adbo, random search, Optuna's TPE, with or without pruning."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, HyperbandPruner, NopPruner, SuccessiveHalvingPruner
from optuna.trial import TrialState
from training_clock import REDUCTION_FACTOR, RUNGS, Searcher, Trial

from adbo.core import rungs
from adbo.core.evaluation import Evaluation, Extras, Layout, to_batch
from adbo.core.history import History
from adbo.core.origins import NO_ORIGIN
from adbo.core.rungs import Report, Rungs
from adbo.core.settings import KAPPA
from adbo.core.space import SearchSpace
from adbo.optimizer.ask import propose
from adbo.optimizer.sample import Pruned
from adbo.optimizer.settings import DEFAULT_SETTINGS
from adbo.simulation.egele2022 import Fit, Surrogate, training_data

Space = Mapping[str, BaseDistribution]

#: When an evaluation started and finished, in virtual seconds.
Times = tuple[float, float]

#: Virtual seconds of an ask of adbo, more than was measured.
ASK_SECONDS = 0.05


class Halving:
    """Decentralized successive halving by the rule of adbo (`adbo.core.rungs`)."""

    def __init__(self) -> None:
        self._known = History(1)
        self._rungs = Rungs(rungs.Halving(REDUCTION_FACTOR, RUNGS[0]), self._known)

    def goes_on(self, trial: Trial, step: int, cost: float) -> bool:
        """Take the cost of a trial at a rung; return whether the trial goes on."""
        return self._rungs.judge(Report(0, trial.number, step, cost)).goes_on

    def end(self, trial: Trial, state: TrialState) -> None:
        """Learn that a trial has ended by itself."""
        reports = Extras(intermediate_values=dict(trial.reports))
        times = 0.0, 0.0
        ended = Evaluation(0, trial.number, state, np.nan, *times, Layout({}), (), reports)
        self._known.extend([to_batch(ended)])


class Random:
    """Random search; with a `Halving` it is ASHA without promotions."""

    n_writes = 0

    def __init__(self, space: Space, seed: int, halving: Halving | None = None) -> None:
        self._space = SearchSpace(dict(space))
        self._rng = np.random.default_rng([seed, 7])
        self._halving = halving
        self._n = itertools.count()
        self.prunes = halving is not None

    def ask(self, now: float, worker: int) -> Trial:
        """Return a trial uniform in the unit cube."""
        unit = self._rng.random((1, len(self._space)))
        return Trial(self._space.decode(self._space.from_unit(unit)[0]), next(self._n))

    def ask_seconds(self) -> float:
        """Return 0."""
        return 0.0

    def goes_on(self, trial: Trial, step: int, cost: float) -> bool:
        """Decide by the rungs."""
        assert self._halving is not None
        return self._halving.goes_on(trial, step, cost)

    def tell(self, trial: Trial, cost: float | None, started: float, finished: float) -> None:
        """Learn that a trial has ended."""
        if self._halving is not None:
            self._halving.end(trial, _state(cost))

    def stop(self, trial: Trial, started: float, finished: float) -> None:
        """Learn nothing."""


def _state(cost: float | None) -> TrialState:
    return TrialState.FAIL if cost is None else TrialState.COMPLETE


def _value(cost: float | None) -> float:
    return np.nan if cost is None else cost


class OneEpoch:
    """Trains everything for one step until half of the time, then the best ones to the end.

    Egele et al., arXiv 2307.15422. A worker that is idle in the second half continues the best
    trial that nobody has continued.
    """

    n_writes = 0
    prunes = True

    def __init__(self, searcher: Searcher, until: float) -> None:
        self._searcher = searcher
        self._switch = until / 2
        self._waiting: list[tuple[float, int, Trial]] = []
        self._first_half = True

    def ask(self, now: float, worker: int) -> Trial:
        """Return a new trial, or one to continue."""
        self._first_half = now < self._switch
        if self._first_half or not self._waiting:
            return self._searcher.ask(now, worker)
        _, number, trial = heapq.heappop(self._waiting)
        return Trial(trial.params, number, first=1)

    def ask_seconds(self) -> float:
        """Return what the other searcher took."""
        return self._searcher.ask_seconds() if self._first_half else 0.0

    def goes_on(self, trial: Trial, step: int, cost: float) -> bool:
        """Stop a new trial at the first step."""
        if step > 1:
            return True
        heapq.heappush(self._waiting, (cost, trial.number, trial))
        return False

    def tell(self, trial: Trial, cost: float | None, started: float, finished: float) -> None:
        """Tell a failure of a new trial."""
        if not trial.first:
            self._searcher.tell(trial, cost, started, finished)

    def stop(self, trial: Trial, started: float, finished: float) -> None:
        """Tell the cost after one step as if it were the last one."""
        self._searcher.tell(trial, trial.reports[1], started, finished)


class _Knowing:
    """A searcher that knows all evaluations; ``asked`` of its trials is their rank and origin."""

    def __init__(self, space: Space) -> None:
        self._history = History(1, SearchSpace(dict(space)))
        self._layout = Layout(dict(space))
        self._n = itertools.count()

    def _append(self, trial: Trial, state: TrialState, value: float, times: Times) -> None:
        worker, origin = trial.asked
        values = tuple(self._history.space.encode(trial.params).tolist())
        reports = Extras(intermediate_values=dict(trial.reports))
        evaluation = Evaluation(
            worker, trial.number, state, value, *times, self._layout, values, reports, origin
        )
        self._history.extend([to_batch(evaluation)])


class Adbo(_Knowing):
    """adbo's ranks, which know each other's evaluations at once.

    Parameters
    ----------
    space, seed, workers
        The search space, the seed of all ranks, and their number.
    halving
        Stops trials, if there is one.
    pruned
        What the ranks learn of stopped trials.
    """

    n_writes = 0

    def __init__(
        self,
        space: Space,
        seed: int,
        workers: int,
        halving: Halving | None = None,
        pruned: Pruned = Pruned.EXPECTED,
    ) -> None:
        super().__init__(space)
        streams = np.random.SeedSequence(seed).spawn(workers)
        self._rngs = [np.random.default_rng(stream) for stream in streams]
        self._halving = halving
        sample = replace(DEFAULT_SETTINGS.sample, pruned=pruned)
        self._settings = replace(DEFAULT_SETTINGS, sample=sample)
        self.prunes = halving is not None

    def ask(self, now: float, worker: int) -> Trial:
        """Return what the rank proposes."""
        part = worker, len(self._rngs)
        rng = self._rngs[worker]
        proposal = propose(self._history, KAPPA, rng, self._settings, part)
        space = self._history.space
        number = next(self._n)
        return Trial(space.decode(proposal.point), number, asked=(worker, proposal.origin))

    def ask_seconds(self) -> float:
        """Return a constant."""
        return ASK_SECONDS

    def goes_on(self, trial: Trial, step: int, cost: float) -> bool:
        """Decide by the rungs."""
        assert self._halving is not None
        return self._halving.goes_on(trial, step, cost)

    def tell(self, trial: Trial, cost: float | None, started: float, finished: float) -> None:
        """Append the evaluation."""
        if self._halving is not None:
            self._halving.end(trial, _state(cost))
        self._append(trial, _state(cost), _value(cost), (started, finished))

    def stop(self, trial: Trial, started: float, finished: float) -> None:
        """Append the pruned evaluation."""
        last = trial.reports[max(trial.reports)]
        self._append(trial, TrialState.PRUNED, last, (started, finished))


class Managed(_Knowing):
    """A manager that proposes points for all workers, by qUCB over uniform candidates.

    It fits one model for all workers that are idle when it begins, and those that become idle
    meanwhile are the next batch. A worker pays for the fit, also if it had to wait for it. To make
    this affordable, the model is fitted anew only when the evaluations have grown by a factor, and
    each batch is charged with the CPU time of the latest fit.

    Parameters
    ----------
    space, seed
        The search space, and the seed.
    fit
        Fits the model; None for random points, which cost nothing.
    """

    n_writes = 0
    prunes = False

    #: Candidates of each batch, of which the workers get different ones.
    N_CANDIDATES = 10_000

    #: Growth of the evaluations after which the model is fitted anew.
    GROWTH = 1.05

    def __init__(self, space: Space, seed: int, fit: Fit | None = None) -> None:
        super().__init__(space)
        self._rng = np.random.default_rng([seed, 11])
        self._fit = fit
        self._model: Surrogate | None = None
        self._n_fitted = 0
        self._fit_seconds = 0.0
        self._begins = -np.inf
        self._ends = 0.0
        self._ask_seconds = 0.0
        self._points = self._mean = self._std = np.empty(0)

    def ask(self, now: float, worker: int) -> Trial:
        """Return a trial of the batch that begins next."""
        space = self._history.space
        if now > self._begins:
            self._begins = max(now, self._ends)
            self._ends = self._begins + self._begin_batch()
        self._ask_seconds = self._ends - now
        chosen = int(np.argmin(self._mean - self._rng.exponential(KAPPA) * self._std))
        self._mean[chosen] = np.inf
        point = space.from_unit(self._points[chosen : chosen + 1])[0]
        return Trial(space.decode(point), next(self._n), asked=(0, NO_ORIGIN))

    def _begin_batch(self) -> float:
        """Draw candidates, and predict their costs; return the seconds that it takes."""
        n, d = len(self._history), len(self._history.space)
        self._points = self._rng.random((self.N_CANDIDATES, d))
        self._mean, self._std = np.zeros((2, self.N_CANDIDATES))
        if self._fit is None or not n:
            return 0.0
        began = time.thread_time()
        if self._model is None or n >= self.GROWTH * self._n_fitted:
            X, y = training_data(self._history)
            self._model, self._n_fitted = self._fit(X, y, self._rng), n
            self._fit_seconds = time.thread_time() - began
            began = time.thread_time()
        self._mean, self._std = self._model.predict(self._points)
        return self._fit_seconds + time.thread_time() - began

    def ask_seconds(self) -> float:
        """Return how long the latest ask has waited for the manager."""
        return self._ask_seconds

    def goes_on(self, trial: Trial, step: int, cost: float) -> bool:
        """Return True."""
        return True

    def tell(self, trial: Trial, cost: float | None, started: float, finished: float) -> None:
        """Append the evaluation."""
        self._append(trial, _state(cost), _value(cost), (started, finished))

    def stop(self, trial: Trial, started: float, finished: float) -> None:
        """Learn nothing: no trial is stopped."""


class Tpe:
    """Optuna's TPE with the defaults of Optuna 5, one study in a database for all workers."""

    def __init__(self, space: Space, seed: int, pruner: BasePruner | None = None) -> None:
        sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
        self._space = dict(space)
        self._study = optuna.create_study(sampler=sampler, pruner=pruner or NopPruner())
        self.prunes = pruner is not None
        self.n_writes = len(space) + 3  # its creation, its parameters, its value and its state
        self._seconds = 0.0

    def ask(self, now: float, worker: int) -> Trial:
        """Return what the sampler suggests."""
        began = time.thread_time()
        asked = self._study.ask(self._space)
        self._seconds = time.thread_time() - began
        return Trial(asked.params, asked.number, asked=asked)

    def ask_seconds(self) -> float:
        """Return the CPU time of the latest ask."""
        return self._seconds

    def goes_on(self, trial: Trial, step: int, cost: float) -> bool:
        """Report, and ask the pruner."""
        trial.asked.report(cost, step)
        return not trial.asked.should_prune()

    def tell(self, trial: Trial, cost: float | None, started: float, finished: float) -> None:
        """Finish the trial."""
        if cost is None:
            self._study.tell(trial.asked, state=TrialState.FAIL)
            return
        if self.prunes:
            trial.asked.report(cost, max(trial.reports))
        self._study.tell(trial.asked, cost)

    def stop(self, trial: Trial, started: float, finished: float) -> None:
        """Finish the trial as pruned."""
        self._study.tell(trial.asked, state=TrialState.PRUNED)


def successive_halving() -> BasePruner:
    """Return Optuna's pruner with the rungs of the others."""
    return SuccessiveHalvingPruner(min_resource=RUNGS[0], reduction_factor=REDUCTION_FACTOR)


def hyperband(n_steps: int) -> BasePruner:
    """Return Optuna's pruner with the rungs of the others, for trainings of ``n_steps``."""
    return HyperbandPruner(
        min_resource=RUNGS[0], max_resource=n_steps, reduction_factor=REDUCTION_FACTOR
    )
