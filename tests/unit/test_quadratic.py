"""The quadratic model: it finds the minimum of a quadratic, and stays within its reach."""

from __future__ import annotations

import numpy as np
import pytest

from adbo import quadratic


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_minimum_of_a_bowl(rng):
    X = 0.5 + 0.1 * rng.standard_normal((40, 3)) * [1.0, 0.1, 0.01]
    target = np.array([0.45, 0.503, 0.5001])
    y = np.sum(((X - target) / [1.0, 0.1, 0.01]) ** 2, axis=1)
    found = quadratic.fit(X, y).minimum()
    assert (np.abs(found - target) < 0.02 * np.array([1.0, 0.1, 0.01])).all()


def test_axes_are_the_principal_ones(rng):
    X = rng.standard_normal((500, 2)) @ np.array([[3.0, 3.0], [-0.1, 0.1]])
    axes = quadratic.fit(X, rng.random(500)).axes
    np.testing.assert_allclose(axes.T @ axes, np.cov(X.T, bias=True), rtol=1e-6)


def test_slope_leads_to_the_end_of_the_reach(rng):
    X = rng.standard_normal((60, 1))
    model = quadratic.fit(X, 5 * X[:, 0])
    expected = X.mean() - quadratic.REACH * X.std()
    np.testing.assert_allclose(model.minimum(), [expected], rtol=1e-6)


def test_hilltop_is_left(rng):
    X = 0.3 + rng.standard_normal((60, 1))
    model = quadratic.fit(X, -(X[:, 0] ** 2))
    np.testing.assert_allclose(
        np.abs(model.minimum() - X.mean()), [quadratic.REACH * X.std()], rtol=1e-6
    )


@pytest.mark.parametrize("m", [1, 2, 30])
def test_points_without_spread(m):
    X = np.full((m, 3), 0.25)
    model = quadratic.fit(X, np.arange(m, dtype=float))
    assert np.isfinite(model.minimum()).all()
    assert (np.abs(model.axes).max(axis=1) > 0.01).all()
