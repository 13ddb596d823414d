"""The next point: the candidate with the lowest ``mean - kappa * std`` (qUCB), or a descent.

Ranks differ because each ask draws its own kappa (Egele et al., arXiv 2207.00479, section III-B),
its own trees and its own candidates; nothing else keeps them apart.

Notation: ``X (m, d)`` the sample, ``N`` candidates, all in the unit cube.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from adbo.core.space import FloatArray, IntArray
from adbo.optimizer import branches, candidates, global_quadratic, local_search, regions
from adbo.optimizer.candidates import Geometry, Sample
from adbo.optimizer.distances import squared_distances
from adbo.optimizer.models import additive, forest
from adbo.optimizer.regions import Niche

#: A study starts with so many uniform points. With 50, six of eight test functions were worse
#: after 200 evaluations on 8 workers, and one was better; with 20, none of 20 studies of a
#: 5-dimensional Ackley function on 4 workers was caught in a dent after 600.
INITIAL_PER_COLUMN = 10
INITIAL_MOST = 20

#: Share of the asks among the elites that descend a smooth model instead, where all columns are
#: continuous; in proportion fewer where others are to be explored too. With 0.35 in niches, a
#: 5-dimensional Rosenbrock function was at 0.02 after 2,000 evaluations on 64 workers, not at
#: 0.004 (10 studies).
DESCENT_SHARE, NICHE_DESCENT_SHARE = 0.7, 0.6

#: Share of the asks among the elites, and of those in niches, that follow the trend of the whole
#: sample instead. Without, a rotated 5-dimensional Rastrigin function was at 2.0 after 2,000
#: evaluations on 64 workers, not at the optimum (medians of 5 studies).
TREND_SHARE, NICHE_TREND_SHARE = 0.15, 0.07

#: Share of the asks, of any kind, that follow an additive model of the whole sample, or of their
#: branch, if there is one that predicts it. With 0.1, a 5-dimensional Schwefel function was at 43
#: after 200 evaluations on 8 workers, with 0.15 at 7, with 0.2 and 0.3 at 1.6 and 1.5, without at
#: 460 (16 studies).
ADDITIVE_SHARE = 0.2

#: A niche of fewer rows has no model of its own: points are drawn around its head; or, where a
#: polished basin is left, are where a spline of the rows around is lowest in it. It has so many at
#: most, the nearest ones.
LEAST_ROWS, MOST_ROWS = 8, 320

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
    view = _view(sample, is_known, rng)
    d = len(geometry.levels)
    if len(sample.X) < min(INITIAL_PER_COLUMN * d, INITIAL_MOST):
        points = candidates.generate(view.complete, np.arange(0), geometry, rng)
        order = np.arange(len(points))
    else:
        points, order = _ranked(view, geometry, kappa, rng)
    known = view.is_known(points)
    if known.all():
        points = _anywhere(geometry, rng)
        known = view.is_known(points)
        order = np.arange(len(points))
    order = order[np.argsort(known[order], kind="stable")]
    chosen: FloatArray = geometry.snap(points[order[:1]])[0]
    return chosen


@dataclass(frozen=True)
class _View:
    """The sample with all that an ask makes of it once.

    Parameters
    ----------
    sample
        What is known.
    complete
        Its rows ``(m, d)``, with values for absent parameters.
    as_seen
        Gives points ``(N, d)`` NaN where a parameter is expected to be absent.
    is_known
        Tells which points ``(N, d)`` were evaluated before.
    """

    sample: Sample
    complete: FloatArray
    as_seen: Callable[[FloatArray], FloatArray]
    is_known: IsKnown


def _view(sample: Sample, is_known: IsKnown | None, rng: np.random.Generator) -> _View:
    present = ~np.isnan(sample.X)
    if present.all():
        return _View(sample, sample.X, lambda points: points, is_known or _none)
    complete = candidates.impute(sample.X, sample.n_elites, rng)
    learn = cache(lambda: forest.learn_presence(complete, present))

    def as_seen(points: FloatArray) -> FloatArray:
        return np.where(learn()(points), points, np.nan)

    if is_known is None:
        return _View(sample, complete, as_seen, _none)
    return _View(sample, complete, as_seen, lambda points: is_known(as_seen(points)))


def _none(points: FloatArray) -> NDArray[np.bool_]:
    """No point is known: of a continuous space, all differ."""
    return np.zeros(len(points), dtype=bool)


def _anywhere(geometry: Geometry, rng: np.random.Generator) -> FloatArray:
    """All points of a space that has only a few, else some; in a random order."""
    if geometry.all_points is not None:
        return rng.permutation(geometry.all_points())
    return geometry.snap(rng.random((candidates.CANDIDATES, len(geometry.levels))))


def _ranked(
    view: _View, geometry: Geometry, kappa: float, rng: np.random.Generator
) -> tuple[FloatArray, IntArray]:
    """Points ``(N, d)``, and in which order to propose them ``(N,)``."""
    niche = _chosen(view, geometry, rng)
    rows, n_best = np.arange(len(view.sample.X)), view.sample.n_elites
    if not (niche.is_elites or niche.is_branch) and local_search.smooth_share(geometry) == 1:
        near_view, near = _inside(view, niche)
        if niche.is_restart and len(near.rows) < LEAST_ROWS:
            return _downhill(view, niche, geometry, rng)
        view, niche = near_view, near
        if len(niche.rows) < LEAST_ROWS:
            head = view.complete[niche.rows[0]]
            points = candidates.around(head, niche.radius, geometry, rng)
            return points, np.arange(len(points))
        if np.isfinite(niche.radius):
            rows, n_best = _around(rows, n_best, niche)
    points = _on_models(view, niche, geometry, rng)
    if len(points) and not view.is_known(points).all():
        return points, np.arange(len(points))
    sample, ranking = view.sample, niche.rows
    points = candidates.generate(view.complete, ranking, geometry, rng)
    seen = view.as_seen(points)
    if niche.is_branch:
        here = branches.is_here(seen, sample.X[ranking[0]])
        if here.any():
            points, seen = points[here], seen[here]
    y = forest.targets(sample.cost[rows], n_best)
    mean, std = forest.fit(sample.X[rows], y, geometry.categories, rng).predict(seen)
    return points, np.argsort(mean - kappa * std)


def _downhill(
    view: _View, niche: Niche, geometry: Geometry, rng: np.random.Generator
) -> tuple[FloatArray, IntArray]:
    """Points as `_ranked` gives them, in the niche, by what rows around it tell as well."""
    view, around = _inside(view, replace(niche, radius=np.inf))
    y = forest.targets(view.sample.cost[around.rows], len(around.rows))
    points = local_search.descend(view.complete[around.rows], y, geometry, rng, niche.radius)
    return points, np.arange(len(points))


def _around(rows: IntArray, n_elites: int, niche: Niche) -> tuple[IntArray, int]:
    """Rows for a forest that shall tell points of a niche apart ``(k,)``, and how many are near.

    Those of the niche instead of the elites, of which most are somewhere else.
    """
    near = niche.rows[:n_elites]
    others = rows[n_elites:]
    return np.concatenate([near, others[~np.isin(others, near)]]), len(near)


def _chosen(view: _View, geometry: Geometry, rng: np.random.Generator) -> Niche:
    """The rows that this ask works with."""
    sample = view.sample
    if np.isnan(sample.X).any():
        if rng.random() < branches.BRANCH_SHARE:
            branch = branches.choose(sample.X, sample.cost, rng)
            if branch is not None:
                return branch
        # What is absent keeps no rows apart.
        sample = replace(sample, X=np.nan_to_num(sample.X, nan=0.5))
    return regions.choose(sample, geometry, rng)


def _inside(view: _View, niche: Niche) -> tuple[_View, Niche]:
    """The niche with those of its rows that belong to its basin, and a view of them all."""
    sample, n = view.sample, len(view.complete)
    reserve = sample.reserve()
    everything = np.concatenate([view.complete, reserve.X])
    distance = np.sum((everything[niche.rows] - everything[niche.rows[0]]) ** 2, axis=1)
    rows = niche.rows[distance <= niche.radius**2][:MOST_ROWS]
    is_more = rows >= n
    more = rows[is_more] - n
    view = replace(
        view,
        sample=replace(
            sample,
            X=np.concatenate([sample.X, reserve.X[more]]),
            cost=np.concatenate([sample.cost, reserve.cost[more]]),
        ),
        complete=np.concatenate([view.complete, reserve.X[more]]),
    )
    rows[is_more] = n + np.arange(len(more))
    return view, replace(niche, rows=rows)


def _on_models(
    view: _View, niche: Niche, geometry: Geometry, rng: np.random.Generator
) -> FloatArray:
    """Points ``(N, d)`` where a model other than the forest is lowest; often none."""
    complete, cost = view.complete, view.sample.cost
    failed = ~np.isfinite(cost)
    if failed.all() or not len(niche.rows):
        return complete[:0]
    everywhere = np.arange(len(complete))
    if niche.is_branch:
        everywhere = niche.rows
        absent = np.isnan(view.sample.X[niche.rows[0]])
        geometry = replace(geometry, levels=np.where(absent, 1.0, geometry.levels))
    points = complete[:0]
    if rng.random() < ADDITIVE_SHARE:
        points = additive.descend(complete[everywhere], cost[everywhere], geometry, rng)
    if not len(points):
        points = _descended(view, niche, geometry, rng)
    if not failed.any():
        return points
    # The models do not see where evaluations fail.
    return points[~failed[np.argmin(squared_distances(points, complete), axis=1)]]


def _descended(
    view: _View, niche: Niche, geometry: Geometry, rng: np.random.Generator
) -> FloatArray:
    """Points ``(N, d)`` of a descent or the trend; often none."""
    complete, cost = view.complete, view.sample.cost
    share = DESCENT_SHARE if niche.is_elites else NICHE_DESCENT_SHARE
    trend_share = TREND_SHARE if niche.is_elites else NICHE_TREND_SHARE
    if niche.is_branch:
        trend_share = 0.0  # it would lead to the best branch
    # These models do not see columns in steps; the forest does.
    smooth = local_search.smooth_share(geometry)
    chance = rng.random()
    if chance < smooth * share:
        y = forest.targets(cost[niche.rows], len(niche.rows))
        return local_search.descend(complete[niche.rows], y, geometry, rng)
    if chance < smooth * (share + trend_share):
        place = candidates.places(complete, geometry.categories)
        isolation = regions.isolations(place, cost)
        model = global_quadratic.fit(complete, cost, isolation, geometry, rng)
        return global_quadratic.descend(complete, model, geometry, rng)
    return complete[:0]
