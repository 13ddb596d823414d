"""The global quadratic finds the bottom of a bowl under its ripples, inside the cube."""

from __future__ import annotations

import numpy as np
import pytest
from optimizer_views import best_first, continuous, geometry_of
from optuna.distributions import CategoricalDistribution, FloatDistribution

from adbo.core.space import SearchSpace
from adbo.optimizer import candidates, regions
from adbo.optimizer.strategies import bowl
from adbo.optimizer.strategies.bowl import Bowl

DEFAULT = Bowl()


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def ripples(X, target):
    x = 30 * (X - target)
    return np.sum(x**2 + 10 - 10 * np.cos(2 * np.pi * x), axis=1)


def sample(rng, target, worked_out):
    """Rows all over the cube, and many of one basin that was searched; best first."""
    X = np.concatenate([rng.random((256, 3)), worked_out + 1e-3 * rng.standard_normal((256, 3))])
    return best_first(X, ripples(X, target))


def fit(X, cost, geometry, rng, settings=DEFAULT):
    distance = regions.nearest_better_distances(X, cost)
    return bowl.fit_global_quadratic(X, cost, distance, geometry, rng, settings)


def minimize(X, cost, geometry, rng):
    model = fit(X, cost, geometry, rng)
    return bowl.minimize_global_quadratic(X, model, geometry, rng, DEFAULT)


def test_bottom_is_found_beside_a_basin_that_was_searched(rng):
    target = np.array([0.4, 0.6, 0.5])
    worked_out = target + np.array([3, -4, 3]) / 30
    X, cost = sample(rng, target, worked_out)
    firsts = np.array([minimize(X, cost, continuous(3), rng)[0] for _ in range(40)])
    distance = np.linalg.norm(firsts - target, axis=1)
    assert np.median(distance) < 0.35 * np.linalg.norm(worked_out - target)


def test_failures_and_other_columns(rng):
    space = SearchSpace(
        {"c": CategoricalDistribution(["a", "b", "c"]), "x": FloatDistribution(0, 1)}
    )
    X = space.snap(rng.random((60, 2)))
    cost = (X[:, 1] - 0.3) ** 2
    cost[X[:, 1] > 0.6] = np.nan
    X, cost = best_first(X, cost)
    points = minimize(X, cost, geometry_of(space), rng)
    assert (points[:, 0] == X[0, 0]).all()
    np.testing.assert_allclose(np.median(points[:, 1]), 0.3, atol=0.01)
    assert len(np.unique(points[:, 1])) > 1


@pytest.mark.parametrize("m", [1, 2, 5, 300])
@pytest.mark.parametrize("spread", [0.0, 1e-16, 1e-9, 0.3])
@pytest.mark.parametrize("size", [0.0, 1e-300, 1.0, 1e308])
def test_inside_whatever_the_rows(rng, m, spread, size):
    X = candidates.reflect(0.5 + spread * rng.standard_normal((m, 4)))
    points = minimize(X, size * np.sort(rng.random(m)), continuous(4), rng)
    assert ((points >= 0) & (points <= 1)).all()


def test_draws_differ_where_ripples_hide_the_bowl(rng):
    target = np.array([0.4, 0.6, 0.5])
    X, cost = sample(rng, target, target + np.array([3, -4, 3]) / 30)
    smooth = np.sum((X - target) ** 2, axis=1)

    def spread(y):
        rows, costs = best_first(X, y)
        found = [fit(rows, costs, continuous(3), rng).minimizer() for _ in range(40)]
        return np.std(found, axis=0).max()

    assert spread(cost) > 10 * spread(smooth)


def test_a_bowl_that_is_lowest_outside_leads_to_the_face(rng):
    X = rng.random((200, 3))
    X, cost = best_first(X, np.sum((X - [1.4, 0.5, 0.5]) ** 2, axis=1))
    firsts = [minimize(X, cost, continuous(3), rng)[0] for _ in range(40)]
    np.testing.assert_allclose(np.median(firsts, axis=0), [1.0, 0.5, 0.5], atol=0.05)


def test_width_of_draws(rng):
    target = np.array([0.4, 0.6, 0.5])
    X, cost = sample(rng, target, target + np.array([3, -4, 3]) / 30)
    spreads = []
    for exponent in (0.0, -2.0):
        settings = Bowl(radius_exponents=(0.0, 0.0), width_exponents=(exponent, exponent))
        found = [fit(X, cost, continuous(3), rng, settings).minimizer() for _ in range(40)]
        spreads.append(np.std(found, axis=0).max())
    assert spreads[0] > 20 * spreads[1] > 0
