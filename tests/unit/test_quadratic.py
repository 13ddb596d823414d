"""The quadratic model: it finds the minimum of a quadratic, and stays within its reach."""

from __future__ import annotations

import numpy as np
import pytest

from adbo import quadratic


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def lowest(z, y, reach=2.0):
    return quadratic.fit(z, y).lowest(reach)


def test_minimum_of_a_tilted_bowl(rng):
    z = rng.standard_normal((40, 3))
    shape = rng.standard_normal((3, 3))
    target = np.array([-0.5, 0.3, 0.1])
    y = np.sum(((z - target) @ shape) ** 2, axis=1)
    np.testing.assert_allclose(lowest(z, y), target, atol=0.02)


def test_few_points_leave_products_out(rng):
    assert quadratic.n_coefficients(10, 5) == 11
    assert quadratic.n_coefficients(26, 5) == 21
    z = rng.standard_normal((16, 5))
    target = np.array([-0.5, 0.3, 0.1, 0.0, 0.4])
    y = np.sum((z - target) ** 2 * [1.0, 3.0, 0.5, 1.0, 2.0], axis=1)
    np.testing.assert_allclose(lowest(z, y), target, atol=0.02)


def test_slope_leads_to_the_end_of_the_reach(rng):
    z = rng.standard_normal((60, 1))
    np.testing.assert_allclose(lowest(z, 5 * z[:, 0], 1.5), [-1.5], rtol=1e-3)


def test_hilltop_is_left(rng):
    z = 0.3 + rng.standard_normal((60, 1))
    np.testing.assert_allclose(np.abs(lowest(z, -(z[:, 0] ** 2), 3.0)), [3.0], rtol=1e-3)


@pytest.mark.parametrize("m", [1, 2, 30])
def test_points_that_coincide(m):
    assert np.isfinite(lowest(np.zeros((m, 3)), np.arange(m, dtype=float))).all()
