"""The additive model finds the best value of each parameter where they act one by one."""

from __future__ import annotations

import numpy as np
import pytest
from optimizer_views import best_first, continuous, geometry_of
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from adbo.core.space import SearchSpace
from adbo.optimizer.strategies import additive
from adbo.optimizer.strategies.additive import Additive, minimize_additive

DEFAULT = Additive()
ALWAYS = Additive(correlation_power=0.0)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def waves(X, target):
    """Many basins in each column, the deepest at the target."""
    return np.sum(-np.cos(25 * (X - target)) + 2 * np.abs(X - target), axis=-1)


def draws(X, cost, geometry, rng, settings=DEFAULT, n=60):
    return np.concatenate([minimize_additive(X, cost, geometry, rng, settings) for _ in range(n)])


def n_models(X, cost, rng):
    """Number of minimizations of 60 for which there is an additive model."""
    found = [minimize_additive(X, cost, continuous(3), rng, DEFAULT) for _ in range(60)]
    return sum(len(points) > 0 for points in found)


def test_the_best_of_many_basins_is_found_in_one_step(rng):
    target = np.array([0.3, 0.6, 0.8, 0.2])
    X = rng.random((200, 4))
    X, cost = best_first(X, waves(X, target))
    assert np.abs(X[0] - target).max() > 0.2  # no row is in the best basin of them all
    points = draws(X, cost, continuous(4), rng)
    distance = np.abs(points - target).max(axis=1)
    assert np.median(distance) < 0.05


def test_parameters_that_act_together_have_no_such_model(rng):
    X = rng.random((200, 3))
    X, cost = best_first(X, np.prod(np.sign(X - 0.5), axis=1))
    assert n_models(X, cost, rng) < 5


def test_costs_that_are_a_sum_on_the_scale_of_the_forest(rng, monkeypatch):
    X = rng.random((200, 3))
    X, cost = best_first(X, np.exp(3 * waves(X, np.array([0.3, 0.6, 0.8]))))
    monkeypatch.setattr(additive, "_PLAIN_PROBABILITY", 1.0)
    assert n_models(X, cost, rng) < 5
    monkeypatch.setattr(additive, "_PLAIN_PROBABILITY", 0.0)
    assert n_models(X, cost, rng) > 10


def test_choices_and_whole_numbers(rng):
    space = SearchSpace(
        {
            "c": CategoricalDistribution(["a", "b", "c", "d"]),
            "n": IntDistribution(0, 9),
            "x": FloatDistribution(0, 1),
            "k": IntDistribution(3, 3),
        }
    )
    X = space.snap(rng.random((120, 4)))
    index = np.clip((X[:, 0] * 4).astype(int), 0, 3)
    cost = np.array([2.0, 0.0, 3.0, 1.0])[index] + np.cos(9 * X[:, 1]) + (X[:, 2] - 0.4) ** 2
    X, cost = best_first(X, cost)
    points = draws(X, cost, geometry_of(space), rng)
    params = [space.decode(space.from_unit(point[None])[0]) for point in points]
    assert np.mean([p["c"] == "b" for p in params]) > 0.7
    assert np.mean([p["n"] in (3, 4) for p in params]) > 0.7
    assert {p["k"] for p in params} == {3}
    assert np.median([abs(p["x"] - 0.4) for p in params]) < 0.1


def test_a_choice_that_no_row_has_is_not_proposed(rng):
    space = SearchSpace({"c": CategoricalDistribution(["a", "b"]), "x": FloatDistribution(0, 1)})
    X = space.snap(rng.random((60, 2)))
    X[:, 0] = 0.25
    X, cost = best_first(X, (X[:, 1] - 0.4) ** 2)
    assert (draws(X, cost, geometry_of(space), rng)[:, 0] == 0.25).all()


def test_failures_are_left_out(rng):
    X = rng.random((150, 2))
    cost = np.where(X[:, 0] > 0.6, np.nan, np.sum((X - 0.3) ** 2, axis=1))
    X, cost = best_first(X, cost)
    points = draws(X, cost, continuous(2), rng)
    assert np.median(np.abs(points - 0.3).max(axis=1)) < 0.1


def test_draws_differ(rng):
    X = rng.random((60, 3))
    X, cost = best_first(X, np.sum((X - 0.3) ** 2, axis=1))
    points = [minimize_additive(X, cost, continuous(3), rng, DEFAULT) for _ in range(60)]
    firsts = np.array([found[0] for found in points if len(found)])
    assert len(firsts) > 30
    assert len(np.unique(firsts, axis=0)) == len(firsts)


@pytest.mark.parametrize("m", [1, 5, 30, 600])
@pytest.mark.parametrize("spread", [0.0, 1e-16, 1e-9, 0.3])
@pytest.mark.parametrize("size", [0.0, 1e-300, 1.0, 1e307])
def test_inside_whatever_the_rows(rng, m, spread, size):
    X = np.clip(0.5 + spread * rng.standard_normal((m, 3)), 0, 1)
    X, cost = best_first(X, size * np.sum(np.abs(X - 0.4), axis=1))
    points = draws(X, cost, continuous(3), rng, ALWAYS, 5)
    assert ((points >= X.min(axis=0)) & (points <= X.max(axis=0))).all()
    if m >= 30 and spread == 0.3 and size:
        assert len(points) == 5 * additive._N_POINTS


def test_levels_that_were_not_seen_are_not_guessed_between(rng):
    space = SearchSpace({f"n{j}": IntDistribution(0, 3) for j in range(4)})
    X = space.snap(rng.random((100, 4)))
    effect = rng.standard_normal((4, 4))
    index = np.clip((X * 4).astype(int), 0, 3)
    X, cost = best_first(X, effect[np.arange(4), index].sum(axis=1))
    points = draws(X, cost, geometry_of(space), rng, ALWAYS)
    proposed = np.clip((points * 4).astype(int), 0, 3)
    assert (proposed == effect.argmin(axis=1)).mean() > 0.9


def test_too_many_choices_have_no_model(rng):
    choices = CategoricalDistribution(list(range(50)))
    space = SearchSpace({f"c{j}": choices for j in range(10)})
    X = space.snap(rng.random((300, 10)))
    X, cost = best_first(X, X.sum(axis=1))
    assert len(draws(X, cost, geometry_of(space), rng)) == 0


def test_draws_of_one_model_differ(rng):
    X = rng.random((60, 3))
    X, cost = best_first(X, waves(X, 0.3) + 0.3 * rng.standard_normal(60))
    for _ in range(10):
        points = minimize_additive(X, cost, continuous(3), rng, ALWAYS)
        assert len(np.unique(points, axis=0)) > 1


def test_leave_one_out_predictions_are_those_of_fits_without_the_row(rng):
    features = np.column_stack([np.ones(12), rng.standard_normal((12, 4))])
    y = features @ rng.standard_normal(5) + 0.1 * rng.standard_normal(12)
    scale, noise = np.full(5, 0.7), 0.01

    def predicted(i):
        rest = np.arange(12) != i
        scaled = features[rest] * scale
        coefficients = np.linalg.solve(
            scaled.T @ scaled + 12 * noise * np.eye(5), scaled.T @ y[rest]
        )
        return features[i] * scale @ coefficients

    expected = np.corrcoef([predicted(i) for i in range(12)], y)[0, 1]
    found = additive._fit_model(features, scale, y, noise).correlation
    np.testing.assert_allclose(found, expected, rtol=1e-9)
