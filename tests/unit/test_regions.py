"""Which rows an ask works with: the elites, a basin, a restart elsewhere, or the whole sample."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optimizer_views import continuous, grid, sample_of, view_of

from adbo.core.history import ELITES
from adbo.optimizer import regions
from adbo.optimizer.regions import RegionSettings, make_region
from adbo.optimizer.sample import Rows

SETTINGS = RegionSettings()

#: All basins have enough rows for a model of their own, or none has.
MANY, FEW = RegionSettings(least_rows=1), RegionSettings(least_rows=10_000)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def seen(X, y, n_elites, auxiliary=None):
    return view_of(sample_of(X, y, n_elites, auxiliary), continuous(X.shape[1]))


def regions_of(view, kind, rng, n=200, settings=SETTINGS):
    return [make_region(view, kind, rng, settings) for _ in range(n)]


def centres_of(view, kind, X, rng, n=200):
    """Return the numbers of the centres ``(n,)`` among the rows ``X``."""
    found = regions_of(view, kind, rng, n)
    assert all(region.is_basin for region in found)
    return np.array([np.flatnonzero((region.X[0] == X).all(axis=1))[0] for region in found])


def two_basins(rng):
    """256 rows in the better basin, hardly different, all elites; 40 in another; 100 anywhere."""
    better = 0.2 + 0.01 * rng.standard_normal((256, 2))
    other = 0.8 + 0.01 * rng.standard_normal((40, 2))
    X = np.concatenate([better, other, rng.random((100, 2))])
    y = [np.linspace(0, 1e-7, 256), np.linspace(1.1, 4, 40), 4 + rng.random(100)]
    return X, np.concatenate(y)


class TestElites:
    def test_they_are_the_best_rows_best_first(self, rng):
        X, y = rng.random((50, 2)), rng.random(50)
        (region,) = regions_of(seen(X, y, 20), "elites", rng, 1)
        assert region.kind == "elites"
        assert not region.is_basin
        assert region.reach == np.inf
        np.testing.assert_array_equal(region.cost, np.sort(y)[:20])
        np.testing.assert_array_equal(region.X, X[np.argsort(y)[:20]])

    @pytest.mark.parametrize(("size", "kind"), [(1e-11, "restart"), (1.0, "elites")])
    def test_once_they_have_converged_the_ask_restarts_elsewhere(self, rng, size, kind):
        X, y = two_basins(rng)
        y[:256] *= size
        settings = RegionSettings(converged_fraction=1e-12)
        found = regions_of(seen(X, y, 256), "elites", rng, 30, settings)
        assert {region.kind for region in found} == {kind}

    def test_a_region_of_a_branch_has_all_rows_of_the_branch(self, rng):
        X, y = rng.random((50, 2)), np.zeros(50)
        (region,) = regions_of(seen(X, y, 50), "branch", rng, 1)
        assert region.kind == "branch"
        assert len(region.X) == 50


def test_the_whole_sample_has_failures_too(rng):
    X, y = rng.random((30, 2)), rng.random(30)
    y[:4] = np.nan
    (region,) = regions_of(seen(X, y, 10), "space", rng, 1)
    assert region.kind == "space"
    assert len(region.X) == 30
    assert np.isnan(region.cost[-4:]).all()


class TestBasin:
    def test_some_are_in_the_basin_without_elites(self, rng):
        X, y = two_basins(rng)
        y[:256] *= 1e7
        centres = centres_of(seen(X, y, 256), "basin", X, rng, 400)
        assert 0.05 < (centres >= 256).mean() < 0.7
        # There, it is the best row from which the way to a better one is far.
        assert (centres[centres >= 256] == 256).mean() > 0.7

    def test_one_that_cannot_reach_the_incumbent_is_left(self, rng):
        X, y = two_basins(rng)
        y[:256] *= 1e7
        y[256:296] = np.linspace(2, 2.01, 40)  # all as good, and far behind
        centres = centres_of(seen(X, y, 256), "basin", X, rng)
        assert not ((centres >= 256) & (centres < 296)).any()

    def test_its_rows_are_ordered_by_distance(self, rng):
        X, y = two_basins(rng)
        for settings in (MANY, FEW):
            for region in regions_of(seen(X, y, 256), "basin", rng, 40, settings):
                distance = np.linalg.norm(region.X - region.X[0], axis=1)
                assert (np.diff(distance) >= 0).all()

    def test_its_rows_keep_their_costs(self, rng):
        X = rng.random((50, 2))
        auxiliary = rng.random((50, 2))
        view = seen(X, X.sum(axis=1), 30, Rows(auxiliary, auxiliary.sum(axis=1)))
        for region in regions_of(view, "basin", rng, 20, FEW):
            assert len(region.X) == 100
            np.testing.assert_array_equal(region.cost, region.X.sum(axis=1))

    def test_its_radius_is_a_fraction_of_the_way_to_a_better_row(self, rng):
        X = np.array([[0.1, 0.1], [0.9, 0.1], [0.9, 0.2]])
        view = seen(X, np.array([0.0, 1.0, 5.0]), 1)
        settings = RegionSettings(radius_fraction=0.25)
        found = regions_of(view, "basin", rng, settings=settings)
        reach = {tuple(region.X[0]): region.reach for region in found}
        assert reach[0.1, 0.1] == np.inf
        assert reach[0.9, 0.1] == pytest.approx(0.2)

    def test_it_has_the_rows_within_the_radius_and_no_others(self, rng):
        X, y = two_basins(rng)
        distances = regions.nearest_better_distances(X, y)
        for region in regions_of(seen(X, y, 256), "basin", rng, 40, MANY):
            centre = np.flatnonzero((region.X[0] == X).all(axis=1))[0]
            radius = MANY.radius_fraction * distances[centre]
            inside = np.linalg.norm(X - X[centre], axis=1) <= radius
            assert region.reach == np.inf
            assert len(region.X) == min(inside.sum(), ELITES)

    def test_with_few_rows_it_has_the_nearest_ones_and_a_reach(self, rng):
        X, y = two_basins(rng)
        for region in regions_of(seen(X, y, 256), "basin", rng, 40, FEW):
            assert len(region.X) == ELITES < len(X)
            nearest = np.sort(np.linalg.norm(X - region.X[0], axis=1))[:ELITES]
            found = np.linalg.norm(region.X - region.X[0], axis=1)
            np.testing.assert_allclose(found, nearest)
            assert region.reach > 0

    def test_different_choices_are_all_as_far_from_each_other(self, rng):
        X = np.array([[1 / 6, 0.0], [5 / 6, 0.1], [3 / 6, 0.2]])
        sample = sample_of(X, np.arange(3.0), 1)
        view = view_of(sample, grid([3, 100], categories=[3, 0]))
        found = [make_region(view, "basin", rng, FEW) for _ in range(60)]
        from_first = [region.X for region in found if (region.X[0] == X[0]).all()]
        assert from_first
        for rows in from_first:
            np.testing.assert_array_equal(rows, X)

    def test_auxiliary_rows_are_in_it(self, rng):
        X, y = two_basins(rng)
        y[:256] *= 1e7
        auxiliary = Rows(0.8 + 0.01 * rng.standard_normal((30, 2)), np.linspace(2, 5, 30))
        known = {row.tobytes() for row in auxiliary.X}
        found = regions_of(seen(X, y, 256, auxiliary), "basin", rng, 200, MANY)
        others = [region.X for region in found if np.linalg.norm(region.X[0] - 0.8) < 0.05]
        assert len(others) > 5
        for rows in others:
            if len(rows) >= 70:
                assert sum(row.tobytes() in known for row in rows[:70]) == 30
        assert max(map(len, others)) >= 70

    def test_auxiliary_rows_tell_that_it_has_converged(self, rng):
        X, y = two_basins(rng)
        # Two rows of the other basin are known; their neighbours are not.
        X, y = np.delete(X, slice(258, 296), axis=0), np.delete(y, slice(258, 296))
        y[:256] *= 1e7
        y[256:258] = 2.0
        flat = Rows(0.8 + 0.01 * rng.standard_normal((30, 2)), np.full(30, 2.001))

        def share(auxiliary):
            centres = centres_of(seen(X, y, 256, auxiliary), "basin", X, rng, 400)
            return np.mean([centre in (256, 257) for centre in centres])

        assert share(None) > 0.05
        assert share(flat) == 0


class TestRestart:
    def test_most_are_where_a_row_is_the_best_of_many(self, rng):
        # A long slope down to the better basin, and worse rows around (0.8, 0.8).
        X, y = two_basins(rng)
        slope = np.linspace(0.25, 0.75, 100)
        X[296:] = np.stack([slope, 0.2 + 0.02 * rng.standard_normal(100)], axis=1)
        X[256:296] = 0.8 + 0.1 * rng.standard_normal((40, 2))
        y[296:], y[256:296] = 0.1 * slope, np.linspace(0.2, 4, 40)
        centres = centres_of(seen(X, y, 256), "restart", X, rng, 400)
        assert (centres == 256).mean() > 0.5  # alone among a hundred

    def test_they_are_where_rows_are_few(self, rng):
        X, y = two_basins(rng)
        X[256:], y[256:] = rng.random((140, 2)), np.linspace(2, 3.9, 140)
        # Wherever there are no other rows close by, all are as bad, but say nothing of a basin.
        centres = centres_of(seen(X, y, 256), "restart", X, rng)
        assert len(set(centres)) > 20
        assert np.mean(centres >= 256) > 0.7

    def test_few_are_in_a_basin_that_cannot_reach_the_incumbent(self, rng):
        X, y = two_basins(rng)
        y[256:296] = np.linspace(2, 2.01, 40)
        centres = centres_of(seen(X, y, 256), "restart", X, rng, 400)
        assert np.mean((centres >= 256) & (centres < 296)) < 0.02

    def test_they_leave_the_converged_basin(self, rng):
        X, y = two_basins(rng)
        y[:256] *= 1e-11
        assert (centres_of(seen(X, y, 256), "restart", X, rng, 50) >= 256).all()


@pytest.mark.parametrize("kind", ["elites", "basin", "restart"])
def test_equal_rows(rng, kind):
    view = seen(np.full((30, 2), 0.4), np.zeros(30), 10)
    for region in regions_of(view, kind, rng, 20):
        assert len(region.X) in {10, 30}
        assert (region.X == 0.4).all()


@pytest.mark.parametrize("kind", ["space", "elites", "basin", "restart"])
@given(
    costs=st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=40),
    n_places=st.integers(1, 40),
    seed=st.integers(0, 2**32 - 1),
)
def test_rows_and_costs_whatever_was_seen(kind, costs, n_places, seed):
    rng = np.random.default_rng(seed)
    y = np.array(costs)
    y[0] = 1.0
    X = rng.random((n_places, 2))[rng.integers(n_places, size=len(y))]
    n_elites = int(rng.integers(1, (~np.isnan(y)).sum() + 1))
    (region,) = regions_of(seen(X, y, n_elites), kind, rng, 1)
    assert len(region.X) == len(region.cost) > 0
    assert region.reach >= 0


def test_nearest_better_distance_is_the_distance_to_the_nearest_better_row(rng):
    X, cost = rng.random((150, 3)), rng.integers(40, size=150).astype(float)
    cost[:5] = np.nan
    distances = regions.nearest_better_distances(X, cost)
    order = np.argsort(cost, kind="stable")
    assert distances[order[0]] == np.inf
    for i in range(1, 150):
        distance = np.linalg.norm(X[order[:i]] - X[order[i]], axis=1)
        np.testing.assert_allclose(distances[order[i]], distance.min(), atol=1e-7)
