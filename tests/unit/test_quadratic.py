"""The quadratic model: it finds the minimum of a quadratic, and stays within its reach."""

from __future__ import annotations

import numpy as np
import pytest

from adbo import quadratic


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_minimum_of_a_bowl(rng):
    z = rng.standard_normal((40, 3))
    target = np.array([-0.5, 0.3, 0.1])
    y = np.sum((z - target) ** 2 * [1.0, 3.0, 0.5], axis=1)
    np.testing.assert_allclose(quadratic.fit(z, y).minimum(), target, atol=0.02)


def test_slope_leads_to_the_end_of_the_reach(rng):
    z = rng.standard_normal((60, 1))
    model = quadratic.fit(z, 5 * z[:, 0])
    np.testing.assert_allclose(model.minimum(), [-quadratic.REACH], rtol=1e-6)


def test_hilltop_is_left(rng):
    z = 0.3 + rng.standard_normal((60, 1))
    model = quadratic.fit(z, -(z[:, 0] ** 2))
    np.testing.assert_allclose(np.abs(model.minimum()), [quadratic.REACH], rtol=1e-6)


@pytest.mark.parametrize("m", [1, 2, 30])
def test_points_that_coincide(m):
    model = quadratic.fit(np.zeros((m, 3)), np.arange(m, dtype=float))
    assert np.isfinite(model.minimum()).all()
