"""Candidates: inside the cube, near the elites, and moved in the way each kind of column can."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from adbo import candidates
from adbo.candidates import Geometry
from adbo.space import SearchSpace

DISTRIBUTIONS = st.one_of(
    st.just(FloatDistribution(-1, 2)),
    st.just(FloatDistribution(1e-5, 1, log=True)),
    st.just(FloatDistribution(0, 1, step=0.25)),
    st.just(IntDistribution(1, 1000, log=True)),
    st.integers(0, 12).map(lambda high: IntDistribution(0, high)),
    st.integers(1, 5).map(lambda n: CategoricalDistribution(list(range(n)))),
)
SPACES = st.lists(DISTRIBUTIONS, min_size=1, max_size=5).map(
    lambda ds: SearchSpace({f"p{i}": d for i, d in enumerate(ds)})
)


def geometry_of(space):
    return Geometry(space.categories, space.levels, space.snap)


def continuous(d):
    return Geometry(np.zeros(d, dtype=np.int64), np.full(d, np.inf), lambda units: units)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


class TestGenerate:
    @settings(max_examples=50, deadline=None)
    @given(SPACES, st.integers(0, 40), st.integers(0, 2**32 - 1))
    def test_rows_that_the_space_can_hold(self, space, m, seed):
        rng = np.random.default_rng(seed)
        X = space.snap(rng.random((m, len(space))))
        points = candidates.generate(X, np.arange(m // 2), geometry_of(space), rng)
        assert points.shape == (candidates.CANDIDATES, len(space))
        assert ((points >= 0) & (points <= 1)).all()
        if space.has_grid:
            np.testing.assert_allclose(points, space.snap(points), atol=1e-12)

    def test_most_are_near_the_elites_and_some_anywhere(self, rng):
        X = 0.7 + 0.001 * rng.standard_normal((300, 3))
        points = candidates.generate(X, np.arange(300), continuous(3), rng)
        near = (np.abs(points - 0.7) < 0.02).all(axis=1).mean()
        assert 0.85 < near < 0.95
        far = points[(np.abs(points - 0.7) > 0.02).all(axis=1)]
        assert far.min() < 0.1
        assert far.max() > 0.9

    def test_uniform_without_elites(self, rng):
        points = candidates.generate(np.empty((0, 4)), np.arange(0), continuous(4), rng)
        np.testing.assert_allclose(points.mean(axis=0), 0.5, atol=0.05)
        np.testing.assert_allclose(points.std(axis=0), 12**-0.5, atol=0.03)

    def test_columns_are_exchanged_between_basins(self, rng):
        # Two basins, each with one good coordinate: crossover finds the point that has both.
        X = np.concatenate([np.tile([0.1, 0.2], (20, 1)), np.tile([0.9, 0.8], (20, 1))])
        X += 1e-4 * rng.standard_normal(X.shape)
        hits = [
            (np.abs(candidates.generate(X, np.arange(40), continuous(2), rng) - [0.1, 0.8]) < 0.05)
            .all(axis=1)
            .mean()
            for _ in range(10)
        ]
        assert np.mean(hits) > 0.005

    def test_one_elite_is_left(self, rng):
        points = candidates.generate(np.full((1, 2), 0.5), np.arange(1), continuous(2), rng)
        assert (points != 0.5).any(axis=1).all()
        assert 1e-3 < np.abs(points - 0.5).mean() < 0.3


class TestMutate:
    @settings(max_examples=60, deadline=None)
    @given(SPACES, st.integers(0, 2**32 - 1))
    def test_every_row_moves_to_another_point(self, space, seed):
        rng = np.random.default_rng(seed)
        base = space.snap(rng.random((200, len(space))))
        moved = candidates.mutate(base, np.full(len(space), 0.05), geometry_of(space), rng)
        differs = (space.from_unit(moved) != space.from_unit(base)).any(axis=1)
        assert differs.all() or (space.levels == 1).all()

    def test_categories_reach_all_other_choices_alike(self, rng):
        geometry = Geometry(np.array([5]), np.array([5.0]), lambda units: units)
        base = np.full((8000, 1), 2.5 / 5)
        choices = np.floor(candidates.mutate(base, np.array([0.01]), geometry, rng) * 5)
        share = np.bincount(choices.ravel().astype(int), minlength=5) / 8000
        np.testing.assert_allclose(share, [0.25, 0.25, 0, 0.25, 0.25], atol=0.03)

    def test_small_steps_of_an_integer_are_one_level(self, rng):
        geometry = Geometry(np.array([0]), np.array([10.0]), lambda units: units)
        base = np.full((1000, 1), 4.5 / 10)
        moved = np.floor(candidates.mutate(base, np.array([1e-6]), geometry, rng) * 10 + 1e-9)
        assert set(moved.ravel()) == {3, 5}

    def test_steps_span_the_scales(self, rng):
        base = np.full((2000, 1), 0.5)
        step = np.abs(candidates.mutate(base, np.array([0.01]), continuous(1), rng) - 0.5)
        assert np.quantile(step, 0.05) < 0.0005
        assert np.quantile(step, 0.95) > 0.01

    def test_subsets_of_columns_of_every_size(self, rng):
        base = np.full((3000, 8), 0.5)
        moved = candidates.mutate(base, np.full(8, 0.01), continuous(8), rng) != base
        assert set(moved.sum(axis=1)) == set(range(1, 9))


class TestRank:
    def two_basins(self, rng):
        """256 rows in the better basin, all elites, and 40 in another one."""
        better = 0.2 + 0.01 * rng.standard_normal((256, 2))
        other = 0.8 + 0.01 * rng.standard_normal((40, 2))
        X = np.concatenate([better, other])
        return X, np.concatenate([np.linspace(0, 1, 256), np.linspace(2, 3, 40)])

    def test_elites_or_niches(self, rng):
        X, y = self.two_basins(rng)
        ranking = [candidates.rank(X, y, 256, continuous(2), rng) for _ in range(200)]
        elites = [r for r in ranking if len(r) == 256]
        niches = [r for r in ranking if len(r) == len(X)]
        assert 60 < len(elites) < 140
        assert len(elites) + len(niches) == 200
        assert all(np.array_equal(r, np.arange(256)) for r in elites)
        assert all(np.array_equal(np.sort(r), np.arange(len(X))) for r in niches)

    def test_some_niches_are_in_the_basin_without_elites(self, rng):
        X, y = self.two_basins(rng)
        ranking = [candidates.rank(X, y, 256, continuous(2), rng) for _ in range(2000)]
        heads = np.array([r[0] for r in ranking if len(r) == len(X)])
        assert 0.0005 < (heads >= 256).mean() < 0.2
        # There, it is the best row from which the way to a better one is far.
        assert (heads[heads >= 256] == 256).mean() > 0.7

    def test_niche_is_ordered_by_distance(self, rng):
        X = rng.random((100, 3))
        for _ in range(20):
            ranking = candidates.rank(X, X.sum(axis=1), 50, continuous(3), rng)
            distance = np.linalg.norm(X[ranking] - X[ranking[0]], axis=1)
            assert len(ranking) == 50 or (np.diff(distance) >= 0).all()

    def test_categories_are_all_as_far_from_each_other(self, rng):
        geometry = Geometry(np.array([3, 0]), np.array([3.0, np.inf]), lambda units: units)
        X = np.array([[1 / 6, 0.0], [5 / 6, 0.1], [3 / 6, 0.2]])
        y = np.arange(3.0)
        niches = [candidates.rank(X, y, 1, geometry, rng) for _ in range(60)]
        from_first = [r for r in niches if len(r) == 3 and r[0] == 0]
        assert from_first
        assert all(list(r) == [0, 1, 2] for r in from_first)

    def test_equal_rows(self, rng):
        X = np.full((30, 2), 0.4)
        for _ in range(20):
            assert len(candidates.rank(X, np.zeros(30), 10, continuous(2), rng)) in {10, 30}


class TestDescend:
    def test_minimum_of_a_tilted_bowl(self, rng):
        X = 0.4 + 0.05 * rng.standard_normal((30, 3))
        X[:, 1] += 3 * (X[:, 0] - 0.4)
        y = np.sum((X - 0.41) ** 2, axis=1)
        ranking = np.argsort(y)
        points = candidates.descend(X[ranking], y[ranking], continuous(3), rng)
        assert np.median(np.linalg.norm(points - 0.41, axis=1)) < 0.5 * np.sqrt(y.min())

    def test_other_columns_are_those_of_the_best_row(self, rng):
        space = SearchSpace(
            {
                "c": CategoricalDistribution(["a", "b", "c"]),
                "x": FloatDistribution(0, 1),
                "n": IntDistribution(0, 9),
            }
        )
        X = space.snap(rng.random((40, 3)))
        y = rng.random(40)
        y[0] = -1.0
        points = candidates.descend(X, y, geometry_of(space), rng)
        assert (points[:, [0, 2]] == X[0, [0, 2]]).all()
        assert len(np.unique(points[:, 1])) > 1
        np.testing.assert_array_equal(candidates.is_smooth(geometry_of(space)), [0, 1, 0])

    @pytest.mark.parametrize("m", [1, 2, 5, 300])
    @pytest.mark.parametrize("spread", [0.0, 1e-16, 1e-9, 0.3])
    def test_inside_whatever_the_rows(self, rng, m, spread):
        X = candidates.reflect(0.5 + spread * rng.standard_normal((m, 4)))
        points = candidates.descend(X, rng.random(m), continuous(4), rng)
        assert ((points >= 0) & (points <= 1)).all()


class TestImpute:
    def test_values_come_from_elites_that_have_one(self, rng):
        X = np.array([[0.1, np.nan], [0.2, 0.5], [0.3, np.nan], [0.4, 0.9]])
        filled = candidates.impute(X, 3, rng)
        np.testing.assert_array_equal(filled[:, 1], [0.5, 0.5, 0.5, 0.9])
        np.testing.assert_array_equal(filled[:, 0], X[:, 0])

    def test_from_other_rows_if_no_elite_has_one(self, rng):
        X = np.array([[np.nan], [0.9]])
        np.testing.assert_array_equal(candidates.impute(X, 1, rng), [[0.9], [0.9]])

    def test_anything_if_nobody_has_one(self, rng):
        filled = candidates.impute(np.full((500, 1), np.nan), 3, rng)
        np.testing.assert_allclose(filled.mean(), 0.5, atol=0.05)


@given(st.floats(-5, 5))
def test_reflect_folds_at_both_faces(x):
    folded = candidates.reflect(np.array([[x]]))[0, 0]
    assert 0 <= folded <= 1
    assert np.isclose(np.cos(np.pi * folded), np.cos(np.pi * x), atol=1e-9)
