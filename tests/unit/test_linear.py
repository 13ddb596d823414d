"""Linear regression: leave-one-out predictions and posterior draws."""

from __future__ import annotations

import numpy as np
import pytest

from adbo.optimizer.models import linear


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def solved(features, y, ridge):
    matrix = features.T @ features + np.diag(np.broadcast_to(ridge, features.shape[1]))
    return np.linalg.solve(matrix, features.T @ y)


@pytest.mark.parametrize("ridge", [0.7, np.array([0.1, 2.0, 5.0])])
def test_rows_left_out_are_predicted_as_by_a_fit_without_them(rng, ridge):
    features, y = rng.standard_normal((12, 3)), rng.standard_normal(12)
    predicted = [
        features[i] @ solved(np.delete(features, i, 0), np.delete(y, i), ridge) for i in range(12)
    ]
    np.testing.assert_allclose(linear.fit_linear(features, y, ridge).left_out, predicted)


def test_draws_have_the_mean_and_covariance_of_the_posterior(rng):
    features = rng.standard_normal((4000, 2))
    y = features @ [1.0, 2.0] + 3.0 * rng.standard_normal(4000)
    draws = linear.fit_linear(features, y, 500.0).draw(20_000, rng)
    covariance = np.linalg.inv(features.T @ features + 500 * np.eye(2)) * 3.0**2
    np.testing.assert_allclose(draws.mean(axis=1), solved(features, y, 500.0), atol=0.01)
    np.testing.assert_allclose(np.cov(draws), covariance, rtol=0.1, atol=1e-4)


def test_no_noise_no_spread(rng):
    features = rng.standard_normal((40, 2))
    draws = linear.fit_linear(features, features @ [3.0, -1.0], 1e-12).draw(50, rng)
    np.testing.assert_allclose(draws.T, np.tile([3.0, -1.0], (50, 1)), atol=1e-4)
