"""One ask: from the history to the next point to evaluate.

An ask reads a bounded sample of the history (its best evaluations and a draw of the others), maps
it to the unit cube and proposes a point there (`strategies`). The cost of an ask therefore does
not depend on the length of the history. Every rank asks by itself; ranks propose different points
because each has its own random stream.

The method is qUCB on a random forest (Egele et al., arXiv 2207.00479, section III) with a bounded
sample, local candidates and further surrogates.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from adbo.core.history import History, sorted_unique
from adbo.core.space import FloatArray, IntArray
from adbo.optimizer.sample import Geometry, Rows, Sample
from adbo.optimizer.settings import DEFAULT_SETTINGS, OptimizerSettings, SampleSettings
from adbo.optimizer.strategies import propose_point
from adbo.optimizer.threads import one_thread


class Proposal(NamedTuple):
    """The next point to evaluate, and what proposed it."""

    point: FloatArray
    """Internal values ``(d,)`` that the distributions can hold."""
    origin: int
    """The code of strategy and region; see `adbo.core.origins`."""


def propose(
    history: History,
    kappa_mean: float,
    rng: np.random.Generator,
    settings: OptimizerSettings = DEFAULT_SETTINGS,
    part: tuple[int, int] = (0, 1),
) -> Proposal:
    """Propose the next point to evaluate.

    Parameters
    ----------
    history
        All evaluations that this rank knows; the search space may still be empty.
    kappa_mean
        Mean of the exponential distribution from which this ask draws kappa, the weight of the
        standard deviation.
    rng
        Random stream of this rank.
    settings
        Tunables of the method.
    part
        This rank and the number of ranks, which share out the points of a finite space.

    Returns
    -------
    Proposal
    """
    space = history.space
    if len(space) == 0:
        return Proposal(np.empty(0), 0)
    if len(history) == 0:
        return Proposal(space.from_unit(rng.random((1, len(space))))[0], 0)
    sample = _draw_sample(history, rng, settings.sample)
    is_small = space.levels.prod() <= settings.sample.n_enumerated
    all_points = space.all_units if is_small else None
    geometry = Geometry(space.categories, space.levels, space.snap, all_points)
    kappa = float(rng.exponential(kappa_mean))

    def is_known(units: FloatArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
        return history.contains(space.from_unit(units))

    check = is_known if space.has_grid else None
    with one_thread():
        point = propose_point(sample, geometry, kappa, rng, check, settings)
    return Proposal(space.from_unit(point[None, :])[0], 0)


def _draw_sample(history: History, rng: np.random.Generator, settings: SampleSettings) -> Sample:
    elites = history.elites[: settings.n_elites]
    others = history.sample(settings.n_others, rng, elites, settings.n_early)
    rows = np.concatenate([elites, others])
    X, cost = history.space.to_unit(history.values(rows)), history.cost(rows)
    auxiliary = cache(lambda: _draw_auxiliary_rows(history, rows, rng, settings))
    return Sample(X, cost, len(elites), auxiliary)


def _draw_auxiliary_rows(
    history: History, rows: IntArray, rng: np.random.Generator, settings: SampleSettings
) -> Rows:
    """Return complete rows outside of the sample ``rows (m,)``; none if a column is discrete."""
    space = history.space
    others = rows[:0]
    if not space.has_grid:
        half = settings.n_auxiliary // 2
        latest = np.arange(max(0, len(history) - half), len(history))
        elites = history.elites[: settings.n_elites]
        from_all_times = history.sample(half, rng, elites, settings.n_early)
        others = sorted_unique(np.concatenate([latest, from_all_times]))
        others = others[~np.isin(others, rows)]
    X = space.to_unit(history.values(others))
    complete = ~np.isnan(X).any(axis=1)
    return Rows(X[complete], history.cost(others)[complete])
