"""`Optimizer`: ask and tell on its own, without MPI, database or clock."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.trial import TrialState

from adbo.core.evaluation import Batch, Layout
from adbo.core.history import History
from adbo.core.settings import DIRECTIONS, KAPPA, check_kappa
from adbo.core.space import FloatArray, SearchSpace
from adbo.optimizer.ask import propose
from adbo.optimizer.asked import Asked
from adbo.optimizer.recommend import recommend
from adbo.optimizer.settings import DEFAULT_SETTINGS, OptimizerSettings, with_strategies

_NOTHING_COMPLETE = "no evaluation is complete yet"


class Optimizer:
    """Propose points with `ask` and learn from results with `tell`.

    Parameters
    ----------
    space
        Maps parameter names to Optuna distributions.
    direction
        ``"minimize"`` or ``"maximize"``.
    seed
        Seed of the random stream; None for an unpredictable one. The seed and the sequence of
        asks and tells determine every proposal.
    kappa
        Mean of the exponential distribution of kappa, the weight of the standard deviation.
    settings
        Tunables of the method.
    strategies
        Names of the strategies that are used; None for all.

    Raises
    ------
    ValueError
        If the direction is neither of the two, kappa is negative or not finite, or a strategy is
        unknown.

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
        settings: OptimizerSettings = DEFAULT_SETTINGS,
        strategies: Sequence[str] | None = None,
    ) -> None:
        if direction not in DIRECTIONS:
            raise ValueError(f"direction is {direction!r}: it must be 'minimize' or 'maximize'")
        check_kappa(kappa)
        self.history = History(DIRECTIONS[direction], SearchSpace(space))
        self._layout = Layout(dict(space))
        self._kappa = kappa
        self._settings = settings
        if strategies is not None:
            self._settings = replace(settings, strategies=with_strategies(strategies).strategies)
        self._rng = np.random.default_rng(seed)
        self._asked = Asked()

    def ask(self) -> dict[str, Any]:
        """Return the parameters to evaluate next."""
        proposal = propose(self.history, self._kappa, self._rng, self._settings)
        params = self.history.space.decode(proposal.point)
        self._asked.add(self.history.space.encode(params), proposal.origin)
        return params

    def tell(self, params: Mapping[str, Any], value: float | None) -> None:
        """Add one result, of a point that was asked for or of any other.

        Parameters
        ----------
        params
            The parameters that were evaluated, without those of branches that were not taken.
        value
            The value of the objective; None or NaN if the evaluation failed.

        Raises
        ------
        ValueError
            If a parameter is unknown or its value is outside its distribution.
        """
        self.tell_many([params], [value])

    def tell_many(
        self, params: Sequence[Mapping[str, Any]], values: Sequence[float | None]
    ) -> None:
        """Add results, one of ``values`` for each of ``params``; see `tell`."""
        rows = [self.history.space.encode(p) for p in params]
        numbers = [math.nan if value is None else float(value) for value in values]
        if len(rows) != len(numbers):
            raise ValueError(f"{len(rows)} params but {len(numbers)} values")
        if rows:
            self.tell_array(np.array(rows), np.array(numbers))

    def tell_array(self, internal: FloatArray, values: FloatArray) -> None:
        """Add results as arrays, without a check of values against their ranges.

        Parameters
        ----------
        internal
            Optuna's internal values ``(n, d)``, columns in the order of the space, NaN for
            absent parameters.
        values
            Values of the objective ``(n,)``, NaN for failures.

        Raises
        ------
        ValueError
            If the shapes do not match the space or each other.
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
        if self._asked:
            rows["origin"] = [self._asked.take(row) for row in rows["internal"]]
        self.history.extend([Batch(self._layout, rows, {})])

    def recommend(self) -> dict[str, Any]:
        """Return the parameters that the model believes best.

        On a noisy objective, `best_params` are those of the luckiest evaluation.

        Raises
        ------
        ValueError
            If no evaluation is complete yet.
        """
        recommendation = recommend(self.history)
        if recommendation is None:
            raise ValueError(_NOTHING_COMPLETE)
        return self._params(recommendation.row)

    @property
    def best_params(self) -> dict[str, Any]:
        """The parameters of the incumbent.

        Raises
        ------
        ValueError
            If no evaluation is complete yet.
        """
        return self._params(self._incumbent())

    @property
    def best_value(self) -> float:
        """The value of the incumbent; raises ValueError if no evaluation is complete yet."""
        return float(self.history.column("value")[self._incumbent()])

    def _incumbent(self) -> int:
        row = self.history.best
        if row is None:
            raise ValueError(_NOTHING_COMPLETE)
        return row

    def _params(self, row: int) -> dict[str, Any]:
        return self.history.space.decode(self.history.values(np.array([row]))[0])
