"""Candidates: inside the cube, near the elites, and moved in the way each kind of column can."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optimizer_views import continuous, geometry_of
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from adbo.core.space import SearchSpace
from adbo.optimizer import candidates
from adbo.optimizer.regions import Region
from adbo.optimizer.sample import Geometry
from adbo.optimizer.view import CandidateSettings

SETTINGS, N = CandidateSettings(), 1000

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


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def region_of(X, reach=np.inf):
    return Region("elites", X, np.arange(float(len(X))), reach)


def steps(n, rng, low=-1.5, high=0.3):
    return 10.0 ** rng.uniform(low, high, size=(n, 1))


class TestGenerate:
    @settings(max_examples=50)
    @given(SPACES, st.integers(1, 40), st.sampled_from([np.inf, 0.1]), st.integers(0, 2**32 - 1))
    def test_rows_that_the_space_can_hold(self, space, m, reach, seed):
        rng = np.random.default_rng(seed)
        X = space.snap(rng.random((m, len(space))))
        points = candidates.generate(region_of(X, reach), geometry_of(space), rng, N, SETTINGS)
        assert points.shape == (N, len(space))
        assert ((points >= 0) & (points <= 1)).all()
        if space.has_grid:
            np.testing.assert_allclose(points, space.snap(points), atol=1e-12)

    def test_most_are_near_the_first_rows_and_some_anywhere(self, rng):
        X = 0.7 + 0.001 * rng.standard_normal((300, 3))
        settings = CandidateSettings(uniform_fraction=0.1)
        points = candidates.generate(region_of(X), continuous(3), rng, N, settings)
        near = (np.abs(points - 0.7) < 0.02).all(axis=1).mean()
        assert 0.85 < near < 0.95
        far = points[(np.abs(points - 0.7) > 0.02).all(axis=1)]
        assert far.min() < 0.1
        assert far.max() > 0.9

    def test_one_row_is_left(self, rng):
        points = candidates.generate(
            region_of(np.full((1, 2), 0.5)), continuous(2), rng, N, SETTINGS
        )
        assert (points != 0.5).any(axis=1).all()
        assert 1e-3 < np.abs(points - 0.5).mean() < 0.3

    def test_within_reach_of_the_first_row(self, rng):
        X = rng.random((30, 3))
        points = candidates.generate(region_of(X, 0.05), continuous(3), rng, N, SETTINGS)
        distance = np.linalg.norm(points - X[0], axis=1)
        assert np.median(distance) < 0.05
        assert np.median(distance) > 0.002


class TestRefine:
    @pytest.mark.parametrize("size", [1.0, 1e-3])
    def test_the_minimum_is_approached(self, size, rng):
        target = np.array([0.3, 0.6, 0.55])

        def ranked(points):
            return points[np.argsort(np.sum((points - target) ** 2, axis=1), kind="stable")]

        points = ranked(target + size * (rng.random((300, 3)) - 0.5))
        found = candidates.refine(points, ranked, continuous(3), rng, 6, (-1.5, 0.3))
        before, after = (np.linalg.norm(p[0] - target) for p in (points, found))
        assert after < 0.1 * before

    @settings(max_examples=30)
    @given(SPACES, st.integers(1, 3), st.integers(0, 2**32 - 1))
    def test_points_are_snapped_and_no_worse(self, space, rounds, seed):
        rng = np.random.default_rng(seed)

        def ranked(points):
            return points[np.argsort(points.sum(axis=1), kind="stable")]

        points = ranked(space.snap(rng.random((40, len(space)))))
        found = candidates.refine(points, ranked, geometry_of(space), rng, rounds, (-1.5, 0.3))
        np.testing.assert_allclose(found, space.snap(found), atol=1e-12)
        assert found[0].sum() <= points[0].sum() + 1e-12


class TestMutate:
    @settings(max_examples=60)
    @given(SPACES, st.integers(0, 2**32 - 1))
    def test_every_row_moves_to_another_point(self, space, seed):
        rng = np.random.default_rng(seed)
        base = space.snap(rng.random((200, len(space))))
        moved = candidates.mutate(
            base, np.full(len(space), 0.05), geometry_of(space), rng, steps(200, rng)
        )
        differs = (space.from_unit(moved) != space.from_unit(base)).any(axis=1)
        assert differs.all() or (space.levels == 1).all()

    @pytest.mark.parametrize("spread", [0.0, 1e-4])
    def test_the_low_end_of_a_long_logarithmic_range_is_left(self, spread, rng):
        space = SearchSpace({"n": IntDistribution(1, 10**9, log=True)})
        base = space.to_unit(np.ones((100, 1)))
        moved = candidates.mutate(
            base, np.array([spread]), geometry_of(space), rng, steps(100, rng)
        )
        assert (space.from_unit(moved) > 1).all()

    def test_categories_reach_all_other_choices_alike(self, rng):
        geometry = Geometry(np.array([5]), np.array([5.0]), lambda units: units)
        base = np.full((8000, 1), 2.5 / 5)
        choices = np.floor(
            candidates.mutate(base, np.array([0.01]), geometry, rng, steps(8000, rng)) * 5
        )
        share = np.bincount(choices.ravel().astype(int), minlength=5) / 8000
        np.testing.assert_allclose(share, [0.25, 0.25, 0, 0.25, 0.25], atol=0.03)

    def test_small_steps_of_an_integer_are_one_level(self, rng):
        geometry = Geometry(np.array([0]), np.array([10.0]), lambda units: units)
        base = np.full((1000, 1), 4.5 / 10)
        moved = np.floor(
            candidates.mutate(base, np.array([1e-6]), geometry, rng, steps(1000, rng)) * 10 + 1e-9
        )
        assert set(moved.ravel()) == {3, 5}

    def test_steps_span_the_scales(self, rng):
        base = np.full((2000, 1), 0.5)
        step = np.abs(
            candidates.mutate(base, np.array([0.01]), continuous(1), rng, steps(2000, rng)) - 0.5
        )
        assert np.quantile(step, 0.05) < 0.0005
        assert np.quantile(step, 0.95) > 0.01

    def test_subsets_of_columns_of_every_size(self, rng):
        base = np.full((3000, 8), 0.5)
        moved = (
            candidates.mutate(base, np.full(8, 0.01), continuous(8), rng, steps(3000, rng)) != base
        )
        assert set(moved.sum(axis=1)) == set(range(1, 9))


@given(st.floats(-5, 5))
def test_reflect_folds_at_both_faces(x):
    folded = candidates.reflect(np.array([[x]]))[0, 0]
    assert 0 <= folded <= 1
    assert np.isclose(np.cos(np.pi * folded), np.cos(np.pi * x), atol=1e-9)
