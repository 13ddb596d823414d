"""Which branch of a conditional space an ask searches."""

from __future__ import annotations

import numpy as np
import pytest

from adbo.optimizer import branches
from adbo.optimizer.regions import Region, RegionKind
from adbo.optimizer.sample import Geometry, Rows, Sample
from adbo.optimizer.settings import BranchSettings, OptimizerSettings, StrategySettings
from adbo.optimizer.strategies import propose_point

LEVELS = np.array([2.0, np.inf, np.inf])
GEOMETRY = Geometry(
    np.array([2, 0, 0]),
    LEVELS,
    lambda units: np.column_stack([np.where(units[:, 0] < 0.5, 0.25, 0.75), units[:, 1:]]),
)


ROWS_PER_COLUMN = 4


def choose(X, cost, rng):
    return branches.choose_branch(X, cost, rng, ROWS_PER_COLUMN)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def two_branches(rng, spread=1.0):
    """60 rows of a branch whose costs are below 1, and 30 of another with a worse best one."""
    first = np.column_stack([np.full(60, 0.25), rng.random(60), np.full(60, np.nan)])
    second = np.column_stack([np.full(30, 0.75), np.full(30, np.nan), rng.random(30)])
    cost = np.concatenate([np.linspace(0, 1, 60), np.linspace(2, 2 + spread, 30)])
    return np.concatenate([first, second]), cost


def test_a_branch_has_its_rows_best_first(rng):
    X, cost = two_branches(rng, spread=30.0)
    cost[[3, 70]] = np.nan
    found = [choose(X, cost, rng) for _ in range(40)]
    assert all(region.kind is RegionKind.BRANCH for region in found)
    numbers = [int(region.rows[0] >= 60) for region in found]
    assert 10 <= sum(numbers) <= 30
    expected = [[i for i in range(60) if i != 3], [i for i in range(60, 90) if i != 70]]
    for number, region in zip(numbers, found, strict=True):
        assert region.rows.tolist() == expected[number]


def test_an_converged_branch_is_left(rng):
    X, cost = two_branches(rng, spread=0.1)
    assert {choose(X, cost, rng).rows[0] for _ in range(20)} == {0}
    cost[:60] = 0.0
    assert choose(X, cost, rng) is None


def test_a_branch_of_a_few_rows_is_not_converged(rng):
    X, cost = two_branches(rng, spread=0.1)
    assert {choose(X[:63], cost[:63], rng).rows[0] for _ in range(20)} == {0, 60}


def test_a_branch_in_which_all_fails_is_left(rng):
    X, cost = two_branches(rng, spread=30.0)
    cost[60:] = np.nan
    assert choose(X, cost, rng) is None
    X[50:60] = np.nan
    assert {choose(X, cost, rng).rows[0] for _ in range(20)} == {0, 50}


def test_a_trial_that_failed_before_it_asked_for_all_makes_no_branch(rng):
    X = rng.random((40, 3))
    X[7, 1:] = np.nan
    cost = np.where(np.arange(40) == 7, np.nan, X.sum(axis=1))
    assert choose(X, cost, rng) is None


def test_rows_with_the_same_parameters():
    X = np.array([[0.25, 0.1, np.nan], [0.75, np.nan, 0.2], [0.25, 0.7, np.nan]])
    assert branches.is_in_branch(X, X[0]).tolist() == [True, False, True]


def test_models_do_not_leave_the_branch_for_a_better_one(rng, monkeypatch):
    settings = OptimizerSettings(
        branches=BranchSettings(probability=1.0),
        strategies=StrategySettings(
            region_minimize_probability=0.5, region_quadratic_probability=0.5
        ),
    )
    X, cost = two_branches(rng, spread=30.0)
    monkeypatch.setattr(
        branches, "choose_branch", lambda *_: Region(np.arange(60, 90), RegionKind.BRANCH)
    )
    sample = Sample(X, cost, 60, lambda: Rows(X[:0], cost[:0]))
    points = np.array(
        [propose_point(sample, GEOMETRY, 0.5, rng, None, settings) for _ in range(60)]
    )
    assert (points[:, 0] == 0.75).all()


@pytest.mark.parametrize(("probability", "least", "most"), [(0.0, 0.0, 0.25), (1.0, 0.35, 0.65)])
def test_proposals_stay_in_the_branch(probability, least, most, rng):
    settings = OptimizerSettings(branches=BranchSettings(probability=probability))
    X, cost = two_branches(rng, spread=30.0)
    sample = Sample(X, cost, 60, lambda: Rows(X[:0], cost[:0]))
    points = np.array(
        [propose_point(sample, GEOMETRY, 0.5, rng, None, settings) for _ in range(80)]
    )
    assert least <= np.mean(points[:, 0] > 0.5) <= most
