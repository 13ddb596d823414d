"""The optimizers of Egele et al. (arXiv 2207.00479), which adbo is compared with.

The surrogate is a random forest (or a Gaussian process) fitted to all data; the acquisition is
minimized over uniform candidates. The standard deviation of a forest is that of its trees' means.

To make comparisons affordable, all ranks of a process share one forest, fitted to the published
rows and refitted only when their number has grown by a factor. Each rank draws its own kappa and
candidates. The cost of an ask is therefore not measured but charged as reported in the paper.

Notation: ``X (n, d)`` all data in the unit cube, ``y (n,)`` costs, ``C (N, d)`` candidates.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from adbo.core.history import History
from adbo.core.space import FloatArray
from adbo.optimizer.ask import Proposal
from adbo.simulation.shared_history import n_published
from adbo.simulation.virtual_ranks import Part, Propose

#: The largest cost of training data, so that the squares of all have a finite sum.
_LARGEST = 1e150


@dataclass(frozen=True)
class Egele2022Settings:
    """Settings of the optimizers of Egele et al. (2022).

    Parameters
    ----------
    n_candidates
        Uniform candidates over which an ask minimizes the acquisition; at least the batch size.
    n_trees
        Trees of a random forest.
    fit_seconds, fit_seconds_per_evaluation
        Virtual seconds charged for a fit: a constant, and an amount for each known evaluation.
    refit_growth
        A shared forest is refitted when the number of published rows has grown by this factor;
        1 refits it at every ask.
    """

    n_candidates: int = 10_000
    n_trees: int = 100
    fit_seconds: float = 5.0
    fit_seconds_per_evaluation: float = 0.0004
    refit_growth: float = 1.02

    def ask_seconds(self, n_known: float) -> float:
        """Return the virtual seconds of an ask with ``n_known`` evaluations."""
        return self.fit_seconds + self.fit_seconds_per_evaluation * n_known


class Surrogate(Protocol):
    """A model of the costs."""

    def predict(self, C: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the mean and the standard deviation at the candidates, ``(N,)`` each."""


#: Fits a surrogate to ``X`` and ``y`` with a random stream.
Fit = Callable[[FloatArray, FloatArray, np.random.Generator], Surrogate]


class _Forest:
    def __init__(self, model: RandomForestRegressor) -> None:
        self._model = model

    def predict(self, C: FloatArray) -> tuple[FloatArray, FloatArray]:
        rows = C.astype(np.float32)
        values = np.array([tree.tree_.predict(rows)[:, 0] for tree in self._model.estimators_])
        return values.mean(axis=0), values.std(axis=0)


class _GaussianProcess:
    def __init__(self, model: GaussianProcessRegressor) -> None:
        self._model = model

    def predict(self, C: FloatArray) -> tuple[FloatArray, FloatArray]:
        mean, std = self._model.predict(C, return_std=True)
        return mean, std


def fit_random_forest(
    X: FloatArray, y: FloatArray, rng: np.random.Generator, n_trees: int
) -> Surrogate:
    """Fit a random forest of ``n_trees`` trees."""
    model = RandomForestRegressor(n_trees, random_state=int(rng.integers(2**31)))
    return _Forest(model.fit(X, y))


def fit_gaussian_process(X: FloatArray, y: FloatArray, rng: np.random.Generator) -> Surrogate:
    """Fit a Gaussian process; its kernel is chosen by maximum likelihood."""
    kernel = ConstantKernel() * Matern(0.5, nu=2.5) + WhiteKernel(1e-3)
    model = GaussianProcessRegressor(
        kernel, normalize_y=True, random_state=int(rng.integers(2**31))
    )
    with warnings.catch_warnings():
        # The likelihood of few or duplicate points may have no maximum; the last kernel is used.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return _GaussianProcess(model.fit(X, y))


class SharedForest:
    """A forest on the published rows of a growing history, shared by the ranks of a process."""

    def __init__(self, settings: Egele2022Settings) -> None:
        self.settings = settings
        self._n_columns = 0
        self._n_fitted = 0
        self._surrogate: Surrogate | None = None

    def fitted_to(self, history: History) -> Surrogate | None:
        """Return the forest, refitted if it is outdated; None if no rows are published."""
        d, n = len(history.space), n_published(history)
        if not d or not n:
            return None
        growth = self.settings.refit_growth
        if self._surrogate is None or self._n_columns != d or n >= self._n_fitted * growth:
            self._n_columns, self._n_fitted = d, n
            X, y = training_data(history, n)
            rng = np.random.default_rng(n)
            self._surrogate = fit_random_forest(X, y, rng, self.settings.n_trees)
        return self._surrogate


