"""Which rows an ask works with: the elites or a basin."""

from __future__ import annotations

import numpy as np
import pytest

from adbo.optimizer import regions
from adbo.optimizer.regions import RegionKind
from adbo.optimizer.sample import Geometry, Rows, Sample
from adbo.optimizer.settings import RegionSettings


def continuous(d):
    return Geometry(np.zeros(d, dtype=np.int64), np.full(d, np.inf), lambda units: units)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def choose(X, y, n_elites, geometry, rng, auxiliary=None):
    sample = Sample(X, y, n_elites, lambda: auxiliary or Rows(X[:0], y[:0]))
    return regions.choose_region(sample, geometry, rng, RegionSettings())


def two_basins(rng):
    """256 rows in the better basin, hardly different, all elites; 40 in another; 100 anywhere."""
    better = 0.2 + 0.01 * rng.standard_normal((256, 2))
    other = 0.8 + 0.01 * rng.standard_normal((40, 2))
    X = np.concatenate([better, other, rng.random((100, 2))])
    y = [np.linspace(0, 1e-7, 256), np.linspace(1.1, 4, 40), 4 + rng.random(100)]
    return X, np.concatenate(y)


def test_elites_or_basins(rng):
    X, y = two_basins(rng)
    found = [choose(X, y, 256, continuous(2), rng) for _ in range(200)]
    elites = [region for region in found if region.kind is RegionKind.ELITES]
    others = [region for region in found if region.is_basin]
    assert 20 < len(elites) < 55  # seven tenths of the quarter that does not leave
    assert all(np.array_equal(region.rows, np.arange(256)) for region in elites)
    assert all(np.array_equal(np.sort(region.rows), np.arange(len(X))) for region in others)


def test_most_asks_leave_a_basin_that_is_polished(rng):
    X, y = two_basins(rng)

    def share():
        found = [choose(X, y, 256, continuous(2), rng) for _ in range(600)]
        return np.mean([region.is_basin and region.rows[0] >= 256 for region in found])

    assert 0.7 < share() < 0.9
    y[:256] *= 1e5
    assert share() < 0.3


def test_those_that_leave_go_where_a_row_is_the_best_of_many(rng):
    # A long slope down to the better basin, and worse rows around (0.8, 0.8).
    X, y = two_basins(rng)
    slope = np.linspace(0.25, 0.75, 100)
    X[296:] = np.stack([slope, 0.2 + 0.02 * rng.standard_normal(100)], axis=1)
    X[256:296] = 0.8 + 0.1 * rng.standard_normal((40, 2))
    y[296:], y[256:296] = 0.1 * slope, np.linspace(0.2, 4, 40)
    found = [choose(X, y, 256, continuous(2), rng) for _ in range(400)]
    centres = np.array([region.rows[0] for region in found if region.kind is RegionKind.RESTART])
    assert 200 < len(centres) < 360
    assert (centres == 256).mean() > 0.5  # alone among a hundred
    y[:256] *= 1e7
    assert not any(
        choose(X, y, 256, continuous(2), rng).kind is RegionKind.RESTART for _ in range(50)
    )


def test_those_that_leave_look_where_rows_are_few(rng):
    X, y = two_basins(rng)
    X[256:], y[256:] = rng.random((140, 2)), np.linspace(2, 3.9, 140)
    # Wherever there are no other rows close by, all are as bad, but say nothing of a basin.
    found = [choose(X, y, 256, continuous(2), rng) for _ in range(200)]
    centres = [region.rows[0] for region in found if region.kind is RegionKind.RESTART]
    assert len(set(centres)) > 20
    assert np.mean(np.array(centres) >= 256) > 0.7


def test_some_basins_are_in_the_basin_without_elites(rng):
    X, y = two_basins(rng)
    y[:256] *= 1e7
    found = [choose(X, y, 256, continuous(2), rng) for _ in range(1000)]
    centres = np.array([region.rows[0] for region in found if region.is_basin])
    assert 0.2 < len(centres) / 1000 < 0.4
    assert 0.05 < (centres >= 256).mean() < 0.7
    # There, it is the best row from which the way to a better one is far.
    assert (centres[centres >= 256] == 256).mean() > 0.7


def test_the_radius_is_half_of_the_way_to_a_better_row(rng):
    X = np.array([[0.1, 0.1], [0.9, 0.1], [0.9, 0.2]])
    found = [choose(X, np.array([0.0, 1.0, 5.0]), 1, continuous(2), rng) for _ in range(200)]
    radius = {int(region.rows[0]): region.radius for region in found if region.is_basin}
    assert radius[0] == np.inf
    assert radius[1] == pytest.approx(0.4)


