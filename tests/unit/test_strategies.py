"""Proposals are good, new, different from each other, and always possible."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adbo.optimizer import regions, strategies
from adbo.optimizer.models import additive
from adbo.optimizer.regions import Region, RegionKind
from adbo.optimizer.sample import Geometry, Rows, Sample
from adbo.optimizer.settings import DEFAULT_SETTINGS, OptimizerSettings, StrategySettings
from adbo.optimizer.strategies import propose_point
from adbo.optimizer.view import enter_region, make_view


def continuous(d):
    return Geometry(np.zeros(d, dtype=np.int64), np.full(d, np.inf), lambda units: units)


def grid(levels, categories=None):
    levels = np.array(levels, dtype=float)

    def snap(units):
        return (np.clip(np.floor(units * levels), 0, levels - 1) + 0.5) / levels

    return Geometry(np.array(categories or [0] * len(levels)), levels, snap)


def sample_of(X, cost):
    order = np.argsort(cost)
    n_elites = int((~np.isnan(cost)).sum())
    return Sample(X[order], cost[order], n_elites, lambda: Rows(X[:0], cost[:0]))


def propose(sample, geometry, kappa, rng, is_known=None, settings=DEFAULT_SETTINGS):
    return propose_point(sample, geometry, kappa, rng, is_known, settings)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


class TestPropose:
    def test_near_the_minimum_of_a_bowl(self, rng):
        X = rng.random((400, 2))
        sample = sample_of(X, ((X - 0.3) ** 2).sum(axis=1))
        points = np.array([propose(sample, continuous(2), 0.0, rng) for _ in range(20)])
        assert np.median(np.abs(points - 0.3)) < 0.03

    def test_parameters_that_act_one_by_one_are_searched_so(self, rng):
        X = rng.random((200, 4))
        target = np.array([0.3, 0.6, 0.8, 0.2])

        def cost(points):
            x = points - target
            return np.sum(2 * np.abs(x) - np.cos(25 * x), axis=1)

        sample = sample_of(X, cost(X))
        points = np.array([propose(sample, continuous(4), 0.0, rng) for _ in range(100)])
        found = (np.abs(points - target).max(axis=1) < 0.06).mean()
        assert found > 0.05  # no other model gets there in one step

    def test_large_kappa_explores(self, rng):
        # Only the forest uses kappa.
        forest_only = OptimizerSettings(
            strategies=StrategySettings(
                minimize_probability=0.0, quadratic_probability=0.0, additive_probability=0.0
            )
        )
        X = np.concatenate([0.3 + 0.01 * rng.standard_normal((200, 2)), rng.random((20, 2))])
        sample = sample_of(X, ((X - 0.3) ** 2).sum(axis=1))

        def distance(kappa):
            points = [
                propose(sample, continuous(2), kappa, rng, settings=forest_only) for _ in range(20)
            ]
            return np.abs(np.array(points) - 0.3).mean()

        assert distance(1000.0) > 5 * distance(0.0)

    def test_a_seed_determines_it(self):
        X = np.random.default_rng(0).random((50, 3))
        sample = sample_of(X, X.sum(axis=1))
        first, second = (
            propose(sample, continuous(3), 1.0, np.random.default_rng(7)) for _ in range(2)
        )
        np.testing.assert_array_equal(first, second)

    def test_asks_on_one_history_differ(self, rng):
        X = rng.random((300, 5))
        sample = sample_of(X, ((X - 0.3) ** 2).sum(axis=1))
        points = [propose(sample, continuous(5), 1.0, rng).tobytes() for _ in range(64)]
        assert len(set(points)) == 64

    @settings(max_examples=40, deadline=None)
    @given(
        st.integers(0, 30),
        st.integers(1, 4),
        st.sampled_from([0.0, 0.3, 1.0]),
        st.sampled_from([0.0, 0.3, 1.0]),
        st.sampled_from([1e-308, 1.0, 1e308, np.inf]),
        st.integers(0, 2**32 - 1),
    )
    def test_complete_and_inside_whatever_was_seen(self, m, d, absent, failed, scale, seed):
        rng = np.random.default_rng(seed)
        X = rng.random((m, d))
        X[rng.random((m, d)) < absent] = np.nan
        cost = np.where(rng.random(m) < failed, np.nan, scale * rng.choice([-1.0, 0.5, 1.0], m))
        with np.errstate(over="raise", invalid="raise"):
            point = propose(sample_of(X, cost), continuous(d), 1.0, rng)
        assert point.shape == (d,)
        assert ((point >= 0) & (point <= 1)).all()

    def test_absent_branch_is_not_mistaken_for_its_values(self, rng):
        # The parameter of the good branch is absent in the bad one, and best at 0.8.
        X = rng.random((300, 2))
        X[:, 0] = np.where(X[:, 0] < 0.5, 0.25, 0.75)
        good = X[:, 0] == 0.25
        cost = np.where(good, np.abs(X[:, 1] - 0.8), 5.0)
        X[~good, 1] = np.nan
        geometry = Geometry(
            np.array([2, 0]),
            np.array([2.0, np.inf]),
            lambda units: np.column_stack([np.where(units[:, 0] < 0.5, 0.25, 0.75), units[:, 1]]),
        )
        points = np.array([propose(sample_of(X, cost), geometry, 0.1, rng) for _ in range(20)])
        assert (points[:, 0] == 0.25).mean() > 0.9
        assert np.median(np.abs(points[:, 1] - 0.8)) < 0.05

    def test_region_that_fails_is_left_alone(self, rng):
        X = rng.random((400, 2))
        cost = np.where(X[:, 0] < 0.4, np.nan, X[:, 0] + X[:, 1])
        points = np.array(
            [propose(sample_of(X, cost), continuous(2), 1.0, rng) for _ in range(40)]
        )
        assert (points[:, 0] < 0.38).mean() < 0.25


class TestEnterRegion:
    """A basin's rows are in one view, whether they were in the sample or auxiliary rows."""

    @pytest.fixture
    def auxiliary(self, rng):
        return Rows(0.8 + 0.05 * rng.standard_normal((400, 2)), 10 + rng.random(400))

    @pytest.fixture
    def view(self, rng, auxiliary):
        X = rng.random((50, 2))
        X[20] = 0.8
        return make_view(Sample(X, rng.random(50), 30, lambda: auxiliary), None, rng)

    def basin(self, view, auxiliary, radius):
        everything = np.concatenate([view.complete, auxiliary.X])
        distance = np.linalg.norm(everything - view.complete[20], axis=1)
        return Region(np.argsort(distance, kind="stable"), RegionKind.BASIN, radius)

    def test_rows_within_the_radius_and_no_others(self, view, auxiliary):
        found, basin = enter_region(view, self.basin(view, auxiliary, 0.04), 320)
        distance = np.linalg.norm(found.complete[basin.rows] - 0.8, axis=1)
        expected = sum(
            (np.linalg.norm(X - 0.8, axis=1) <= 0.04).sum() for X in (view.complete, auxiliary.X)
        )
        assert 20 < len(basin.rows) == expected
        assert (np.diff(distance) >= 0).all()
        assert distance[-1] <= 0.04
        np.testing.assert_array_equal(found.sample.X, found.complete)

    def test_rows_keep_their_costs(self, view, auxiliary):
        found, basin = enter_region(view, self.basin(view, auxiliary, 0.04), 320)
        of_auxiliary = basin.rows[basin.rows >= 50]
        for row in of_auxiliary:
            (index,) = np.flatnonzero((found.complete[row] == auxiliary.X).all(axis=1))
            assert found.sample.cost[row] == auxiliary.cost[index]
        assert (found.sample.cost[basin.rows] < 10).sum() == len(basin.rows) - len(of_auxiliary)
        np.testing.assert_array_equal(found.complete[:50], view.complete)

    def test_the_nearest_ones_if_they_are_many(self, view, auxiliary):
        basin = self.basin(view, auxiliary, np.inf)
        found, inside = enter_region(view, basin, 320)
        assert len(inside.rows) == 320
        everything = np.concatenate([view.complete, auxiliary.X])
        np.testing.assert_array_equal(found.complete[inside.rows], everything[basin.rows[:320]])


