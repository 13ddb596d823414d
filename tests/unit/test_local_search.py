"""Surrogate minimization finds the minimum of a smooth model inside the cube."""

from __future__ import annotations

import numpy as np
import pytest
from optimizer_views import best_first, continuous, geometry_of, sample_of, view_of
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from adbo.core.history import ELITES
from adbo.core.space import SearchSpace
from adbo.optimizer import candidates, local_search
from adbo.optimizer.local_search import Feasible
from adbo.optimizer.models.quadratic import fit_quadratic
from adbo.optimizer.models.rbf import fit_rbf


def quadratic(z, y, feasible, rng):
    model = fit_quadratic(z, y, 55)
    return local_search.search(model.predict, feasible.project(z), feasible, 2.0, rng)


def rbf(z, y, feasible, rng):
    return local_search.search(fit_rbf(z, y, 0.1).predict, z, feasible, 2.0, rng)


MODELS = pytest.mark.parametrize("minimize", [quadratic, rbf])


def minimize_locally(X, y, geometry, rng, minimize, reach=np.inf):
    def of_rows(z, feasible):
        return minimize(z, y, feasible, rng)

    return local_search.minimize_locally(X, y, geometry, rng, of_rows, reach)


def firsts(X, y, minimize, rng, n=40):
    """Return the first points of n minimizations ``(n, d)``."""
    X, y = best_first(X, y)
    d = X.shape[1]
    return np.array([minimize_locally(X, y, continuous(d), rng, minimize)[0] for _ in range(n)])


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_the_minimum_of_a_tilted_bowl(rng):
    X = 0.4 + 0.05 * rng.standard_normal((30, 3))
    X[:, 1] += 3 * (X[:, 0] - 0.4)
    y = np.sum((X - 0.41) ** 2, axis=1)
    distance = np.linalg.norm(firsts(X, y, quadratic, rng) - 0.41, axis=1)
    assert np.median(distance) < 0.5 * np.sqrt(y.min())


def test_a_curved_valley_is_followed(rng):
    x = rng.uniform(0.1, 0.5, 120)
    X = np.stack([x, x**2 + 0.01 * rng.standard_normal(120)], axis=1)
    y = (X[:, 0] - 0.6) ** 2 + 100 * (X[:, 1] - X[:, 0] ** 2) ** 2
    points = firsts(X, y, rbf, rng)
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
    points = minimize_locally(X, y, geometry_of(space), rng, rbf)
    assert (points[:, [0, 2]] == X[0, [0, 2]]).all()
    assert len(np.unique(points[:, 1])) > 1
    np.testing.assert_array_equal(geometry_of(space).smooth, [0, 1, 0])


@MODELS
@pytest.mark.parametrize("place", [0.5, 0.02])
def test_downhill_from_the_first_row_within_a_radius(rng, place, minimize):
    X = rng.random((80, 3))
    X[0] = place
    X = X[np.argsort(np.linalg.norm(X - X[0], axis=1))]
    y = np.sum((X - 0.9) ** 2, axis=1)
    for _ in range(20):
        points = minimize_locally(X, y, continuous(3), rng, minimize, 0.1)
        assert (np.linalg.norm(points - place, axis=1) < 0.1 + 1e-9).all()
        assert ((points >= 0) & (points <= 1)).all()
        best = place + 0.1 / np.sqrt(3)
        np.testing.assert_allclose(points[0], best, atol=0.04)


@MODELS
@pytest.mark.parametrize("m", [1, 2, 5, 300])
@pytest.mark.parametrize("spread", [0.0, 1e-16, 1e-9, 0.3])
def test_inside_whatever_the_rows(rng, m, spread, minimize):
    X = candidates.reflect(0.5 + spread * rng.standard_normal((m, 4)))
    points = minimize_locally(X, rng.random(m), continuous(4), rng, minimize)
    assert ((points >= 0) & (points <= 1)).all()


