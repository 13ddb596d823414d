"""The forest: its predictions, and its independence of private interfaces of scikit-learn."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from adbo.optimizer.models import forest

N_TREES = 10

NUMBERS = np.zeros(3, dtype=np.int64)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def grid(rng, m, d=3):
    return np.asfortranarray(rng.random((m, d)), dtype=np.float32)


class TestTrees:
    def test_private_builder_grows_the_trees_of_the_public_estimator(self, rng):
        X, y = grid(rng, 200), rng.random(200)
        X[:40, 1] = -1.0
        queries = np.ascontiguousarray(grid(rng, 500))
        private = forest.grow_privately(X, y, seed=3, n_trees=10)
        public = forest.grow_publicly(X, y, seed=3, n_trees=10)
        assert len(private) == len(public) == 10
        for a, b in zip(private, public, strict=True):
            np.testing.assert_array_equal(a.predict(queries).ravel(), b.predict(queries).ravel())

    def test_trees_of_a_forest_differ(self, rng):
        X, y = grid(rng, 100), rng.random(100)
        queries = np.ascontiguousarray(grid(rng, 100))
        first, second, *_ = forest.grow_privately(X, y, seed=3, n_trees=10)
        assert not np.array_equal(first.predict(queries), second.predict(queries))

    @pytest.mark.parametrize(
        "module", ["sklearn.tree._criterion", "sklearn.tree._splitter", "sklearn.tree._tree"]
    )
    def test_missing_private_module_changes_nothing(self, rng, monkeypatch, module):
        X, y = rng.random((60, 3)), rng.random(60)
        expected = forest.fit_forest(X, y, NUMBERS, np.random.default_rng(1), N_TREES).predict(X)
        monkeypatch.setitem(sys.modules, module, None)
        found = forest.fit_forest(X, y, NUMBERS, np.random.default_rng(1), N_TREES).predict(X)
        np.testing.assert_array_equal(found, expected)

    @pytest.mark.parametrize(
        "name", ["_tree.DepthFirstTreeBuilder", "_splitter.RandomSplitter", "_criterion.MSE"]
    )
    def test_private_class_with_another_signature_changes_nothing(self, rng, monkeypatch, name):
        X, y = rng.random((60, 3)), rng.random(60)
        expected = forest.fit_forest(X, y, NUMBERS, np.random.default_rng(1), N_TREES).predict(X)
        monkeypatch.setattr(f"sklearn.tree.{name}", object)
        found = forest.fit_forest(X, y, NUMBERS, np.random.default_rng(1), N_TREES).predict(X)
        np.testing.assert_array_equal(found, expected)


class TestFit:
    def test_std_is_zero_at_the_data_and_not_between(self, rng):
        X, y = rng.random((100, 3)), rng.random(100)
        surrogate = forest.fit_forest(X, y, NUMBERS, rng, N_TREES)
        mean, std = surrogate.predict(X)
        np.testing.assert_allclose(mean, y)
        np.testing.assert_allclose(std, 0, atol=1e-12)
        assert (surrogate.predict(rng.random((100, 3)))[1] > 0).mean() > 0.9

    def test_orders_a_slope(self, rng):
        X = rng.random((300, 3))
        surrogate = forest.fit_forest(X, X[:, 0], NUMBERS, rng, N_TREES)
        queries = np.full((2, 3), 0.5)
        queries[:, 0] = 0.2, 0.8
        mean, _ = surrogate.predict(queries)
        assert mean[0] < mean[1]

    def test_resolves_differences_far_below_single_precision_around_the_first_row(self, rng):
        X = 0.3 + 1e-13 * rng.standard_normal((100, 3))
        X[0] = 0.3
        y = (X[:, 0] - 0.3) * 1e13
        mean, _ = forest.fit_forest(X, y, NUMBERS, rng, N_TREES).predict(X)
        np.testing.assert_allclose(mean, y)

    def test_absent_parameters_are_told_from_every_value(self, rng):
        X = rng.random((200, 3))
        X[::2, 2] = np.nan
        y = np.where(np.isnan(X[:, 2]), 0.0, 1.0)
        queries = np.array([[0.5, 0.5, np.nan], [0.5, 0.5, 0.0], [0.5, 0.5, 1.0]])
        mean, _ = forest.fit_forest(X, y, NUMBERS, rng, N_TREES).predict(queries)
        np.testing.assert_allclose(mean, [0, 1, 1], atol=0.15)

    def test_absent_in_the_first_row(self, rng):
        X = rng.random((50, 3))
        X[0] = np.nan
        y = rng.random(50)
        mean, _ = forest.fit_forest(X, y, NUMBERS, rng, N_TREES).predict(X)
        np.testing.assert_allclose(mean, y)

    def test_categories_have_no_order(self, rng):
        # Good choices are 1, 4 and 6 of eight: with their numbers as order a forest of the same
        # size and data explains less of it.
        choice = rng.integers(8, size=150)
        X = np.column_stack([(choice + 0.5) / 8, rng.random((150, 2))])
        y = np.where(np.isin(choice, [1, 4, 6]), 0.0, 1.0)
        queries = np.full((8, 3), 0.5)
        queries[:, 0] = (np.arange(8) + 0.5) / 8
        mean, std = forest.fit_forest(X, y, np.array([8, 0, 0]), rng, N_TREES).predict(queries)
        assert set(np.argsort(mean)[:3]) == {1, 4, 6}
        assert std[[1, 4, 6]].max() < 0.3

    def test_unseen_category_is_neither_best_nor_worst(self, rng):
        choice = np.repeat([0, 2], 20)
        X = np.column_stack([(choice + 0.5) / 3, rng.random((40, 2))])
        y = (choice == 2).astype(float)
        ranks = forest.fit_forest(X, y, np.array([3, 0, 0]), rng, N_TREES).category_ranks[0]
        assert ranks[0] < ranks[1] < ranks[2]

    def test_one_row(self, rng):
        X = np.full((1, 3), 0.5)
        surrogate = forest.fit_forest(X, np.ones(1), NUMBERS, rng, N_TREES)
        mean, std = surrogate.predict(rng.random((5, 3)))
        np.testing.assert_array_equal(mean, 1)
        np.testing.assert_array_equal(std, 0)


class TestPresence:
    def test_nested_branches(self, rng):
        # Column 1 exists if column 0 is low, column 2 if moreover column 1 is high.
        X = rng.random((400, 3))
        present = np.ones((400, 3), dtype=bool)
        present[:, 1] = X[:, 0] < 0.5
        present[:, 2] = present[:, 1] & (X[:, 1] > 0.5)
        queries = np.array([[0.2, 0.9, 0.5], [0.2, 0.1, 0.5], [0.8, 0.9, 0.5]])
        found = forest.learn_presence(X, present)(queries)
        np.testing.assert_array_equal(found, [[1, 1, 1], [1, 1, 0], [1, 0, 0]])

    def test_many_combinations(self, rng):
        # Ten switches, each with a parameter of its own: most combinations were never seen.
        X = rng.random((300, 20))
        present = np.concatenate([np.ones((300, 10), dtype=bool), X[:, :10] < 0.5], axis=1)
        queries = rng.random((200, 20))
        found = forest.learn_presence(X, present)(queries)
        assert found[:, :10].all()
        assert (found[:, 10:] == (queries[:, :10] < 0.5)).mean() > 0.98

    def test_one_pattern(self, rng):
        X = rng.random((5, 2))
        present = np.tile([True, False], (5, 1))
        found = forest.learn_presence(X, present)(rng.random((3, 2)))
        np.testing.assert_array_equal(found, np.tile([True, False], (3, 1)))
