"""The published optimizers adbo is compared with (Egele et al., arXiv 2207.00479).

A random forest of 100 trees (or a Gaussian process) on all data, and uniform candidates; the
spread of a forest is that of its trees' means. To make comparisons affordable, simulated ranks
share a forest on what all of them know until there are 2 % more evaluations; each has its own
kappa and candidates. So what an ask costs a rank of its own is not measured, but charged as
published.

Notation: ``X (n, d)`` all data in the unit cube, ``y (n,)`` costs, ``C (N, d)`` candidates.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Protocol

import numpy as np
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from adbo.core.history import History
from adbo.core.space import FloatArray
from adbo.simulation.virtual_ranks import Propose, n_published

#: Uniform candidates of an ask, and trees of a forest.
CANDIDATES = 10_000
TREES = 100

#: Seconds of a fit on the published machine: fixed, and for each evaluation known.
FIT_SECONDS = (5.0, 0.0004)

#: A shared forest is fitted anew when there are so many times more evaluations.
REFIT_GROWTH = 1.02


class Surrogate(Protocol):
    """A model of the costs."""

    def predict(self, C: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation, ``(N,)`` each."""


Fit = Callable[[FloatArray, FloatArray, np.random.Generator], Surrogate]


class _Forest:
    def __init__(self, model: RandomForestRegressor) -> None:
        self._model = model

    def predict(self, C: FloatArray) -> tuple[FloatArray, FloatArray]:
        rows = C.astype(np.float32)
        values = np.array([tree.tree_.predict(rows)[:, 0] for tree in self._model.estimators_])
        return values.mean(axis=0), values.std(axis=0)


class _Process:
    def __init__(self, model: GaussianProcessRegressor) -> None:
        self._model = model

    def predict(self, C: FloatArray) -> tuple[FloatArray, FloatArray]:
        mean, std = self._model.predict(C, return_std=True)
        return mean, std


def fit_random_forest(X: FloatArray, y: FloatArray, rng: np.random.Generator) -> Surrogate:
    """A random forest."""
    model = RandomForestRegressor(TREES, random_state=int(rng.integers(2**31)))
    return _Forest(model.fit(X, y))


def fit_gaussian_process(X: FloatArray, y: FloatArray, rng: np.random.Generator) -> Surrogate:
    """A Gaussian process, its kernel fitted by maximum likelihood."""
    kernel = ConstantKernel() * Matern(0.5, nu=2.5) + WhiteKernel(1e-3)
    model = GaussianProcessRegressor(
        kernel, normalize_y=True, random_state=int(rng.integers(2**31))
    )
    with warnings.catch_warnings():
        # Few or duplicate points leave the likelihood without a maximum; the method says go on.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return _Process(model.fit(X, y))


class SharedForest:
    """The forest on the data of a growing history, shared by the ranks of a process."""

    def __init__(self) -> None:
        self._fitted = (0, 0)
        self._surrogate: Surrogate | None = None

    def of(self, history: History) -> Surrogate | None:
        """The current one; None while there is nothing that all ranks know."""
        d, n = len(history.space), n_published(history)
        if not d or not n:
            return None
        if self._surrogate is None or self._fitted[0] != d or n >= self._fitted[1] * REFIT_GROWTH:
            self._fitted = (d, n)
            self._surrogate = fit_random_forest(*data(history, n), np.random.default_rng(n))
        return self._surrogate


def fit_seconds(n: float) -> float:
    """Seconds of an ask on the published machine, with ``n`` evaluations known."""
    fixed, each = FIT_SECONDS
    return fixed + each * n


def data(history: History, n: int | None = None) -> tuple[FloatArray, FloatArray]:
    """The first ``n`` rows in the unit cube, and their costs.

    Parameters that are absent are in the middle, failures cost as much as the worst.
    """
    X = np.nan_to_num(history.space.to_unit(history.values(slice(n))), nan=0.5)
    cost = history.cost(slice(n))
    finite = np.isfinite(cost)
    worst = float(cost[finite].max()) if finite.any() else 0.0
    return X, np.where(finite, cost, worst)


def adbo_2022(kappa_mean: float, rng: np.random.Generator, forest: SharedForest) -> Propose:
    """The published ADBO: one kappa for life, a random point, then the lowest bound."""
    kappa = float(rng.exponential(kappa_mean))
    n_asks = 0

    def propose(history: History) -> FloatArray:
        nonlocal n_asks
        n_asks += 1
        C = _candidates(history, rng)
        surrogate = forest.of(history)
        if n_asks == 1 or surrogate is None:
            return _internal(history, C[0])
        mean, std = surrogate.predict(C)
        return _internal(history, C[np.argmin(mean - kappa * std)])

    return propose


def sdbo(kappa: float, rng: np.random.Generator, forest: SharedForest) -> Propose:
    """The published SDBO with bUCB: candidates drawn by their acquisition.

    ``p ~ exp(beta * acquisition)`` with ``beta = ln(t) / (max - min)``, t evaluations known.
    """

    def propose(history: History) -> FloatArray:
        C = _candidates(history, rng)
        surrogate = forest.of(history)
        if surrogate is None:
            return _internal(history, C[0])
        mean, std = surrogate.predict(C)
        acquisition = kappa * std - mean
        spread = float(np.ptp(acquisition))
        beta = np.log(len(history)) / spread if spread > 0 else 0.0
        weight = np.exp(beta * (acquisition - acquisition.max()))
        return _internal(history, C[rng.choice(len(C), p=weight / weight.sum())])

    return propose


def qucb_batch(
    history: History, size: int, rng: np.random.Generator, kappa_mean: float
) -> FloatArray:
    """A manager's batch: one forest, a kappa for each point."""
    C = _candidates(history, rng, size)
    if _is_empty(history):
        return history.space.from_unit(C[:size])
    mean, std = fit_random_forest(*data(history), rng).predict(C)
    kappas = rng.exponential(kappa_mean, size)
    chosen: list[int] = []
    for kappa in kappas:
        score = mean - kappa * std
        score[chosen] = np.inf
        chosen.append(int(np.argmin(score)))
    return history.space.from_unit(C[chosen])


def liar_batch(
    history: History, size: int, rng: np.random.Generator, kappa: float, fit: Fit
) -> FloatArray:
    """A manager's batch by constant liar: a fit for each point, which is taken for a result.

    The lie is the lowest cost so far (Ginsbourger, Le Riche and Carraro, 2010).
    """
    if _is_empty(history):
        return history.space.from_unit(_candidates(history, rng, size)[:size])
    X, y = data(history)
    lie = float(y.min())
    for _ in range(size):
        C = _candidates(history, rng)
        mean, std = fit(X, y, rng).predict(C)
        X = np.vstack([X, C[np.argmin(mean - kappa * std)]])
        y = np.append(y, lie)
    return history.space.from_unit(X[-size:])


def _is_empty(history: History) -> bool:
    """Whether there is nothing to learn from: maybe evaluations that failed before all else."""
    return not len(history) or not len(history.space)


def _candidates(history: History, rng: np.random.Generator, least: int = 0) -> FloatArray:
    return rng.random((max(CANDIDATES, least), len(history.space)))


def _internal(history: History, unit: FloatArray) -> FloatArray:
    return np.asarray(history.space.from_unit(unit[None, :])[0])
