"""Shares of the asks follow what each strategy has brought lately."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optimizer_views import history_of
from optuna.distributions import FloatDistribution

import adbo
from adbo.core.origins import STRATEGIES, to_code
from adbo.optimizer.shares import Credits, ShareSettings, learn_credits

SETTINGS = ShareSettings(window=100, best_fraction=0.05, power=2.0, prior_asks=4.0, floor=0.03)
NAMES = ("forest", "gaussian", "local")
CODES = [to_code(name, "elites") for name in NAMES]
ARMS = [np.array([code]) for code in CODES]

costs_ = st.lists(st.integers(-1000, 1000), min_size=1, max_size=60)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def credits_of(costs, origins, settings=SETTINGS):
    X = np.linspace(0, 1, len(costs))[:, None]
    history = history_of({"x": FloatDistribution(0, 1)}, X, np.array(costs, float), origins)
    return learn_credits(history, settings)


def shares_of(costs, origins, settings=SETTINGS):
    return credits_of(costs, origins, settings).shares(ARMS)


def test_without_evaluations_all_shares_are_equal():
    np.testing.assert_allclose(shares_of([], 0), 1 / 3)


def test_the_strategy_that_brings_the_best_values_gets_the_largest_share(rng):
    origins = rng.choice(CODES, 90)
    costs = rng.random(90)
    costs[origins == CODES[1]] -= 0.5
    shares = shares_of(costs, origins)
    assert np.argmax(shares) == 1
    assert shares[1] > 2 * shares[[0, 2]].max()


def test_a_strategy_that_does_as_well_as_another_with_fewer_asks_gets_more():
    # The ten best values: five of 60 asks, and five of 15.
    costs = np.arange(75.0)
    origins = np.full(75, CODES[0])
    origins[[1, 3, 5, 7, 9, *range(65, 75)]] = CODES[1]
    shares = shares_of(costs, origins)
    assert shares[1] > shares[0]


def test_a_failure_brings_nothing():
    origins = np.repeat(CODES, 30)
    costs = np.where(origins == CODES[0], np.nan, 1.0)
    shares = shares_of(costs, origins)
    assert shares[0] == min(shares)


def test_no_share_is_below_the_floor(rng):
    origins = rng.choice(CODES, 100)
    costs = np.where(origins == CODES[0], rng.random(100), 1e6)
    shares = shares_of(costs, origins, ShareSettings(floor=0.1, power=10, prior_asks=0.1))
    np.testing.assert_allclose(shares[1:], 0.1, atol=1e-6)


def test_a_floor_above_the_mean_gives_equal_shares(rng):
    shares = shares_of(rng.random(100), rng.choice(CODES, 100), ShareSettings(floor=0.5))
    np.testing.assert_allclose(shares, 1 / 3)


def test_what_was_told_counts_for_none(rng):
    found = credits_of(rng.random(50), np.zeros(50, dtype=int))
    assert not found.total.any()
    assert not found.count.any()
    np.testing.assert_allclose(found.shares(ARMS), 1 / 3)


def test_told_values_that_are_better_leave_less_credit():
    origins = np.repeat([CODES[0], 0], 20)
    alone = credits_of(np.arange(20.0), origins[:20])
    beside = credits_of(np.r_[np.arange(20.0), -np.arange(1.0, 21.0)], origins)
    assert beside.count.sum() == alone.count.sum() == 20
    assert beside.total.sum() < 1e-3 * alone.total.sum()


def test_of_several_objectives_what_is_on_the_front_has_credit(rng):
    optimizer = adbo.Optimizer(
        {"x": FloatDistribution(0, 1)}, directions=["minimize", "maximize"], seed=0
    )
    values = [(0.0, 0.0), (1.0, 1.0), (2.0, 0.5), (3.0, 2.0), (4.0, 3.0)]
    origins = [CODES[0], CODES[0], CODES[1], CODES[1], CODES[2]]
    for value in values:
        optimizer.tell({"x": rng.random()}, value, {"c": -1.0 if value[0] < 4 else 1.0})
    history = optimizer.history
    history.column("origin")[:] = origins
    found = learn_credits(history, SETTINGS)
    # The third is dominated, and the last is infeasible.
    assert found.total[CODES].tolist() == [2.0, 1.0, 0.0]
    assert found.count[CODES].tolist() == [2.0, 2.0, 1.0]


@given(costs_, st.data())
def test_only_the_order_of_the_costs_matters(costs, data):
    origins = data.draw(st.lists(st.sampled_from([0, *CODES]), min_size=len(costs), max_size=60))
    origins = np.array(origins)[: len(costs)]
    levels = np.unique(costs)
    # Any strictly increasing sequence of floats in place of the different costs.
    image = data.draw(
        st.sets(
            st.floats(allow_nan=False, allow_infinity=False),
            min_size=len(levels),
            max_size=len(levels),
        )
    )
    other = np.sort(list(image))[np.searchsorted(levels, costs)]
    np.testing.assert_array_equal(shares_of(costs, origins), shares_of(other, origins))


@given(costs_, st.integers(0, 2**32 - 1), st.floats(0, 0.4), st.floats(0.1, 10))
def test_their_sum_is_1(costs, seed, floor, power):
    origins = np.random.default_rng(seed).choice([0, *CODES], len(costs))
    shares = shares_of(costs, origins, ShareSettings(floor=floor, power=power))
    assert shares.sum() == pytest.approx(1)
    assert (shares >= min(floor, 1 / 3) - 1e-12).all()


def test_old_evaluations_are_forgotten(rng):
    costs, origins = rng.random(130), rng.choice(CODES, 130)
    old = np.full(70, CODES[2])
    later = shares_of(np.r_[np.full(70, -1.0), costs], np.r_[old, origins])
    np.testing.assert_array_equal(later, shares_of(costs[-100:], origins[-100:]))


def test_an_arm_of_several_codes_has_their_evaluations():
    elites, restart = (to_code("local", kind) for kind in ("elites", "restart"))
    origins = np.array([elites, restart, CODES[0], CODES[0]] * 10)
    costs = np.arange(40.0)
    both = np.array([elites, restart])
    merged = np.where(origins == restart, elites, origins)
    np.testing.assert_allclose(
        credits_of(costs, origins).shares([both, ARMS[0]]),
        credits_of(costs, merged).shares([np.array([elites]), ARMS[0]]),
    )


def test_arms_without_evaluations_have_the_mean_share_of_credit(rng):
    costs, origins = rng.random(90), np.full(90, CODES[0])
    shares = shares_of(costs, origins)
    np.testing.assert_allclose(shares, 1 / 3, rtol=1e-6)


def test_an_order_has_every_arm_once_and_first_by_its_share(rng):
    total, count = np.zeros(256), np.zeros(256)
    total[CODES], count[CODES] = [0.0, 30.0, 10.0], 50.0
    found = Credits(total, count, SETTINGS)
    orders = np.array([found.draw_order(ARMS, rng) for _ in range(2000)])
    assert (np.sort(orders, axis=1) == [0, 1, 2]).all()
    firsts = np.bincount(orders[:, 0], minlength=3) / 2000
    np.testing.assert_allclose(firsts, found.shares(ARMS), atol=0.04)


def test_every_code_has_a_place():
    codes = [to_code(name, "branch") for name in STRATEGIES]
    found = credits_of(np.arange(float(len(codes))), np.array(codes))
    np.testing.assert_array_equal(found.count[codes], 1)
