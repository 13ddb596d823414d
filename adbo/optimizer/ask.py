"""Ask and tell: the next point to evaluate, from what is known.

`propose` is one ask of a rank of the decentralized optimizer: qUCB on a random forest that is
rebuilt on a bounded sample of the history (Egele et al., arXiv 2207.00479, section III, with a
bounded sample and local candidates). `Optimizer` wraps it for use on its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.trial import TrialState

from adbo.core.evaluation import Batch, Layout
from adbo.core.history import History, sorted_unique
from adbo.core.settings import DIRECTIONS, KAPPA, check_kappa
from adbo.core.space import FloatArray, IntArray, SearchSpace
from adbo.optimizer.candidates import Geometry, Rows, Sample
from adbo.optimizer.strategies import propose as propose_unit

#: Rows drawn from the history beside its elites.
UNIFORM_ROWS = 256

#: Rows beside these, of which only those around a place are looked at, half of them the latest
#: ones, half from all times. Of a basin that is being searched, the sample itself has a few.
#: Without, of 15 studies of rotated Rastrigin functions, 1,500 or 2,000 evaluations on 64 workers,
#: 6 were worse and none better.
RESERVE_ROWS = 2048

#: A space of so many points is searched for one that was not evaluated yet, when those at hand
#: all were.
FEW_POINTS = 2**16


def propose(history: History, kappa_mean: float, rng: np.random.Generator) -> FloatArray:
    """The next point to evaluate, as internal values ``(d,)``, NaN where absent.

    Parameters
    ----------
    history
        What is known; its space may still be empty.
    kappa_mean
        Mean of the exponential distribution from which this ask draws its kappa.
    rng
        The rank's own random stream.

    Returns
    -------
    FloatArray
        ``(d,)``, a point that the distributions can hold.
    """
    space = history.space
    if len(space) == 0:
        return np.empty(0)
    if len(history) == 0:
        return space.from_unit(rng.random((1, len(space))))[0]
    elites = history.elites
    rows = np.concatenate([elites, history.sample(UNIFORM_ROWS, rng)])
    X, cost = space.to_unit(history.values(rows)), history.cost(rows)
    sample = Sample(X, cost, len(elites), cache(lambda: _reserve(history, rows, rng)))
    all_points = space.all_units if space.levels.prod() <= FEW_POINTS else None
    geometry = Geometry(space.categories, space.levels, space.snap, all_points)
    kappa = float(rng.exponential(kappa_mean))

    def is_known(units: FloatArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
        return history.contains(space.from_unit(units))

    point = propose_unit(sample, geometry, kappa, rng, is_known if space.has_grid else None)
    return space.from_unit(point[None, :])[0]


def _reserve(history: History, rows: IntArray, rng: np.random.Generator) -> Rows:
    """Complete rows beside those of the sample ``(m,)``, if all columns are continuous."""
    space = history.space
    others = rows[:0]
    if not space.has_grid:
        late = np.arange(max(0, len(history) - RESERVE_ROWS // 2), len(history))
        others = sorted_unique(np.concatenate([late, history.sample(RESERVE_ROWS // 2, rng)]))
        others = others[~np.isin(others, rows)]
    X = space.to_unit(history.values(others))
    complete = ~np.isnan(X).any(axis=1)
    return Rows(X[complete], history.cost(others)[complete])


class Optimizer:
    """Bayesian optimization by asking and telling, without MPI, database or clock.

    Parameters
    ----------
    space
        Parameter names to Optuna distributions.
    direction
        ``"minimize"`` or ``"maximize"``.
    seed
        Seed of the random stream; None for a fresh one. A seed and a sequence of tells determine
        every ask.
    kappa
        Mean of the exponential distribution of kappa, the weight of the uncertainty.

    Raises
    ------
    ValueError
        If the direction is neither, or kappa is negative or infinite.

    Examples
    --------
    >>> import adbo, optuna
    >>> optimizer = adbo.Optimizer({"x": optuna.distributions.FloatDistribution(-5, 5)}, seed=0)
    >>> for _ in range(30):
    ...     params = optimizer.ask()
    ...     optimizer.tell(params, (params["x"] - 1) ** 2)
    >>> abs(optimizer.best_params["x"] - 1) < 0.5
    True
    """

    def __init__(
        self,
        space: Mapping[str, BaseDistribution],
        *,
        direction: str = "minimize",
        seed: int | None = None,
        kappa: float = KAPPA,
    ) -> None:
        if direction not in DIRECTIONS:
            raise ValueError(f"direction is {direction!r}: use 'minimize' or 'maximize'")
        check_kappa(kappa)
        self.history = History(DIRECTIONS[direction], SearchSpace(space))
        self._layout = Layout(dict(space))
        self._kappa = kappa
        self._rng = np.random.default_rng(seed)

    def ask(self) -> dict[str, Any]:
        """The parameters to evaluate next."""
        return self.history.space.decode(propose(self.history, self._kappa, self._rng))

    def tell(self, params: Mapping[str, Any], value: float | None) -> None:
        """Take in one result.

        Parameters
        ----------
        params
            The parameters that were evaluated; leave out those of branches not taken.
        value
            The result; None or NaN if the evaluation failed.

        Raises
        ------
        ValueError
            If a parameter is unknown or its value is outside its distribution.
        """
        self.tell_many([params], [value])

    def tell_many(
        self, params: Sequence[Mapping[str, Any]], values: Sequence[float | None]
    ) -> None:
        """Take in results, one of ``values`` for each of ``params``; see `tell`."""
        rows = [self.history.space.encode(p) for p in params]
        numbers = [math.nan if value is None else float(value) for value in values]
        if len(rows) != len(numbers):
            raise ValueError(f"{len(rows)} params but {len(numbers)} values")
        if rows:
            self.tell_array(np.array(rows), np.array(numbers))

    def tell_array(self, internal: FloatArray, values: FloatArray) -> None:
        """Take in results as arrays, which is fast: values are not compared with the ranges.

        Parameters
        ----------
        internal
            Optuna's internal values ``(n, d)``, columns in the order of the space, NaN = absent.
        values
            Results ``(n,)``, NaN for failures.

        Raises
        ------
        ValueError
            If the shapes are others.
        """
        expected = (len(values), len(self.history.space))
        if np.shape(internal) != expected:
            raise ValueError(f"internal has the shape {np.shape(internal)}, not {expected}")
        rows = np.zeros(len(values), dtype=self._layout.dtype)
        rows["seq"] = np.arange(len(self.history), len(self.history) + len(values))
        rows["value"] = values
        rows["state"] = np.where(
            np.isnan(values), TrialState.FAIL.value, TrialState.COMPLETE.value
        )
        rows["internal"] = internal
        self.history.extend([Batch(self._layout, rows, {})])

    @property
    def best_params(self) -> dict[str, Any]:
        """The parameters of the incumbent.

        Raises
        ------
        ValueError
            If nothing was completed yet.
        """
        return self.history.space.decode(self.history.values(np.array([self._best()]))[0])

    @property
    def best_value(self) -> float:
        """The value of the incumbent; raises ValueError if nothing was completed yet."""
        return float(self.history.column("value")[self._best()])

    def _best(self) -> int:
        row = self.history.best
        if row is None:
            raise ValueError("no evaluation is complete yet")
        return row
