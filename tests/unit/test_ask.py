"""Proposals of whole asks are good, new, different from each other, and always possible."""

from __future__ import annotations

import math
import tracemalloc
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optimizer_views import history_of
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from trial_strategies import origins as origins_

from adbo.core.history import History
from adbo.core.origins import REGIONS, STRATEGIES, to_code, to_text
from adbo.core.space import SearchSpace
from adbo.optimizer.ask import Proposal, propose
from adbo.optimizer.ask_tell import Optimizer
from adbo.optimizer.settings import DEFAULT_SETTINGS, OptimizerSettings, with_strategies
from adbo.optimizer.strategies import DEFAULT_STRATEGIES

CUBE = {f"x{i}": FloatDistribution(0, 1) for i in range(4)}
GRID = {"m": IntDistribution(0, 15), "n": IntDistribution(0, 15)}
BRANCHES = {
    "kind": CategoricalDistribution(["a", "b"]),
    "x": FloatDistribution(0, 1),
    "y": FloatDistribution(0, 1),
}

DISTRIBUTIONS = st.one_of(
    st.just(FloatDistribution(-1, 2)),
    st.just(FloatDistribution(1e-5, 1, log=True)),
    st.just(FloatDistribution(0, 1, step=0.25)),
    st.just(IntDistribution(1, 1000, log=True)),
    st.just(CategoricalDistribution(["only"])),
    st.integers(0, 4).map(lambda high: IntDistribution(0, high)),
    st.integers(2, 5).map(lambda n: CategoricalDistribution(list(range(n)))),
)
SPACES = st.lists(DISTRIBUTIONS, min_size=1, max_size=4).map(
    lambda ds: {f"p{i}": d for i, d in enumerate(ds)}
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def cube(d):
    return dict(list(CUBE.items())[:d])


def points_of(history, rng, n, kappa=0.0, settings=DEFAULT_SETTINGS):
    return np.array([propose(history, kappa, rng, settings).point for _ in range(n)])


def square(X, target=0.3):
    return np.sum((X - target) ** 2, axis=1)


@dataclass(frozen=True)
class Fixed:
    """A strategy that always has the same points."""

    points: np.ndarray

    def propose(self, view, region, rng):
        return self.points


class TestPropose:
    def test_near_the_minimum_of_a_bowl(self, rng):
        X = rng.random((400, 2))
        points = points_of(history_of(cube(2), X, square(X)), rng, 40)
        assert np.median(np.abs(points - 0.3)) < 0.05

    def test_a_seed_and_the_history_determine_it(self, rng):
        X, codes = rng.random((150, 3)), rng.choice([0, 16, 25, 32, 40, 48], 150)
        found = []
        for _ in range(2):
            history = history_of(cube(3), X, square(X), codes)
            stream = np.random.default_rng(7)
            found.append([propose(history, 1.0, stream) for _ in range(10)])
        for first, second in zip(*found, strict=True):
            np.testing.assert_array_equal(first.point, second.point)
            assert first.origin == second.origin

    def test_asks_on_one_history_differ(self, rng):
        X = rng.random((300, 4))
        points = points_of(history_of(CUBE, X, square(X)), rng, 64, kappa=1.0)
        assert len(np.unique(points, axis=0)) == 64

    def test_the_first_asks_explore(self, rng):
        settings = OptimizerSettings(initial=3)
        explored = to_code("exploration", "space")
        for n, n_failed, always in [(0, 0, True), (2, 0, True), (9, 7, True), (60, 0, False)]:
            X = rng.random((n, 2))
            y = square(X)
            y[:n_failed] = np.nan
            history = history_of(cube(2), X, y)
            origins = {propose(history, 1.0, rng, settings).origin for _ in range(30)}
            assert (origins == {explored}) == always

    def test_an_origin_is_that_of_the_strategy_and_region(self, rng):
        X = rng.random((100, 2))
        history = history_of(cube(2), X, square(X))
        strategies = dict(DEFAULT_STRATEGIES)
        points = rng.random((len(strategies), 1, 2))
        for name, point in zip(strategies, points, strict=True):
            strategies[name] = Fixed(point)
        settings = replace(DEFAULT_SETTINGS, strategies=strategies)
        for _ in range(100):
            point, origin = propose(history, 1.0, rng, settings)
            name, region = to_text(origin).split("/")
            np.testing.assert_array_equal(point, strategies[name].points[0])
            assert region in ({"space"} if name in ("exploration", "additive") else REGIONS)

    def test_a_strategy_that_brings_the_best_values_is_asked_more_often(self, rng):
        X = rng.random((200, 2))
        codes = rng.choice([to_code(name, "elites") for name in STRATEGIES[1:4]], 200)
        y = square(X)
        y[codes == to_code("local", "elites")] -= 10
        history = history_of(cube(2), X, y, codes)
        settings = replace(
            DEFAULT_SETTINGS,
            strategies={name: Fixed(rng.random((1, 2))) for name in STRATEGIES[1:4]},
        )
        texts = [to_text(propose(history, 1.0, rng, settings).origin) for _ in range(200)]
        counts = [sum(t.startswith(name) for t in texts) for name in STRATEGIES[1:4]]
        assert counts[2] > counts[0] + counts[1]

    def test_empty_space(self, rng):
        assert propose(History(), 1.0, rng).point.shape == (0,)

    def test_a_branch_is_searched_although_another_is_better(self, rng):
        X = np.column_stack([np.repeat([0.0, 1.0], [60, 30]), rng.random((90, 2))])
        X[:60, 2] = X[60:, 1] = np.nan
        y = np.concatenate([np.linspace(0, 1, 60), np.linspace(2, 30, 30)])
        history = history_of(BRANCHES, X, y)
        shares, origins = [], set()
        for probability in (0.0, 1.0):
            regions = replace(DEFAULT_SETTINGS.regions, branch_probability=probability)
            settings = replace(DEFAULT_SETTINGS, regions=regions)
            found = [propose(history, 0.5, rng, settings) for _ in range(60)]
            shares.append(np.mean([proposal.point[0] for proposal in found]))
            origins = {to_text(proposal.origin).split("/")[1] for proposal in found}
        assert shares[0] < 0.3
        assert 0.3 < shares[1] < 0.7
        assert origins == {"branch"}


class TestFailures:
    def test_a_region_that_fails_is_left_alone(self, rng):
        X = rng.random((400, 2))
        y = np.where(X[:, 0] < 0.4, np.nan, X[:, 0] + X[:, 1])
        points = points_of(history_of(cube(2), X, y), rng, 40, kappa=1.0)
        assert (points[:, 0] < 0.38).mean() < 0.1

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_after_nothing_but_failures_asks_explore(self, value, rng):
        X = rng.random((50, 2))
        history = history_of(cube(2), X, np.full(50, value))
        found = [propose(history, 1.0, rng) for _ in range(20)]
        assert len({proposal.point.tobytes() for proposal in found}) == 20
        assert all(proposal.origin for proposal in found)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_an_unseen_point_beside_failures_is_better_than_a_known_one(self, value, rng):
        # Half of the space fails.
        space = {"n": IntDistribution(0, 11), "kind": CategoricalDistribution(list("ab"))}
        optimizer = Optimizer(space, seed=0)
        for _ in range(24):
            params = optimizer.ask()
            optimizer.tell(params, value if params["n"] < 6 else params["n"])
        assert len(np.unique(optimizer.history.values(slice(None)), axis=0)) == 24

    def test_a_failure_in_a_finite_space_does_not_take_memory_for_all_of_its_points(self, rng):
        space = {"m": IntDistribution(0, 255), "n": IntDistribution(0, 255)}
        X = rng.integers(256, size=(400, 2)).astype(float)
        y = np.where(np.arange(400) < 4, np.nan, X.sum(axis=1))
        history = history_of(space, X, y)
        settings = with_strategies(["exploration"])
        tracemalloc.start()
        propose(history, 1.0, rng, settings)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 100e6  # 65,536 distances to each of 400 rows take 210 MB


class TestFiniteSpaces:
    def known(self, n, rng):
        """Return a history of n points of the grid, and its points that are not in it."""
        X = SearchSpace(GRID).all_units()
        values = rng.permutation(SearchSpace(GRID).from_unit(X))
        return history_of(GRID, values[:n], values[:n].sum(axis=1)), values[n:]

    def test_all_points_of_many_columns_with_one_value(self):
        """More than the dimensions that an array of numpy may have."""
        single = {f"only{i}": CategoricalDistribution((i,)) for i in range(100)}
        space = {"a": IntDistribution(0, 2), **single, "b": IntDistribution(4, 8, step=2)}
        values = SearchSpace(space).from_unit(SearchSpace(space).all_units())
        assert values[:, [0, -1]].tolist() == [[a, b] for a in range(3) for b in (4, 6, 8)]
        assert not values[:, 1:-1].any()

    def proposals(self, history, rng, n_ranks, dealt):
        """Return how many different points ranks propose that know the same."""
        points = [
            propose(history, 1.0, stream, part=(i, n_ranks) if dealt else (0, 1)).point
            for i, stream in enumerate(rng.spawn(n_ranks))
        ]
        return len(np.unique(points, axis=0))

    @pytest.mark.parametrize("n", [0, 40, 200])
    def test_ranks_that_know_the_same_propose_different_points(self, n, rng):
        history, _ = self.known(n, rng)
        dealt, alone = (
            [self.proposals(history, rng, 16, d) for _ in range(6)] for d in (True, False)
        )
        assert 16 - np.mean(dealt) < 0.5 * (16 - np.mean(alone))

    def test_every_unseen_point_is_that_of_a_rank(self, rng):
        history, unseen = self.known(250, rng)
        points = [
            propose(history, 1.0, rng, part=(rank, 16)).point
            for rank in range(16)
            for _ in range(12)
        ]
        assert {p.tobytes() for p in points} == {p.tobytes() for p in unseen}

    def test_more_ranks_than_unseen_points(self, rng):
        history, unseen = self.known(254, rng)
        points = [propose(history, 1.0, rng, part=(rank, 16)).point for rank in range(16)]
        assert {p.tobytes() for p in points} == {p.tobytes() for p in unseen}

    def test_if_all_are_known_there_is_still_a_point(self, rng):
        history, _ = self.known(256, rng)
        for rank in range(16):
            assert history.contains(propose(history, 1.0, rng, part=(rank, 16)).point[None]).all()

    def test_nothing_is_repeated_before_all_was_tried(self, rng):
        optimizer = Optimizer(
            {"c": CategoricalDistribution(list("xyz")), "n": IntDistribution(0, 3)}
        )
        for _ in range(12):
            params = optimizer.ask()
            optimizer.tell(params, params["n"])
        assert len(np.unique(optimizer.history.values(slice(None)), axis=0)) == 12

    def test_a_distant_unknown_point_of_a_space_that_is_not_enumerated(self, rng, monkeypatch):
        monkeypatch.setattr("adbo.optimizer.ask.MOST_ENUMERATED", 10)
        history, unseen = self.known(255, rng)
        points = points_of(history, rng, 40)
        assert (points == unseen[0]).all(axis=1).any()

    def test_a_strategy_whose_points_are_known_leaves_the_ask_to_others(self, rng):
        history, unseen = self.known(60, rng)
        known = Fixed(history.space.to_unit(history.values(np.arange(1))))
        unseen = Fixed(history.space.to_unit(unseen[:1]))
        for strategies in ({"local": known, "forest": unseen}, {"local": known}):
            settings = replace(DEFAULT_SETTINGS, strategies=strategies)
            assert not history.contains(points_of(history, rng, 30, settings=settings)).any()


@pytest.mark.parametrize(
    "space",
    [
        {"c": CategoricalDistribution(["only"])},
        {"n": IntDistribution(3, 3)},
        {"x": FloatDistribution(2.5, 2.5)},
        {"c": CategoricalDistribution(["only"]), "x": FloatDistribution(1, 1, log=True)},
    ],
)
@pytest.mark.parametrize("n", [0, 1, 20])
def test_a_space_of_a_single_point(space, n, rng):
    only = Optimizer(space).history.space.from_unit(np.full((1, len(space)), 0.5))
    history = history_of(space, np.tile(only, (n, 1)), np.arange(float(n)))
    for strategies in (None, ["forest"], ["gaussian"], ["local", "quadratic"]):
        point = propose(history, 1.0, rng, with_strategies(strategies)).point
        np.testing.assert_array_equal(point, only[0])


class TestSomeStrategies:
    @pytest.mark.parametrize("name", STRATEGIES)
    def test_one_alone(self, name):
        space = {**cube(2), "c": CategoricalDistribution(list("ab"))}
        optimizer = Optimizer(space, seed=0, strategies=[name])
        for _ in range(40):
            params = optimizer.ask()
            optimizer.tell(params, (params["x0"] - 0.3) ** 2 + (params["c"] == "a"))
        texts = map(to_text, optimizer.history.column("origin"))
        names = {text.split("/")[0] for text in texts}
        assert name in names
        assert names <= {name, "exploration"}

    def test_their_settings_are_the_defaults(self):
        settings = with_strategies(["local", "forest"])
        assert settings.strategies == {n: DEFAULT_STRATEGIES[n] for n in ("local", "forest")}
        assert replace(settings, strategies=DEFAULT_STRATEGIES) == DEFAULT_SETTINGS


RESULTS = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, 1.0, math.inf, -math.inf, math.nan, 1e308, -1e308, 5e-324]),
)


@given(
    space=SPACES,
    results=st.lists(RESULTS, max_size=60),
    absent=st.sampled_from([0.0, 0.3, 1.0]),
    codes=st.lists(origins_, min_size=60, max_size=60),
    strategies=st.one_of(
        st.none(), st.lists(st.sampled_from(STRATEGIES), min_size=1, unique=True)
    ),
    seed=st.integers(0, 2**32 - 1),
)
def test_proposals_are_valid_whatever_was_seen(space, results, absent, codes, strategies, seed):
    rng = np.random.default_rng(seed)
    converter = Optimizer(space).history.space
    n_places = int(rng.integers(1, 61))
    values = converter.from_unit(rng.random((n_places, len(space))))
    values = values[rng.integers(n_places, size=len(results))]
    values[rng.random(values.shape) < absent] = np.nan
    history = history_of(space, values, np.array(results), np.array(codes[: len(results)]))
    part = (int(rng.integers(16)), 16)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        found = propose(history, 1.0, rng, with_strategies(strategies), part)
    assert isinstance(found, Proposal)
    assert to_text(found.origin)
    params = converter.decode(found.point)
    assert params.keys() == space.keys()
    for name, distribution in space.items():
        assert distribution._contains(distribution.to_internal_repr(params[name]))
