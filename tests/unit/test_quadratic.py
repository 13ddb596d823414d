"""The quadratic model: it finds the minimum of a quadratic, and stays within its reach."""

from __future__ import annotations

import numpy as np
import pytest

from adbo.optimizer.models import quadratic

MOST = 55


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def fit(z, y, most=MOST):
    return quadratic.fit_quadratic(z, y, most)


def lowest(z, y, reach=2.0):
    return fit(z, y).minimizer(reach)


def bowl(z, target, factors):
    return np.sum(((z - target) @ factors) ** 2, axis=1)


TARGET = np.array([-0.5, 0.3, 0.1])
FACTORS = {
    "isotropic": np.eye(3),
    "diagonal": np.diag([1.0, 3.0, 0.3]),
    "full": np.array([[1.0, 0.9, 0.0], [0.0, 1.0, 0.9], [0.0, 0.0, 1.0]]),
}


def kind_of(hessian):
    """Return the kind of a Hessian by its coefficients."""
    if np.count_nonzero(hessian - np.diag(np.diag(hessian))):
        return "full"
    return "diagonal" if np.ptp(np.diag(hessian)) > 0 else "isotropic"


@pytest.mark.parametrize("kind", FACTORS)
def test_exact_on_a_quadratic(rng, kind):
    z = rng.standard_normal((40, 3))
    factors = FACTORS[kind]
    model = fit(z, bowl(z, TARGET, factors) + 7)
    np.testing.assert_allclose(model.hessian, 2 * factors @ factors.T, atol=1e-5)
    np.testing.assert_allclose(model.minimizer(5.0), TARGET, atol=1e-5)
    q = rng.standard_normal((50, 3))
    constant = model.predict(q) - bowl(q, TARGET, factors)
    assert np.ptp(constant) < 1e-4


def test_few_points_leave_products_out(rng):
    assert quadratic.most_coefficients(5, 20) == 11
    assert quadratic.most_coefficients(5, 21) == 21
    z = rng.standard_normal((16, 5))
    target = np.array([-0.5, 0.3, 0.1, 0.0, 0.4])
    y = np.sum((z - target) ** 2 * [1.0, 3.0, 0.5, 1.0, 2.0], axis=1)
    model = fit(z, y)
    assert kind_of(model.hessian) == "diagonal"
    np.testing.assert_allclose(model.minimizer(2.0), target, atol=0.02)


def test_products_are_left_out_if_their_coefficients_are_too_many(rng):
    z = rng.standard_normal((60, 3))
    y = bowl(z, TARGET, FACTORS["full"])
    assert kind_of(fit(z, y, 10).hessian) == "full"
    assert kind_of(fit(z, y, 9).hessian) != "full"


@pytest.mark.parametrize("kind", FACTORS)
def test_the_kind_of_hessian_that_predicts_best_is_chosen(rng, kind):
    z = rng.standard_normal((120, 3))
    y = bowl(z, TARGET, FACTORS[kind]) + 0.3 * rng.standard_normal(120)
    errors = {}
    for name, terms in _designs(z).items():
        left_out = [
            _refitted(np.delete(terms, i, 0), np.delete(y, i), terms[i]) for i in range(120)
        ]
        errors[name] = np.mean((left_out - y) ** 2)
    assert min(errors, key=errors.get) == kind
    assert kind_of(fit(z, y).hessian) == kind


def _designs(z):
    """Return the terms of each kind of quadratic."""
    linear = np.column_stack([np.ones(len(z)), z])
    i, j = np.triu_indices(z.shape[1])
    return {
        "isotropic": np.column_stack([linear, np.sum(z**2, axis=1)]),
        "diagonal": np.column_stack([linear, z**2]),
        "full": np.column_stack([linear, z[:, i] * z[:, j]]),
    }


def _refitted(terms, y, query):
    return query @ np.linalg.lstsq(terms, y, rcond=None)[0]


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


def test_few_rows_have_an_isotropic_hessian(rng):
    z = rng.standard_normal((4, 6))
    hessian = fit(z, np.sum(z**2, axis=1)).hessian
    np.testing.assert_allclose(hessian, hessian[0, 0] * np.eye(6))
