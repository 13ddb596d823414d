"""The quadratic model: it finds the minimum of a quadratic, and stays within its reach."""

from __future__ import annotations

import numpy as np
import pytest

from adbo.optimizer.models import quadratic
from adbo.optimizer.settings import QuadraticSettings

SETTINGS = QuadraticSettings()


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def lowest(z, y, reach=2.0):
    return quadratic.fit_quadratic(z, y, SETTINGS).minimizer(reach)


def test_minimum_of_a_tilted_bowl(rng):
    z = rng.standard_normal((40, 3))
    shape = rng.standard_normal((3, 3))
    target = np.array([-0.5, 0.3, 0.1])
    y = np.sum(((z - target) @ shape) ** 2, axis=1)
    np.testing.assert_allclose(lowest(z, y), target, atol=0.02)


def test_few_points_leave_products_out(rng):
    assert quadratic.n_coefficients(10, 5, SETTINGS) == 11
    assert quadratic.n_coefficients(26, 5, SETTINGS) == 21
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


def test_prediction(rng):
    model = quadratic.Quadratic(np.array([1.0, -2.0]), np.array([[2.0, 1.0], [1.0, 4.0]]))
    np.testing.assert_allclose(model.predict(np.array([[3.0, 1.0]])), [3 - 2 + 9 + 3 + 2])


class TestDraw:
    @pytest.mark.parametrize("shape", ["isotropic", "diagonal", "full"])
    def test_simplest_that_predicts(self, rng, shape):
        z = rng.standard_normal((120, 3))
        factors = {
            "isotropic": np.eye(3),
            "diagonal": np.diag([1.0, 3.0, 0.3]),
            "full": np.array([[1.0, 0.9, 0.0], [0.0, 1.0, 0.9], [0.0, 0.0, 1.0]]),
        }[shape]
        target = np.array([-0.5, 0.3, 0.1])
        y = np.sum(((z - target) @ factors) ** 2, axis=1) + 0.3 * rng.standard_normal(120)
        draws = [
            quadratic.draw_quadratic(z, y, np.ones(120), 1.0, rng, SETTINGS) for _ in range(30)
        ]
        found = np.median([model.minimizer(5.0) for model in draws], axis=0)
        np.testing.assert_allclose(found, target, atol=0.15)
        hessian = draws[0].hessian
        assert (np.ptp(np.diag(hessian)) == 0) == (shape == "isotropic")
        assert (np.count_nonzero(hessian) > 3) == (shape == "full")

    def test_rows_count_by_their_weights(self, rng):
        z = rng.standard_normal((100, 2))
        good = np.arange(100) < 50
        y = np.where(good, np.sum((z - 0.4) ** 2, axis=1), np.sum((z + 1) ** 2, axis=1))
        found = quadratic.draw_quadratic(
            z, y, np.where(good, 1.0, 1e-9), 1.0, rng, SETTINGS
        ).minimizer(5.0)
        np.testing.assert_allclose(found, [0.4, 0.4], atol=0.05)

    def test_few_rows_have_an_isotropic_hessian(self, rng):
        z = rng.standard_normal((4, 6))
        hessian = quadratic.draw_quadratic(
            z, np.sum(z**2, axis=1), np.ones(4), 1.0, rng, SETTINGS
        ).hessian
        np.testing.assert_allclose(hessian, hessian[0, 0] * np.eye(6))

    def test_rows_of_no_weight_change_nothing(self, rng):
        z = rng.standard_normal((60, 2))
        y = np.sum((z - 0.4) ** 2, axis=1) + rng.standard_normal(60)
        seeded = [np.random.default_rng(1) for _ in range(2)]
        alone = quadratic.draw_quadratic(z, y, np.ones(60), 1.0, seeded[0], SETTINGS)
        more = np.concatenate([z, rng.standard_normal((600, 2))])
        weight = np.repeat([1.0, 1e-12], [60, 600])
        beside = quadratic.draw_quadratic(
            more, np.append(y, np.zeros(600)), weight, 1.0, seeded[1], SETTINGS
        )
        np.testing.assert_allclose(beside.slope, alone.slope, rtol=1e-5)
        np.testing.assert_allclose(beside.hessian, alone.hessian, rtol=1e-5)
