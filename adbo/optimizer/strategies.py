"""How a point is proposed.

The first points of a study are uniform. After these, an ask chooses a region (`regions`,
`branches`): the elites, the basin of another centre, or a branch of a conditional space. It then
chooses one of these strategies:

- the additive model: the best value of each column (`models.additive`), if it predicts the costs;
- surrogate minimization: the minimum of a smooth model of the region's rows (`local_search`);
- the global quadratic: the minimum of the bowl under all rows (`global_quadratic`);
- qUCB, if none of these applies or their points are known: the candidate near the region's rows
  with the lowest ``mean - kappa * std`` of a random forest (`candidates`, `models.forest`).

Ranks that know the same evaluations propose different points, because each ask draws its kappa
(Egele et al., arXiv 2207.00479, section III-B), its strategy, its trees and its candidates.

Notation: ``X (m, d)`` the sample, ``N`` points, all in the unit cube.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from adbo.core.space import FloatArray, IntArray
from adbo.optimizer import branches, candidates, global_quadratic, local_search, regions
from adbo.optimizer.distances import embed, squared_distances
from adbo.optimizer.models import additive, forest
from adbo.optimizer.models.targets import scale_targets
from adbo.optimizer.regions import Region, RegionKind
from adbo.optimizer.sample import Geometry, Sample
from adbo.optimizer.settings import OptimizerSettings
from adbo.optimizer.view import IsKnown, View, enter_region, make_view


def propose_point(
    sample: Sample,
    geometry: Geometry,
    kappa: float,
    rng: np.random.Generator,
    is_known: IsKnown | None,
    settings: OptimizerSettings,
) -> FloatArray:
    """Propose the next point to evaluate.

    Parameters
    ----------
    sample
        The part of the history that this ask sees.
    geometry
        Kinds of the columns.
    kappa
        Weight of the standard deviation.
    rng
        Source of all choices.
    is_known
        Tells which points ``(N, d)`` were evaluated before. They are proposed only if no other
        point is found. None for a continuous space.
    settings
        Tunables.

    Returns
    -------
    FloatArray
        ``(d,)``, snapped and complete: parameters that are predicted to be absent have values too,
        in case the objective asks for them.
    """
    view = make_view(sample, is_known, rng)
    initial = settings.strategies
    n_initial = min(initial.initial_per_column * len(geometry.levels), initial.initial_most)
    if len(sample.X) < n_initial:
        nothing = np.arange(0)
        points = candidates.generate(view.complete, nothing, geometry, rng, settings.candidates)
        order = np.arange(len(points))
    else:
        points, order = _rank_points(view, geometry, kappa, rng, settings)
    known = view.is_known(points)
    if known.all():
        points = _uniform_points(geometry, rng, settings.candidates.n_candidates)
        known = view.is_known(points)
        order = np.arange(len(points))
    order = order[np.argsort(known[order], kind="stable")]
    chosen: FloatArray = geometry.snap(points[order[:1]])[0]
    return chosen


def _uniform_points(geometry: Geometry, rng: np.random.Generator, n: int) -> FloatArray:
    """Return all points of a small space in a random order, or n points of a larger one."""
    if geometry.all_points is not None:
        return rng.permutation(geometry.all_points())
    return geometry.snap(rng.random((n, len(geometry.levels))))


def _rank_points(
    view: View,
    geometry: Geometry,
    kappa: float,
    rng: np.random.Generator,
    settings: OptimizerSettings,
) -> tuple[FloatArray, IntArray]:
    """Return points ``(N, d)``, and their numbers ``(N,)`` with the preferred one first."""
    region = _choose_region(view, geometry, rng, settings)
    rows, n_best = np.arange(len(view.sample.X)), view.sample.n_elites
    if region.is_basin and geometry.smooth_fraction == 1:
        outer_view = view
        view, inner = enter_region(view, region, settings.strategies.most_rows)
        if len(inner.rows) < settings.strategies.least_rows:
            points = _search_few_rows(outer_view, region, geometry, rng, settings)
            return points, np.arange(len(points))
        region = inner
        if np.isfinite(region.radius):
            rows, n_best = _replace_elites(rows, n_best, region)
    points = _minimize_models(view, region, geometry, rng, settings)
    if len(points) and not view.is_known(points).all():
        return points, np.arange(len(points))
    points = candidates.generate(view.complete, region.rows, geometry, rng, settings.candidates)
    seen = view.mark_absent(points)
    if region.kind is RegionKind.BRANCH:
        inside = branches.is_in_branch(seen, view.sample.X[region.rows[0]])
        if inside.any():
            points, seen = points[inside], seen[inside]
    X, y = view.sample.X[rows], scale_targets(view.sample.cost[rows], n_best)
    surrogate = forest.fit_forest(X, y, geometry.categories, rng, settings.forest)
    mean, std = surrogate.predict(seen)
    return points, np.argsort(mean - kappa * std)


def _choose_region(
    view: View, geometry: Geometry, rng: np.random.Generator, settings: OptimizerSettings
) -> Region:
    """Choose the elites, a basin, or a branch if the space is conditional."""
    sample = view.sample
    if np.isnan(sample.X).any():
        if rng.random() < settings.branches.probability:
            per_column = settings.regions.rows_per_column
            branch = branches.choose_branch(sample.X, sample.cost, rng, per_column)
            if branch is not None:
                return branch
        # A constant: a parameter that is absent in two rows adds nothing to their distance.
        sample = replace(sample, X=np.nan_to_num(sample.X, nan=0.5))
    return regions.choose_region(sample, geometry, rng, settings.regions)


def _search_few_rows(
    view: View,
    region: Region,
    geometry: Geometry,
    rng: np.random.Generator,
    settings: OptimizerSettings,
) -> FloatArray:
    """Return points ``(N, d)`` in a basin that has too few rows for a model of its own.

    A restart minimizes a model of the rows around the basin. Otherwise, points are drawn around
    the centre.
    """
    if region.kind is not RegionKind.RESTART:
        centre = view.complete[region.rows[0]]
        return candidates.around(centre, region.radius, geometry, rng, settings.candidates)
    everywhere = replace(region, radius=np.inf)
    view, around = enter_region(view, everywhere, settings.strategies.most_rows)
    X, cost = view.complete[around.rows], view.sample.cost[around.rows]
    y = scale_targets(cost, len(cost))
    return local_search.minimize_locally(X, y, geometry, rng, settings.local_search, region.radius)


def _replace_elites(rows: IntArray, n_elites: int, region: Region) -> tuple[IntArray, int]:
    """Return rows for a forest of a basin ``(k,)``, and the number of rows inside the basin.

    The elites are replaced with rows of the basin, because most elites are elsewhere.
    """
    near = region.rows[:n_elites]
    others = rows[n_elites:]
    return np.concatenate([near, others[~np.isin(others, near)]]), len(near)


def _minimize_models(
    view: View,
    region: Region,
    geometry: Geometry,
    rng: np.random.Generator,
    settings: OptimizerSettings,
) -> FloatArray:
    """Return points ``(N, d)`` where a model other than the forest is lowest; often none."""
    complete, cost = view.complete, view.sample.cost
    failed = ~np.isfinite(cost)
    if failed.all() or not len(region.rows):
        return complete[:0]
    rows = np.arange(len(complete))
    if region.kind is RegionKind.BRANCH:
        rows = region.rows
        absent = np.isnan(view.sample.X[rows[0]])
        geometry = replace(geometry, levels=np.where(absent, 1.0, geometry.levels))
    points = complete[:0]
    if rng.random() < settings.strategies.additive_probability:
        points = additive.minimize_additive(
            complete[rows], cost[rows], geometry, rng, settings.additive
        )
    if not len(points):
        points = _minimize_smooth_model(view, region, geometry, rng, settings)
    if not failed.any():
        return points
    # The models ignore failures: drop points whose nearest row failed.
    return points[~failed[np.argmin(squared_distances(points, complete), axis=1)]]


def _minimize_smooth_model(
    view: View,
    region: Region,
    geometry: Geometry,
    rng: np.random.Generator,
    settings: OptimizerSettings,
) -> FloatArray:
    """Return points ``(N, d)`` of a surrogate minimization or a global quadratic; often none."""
    complete, cost = view.complete, view.sample.cost
    local, quadratic = _probabilities(region, settings)
    # These models ignore discrete columns, which the forest does not.
    smooth = geometry.smooth_fraction
    chance = rng.random()
    if chance < smooth * local:
        X, y = complete[region.rows], scale_targets(cost[region.rows], len(region.rows))
        return local_search.minimize_locally(X, y, geometry, rng, settings.local_search)
    if chance < smooth * (local + quadratic):
        embedded = embed(complete, geometry.categories)
        distance = regions.nearest_better_distances(embedded, cost)
        model = global_quadratic.fit_global_quadratic(
            complete, cost, distance, geometry, rng, settings.global_quadratic
        )
        return global_quadratic.minimize_global_quadratic(
            complete, model, geometry, rng, settings.global_quadratic
        )
    return complete[:0]


def _probabilities(region: Region, settings: OptimizerSettings) -> tuple[float, float]:
    """Return the probabilities of a surrogate minimization and of the global quadratic."""
    strategies = settings.strategies
    if region.kind is RegionKind.ELITES:
        return strategies.minimize_probability, strategies.quadratic_probability
    if region.kind is RegionKind.BRANCH:  # the global quadratic would lead to the best branch
        return strategies.region_minimize_probability, 0.0
    return strategies.region_minimize_probability, strategies.region_quadratic_probability