def training_data(history: History, n: int | None = None) -> tuple[FloatArray, FloatArray]:
    """Return the first ``n`` rows (default: all) in the unit cube and their costs.

    Absent parameters are at 0.5; failures cost as much as the worst finite cost.
    """
    X = np.nan_to_num(history.space.to_unit(history.values(slice(n))), nan=0.5)
    cost = history.cost(slice(n))
    finite = np.isfinite(cost)
    worst = float(cost[finite].max()) if finite.any() else 0.0
    return X, np.clip(np.where(finite, cost, worst), -_LARGEST, _LARGEST)


def adbo_2022(
    kappa_mean: float, rng: np.random.Generator, part: Part, forest: SharedForest
) -> Propose:
    """Return the optimizer of a rank of ADBO (2022), which draws its kappa once.

    The first point is random; each later one has the lowest confidence bound of the candidates.
    """
    kappa = float(rng.exponential(kappa_mean))
    n_asks = 0

    def propose(history: History) -> Proposal:
        nonlocal n_asks
        n_asks += 1
        C = _candidates(history, rng, forest.settings.n_candidates)
        surrogate = forest.fitted_to(history)
        if n_asks == 1 or surrogate is None:
            return _proposal(history, C[0])
        mean, std = surrogate.predict(C)
        return _proposal(history, C[np.argmin(mean - kappa * std)])

    return propose


def sdbo(kappa: float, rng: np.random.Generator, part: Part, forest: SharedForest) -> Propose:
    """Return the optimizer of a rank of SDBO with bUCB, which draws one of the candidates.

    The probability is proportional to ``exp(beta * acquisition)`` with
    ``beta = ln(t) / (max - min)`` for ``t`` known evaluations.
    """

    def propose(history: History) -> Proposal:
        C = _candidates(history, rng, forest.settings.n_candidates)
        surrogate = forest.fitted_to(history)
        if surrogate is None:
            return _proposal(history, C[0])
        mean, std = surrogate.predict(C)
        acquisition = kappa * std - mean
        spread = float(np.ptp(acquisition))
        beta = np.log(len(history)) / spread if spread > 0 else 0.0
        weight = np.exp(beta * (acquisition - acquisition.max()))
        return _proposal(history, C[rng.choice(len(C), p=weight / weight.sum())])

    return propose


def qucb_batch(
    history: History,
    size: int,
    rng: np.random.Generator,
    *,
    kappa_mean: float,
    settings: Egele2022Settings,
) -> FloatArray:
    """Propose a batch ``(size, d)`` from one forest, with a kappa drawn for each point."""
    C = _candidates(history, rng, max(settings.n_candidates, size))
    if _is_empty(history):
        return history.space.from_unit(C[:size])
    X, y = training_data(history)
    mean, std = fit_random_forest(X, y, rng, settings.n_trees).predict(C)
    kappas = rng.exponential(kappa_mean, size)
    chosen: list[int] = []
    for kappa in kappas:
        score = mean - kappa * std
        score[chosen] = np.inf
        chosen.append(int(np.argmin(score)))
    return history.space.from_unit(C[chosen])


@dataclass(frozen=True)
class ConstantLiar:
    """Propose batches by the constant liar (Ginsbourger, Le Riche and Carraro, 2010).

    The surrogate is refitted for each point of a batch. The points proposed before are in its
    data with the lowest known cost as their result.

    Parameters
    ----------
    fit
        Fits the surrogate.
    kappa
        Weight of the standard deviation in the lower confidence bound.
    n_candidates
        Uniform candidates for each point.
    """

    fit: Fit
    kappa: float
    n_candidates: int

    def propose(self, history: History, size: int, rng: np.random.Generator) -> FloatArray:
        """Propose a batch ``(size, d)``."""
        if _is_empty(history):
            C = _candidates(history, rng, max(self.n_candidates, size))
            return history.space.from_unit(C[:size])
        X, y = training_data(history)
        lie = float(y.min())
        for _ in range(size):
            C = _candidates(history, rng, self.n_candidates)
            mean, std = self.fit(X, y, rng).predict(C)
            X = np.vstack([X, C[np.argmin(mean - self.kappa * std)]])
            y = np.append(y, lie)
        return history.space.from_unit(X[-size:])


def _is_empty(history: History) -> bool:
    """Whether no evaluation with parameters is known; some may have failed before suggesting."""
    return not len(history) or not len(history.space)


def _candidates(history: History, rng: np.random.Generator, n: int) -> FloatArray:
    return rng.random((n, len(history.space)))


def _proposal(history: History, unit: FloatArray) -> Proposal:
    """Return a point of the unit cube ``(d,)`` as a proposal of no strategy of adbo."""
    return Proposal(history.space.from_unit(unit[None, :])[0], 0)
