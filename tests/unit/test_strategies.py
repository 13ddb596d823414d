"""Each strategy by itself: its points are good, valid, and none where it has nothing to say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optimizer_views import continuous, geometry_of, grid, sample_of, view_of
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from adbo.core.origins import STRATEGIES
from adbo.core.space import SearchSpace
from adbo.optimizer.regions import Region, RegionSettings, make_region
from adbo.optimizer.sample import Geometry
from adbo.optimizer.strategies import DEFAULT_STRATEGIES, GLOBAL, forest, gaussian
from adbo.optimizer.strategies.exploration import Exploration
from adbo.optimizer.strategies.forest import Forest
from adbo.optimizer.strategies.gaussian import Gaussian
from adbo.optimizer.strategies.local import Local
from adbo.optimizer.strategies.quadratic import Quadratic
from adbo.optimizer.threads import one_thread

BOUNDED = [Forest(), Gaussian(), Local(), Quadratic()]

SPACES = st.lists(
    st.one_of(
        st.just(FloatDistribution(-1, 2)),
        st.just(FloatDistribution(1e-5, 1, log=True)),
        st.just(FloatDistribution(0, 1, step=0.25)),
        st.integers(0, 12).map(lambda high: IntDistribution(0, high)),
        st.integers(1, 5).map(lambda n: CategoricalDistribution(list(range(n)))),
    ),
    min_size=1,
    max_size=4,
).map(lambda ds: SearchSpace({f"p{i}": d for i, d in enumerate(ds)}))


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """As in every ask: on busy cores, several threads take many times as long."""
    with one_thread():
        yield


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def names_of(strategies):
    return [type(strategy).__name__ for strategy in strategies]


def seen(X, cost, geometry=None, kappa=1.0):
    """Return the view of rows and costs, all of them elites."""
    return view_of(sample_of(X, cost), geometry or continuous(X.shape[1]), kappa)


def points_of(strategy, view, rng, n=20, kind="elites"):
    """Return the first points ``(n, d)`` of a strategy; fewer where it has none."""
    region = make_region(view, kind, rng, RegionSettings())
    return np.concatenate([strategy.propose(view, region, rng)[:1] for _ in range(n)])


def square(X, target=0.3):
    return np.sum((X - target) ** 2, axis=1)


def test_every_strategy_has_a_name_of_an_origin():
    assert set(DEFAULT_STRATEGIES) == set(STRATEGIES)
    assert set(GLOBAL) < set(STRATEGIES)


@pytest.mark.parametrize("name", STRATEGIES)
@given(
    space=SPACES,
    costs=st.lists(
        st.one_of(
            st.floats(allow_nan=True, allow_infinity=True), st.sampled_from([0.0, 1.0, math.inf])
        ),
        min_size=1,
        max_size=60,
    ),
    absent=st.sampled_from([0.0, 0.3]),
    kind=st.sampled_from(["elites", "basin", "restart"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_points_are_valid_whatever_was_seen(name, space, costs, absent, kind, seed):
    rng = np.random.default_rng(seed)
    cost, n_places = np.array(costs), int(rng.integers(1, 61))
    cost[0] = np.nan_to_num(cost[0])
    X = space.snap(rng.random((n_places, len(space))))[rng.integers(n_places, size=len(cost))]
    X[rng.random(X.shape) < absent] = np.nan
    view = view_of(sample_of(X, cost), geometry_of(space))
    region = make_region(view, "space" if name in GLOBAL else kind, rng, RegionSettings())
    points = DEFAULT_STRATEGIES[name].propose(view, region, rng)
    assert points.shape == (len(points), len(space))
    assert ((points >= 0) & (points <= 1)).all()
    np.testing.assert_allclose(points, space.snap(points), atol=1e-12)


@pytest.mark.parametrize("strategy", BOUNDED, ids=names_of(BOUNDED))
class TestModelsOfRegions:
    def test_near_the_minimum_of_a_bowl(self, strategy, rng):
        X = rng.random((200, 2))
        points = points_of(strategy, seen(X, square(X), kappa=0.0), rng)
        assert len(points) == 20
        assert np.median(np.abs(points - 0.3)) < (0.1 if isinstance(strategy, Forest) else 0.02)

    def test_a_seed_determines_the_points(self, strategy):
        X = np.random.default_rng(0).random((60, 3))
        first, second = (
            points_of(strategy, seen(X, square(X)), np.random.default_rng(7), 3) for _ in "ab"
        )
        np.testing.assert_array_equal(first, second)

    def test_random_streams_make_points_differ(self, strategy, rng):
        X = rng.random((100, 3))
        points = points_of(strategy, seen(X, square(X)), rng, 30)
        assert len(np.unique(points, axis=0)) == 30

    def test_downhill_from_a_restart_whose_basin_has_few_rows(self, strategy, rng):
        X = np.concatenate([rng.random((60, 3)), [[0.5, 0.5, 0.5]]])
        X = X[(np.linalg.norm(X - 0.5, axis=1) > 0.15) | (X == 0.5).all(axis=1)]
        view = view_of(sample_of(X, square(X, 0.9)), continuous(3))
        order = np.argsort(np.linalg.norm(view.complete - 0.5, axis=1))
        region = Region("restart", view.complete[order], view.sample.cost[order], 0.1)
        step = [strategy.propose(view, region, rng)[0] - 0.5 for _ in range(30)]
        assert np.mean(np.sum(step, axis=1) > 0) > 0.8
        assert np.median(np.linalg.norm(step, axis=1)) < 0.2


@pytest.mark.parametrize("strategy", [Forest(), Gaussian()], ids=["Forest", "Gaussian"])
class TestConfidenceBounds:
    def test_large_kappa_explores(self, strategy, rng):
        X = np.concatenate([0.3 + 0.01 * rng.standard_normal((200, 2)), rng.random((20, 2))])
        views = [seen(X, square(X), kappa=kappa) for kappa in (0.0, 1000.0)]
        distance = [np.abs(points_of(strategy, view, rng) - 0.3).mean() for view in views]
        assert distance[1] > 5 * distance[0]

    def test_choices_and_whole_numbers(self, strategy, rng):
        geometry = grid([4, 10, 100], categories=[4, 0, 0])
        X = geometry.snap(rng.random((150, 3)))
        cost = np.array([2.0, 0.0, 3.0, 1.0])[(X[:, 0] * 4).astype(int)] + square(X[:, 1:])
        points = points_of(strategy, seen(X, cost, geometry, 0.0), rng)
        assert (points[:, 0] == 1.5 / 4).mean() > 0.8
        assert np.median(np.abs(points[:, 1:] - 0.3)) < 0.11

    def test_a_branch_is_not_mistaken_for_the_values_of_another(self, strategy, rng):
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
        points = points_of(strategy, seen(X, cost, geometry, 0.1), rng)
        assert (points[:, 0] == 0.25).mean() > 0.9
        assert np.median(np.abs(points[:, 1] - 0.8)) < 0.05


def test_a_few_rows_suffice_for_a_gaussian_process(rng):
    distances = []
    for _ in range(10):
        X = rng.random((12, 2))
        points = points_of(Gaussian(), seen(X, square(X, 0.4), kappa=0.0), rng, 1)
        distances.append(np.linalg.norm(points[0] - 0.4))
    assert np.median(distances) < 0.05


def test_half_of_the_gaussian_processes_follow_a_slanted_valley(rng, monkeypatch):
    X = rng.random((50, 3))
    X[:, 1] = X[:, 0] + 0.01 * (X[:, 1] - 0.5)
    cost = square(X[:, [0, 2]], 0.4) + 1000 * (X[:, 1] - X[:, 0]) ** 2
    off = []
    for rows in (gaussian._AXES_ROWS, math.inf):
        monkeypatch.setattr(gaussian, "_AXES_ROWS", rows)
        points = points_of(Gaussian(), seen(X, cost, kappa=0.0), rng)
        off.append(np.quantile(np.abs(points[:, 1] - points[:, 0]), 0.25))
    assert off[0] < off[1] / 4


@pytest.mark.parametrize("costs", [[1.0] * 30, [np.inf] * 30, [1.0] + [np.nan] * 29])
def test_costs_that_tell_nothing_make_no_gaussian_process(costs, rng):
    assert not len(points_of(Gaussian(), seen(rng.random((30, 2)), np.array(costs)), rng))


def test_the_forest_of_a_basin_has_its_rows_instead_of_the_elites(rng, monkeypatch):
    fitted = []
    fit = forest.fit_forest
    monkeypatch.setattr(forest, "fit_forest", lambda X, *rest: fitted.append(X) or fit(X, *rest))
    X, cost = rng.random((50, 2)), np.arange(50.0)
    view = view_of(sample_of(X, cost, 5), continuous(2))
    near = rng.random((6, 2))
    for kind, first in [("basin", near[:5]), ("elites", X[:5])]:
        Forest().propose(view, Region(kind, near, np.arange(6.0)), rng)
        np.testing.assert_array_equal(fitted.pop(), np.concatenate([first, X[5:]]))


class TestLocal:
    def test_it_follows_a_curved_valley(self, rng):
        x = rng.uniform(0.1, 0.5, 120)
        X = np.stack([x, x**2 + 0.01 * rng.standard_normal(120)], axis=1)
        cost = (X[:, 0] - 0.6) ** 2 + 100 * (X[:, 1] - X[:, 0] ** 2) ** 2
        points = points_of(Local(), seen(X, cost), rng, 40)
        assert np.quantile(points[:, 0], 0.8) > 0.52  # where nobody has been
        assert np.median(np.abs(points[:, 1] - points[:, 0] ** 2)) < 0.02

    def test_not_among_too_few_rows(self, rng):
        X = rng.random((11, 3))
        for m, expected in [(7, 0), (8, 20)]:
            strategy = Local(rows_per_coefficient=2.0)
            assert len(points_of(strategy, seen(X[:m], square(X[:m])), rng)) == expected


class TestQuadratic:
    def test_it_averages_over_the_small_minima_of_a_basin(self, rng):
        X = 0.4 + 0.1 * rng.standard_normal((100, 2))
        cost = square(X, 0.45) + 0.0003 * np.sum(np.cos(300 * X), axis=1)
        points = points_of(Quadratic(), seen(X, cost), rng, 40)
        assert np.median(np.linalg.norm(points - 0.45, axis=1)) < 0.03

    def test_few_rows_of_a_quadratic_locate_its_minimum(self, rng):
        X = 0.5 + 0.05 * rng.standard_normal((30, 4))
        cost = np.sum([1.0, 3.0, 0.5, 2.0] * (X - 0.52) ** 2, axis=1)
        # Rows enough for all mixed terms.
        strategy = Quadratic(rows=(2.1, 3.0), most_coefficients=15, step_exponents=(-5.0, -4.0))
        points = points_of(strategy, seen(X, cost), rng)
        assert np.median(np.linalg.norm(points - 0.52, axis=1)) < 0.002

    def test_not_among_too_few_rows(self, rng):
        X = rng.random((20, 3))
        for m, expected in [(10, 0), (11, 20)]:
            strategy = Quadratic(rows=(1.5, 3.0))
            assert len(points_of(strategy, seen(X[:m], square(X[:m])), rng)) == expected


@pytest.mark.parametrize("name", ["local", "quadratic"])
def test_no_smooth_model_without_continuous_columns(name, rng):
    geometry = grid([10, 10])
    X = geometry.snap(rng.random((80, 2)))
    kind = "space" if name in GLOBAL else "elites"
    view = seen(X, square(X), geometry)
    assert not len(points_of(DEFAULT_STRATEGIES[name], view, rng, kind=kind))


class TestExploration:
    def test_points_are_uniform(self, rng):
        X = 0.3 + 0.01 * rng.standard_normal((30, 3))
        points = points_of(Exploration(), seen(X, square(X)), rng, 1000, "space")
        np.testing.assert_allclose(points.mean(axis=0), 0.5, atol=0.05)
        np.testing.assert_allclose(points.std(axis=0), 12**-0.5, atol=0.03)

    def test_all_points_of_a_small_space_in_a_random_order(self, rng):
        space = SearchSpace({"n": IntDistribution(0, 4), "c": CategoricalDistribution(list("ab"))})
        geometry = Geometry(space.categories, space.levels, space.snap, space.all_units)
        X = space.all_units()
        view = view_of(sample_of(X, X.sum(axis=1)), geometry)
        region = make_region(view, "space", rng, RegionSettings())
        points = [Exploration().propose(view, region, rng) for _ in range(60)]
        assert all(len(np.unique(found, axis=0)) == len(found) == 10 for found in points)
        assert len({found[0].tobytes() for found in points}) == 10
