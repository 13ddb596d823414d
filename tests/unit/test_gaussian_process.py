"""The Gaussian process: gradient, predictions, leave-one-out predictions, and degenerate rows."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.spatial.distance import cdist

from adbo.optimizer.distances import embed, embedded_columns
from adbo.optimizer.models import gaussian_process
from adbo.optimizer.models.gaussian_process import fit_gaussian_process


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def fit(Z, y, groups=None, iterations=30):
    return fit_gaussian_process(
        Z, y, np.arange(Z.shape[1]) if groups is None else groups, iterations
    )


def matern(a, b):
    r = np.sqrt(5) * cdist(a, b)
    return (1 + r + r**2 / 3) * np.exp(-r)


def smooth(Z):
    return np.sin(4 * Z[:, 0]) + (Z[:, 1] - 0.4) ** 2


@pytest.mark.parametrize("groups", [[0, 1, 2], [0, 1, 1], [1, 0, 1]])
def test_the_gradient_is_that_of_the_likelihood(rng, groups):
    Z, y, groups = rng.random((25, 3)), rng.standard_normal(25), np.array(groups)
    for _ in range(5):
        theta = np.append(rng.uniform(-1.5, 1.5, groups.max() + 1), rng.uniform(-6, -1))

        def value(t):
            return gaussian_process._negative_log_likelihood(t, Z, y, groups)[0]

        found = gaussian_process._negative_log_likelihood(theta, Z, y, groups)[1]
        expected = approx_fprime(theta, value, 1e-6)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_the_likelihood_is_that_of_the_normal_distribution(rng):
    Z, y, groups = rng.random((20, 2)), rng.standard_normal(20), np.arange(2)

    def expected(lengths, noise):
        kernel = matern(Z / lengths, Z / lengths) + noise * np.eye(20)
        variance = y @ np.linalg.solve(kernel, y) / 20
        _, log_determinant = np.linalg.slogdet(variance * kernel)
        return 0.5 * (log_determinant + 20)

    cases = [((0.3, 2.0), 0.1), ((1.0, 0.2), 0.001)]
    found = [
        gaussian_process._negative_log_likelihood(np.log([*lengths, noise]), Z, y, groups)[0]
        for lengths, noise in cases
    ]
    # Constants are left out.
    assert found[1] - found[0] == pytest.approx(expected(*cases[1]) - expected(*cases[0]))


def test_predictions_at_rows_are_their_targets_where_there_is_no_noise(rng):
    Z = rng.random((40, 2))
    y = 100 + 7 * smooth(Z)
    mean, std = fit(Z, y).predict(Z)
    np.testing.assert_allclose(mean, y, atol=0.05)
    assert std.max() < 0.05 * y.std()


def test_predictions_between_rows_and_far_from_them(rng):
    Z = rng.random((60, 2))
    model = fit(Z, smooth(Z))
    q = 0.1 + 0.8 * rng.random((100, 2))
    mean, std = model.predict(q)
    assert np.sqrt(np.mean((mean - smooth(q)) ** 2)) < 0.05 * smooth(q).std()
    far = model.predict(np.full((1, 2), 1000.0))
    assert far[0][0] == pytest.approx(smooth(Z).mean())
    assert far[1][0] > 10 * std.max()


def test_deviations_tell_the_size_of_the_errors(rng):
    Z = rng.random((30, 2))
    model = fit(Z, np.sin(6 * Z[:, 0]) * np.cos(5 * Z[:, 1]))
    q = rng.random((400, 2))
    mean, std = model.predict(q)
    error = np.abs(mean - np.sin(6 * q[:, 0]) * np.cos(5 * q[:, 1]))
    assert (error < 3 * std).mean() > 0.85
    assert np.corrcoef(std, error)[0, 1] > 0.2


def test_noise_is_found_and_averaged(rng):
    Z = rng.random((150, 2))
    noisy = smooth(Z) + 0.3 * rng.standard_normal(150)
    model = fit(Z, noisy)
    assert 0.1 < model.deviation * model.amplitude * np.sqrt(model.noise) < 0.6
    mean = model.predict(Z)[0]
    assert np.mean((mean - smooth(Z)) ** 2) < 0.25 * 0.3**2
    assert fit(Z, smooth(Z)).noise < 1e-4


def test_a_column_that_matters_less_has_a_longer_length_scale(rng):
    Z = rng.random((60, 2))
    model = fit(Z, np.sin(8 * Z[:, 0]) + 0.01 * Z[:, 1])
    assert model.lengths[1] > 3 * model.lengths[0]


@pytest.mark.parametrize("size", [1e-2, 1e-5, 1e-8])
def test_rows_that_are_close_to_each_other_are_not_taken_for_noise(rng, size):
    Z, q = rng.random((60, 2)), rng.random((60, 2))
    model = fit(0.7 + size * Z, smooth(Z), iterations=8)
    assert model.noise < 1e-3
    mean = model.predict(0.7 + size * q)[0]
    assert np.sqrt(np.mean((mean - smooth(q)) ** 2)) < 0.1 * smooth(q).std()


def test_choices_of_a_category_share_a_length_scale(rng):
    categories = np.array([0, 3, 0, 2])
    Z = embed(rng.random((60, 4)), categories)
    groups = embedded_columns(categories)
    lengths = fit(Z, rng.standard_normal(60), groups).lengths
    assert lengths.shape == groups.shape == (7,)
    for group in range(4):
        assert len(set(lengths[groups == group])) == 1
    assert len(set(lengths)) == 4


@pytest.mark.parametrize("value", [0.0, 7.0])
@pytest.mark.parametrize("m", [1, 20])
def test_constant_targets_are_predicted_everywhere(rng, value, m):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mean, std = fit(rng.random((m, 2)), np.full(m, value)).predict(rng.random((9, 2)))
    np.testing.assert_array_equal(mean, value)
    np.testing.assert_array_equal(std, 0)


@pytest.mark.parametrize("n_places", [1, 3])
def test_equal_rows_are_averaged(rng, n_places):
    Z = np.tile(rng.random((n_places, 2)), (10, 1))
    y = rng.standard_normal(10 * n_places)
    mean, std = fit(Z, y).predict(Z[:n_places])
    assert np.isfinite(std).all()
    averages = y.reshape(10, n_places).mean(axis=0)
    assert (np.abs(mean - averages) <= 0.7 * np.abs(averages - y.mean()) + 0.05).all()


def test_equal_rows_with_equal_targets(rng):
    Z = rng.random((15, 2))
    model = fit(np.tile(Z, (4, 1)), np.tile(smooth(Z), 4))
    np.testing.assert_allclose(model.predict(Z)[0], smooth(Z), atol=0.01)
