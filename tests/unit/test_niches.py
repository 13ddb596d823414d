"""Which rows an ask works with."""

from __future__ import annotations

import numpy as np
import pytest

from adbo import niches
from adbo.candidates import Geometry


def continuous(d):
    return Geometry(np.zeros(d, dtype=np.int64), np.full(d, np.inf), lambda units: units)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def two_basins(rng):
    """256 rows in the better basin, all elites, and 40 in another one."""
    better = 0.2 + 0.01 * rng.standard_normal((256, 2))
    other = 0.8 + 0.01 * rng.standard_normal((40, 2))
    X = np.concatenate([better, other])
    return X, np.concatenate([np.linspace(0, 1, 256), np.linspace(2, 3, 40)])


def test_elites_or_niches(rng):
    X, y = two_basins(rng)
    ranking = [niches.rank(X, y, 256, continuous(2), rng) for _ in range(200)]
    elites = [r for r in ranking if len(r) == 256]
    others = [r for r in ranking if len(r) == len(X)]
    assert 60 < len(elites) < 140
    assert len(elites) + len(others) == 200
    assert all(np.array_equal(r, np.arange(256)) for r in elites)
    assert all(np.array_equal(np.sort(r), np.arange(len(X))) for r in others)


def test_more_niches_once_the_elites_have_gathered(rng):
    def n_niches(spread):
        X = np.concatenate([0.5 + spread * rng.standard_normal((256, 2)), rng.random((40, 2))])
        y = np.arange(len(X), dtype=float)
        rankings = [niches.rank(X, y, 256, continuous(2), rng) for _ in range(400)]
        return sum(len(ranking) == len(X) for ranking in rankings)

    assert 80 < n_niches(0.1) < 160
    assert 200 < n_niches(1e-3) < 280


def test_some_niches_are_in_the_basin_without_elites(rng):
    X, y = two_basins(rng)
    ranking = [niches.rank(X, y, 256, continuous(2), rng) for _ in range(2000)]
    heads = np.array([r[0] for r in ranking if len(r) == len(X)])
    assert 0.2 < (heads >= 256).mean() < 0.5
    # There, it is the best row from which the way to a better one is far.
    assert (heads[heads >= 256] == 256).mean() > 0.7


def test_niche_is_ordered_by_distance(rng):
    X = rng.random((100, 3))
    for _ in range(20):
        ranking = niches.rank(X, X.sum(axis=1), 50, continuous(3), rng)
        distance = np.linalg.norm(X[ranking] - X[ranking[0]], axis=1)
        assert len(ranking) == 50 or (np.diff(distance) >= 0).all()


def test_categories_are_all_as_far_from_each_other(rng):
    geometry = Geometry(np.array([3, 0]), np.array([3.0, np.inf]), lambda units: units)
    X = np.array([[1 / 6, 0.0], [5 / 6, 0.1], [3 / 6, 0.2]])
    y = np.arange(3.0)
    found = [niches.rank(X, y, 1, geometry, rng) for _ in range(60)]
    from_first = [r for r in found if len(r) == 3 and r[0] == 0]
    assert from_first
    assert all(list(r) == [0, 1, 2] for r in from_first)


def test_equal_rows(rng):
    X = np.full((30, 2), 0.4)
    for _ in range(20):
        assert len(niches.rank(X, np.zeros(30), 10, continuous(2), rng)) in {10, 30}


def test_an_exhausted_basin_is_left(rng):
    X, y = two_basins(rng)
    X, y = np.concatenate([X, rng.random((60, 2))]), np.concatenate([y, 4 + rng.random(60)])
    y[:256] *= 1e-11
    for _ in range(50):
        ranking = niches.rank(X, y, 256, continuous(2), rng)
        assert ranking[0] >= 256
        assert len(ranking) == len(X)


@pytest.mark.parametrize("cost", [np.inf, -np.inf, np.nan, 0.0])
def test_costs_that_tell_nothing(rng, cost):
    X = rng.random((30, 2))
    ranking = niches.rank(X, np.full(30, cost), 10, continuous(2), rng)
    assert len(ranking) in {10, 30}