@pytest.mark.parametrize("kind", [RegionKind.BASIN, RegionKind.RESTART])
def test_a_restart_goes_downhill_although_its_basin_has_few_rows(rng, monkeypatch, kind):
    X = np.concatenate([rng.random((60, 3)), [[0.5, 0.5, 0.5]]])
    X = X[(np.linalg.norm(X - 0.5, axis=1) > 0.15) | (X == 0.5).all(axis=1)]
    sample = sample_of(X, np.sum((X - 0.9) ** 2, axis=1))
    order = np.argsort(np.linalg.norm(sample.X - 0.5, axis=1), kind="stable")
    region = Region(order, kind, 0.1)
    monkeypatch.setattr(regions, "choose_region", lambda *_: region)
    step = np.array([propose(sample, continuous(3), 1.0, rng) - 0.5 for _ in range(60)])
    ahead = (step.sum(axis=1) > 0.8 * np.sqrt(3) * np.linalg.norm(step, axis=1)).mean()
    assert (ahead > 0.9) == (kind is RegionKind.RESTART)


def test_the_forest_of_a_basin_has_its_rows_instead_of_the_elites():
    basin = Region(np.array([70, 3, 61, 62, 40, 7]), RegionKind.BASIN, 0.1)
    rows, n_near = strategies._replace_elites(np.arange(50), 5, basin)
    assert list(rows[:n_near]) == [70, 3, 61, 62, 40]
    assert list(rows[n_near:]) == [i for i in range(5, 50) if i != 40]


