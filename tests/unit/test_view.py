"""What an ask derives from its sample: complete rows, presence, and which points are known."""

from __future__ import annotations

import numpy as np
import pytest
from optimizer_views import continuous, sample_of, view_of

from adbo.optimizer import view


@pytest.fixture
def rng():
    return np.random.default_rng(0)


class TestImpute:
    def test_values_come_from_elites_that_have_one(self, rng):
        X = np.array([[0.1, np.nan], [0.2, 0.5], [0.3, np.nan], [0.4, 0.9]])
        filled = view._impute(X, 3, rng)
        np.testing.assert_array_equal(filled[:, 1], [0.5, 0.5, 0.5, 0.9])
        np.testing.assert_array_equal(filled[:, 0], X[:, 0])

    def test_from_other_rows_if_no_elite_has_one(self, rng):
        X = np.array([[np.nan], [0.9]])
        np.testing.assert_array_equal(view._impute(X, 1, rng), [[0.9], [0.9]])

    def test_anything_if_nobody_has_one(self, rng):
        filled = view._impute(np.full((500, 1), np.nan), 3, rng)
        np.testing.assert_allclose(filled.mean(), 0.5, atol=0.05)


def conditional(rng):
    """Return rows whose second parameter is present if the first is low."""
    X = rng.random((200, 2))
    X[X[:, 0] > 0.5, 1] = np.nan
    return X


def test_complete_rows_are_as_they_are(rng):
    X = rng.random((20, 2))
    found = view_of(sample_of(X, X.sum(axis=1)), continuous(2))
    np.testing.assert_array_equal(found.complete, found.sample.X)
    points = rng.random((5, 2))
    np.testing.assert_array_equal(found.mark_absent(points), points)
    assert not found.is_known(points).any()


def test_parameters_are_marked_where_they_will_be_absent(rng):
    found = view_of(sample_of(conditional(rng), rng.random(200)), continuous(2))
    assert not np.isnan(found.complete).any()
    points = np.array([[0.2, 0.3], [0.9, 0.3]])
    np.testing.assert_array_equal(found.mark_absent(points), [[0.2, 0.3], [0.9, np.nan]])


def test_a_point_is_known_without_its_absent_parameters(rng):
    seen = []

    def is_known(points):
        seen.append(points)
        return np.isnan(points[:, 1])

    found = view_of(sample_of(conditional(rng), rng.random(200)), continuous(2), 1.0, is_known)
    assert found.is_known(np.array([[0.2, 0.3], [0.9, 0.3]])).tolist() == [False, True]
