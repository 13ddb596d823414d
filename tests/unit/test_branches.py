"""Which branch of a conditional space an ask searches."""

from __future__ import annotations

import numpy as np
import pytest
from optimizer_views import view_of

from adbo.optimizer import branches
from adbo.optimizer.sample import Geometry, Rows, Sample

GEOMETRY = Geometry(
    np.array([2, 0, 0]),
    np.array([2.0, np.inf, np.inf]),
    lambda units: np.column_stack([np.where(units[:, 0] < 0.5, 0.25, 0.75), units[:, 1:]]),
)

ROWS_PER_COLUMN = 4


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def enter(X, cost, rng, n=1):
    """Return views of n branches that are drawn; None where there is no branch to search."""
    n_elites = int((~np.isnan(cost)).sum())
    view = view_of(Sample(X, cost, n_elites, lambda: Rows(X[:0], cost[:0])), GEOMETRY)
    return [branches.enter_branch(view, rng, ROWS_PER_COLUMN) for _ in range(n)]


def first_costs(X, cost, rng, n=20):
    """Return the best costs of the branches that are drawn."""
    return {float(view.sample.cost[0]) for view in enter(X, cost, rng, n)}


def two_branches(rng, spread=1.0):
    """60 rows of a branch whose costs are below 1, and 30 of another with a worse best one."""
    first = np.column_stack([np.full(60, 0.25), rng.random(60), np.full(60, np.nan)])
    second = np.column_stack([np.full(30, 0.75), np.full(30, np.nan), rng.random(30)])
    cost = np.concatenate([np.linspace(0, 1, 60), np.linspace(2, 2 + spread, 30)])
    return np.concatenate([first, second]), cost


def test_a_branch_has_its_rows_best_first(rng):
    X, cost = two_branches(rng, spread=30.0)
    cost[[3, 70]] = np.nan
    found = enter(X, cost, rng, 40)
    numbers = [int(view.sample.cost[0] > 1) for view in found]
    assert 10 <= sum(numbers) <= 30
    expected = [[i for i in range(60) if i != 3], [i for i in range(60, 90) if i != 70]]
    for number, view in zip(numbers, found, strict=True):
        rows = expected[number]
        np.testing.assert_array_equal(view.sample.X, X[rows])
        np.testing.assert_array_equal(view.sample.cost, cost[rows])
        assert view.sample.n_elites == len(rows)
        present = ~np.isnan(X[rows])
        np.testing.assert_array_equal(view.complete[present], X[rows][present])


def test_columns_that_a_branch_does_not_have_are_fixed(rng):
    X, cost = two_branches(rng, spread=30.0)
    for view in enter(X, cost, rng, 10):
        absent = np.isnan(view.sample.X[0])
        np.testing.assert_array_equal(view.geometry.levels, np.where(absent, 1.0, GEOMETRY.levels))


def test_a_converged_branch_is_left(rng):
    X, cost = two_branches(rng, spread=0.1)
    assert first_costs(X, cost, rng) == {0.0}
    cost[:60] = 0.0
    assert enter(X, cost, rng) == [None]


def test_a_branch_of_a_few_rows_has_not_converged(rng):
    X, cost = two_branches(rng, spread=0.1)
    assert first_costs(X[:63], cost[:63], rng) == {0.0, 2.0}


def test_a_branch_in_which_all_fails_is_left(rng):
    X, cost = two_branches(rng, spread=30.0)
    cost[60:] = np.nan
    assert enter(X, cost, rng) == [None]
    X[50:60] = np.nan
    assert first_costs(X, cost, rng) == {0.0, float(cost[50])}


def test_a_trial_that_failed_before_it_asked_for_all_makes_no_branch(rng):
    X = rng.random((40, 3))
    X[7, 1:] = np.nan
    cost = np.where(np.arange(40) == 7, np.nan, X.sum(axis=1))
    assert enter(X, cost, rng) == [None]


def test_rows_with_the_same_parameters():
    X = np.array([[0.25, 0.1, np.nan], [0.75, np.nan, 0.2], [0.25, 0.7, np.nan]])
    assert branches.is_in_branch(X, X[0]).tolist() == [True, False, True]