def test_a_basin_that_cannot_get_so_far_is_left(rng):
    X, y = two_basins(rng)
    y[256:296] = np.linspace(2, 2.01, 40)  # all as good, and far behind

    def found():
        chosen = (choose(X, y, 256, continuous(2), rng) for _ in range(500))
        return [
            (region.kind is RegionKind.RESTART, 256 <= region.rows[0] < 296) for region in chosen
        ]

    # Of those that leave a polished basin, few: rows beside its centre have little weight.
    assert np.mean([is_there for is_restart, is_there in found() if is_restart]) < 0.02
    y[:256] *= 1e7
    assert not any(is_there for _, is_there in found())


def test_a_basin_is_ordered_by_distance(rng):
    X, y = two_basins(rng)
    found = [choose(X, y, 256, continuous(2), rng) for _ in range(40)]
    others = [region.rows for region in found if region.is_basin]
    assert len(others) > 5
    for rows in others:
        assert (np.diff(np.linalg.norm(X[rows] - X[rows[0]], axis=1)) >= 0).all()


def test_categories_are_all_as_far_from_each_other(rng):
    geometry = Geometry(np.array([3, 0]), np.array([3.0, np.inf]), lambda units: units)
    X = np.array([[1 / 6, 0.0], [5 / 6, 0.1], [3 / 6, 0.2]])
    y = np.arange(3.0)
    found = [choose(X, y, 1, geometry, rng).rows for _ in range(60)]
    from_first = [r for r in found if len(r) == 3 and r[0] == 0]
    assert from_first
    assert all(list(r) == [0, 1, 2] for r in from_first)


def test_equal_rows(rng):
    X = np.full((30, 2), 0.4)
    for _ in range(20):
        region = choose(X, np.zeros(30), 10, continuous(2), rng)
        assert sorted(region.rows) == list(range(30))
        assert region.is_basin


def test_an_converged_basin_is_left(rng):
    X, y = two_basins(rng)
    X, y = np.concatenate([X, rng.random((60, 2))]), np.concatenate([y, 4 + rng.random(60)])
    y[:256] *= 1e-11
    for _ in range(50):
        region = choose(X, y, 256, continuous(2), rng)
        assert region.rows[0] >= 256
        assert region.is_basin


@pytest.mark.parametrize("cost", [np.inf, -np.inf, np.nan, 0.0])
def test_costs_that_tell_nothing(rng, cost):
    X = rng.random((30, 2))
    region = choose(X, np.full(30, cost), 10, continuous(2), rng)
    assert len(region.rows) in {10, 30}


def test_auxiliary_rows_are_in_the_basin(rng):
    X, y = two_basins(rng)
    auxiliary = Rows(0.8 + 0.01 * rng.standard_normal((30, 2)), np.linspace(2, 5, 30))
    found = [choose(X, y, 256, continuous(2), rng, auxiliary) for _ in range(400)]
    others = [region.rows for region in found if 256 <= region.rows[0] < 296]
    assert len(others) > 10
    assert all(np.array_equal(np.sort(rows), np.arange(len(X) + 30)) for rows in others)
    nearest = others[0][:70]
    assert (nearest[nearest >= len(X)]).size == 30


def test_auxiliary_rows_tell_that_a_basin_is_converged(rng):
    X, y = two_basins(rng)
    # Two rows of the other basin are known; their neighbours are not.
    X, y = np.delete(X, slice(258, 296), axis=0), np.delete(y, slice(258, 296))
    y[256:258] = 2.0
    flat = Rows(0.8 + 0.01 * rng.standard_normal((30, 2)), np.full(30, 2.001))

    def share(auxiliary):
        found = [choose(X, y, 256, continuous(2), rng, auxiliary) for _ in range(600)]
        return np.mean([region.rows[0] in (256, 257) for region in found])

    assert share(None) > 0.05
    assert share(flat) == 0


def test_nearest_better_distance_is_the_distance_to_the_nearest_better_row(rng):
    X, cost = rng.random((150, 3)), rng.integers(40, size=150).astype(float)
    cost[:5] = np.nan
    distances = regions.nearest_better_distances(X, cost)
    order = np.argsort(cost, kind="stable")
    assert distances[order[0]] == np.inf
    for i in range(1, 150):
        distance = np.linalg.norm(X[order[:i]] - X[order[i]], axis=1)
        np.testing.assert_allclose(distances[order[i]], distance.min(), atol=1e-7)
