"""The spline: it goes through its points, and is right between them."""

from __future__ import annotations

import numpy as np
import pytest

from adbo import spline


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def _valley(z):
    return (1 - z[:, 0]) ** 2 + 10 * (z[:, 1] - z[:, 0] ** 2) ** 2


def test_goes_through_its_points(rng):
    z = rng.standard_normal((60, 4))
    y = rng.standard_normal(60)
    np.testing.assert_allclose(spline.fit(z, y).predict(z), y, atol=1e-2)


def test_a_plane_is_a_plane_everywhere(rng):
    z = rng.standard_normal((20, 3))
    model = spline.fit(z, z @ [1.0, -2.0, 0.5] + 3)
    far = 5 * rng.standard_normal((50, 3))
    np.testing.assert_allclose(model.predict(far), far @ [1.0, -2.0, 0.5] + 3, atol=1e-4)


def test_a_curved_valley_is_followed(rng):
    z = rng.uniform(-1.5, 1.5, (150, 2))
    model = spline.fit(z, _valley(z))
    q = rng.uniform(-1, 1, (200, 2))
    error = np.abs(model.predict(q) - _valley(q))
    assert np.median(error) < 0.02 * _valley(q).std()


def test_a_quintic_spline_is_closer_to_a_smooth_function(rng):
    z, q = rng.uniform(-1.5, 1.5, (150, 2)), rng.uniform(-1, 1, (200, 2))
    cubic, quintic = (
        np.median(np.abs(spline.fit(z, _valley(z), quintic).predict(q) - _valley(q)))
        for quintic in (False, True)
    )
    assert quintic < cubic / 2


def test_few_points_make_a_cubic_spline(rng):
    z = rng.standard_normal((19, 3))
    assert not spline.fit(z, z[:, 0], quintic=True).quintic
    z = rng.standard_normal((20, 3))
    assert spline.fit(z, z[:, 0], quintic=True).quintic


@pytest.mark.parametrize("quintic", [False, True])
@pytest.mark.parametrize("m", [1, 2, 30])
def test_points_that_coincide(m, quintic):
    model = spline.fit(np.zeros((m, 3)), np.arange(m, dtype=float), quintic)
    assert np.isfinite(model.predict(np.eye(3))).all()
