"""Surrogate minimization finds the minimum of a smooth model inside the cube."""

from __future__ import annotations

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from adbo.core.space import SearchSpace
from adbo.optimizer import candidates
from adbo.optimizer.local_search import minimize_locally
from adbo.optimizer.sample import Geometry
from adbo.optimizer.settings import LocalSearchSettings

DEFAULT = LocalSearchSettings()
QUADRATIC = LocalSearchSettings(rbf_probability=0.0)
RBF = LocalSearchSettings(rbf_probability=1.0)


def continuous(d):
    return Geometry(np.zeros(d, dtype=np.int64), np.full(d, np.inf), lambda units: units)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_quadratic_finds_the_minimum_of_a_tilted_bowl(rng):
    X = 0.4 + 0.05 * rng.standard_normal((30, 3))
    X[:, 1] += 3 * (X[:, 0] - 0.4)
    y = np.sum((X - 0.41) ** 2, axis=1)
    ranking = np.argsort(y)
    points = [
        minimize_locally(X[ranking], y[ranking], continuous(3), rng, QUADRATIC)[0]
        for _ in range(40)
    ]
    distance = np.linalg.norm(np.array(points) - 0.41, axis=1)
    assert np.median(distance) < 0.5 * np.sqrt(y.min())


def test_rbf_model_follows_a_curved_valley(rng):
    x = rng.uniform(0.1, 0.5, 120)
    X = np.stack([x, x**2 + 0.01 * rng.standard_normal(120)], axis=1)
    y = (X[:, 0] - 0.6) ** 2 + 100 * (X[:, 1] - X[:, 0] ** 2) ** 2
    ranking = np.argsort(y)
    points = np.array(
        [minimize_locally(X[ranking], y[ranking], continuous(2), rng, RBF)[0] for _ in range(40)]
    )
    assert np.quantile(points[:, 0], 0.7) > 0.52  # where nobody has been
    assert np.median(np.abs(points[:, 1] - points[:, 0] ** 2)) < 0.01


def test_other_columns_are_those_of_the_best_row(rng):
    space = SearchSpace(
        {
            "c": CategoricalDistribution(["a", "b", "c"]),
            "x": FloatDistribution(0, 1),
            "n": IntDistribution(0, 9),
        }
    )
    X = space.snap(rng.random((40, 3)))
    y = rng.random(40)
    y[0] = -1.0
    points = minimize_locally(
        X, y, Geometry(space.categories, space.levels, space.snap), rng, DEFAULT
    )
    assert (points[:, [0, 2]] == X[0, [0, 2]]).all()
    assert len(np.unique(points[:, 1])) > 1
    np.testing.assert_array_equal(
        Geometry(space.categories, space.levels, space.snap).smooth, [0, 1, 0]
    )


def test_constants_count_for_nothing():
    space = SearchSpace({"x": FloatDistribution(0, 1), "n": IntDistribution(3, 3)})
    assert Geometry(space.categories, space.levels, space.snap).smooth_fraction == 1


@pytest.mark.parametrize("place", [0.5, 0.02])
def test_downhill_from_the_first_row_within_a_radius(rng, place):
    X = rng.random((80, 3))
    X[0] = place
    X = X[np.argsort(np.linalg.norm(X - X[0], axis=1))]
    y = np.sum((X - 0.9) ** 2, axis=1)
    for _ in range(20):
        points = minimize_locally(X, y, continuous(3), rng, DEFAULT, 0.1)
        assert (np.linalg.norm(points - place, axis=1) < 0.1 + 1e-9).all()
        assert ((points >= 0) & (points <= 1)).all()
        best = place + 0.1 / np.sqrt(3)
        np.testing.assert_allclose(points[0], best, atol=0.04)


@pytest.mark.parametrize("m", [1, 2, 5, 300])
@pytest.mark.parametrize("spread", [0.0, 1e-16, 1e-9, 0.3])
def test_inside_whatever_the_rows(rng, m, spread):
    X = candidates.reflect(0.5 + spread * rng.standard_normal((m, 4)))
    points = minimize_locally(X, rng.random(m), continuous(4), rng, DEFAULT)
    assert ((points >= 0) & (points <= 1)).all()


@pytest.mark.parametrize("settings", [QUADRATIC, RBF], ids=["quadratic", "rbf"])
@pytest.mark.parametrize("side", [0, 1])
def test_it_comes_close_to_a_face_behind_which_the_model_is_lowest(rng, settings, side):
    lowest = np.array([side + 0.4 * (2 * side - 1), 0.4, 0.6])
    X = candidates.reflect([side, 0.4, 0.6] + 0.1 * rng.standard_normal((60, 3)))
    y = np.sum((X - lowest) ** 2, axis=1)
    order = np.argsort(y)
    found = np.array(
        [minimize_locally(X[order], y[order], continuous(3), rng, settings)[0] for _ in range(40)]
    )
    assert np.median(np.abs(found[:, 0] - side)) < 0.001
    assert len(np.unique(found[:, 0])) == 40  # ranks that ask at the same moment differ
    np.testing.assert_allclose(np.median(found[:, 1:], axis=0), [0.4, 0.6], atol=0.02)


def test_the_lowest_place_inside_is_found_where_columns_depend_on_each_other(rng):
    X = candidates.reflect([1.0, 0.5] + 0.1 * rng.standard_normal((60, 2)))

    # Lowest at (1.4, 0.9); of the face x0 = 1, at 0.5.
    y = np.array([(a - 1.4) ** 2 + 10 * (b - 0.9 - (a - 1.4)) ** 2 for a, b in X])
    order = np.argsort(y)
    found = np.array(
        [minimize_locally(X[order], y[order], continuous(2), rng, QUADRATIC)[0] for _ in range(40)]
    )
    np.testing.assert_allclose(np.median(found, axis=0), [1.0, 0.5], atol=0.002)


def test_rows_that_are_all_at_a_face_are_not_proposed_again(rng):
    X = np.concatenate([np.ones((30, 1)), rng.random((30, 1))], axis=1)
    y = np.sum((X - [1.3, 0.5]) ** 2, axis=1)
    order = np.argsort(y)
    points = [
        minimize_locally(X[order], y[order], continuous(2), rng, DEFAULT)[0, 0] for _ in range(30)
    ]
    assert max(points) < 1


def test_while_rows_are_spread_out_points_do_not_gather_in_corners(rng):
    X = rng.random((60, 4))
    y = np.sum((X - 1.5) ** 2, axis=1)
    order = np.argsort(y)

    def share_in_the_corner(settings):
        found = [
            minimize_locally(X[order], y[order], continuous(4), rng, settings)[0]
            for _ in range(60)
        ]
        return np.mean(np.min(found, axis=1) > 0.9)

    assert share_in_the_corner(DEFAULT) < 0.4
    assert share_in_the_corner(LocalSearchSettings(reflections_per_spread=0.0)) > 0.5
