"""The next point: the candidate with the lowest ``mean - kappa * std`` (qUCB), or a descent.

Ranks differ because each ask draws its own kappa (Egele et al., arXiv 2207.00479, section III-B),
its own trees and its own candidates; nothing else keeps them apart.

Notation: ``X (m, d)`` the sample, ``N`` candidates, all in the unit cube.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from adbo import candidates, descent, forest, niches, trend
from adbo.candidates import Geometry, Sample
from adbo.space import FloatArray, IntArray

#: A study starts with so many uniform points. With none, 3 of 20 studies of a 5-dimensional
#: Ackley function on 4 workers never left the first dent they met; with 20, 2; with 50, none.
INITIAL_PER_COLUMN = 10
INITIAL_MOST = 50

#: Share of the asks among the elites that descend a smooth model instead, where all columns are
#: continuous; in proportion fewer where others are to be explored too. Fewer leave curved valleys
#: unfinished; more of those in niches settle in the second best of many basins.
DESCENT_SHARE, NICHE_DESCENT_SHARE = 0.6, 0.35

#: Share of the asks among the elites that follow the trend of the whole sample instead.
TREND_SHARE = 0.15

#: Share of the other asks whose candidates differ from good rows in one column.
EXCHANGE_SHARE = 0.4

IsKnown = Callable[[FloatArray], NDArray[np.bool_]]


def propose(
    sample: Sample,
    geometry: Geometry,
    kappa: float,
    rng: np.random.Generator,
    is_known: IsKnown | None = None,
) -> FloatArray:
    """The next point to evaluate.

    Parameters
    ----------
    sample
        What is known.
    geometry
        What the columns are.
    kappa
        Weight of the standard deviation.
    rng
        Source of the trees and the candidates.
    is_known
        Tells which rows ``(N, d)`` were evaluated before; they are proposed only if there is
        nothing else to be found.

    Returns
    -------
    FloatArray
        ``(d,)``, snapped and complete: parameters that are expected to be absent have values too,
        should the objective ask for them.
    """
    X, n_elites = sample.X, sample.n_elites
    conditional = bool(np.isnan(X).any())
    complete = candidates.impute(X, n_elites, rng) if conditional else X
    d = len(geometry.levels)
    if len(X) < min(INITIAL_PER_COLUMN * d, INITIAL_MOST):
        points = candidates.generate(complete, np.arange(0), geometry, rng)
        order = np.arange(len(points))
    else:
        points, order = _ranked(sample, complete, geometry, kappa, rng)
    seen = _as_seen(points, sample, complete) if conditional else points
    if is_known is not None:
        known = is_known(seen)
        if known.all():
            points = geometry.snap(rng.random(points.shape))
            known = is_known(_as_seen(points, sample, complete) if conditional else points)
            order = np.arange(len(points))
        order = order[np.argsort(known[order], kind="stable")]
    chosen: FloatArray = geometry.snap(points[order[:1]])[0]
    return chosen


def _ranked(
    sample: Sample,
    complete: FloatArray,
    geometry: Geometry,
    kappa: float,
    rng: np.random.Generator,
) -> tuple[FloatArray, IntArray]:
    """Points ``(N, d)``, and in which order to propose them ``(N,)``."""
    ranking = niches.rank(complete, sample.cost, sample.n_elites, geometry, rng)
    points = _on_models(sample, complete, ranking, geometry, rng)
    if len(points):
        return points, np.arange(len(points))
    exchanges = len(ranking) and rng.random() < EXCHANGE_SHARE
    make = candidates.exchange if exchanges else candidates.generate
    points = make(complete, ranking, geometry, rng)
    y = forest.targets(sample.cost, sample.n_elites)
    conditional = bool(np.isnan(sample.X).any())
    seen = _as_seen(points, sample, complete) if conditional else points
    mean, std = forest.fit(sample.X, y, geometry.categories, rng).predict(seen)
    return points, np.argsort(mean - kappa * std)


def _on_models(
    sample: Sample,
    complete: FloatArray,
    ranking: IntArray,
    geometry: Geometry,
    rng: np.random.Generator,
) -> FloatArray:
    """Points ``(N, d)`` of a descent or the trend; often none."""
    failed = ~np.isfinite(sample.cost)
    in_niche = len(ranking) > sample.n_elites
    share = NICHE_DESCENT_SHARE if in_niche else DESCENT_SHARE
    # The models do not see columns in steps; the forest does.
    smooth = descent.is_smooth(geometry).mean()
    chance = rng.random()
    if failed.all() or not len(ranking):
        return np.empty((0, complete.shape[1]))
    if chance < smooth * share:
        y = forest.targets(sample.cost[ranking], len(ranking))
        points = descent.descend(complete[ranking], y, geometry, rng)
    elif not in_niche and chance < smooth * (share + TREND_SHARE):
        points = trend.descend(complete, sample.cost, geometry, rng)
    else:
        return np.empty((0, complete.shape[1]))
    if not failed.any():
        return points
    # Nor do they see where evaluations fail.
    squares = np.sum(complete**2, axis=1) - 2 * points @ complete.T
    return points[~failed[np.argmin(squares, axis=1)]]


def _as_seen(points: FloatArray, sample: Sample, complete: FloatArray) -> FloatArray:
    """Points with NaN where a parameter is expected to be absent."""
    present = forest.learn_presence(complete, ~np.isnan(sample.X), points)
    return np.where(present, points, np.nan)
