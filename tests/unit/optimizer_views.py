"""What an ask sees, made from arrays: geometries, samples, views and histories."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.trial import TrialState

from adbo.core.evaluation import Batch, Layout
from adbo.core.history import History
from adbo.core.space import SearchSpace
from adbo.optimizer.sample import Geometry, Rows, Sample
from adbo.optimizer.view import CandidateSettings, View, make_view


def continuous(d: int) -> Geometry:
    """Return the geometry of ``d`` continuous columns."""
    return Geometry(np.zeros(d, dtype=np.int64), np.full(d, np.inf), lambda units: units)


def grid(levels: list[int], categories: list[int] | None = None) -> Geometry:
    """Return the geometry of columns with so many levels each; some may be categories."""
    n = np.array(levels, dtype=float)

    def snap(units: np.ndarray) -> np.ndarray:
        return (np.clip(np.floor(units * n), 0, n - 1) + 0.5) / n

    return Geometry(np.array(categories or [0] * len(levels)), n, snap)


def geometry_of(space: SearchSpace) -> Geometry:
    """Return the geometry of a search space."""
    return Geometry(space.categories, space.levels, space.snap)


def best_first(X: np.ndarray, cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and costs in the order of the costs, failures last."""
    order = np.argsort(cost, kind="stable")
    return X[order], cost[order]


def sample_of(
    X: np.ndarray, cost: np.ndarray, n_elites: int | None = None, auxiliary: Rows | None = None
) -> Sample:
    """Return a sample; without a number of elites, all complete rows are elites."""
    X, cost = best_first(X, cost)
    if n_elites is None:
        n_elites = int((~np.isnan(cost)).sum())
    return Sample(X, cost, n_elites, lambda: auxiliary or Rows(X[:0], cost[:0]))


def view_of(
    sample: Sample,
    geometry: Geometry,
    kappa: float = 1.0,
    is_known: Callable[[np.ndarray], Any] | None = None,
) -> View:
    """Return the view of a sample."""
    return make_view(
        sample, geometry, kappa, is_known, np.random.default_rng(0), CandidateSettings()
    )


def history_of(
    space: Mapping[str, BaseDistribution],
    values: np.ndarray,
    results: np.ndarray,
    origins: np.ndarray | int = 0,
) -> History:
    """Return a history of internal values ``(n, d)`` and results ``(n,)``, NaN for failures."""
    layout = Layout.of(space)
    rows = np.zeros(len(results), dtype=layout.dtype)
    rows["seq"] = np.arange(len(results))
    rows["value"], rows["internal"], rows["origin"] = results, values, origins
    failed = np.isnan(results)
    rows["state"] = np.where(failed, TrialState.FAIL.value, TrialState.COMPLETE.value)
    history = History(1, SearchSpace(space))
    history.extend([Batch(layout, rows, {})])
    return history
