"""One cost of several objectives and constraints."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
from optuna.distributions import FloatDistribution

import adbo
from adbo.core.history import History
from adbo.optimizer.preference import (
    Preference,
    PreferenceSettings,
    draw_preference,
    is_plain,
)
from adbo.optimizer.sample import SampleSettings, draw_preferred_sample
from adbo.optimizer.shares import ShareSettings, learn_credits

SPACE = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}
SETTINGS = PreferenceSettings()


def _history(n: int, q: int, *, constrained: bool = False, seed: int = 0) -> History:
    """Return a history whose front is y = 0; infeasible below x = 0.3 if it is constrained."""
    rng = np.random.default_rng(seed)
    optimizer = adbo.Optimizer(SPACE, directions=["minimize"] * q, seed=seed)
    points = rng.random((n, 2))
    weights = np.linspace(0, 1, q)
    values = np.abs(points[:, :1] - weights) + points[:, 1:]
    constraints = [{"c": 0.3 - x} for x, _ in points] if constrained else None
    optimizer.tell_array(points, values, constraints)
    return optimizer.history


def test_one_objective_without_constraints_needs_none() -> None:
    assert is_plain(_history(3, 1))
    assert not is_plain(_history(3, 2))
    assert not is_plain(_history(3, 1, constrained=True))


@pytest.mark.parametrize("q", [2, 3, 5])
def test_what_is_dominated_costs_more(q: int) -> None:
    history = _history(60, q)
    rows, costs = np.arange(60), history.costs(slice(None))
    better = (costs[:, None] <= costs).all(axis=2) & (costs[:, None] < costs).any(axis=2)
    assert better.any()
    for seed in range(20):
        preference = draw_preference(
            history, rows, np.random.default_rng(seed), SETTINGS
        ).preference
        cost = preference.cost(history, rows)
        assert (cost[:, None] < cost)[better].all()
        assert rows[np.argmin(cost)] in history.front.rows


def test_preferences_reach_all_parts_of_the_front() -> None:
    history = _history(300, 2)
    rng = np.random.default_rng(0)
    rows = np.arange(300)
    best = {
        int(np.argmin(draw_preference(history, rows, rng, SETTINGS).costs)) for _ in range(200)
    }
    assert len(best) >= len(history.front.rows) / 2


def test_the_penalty_has_no_step_at_the_boundary() -> None:
    one = np.ones(1)
    preference = Preference(one, 0 * one, one, 0.05, one, penalty=7.0)
    cost = preference.combine(np.array([[0.0, -1.0], [0.0, 1e-9], [0.0, 1.0]]))
    np.testing.assert_allclose(cost, [0.0, 7e-9, 7.0])


def test_the_best_feasible_one_is_best_with_the_highest_penalty() -> None:
    history = _history(80, 1, constrained=True)
    rows = np.arange(80)
    for seed in range(10):
        settings = PreferenceSettings(penalty_quantiles=(1.0, 1.0))
        preference = draw_preference(
            history, rows, np.random.default_rng(seed), settings
        ).preference
        assert int(np.argmin(preference.cost(history, rows))) == history.best


def test_without_anything_feasible_the_least_violation_is_best() -> None:
    optimizer = adbo.Optimizer(SPACE, seed=0)
    points = np.random.default_rng(0).random((20, 2))
    constraints = [{"c": 1.0 + x, "d": y - 2.0} for x, y in points]
    optimizer.tell_array(points, -points.sum(axis=1), constraints)
    history, rows = optimizer.history, np.arange(20)
    preference = draw_preference(history, rows, np.random.default_rng(0), SETTINGS).preference
    order = np.argsort(preference.cost(history, rows))
    assert order.tolist() == np.argsort(points[:, 0]).tolist()


@pytest.mark.parametrize("q", [1, 2, 5])
def test_a_sample_is_bounded_and_its_elites_are_the_best_of_it(q: int) -> None:
    history = _history(9000, q, constrained=True)
    settings = SampleSettings()
    sample = draw_preferred_sample(history, np.random.default_rng(0), settings, SETTINGS)
    auxiliary = sample.auxiliary()
    assert sample.n_elites == settings.n_elites
    assert len(sample.X) == 2 * settings.n_elites
    assert len(auxiliary.X) <= settings.n_auxiliary + 1280
    elites, others = np.split(sample.cost, [sample.n_elites])
    assert (np.diff(elites) >= 0).all()
    assert elites[-1] <= min(others.min(), auxiliary.cost.min())
    credits = learn_credits(history, ShareSettings(), sample.parts.preference)
    assert credits.total.sum() == 0  # nothing was proposed by a strategy


def test_a_violation_may_be_far_larger_than_others() -> None:
    optimizer = adbo.Optimizer(SPACE, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for i in range(24):
            optimizer.tell(optimizer.ask(), float(i), {"c": [1e-300, 1e308, -1.0][i % 3]})


def test_values_may_be_farther_apart_than_the_largest_float(recwarn) -> None:
    optimizer = adbo.Optimizer(SPACE, seed=0)
    points = np.random.default_rng(0).random((20, 2))
    values = np.full(20, sys.float_info.max)
    values[0] *= -1
    constraints = [{"c": -1.0}] * 19 + [{"c": 1.0}]
    optimizer.tell_array(points, values, constraints)
    drawn = draw_preference(
        optimizer.history, np.arange(20), np.random.default_rng(0), SETTINGS
    ).preference
    assert np.isfinite(drawn.penalty)  # infinity is for "nothing is feasible"
    assert not recwarn.list


def test_infinite_values_and_failures_are_no_obstacle() -> None:
    for constrained in (False, True):
        optimizer = adbo.Optimizer(SPACE, directions=["minimize", "maximize"], seed=0)
        values = [(np.inf, 1.0), (1.0, -np.inf), None, (1e308, 1e308), (-1e308, 0.0), (0.0, 0.0)]
        for i in range(24):
            constraints = {"c": [np.inf, -1.0, 1e308, 0.0][i % 4]} if constrained else None
            optimizer.tell(optimizer.ask(), values[i % 6], constraints)
        assert optimizer.front