@MODELS
@pytest.mark.parametrize("side", [0, 1])
def test_it_comes_close_to_a_face_behind_which_the_model_is_lowest(rng, minimize, side):
    lowest = np.array([side + 0.4 * (2 * side - 1), 0.4, 0.6])
    X = candidates.reflect([side, 0.4, 0.6] + 0.1 * rng.standard_normal((60, 3)))
    found = firsts(X, np.sum((X - lowest) ** 2, axis=1), minimize, rng)
    assert np.median(np.abs(found[:, 0] - side)) < 0.001
    assert len(np.unique(found[:, 0])) == 40  # ranks that ask at the same moment differ
    np.testing.assert_allclose(np.median(found[:, 1:], axis=0), [0.4, 0.6], atol=0.02)


def test_the_lowest_place_inside_is_found_where_columns_depend_on_each_other(rng):
    X = candidates.reflect([1.0, 0.5] + 0.1 * rng.standard_normal((60, 2)))
    # Lowest at (1.4, 0.9); of the face x0 = 1, at 0.5.
    y = np.array([(a - 1.4) ** 2 + 10 * (b - 0.9 - (a - 1.4)) ** 2 for a, b in X])
    found = firsts(X, y, quadratic, rng)
    np.testing.assert_allclose(np.median(found, axis=0), [1.0, 0.5], atol=0.002)


@MODELS
def test_rows_that_are_all_at_a_face_are_not_proposed_again(rng, minimize):
    X = np.concatenate([np.ones((30, 1)), rng.random((30, 1))], axis=1)
    y = np.sum((X - [1.3, 0.5]) ** 2, axis=1)
    assert firsts(X, y, minimize, rng, 30)[:, 0].max() < 1


def test_while_rows_are_spread_out_points_do_not_gather_in_corners(rng, monkeypatch):
    X = rng.random((60, 4))
    y = np.sum((X - 1.5) ** 2, axis=1)

    def share_in_the_corner():
        return np.mean(firsts(X, y, quadratic, rng, 60).min(axis=1) > 0.9)

    assert share_in_the_corner() < 0.4
    monkeypatch.setattr(local_search, "_REFLECTIONS_PER_SPREAD", 0.0)
    assert share_in_the_corner() > 0.5


class TestSearch:
    @pytest.mark.parametrize(("n", "shortest"), [(ELITES, 0.1), (ELITES + 1, 2.0)])
    def test_the_longest_step_is_drawn_while_all_evaluations_are_elites(self, rng, n, shortest):
        X = rng.random((n, 2))
        view = view_of(sample_of(X, rng.random(n), ELITES), continuous(2))
        drawn = [local_search.draw_longest(view, rng) for _ in range(200)]
        assert min(drawn) == pytest.approx(shortest, rel=0.2)
        assert max(drawn) == pytest.approx(2.0, rel=0.1)

    def test_the_lowest_points_come_first(self, rng):
        target = np.array([0.7, -0.4])

        def predict(z):
            return np.sum((z - target) ** 2, axis=1)

        points = local_search.search(predict, np.zeros((1, 2)), Feasible(lambda z: z), 2.0, rng)
        assert (np.diff(predict(points)) >= 0).all()
        np.testing.assert_allclose(points[0], target, atol=0.01)

    def test_points_are_feasible(self, rng):
        def project(z):
            return np.minimum(z, 0.5)

        start = np.zeros((1, 2))
        points = local_search.search(lambda z: -z[:, 0], start, Feasible(project), 2.0, rng)
        assert points.max() <= 0.5
        assert points[0, 0] == 0.5

    def test_the_boundary_of_what_is_allowed_is_followed(self, rng):
        """From one end of a slope to the other, where the model is lowest."""

        def predict(z):
            return np.sum((z - [1.0, 0.8]) ** 2, axis=1)

        feasible = Feasible(lambda z: z, lambda point: point.sum() <= 1)
        points = local_search.search(predict, np.array([[0.0, 1.0]]), feasible, 2.0, rng)
        assert points[0].sum() <= 1
        np.testing.assert_allclose(points[0], [0.6, 0.4], atol=0.05)
