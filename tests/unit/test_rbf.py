"""The RBF model is right between its points, and interpolates them unless they are noisy."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from adbo.optimizer.distances import squared_distances
from adbo.optimizer.models import rbf

SMOOTHING = 0.1


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def _valley(z):
    return (1 - z[:, 0]) ** 2 + 10 * (z[:, 1] - z[:, 0] ** 2) ** 2


def _left_out(z, y, quintic, smoothing):
    """Leave-one-out errors by refitting."""
    m = len(z)
    errors = []
    for i in range(m):
        others = np.arange(m) != i
        powers = rbf._powers(squared_distances(z[others], z[others]), quintic)
        polynomial = rbf._polynomial(z[others], quintic)
        # As for all of the points, whose ridge grows with their number.
        weights, _ = rbf._solve(rbf._inverse(powers, polynomial, m * smoothing), y[others])
        model = rbf.RBFModel(z[others], weights, 0.0, quintic)
        errors.append(model.predict(z[i : i + 1])[0] - y[i])
    return np.array(errors)


def test_goes_through_its_points_where_there_is_no_noise(rng):
    z = rng.uniform(-1.5, 1.5, (60, 2))
    model = rbf.fit_rbf(z, _valley(z), SMOOTHING)
    np.testing.assert_allclose(model.predict(z), _valley(z), atol=1e-2)


def test_does_not_follow_noise(rng):
    z, q = rng.standard_normal((100, 3)), rng.standard_normal((200, 3))
    y = np.sum(z**2, axis=1)
    noisy = y + rng.standard_normal(100)
    model = rbf.fit_rbf(z, noisy, SMOOTHING)
    assert np.mean((model.predict(z) - noisy) ** 2) > 0.3
    assert np.mean((model.predict(q) - np.sum(q**2, axis=1)) ** 2) < 0.5


@pytest.mark.parametrize("quintic", [False, True])
@pytest.mark.parametrize("smoothing", [1e-6, SMOOTHING])
def test_error_is_that_of_points_left_out(rng, quintic, smoothing):
    z = rng.standard_normal((40, 2))
    y = _valley(z) + rng.standard_normal(40)
    powers = rbf._powers(squared_distances(z, z), quintic)
    inverse = rbf._inverse(powers, rbf._polynomial(z, quintic), 40 * smoothing)
    _, error = rbf._solve(inverse, y)
    expected = np.mean(_left_out(z, y, quintic, smoothing) ** 2)
    assert error == pytest.approx(expected, rel=1e-4)


def test_the_one_that_predicts_best_is_chosen(rng):
    z = rng.standard_normal((60, 2))
    y = _valley(z) + 0.3 * rng.standard_normal(60)
    least = min(
        np.mean(_left_out(z, y, quintic, ridge) ** 2)
        for quintic, own in ((False, rbf._RIDGE), (True, rbf._QUINTIC_RIDGE))
        for ridge in (own, SMOOTHING)
    )
    assert rbf.fit_rbf(z, y, SMOOTHING).error == pytest.approx(least, rel=1e-4)


def test_a_plane_is_a_plane_everywhere(rng):
    z = rng.standard_normal((20, 3))
    model = rbf.fit_rbf(z, z @ [1.0, -2.0, 0.5] + 3, SMOOTHING)
    far = 5 * rng.standard_normal((50, 3))
    np.testing.assert_allclose(model.predict(far), far @ [1.0, -2.0, 0.5] + 3, atol=1e-4)


def test_a_curved_valley_is_followed(rng):
    z = rng.uniform(-1.5, 1.5, (150, 2))
    model = rbf.fit_rbf(z, _valley(z), SMOOTHING)
    q = rng.uniform(-1, 1, (200, 2))
    error = np.abs(model.predict(q) - _valley(q))
    assert model.quintic
    assert np.median(error) < 0.005 * _valley(q).std()


def test_a_kink_makes_a_cubic_model(rng):
    z = rng.uniform(-1, 1, (150, 2))
    assert not rbf.fit_rbf(z, np.abs(z).sum(axis=1), SMOOTHING).quintic


def test_few_points_make_a_cubic_model(rng):
    z = rng.standard_normal((19, 3))
    assert not rbf.fit_rbf(z, np.sum(z**2, axis=1), SMOOTHING).quintic
    z = rng.standard_normal((20, 3))
    assert rbf.fit_rbf(z, np.sum(z**2, axis=1), SMOOTHING).quintic


@pytest.mark.parametrize("m", [1, 2, 30])
def test_points_that_coincide(m):
    model = rbf.fit_rbf(np.zeros((m, 3)), np.arange(m, dtype=float), SMOOTHING)
    assert np.isfinite(model.predict(np.eye(3))).all()


def test_many_more_columns_than_points_take_neither_time_nor_memory(rng):
    z, y = rng.random((40, 20)), rng.random(40)
    wide = np.concatenate([z, np.zeros((40, 2000))], axis=1)
    tracemalloc.start()
    found = rbf.smooth(wide, y, [1e-4, 1.0])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6  # one matrix of 2061 rows takes 34 MB
    expected = rbf.smooth(z, y, [1e-4, 1.0])
    np.testing.assert_allclose(found.values, expected.values, atol=1e-6)
    assert found.error == pytest.approx(expected.error, rel=1e-6)