class TestRepeats:
    def test_a_finite_space_is_enumerated_before_anything_is_repeated(self, rng):
        geometry = grid([3, 4], categories=[3, 0])
        rows: list[np.ndarray] = []

        def is_known(units):
            known = {row.tobytes() for row in rows}
            return np.array([unit.tobytes() in known for unit in units])

        for _ in range(12):
            X = np.array(rows).reshape(-1, 2)
            sample = sample_of(X, X.sum(axis=1))
            rows.append(propose(sample, geometry, 1.0, rng, is_known))
        assert len({row.tobytes() for row in rows}) == 12
        X = np.array(rows)
        again = propose(sample_of(X, X.sum(axis=1)), geometry, 1.0, rng, is_known)
        assert is_known(again[None, :]).all()

    def test_distant_unknown_point_is_found_by_uniform_draws(self, rng):
        geometry = grid([50, 50])
        target = np.array([49.5, 49.5]) / 50

        def is_known(units):
            return (units != target).any(axis=1)

        X = geometry.snap(0.05 * rng.random((30, 2)))
        sample = sample_of(X, X.sum(axis=1))
        found = [propose(sample, geometry, 0.0, rng, is_known) for _ in range(10)]
        assert any(np.array_equal(point, target) for point in found)

    def test_a_model_whose_points_are_known_leaves_the_ask_to_the_forest(self, rng, monkeypatch):
        geometry = grid([50, 50])
        X = geometry.snap(rng.random((60, 2)))
        sample = sample_of(X, np.sum((X - 0.3) ** 2, axis=1))
        monkeypatch.setattr(additive, "minimize_additive", lambda *_: sample.X[:1])
        monkeypatch.setattr(strategies, "_uniform_points", None)
        always = OptimizerSettings(strategies=StrategySettings(additive_probability=1.0))
        known = {row.tobytes() for row in sample.X}

        def is_known(units):
            return np.array([unit.tobytes() in known for unit in units])

        points = np.array(
            [propose(sample, geometry, 0.0, rng, is_known, always) for _ in range(20)]
        )
        assert not is_known(points).any()
        assert np.median(np.abs(points - 0.3)) < 0.1

    def test_proposals_are_snapped(self, rng):
        geometry = grid([7, 2])
        X = geometry.snap(rng.random((30, 2)))
        point = propose(sample_of(X, X.sum(axis=1)), geometry, 1.0, rng)
        np.testing.assert_array_equal(point, geometry.snap(point[None, :])[0])
