"""The recommendation is better than the luckiest evaluation where the objective is noisy."""

from __future__ import annotations

import numpy as np
import pytest
from optimizer_views import history_of
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

import adbo
from adbo.core.history import History
from adbo.optimizer.recommend import recommend

SQUARE = {"x": FloatDistribution(-5, 5), "y": FloatDistribution(-5, 5)}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def sphere(X):
    return np.sum((X - 1) ** 2, axis=1)


def test_on_a_noisy_sphere_it_is_better_than_the_best_observed():
    recommended, observed = [], []
    for seed in range(15):
        rng = np.random.default_rng(seed)
        X = rng.uniform(-5, 5, (100, 2))
        history = history_of(SQUARE, X, sphere(X) + 3 * rng.standard_normal(100))
        recommended.append(sphere(X)[recommend(history).row])
        observed.append(sphere(X)[history.best])
    assert np.median(recommended) < 0.7 * np.median(observed)


def test_its_value_is_what_it_predicts_not_the_lucky_one():
    predicted, lucky = [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        X = rng.uniform(-5, 5, (100, 2))
        y = sphere(X) + 3 * rng.standard_normal(100)
        found = recommend(history_of(SQUARE, X, y))
        predicted.append(abs(found.value - sphere(X)[found.row]))
        lucky.append(abs(y.min() - sphere(X)[y.argmin()]))
    assert np.median(predicted) < 0.5 * np.median(lucky)


@pytest.mark.parametrize("n", [1, 2, 3, 10, 300])
def test_without_noise_it_is_the_incumbent(rng, n):
    X = rng.uniform(-5, 5, (n, 2))
    history = history_of(SQUARE, X, sphere(X))
    found = recommend(history)
    assert found.row == history.best
    # Few rows do not tell small noise; many are predicted up to rounding, which looks like noise.
    tolerance = 0.01 if n == 10 else 1e-5
    assert found.value == pytest.approx(sphere(X).min(), abs=tolerance * np.ptp(sphere(X)))


def test_ripples_are_not_taken_for_noise():
    """Two hundred evaluations, most of them in one basin of many, as at the end of a run."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        centre = rng.integers(-3, 4, size=2)
        near = centre + 0.1 * rng.standard_normal((100, 2))
        X = np.concatenate([rng.uniform(-5, 5, (100, 2)), near])
        y = np.sum(X**2 - 10 * np.cos(2 * np.pi * X) + 10, axis=1)
        history = history_of(SQUARE, X, y)
        assert recommend(history) == (history.best, y.min())


def test_small_noise_is_seen_where_evaluations_are_close():
    recommended, observed = [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        near = 1 + 0.5 * rng.standard_normal((100, 2))
        X = np.concatenate([rng.uniform(-5, 5, (50, 2)), near])
        history = history_of(SQUARE, X, sphere(X) + 0.1 * rng.standard_normal(150))
        recommended.append(sphere(X)[recommend(history).row])
        observed.append(sphere(X)[history.best])
    assert np.median(recommended) < 0.3 * np.median(observed)


def test_the_sign_is_that_of_the_user(rng):
    optimizer = adbo.Optimizer(SQUARE, direction="maximize", seed=0)
    X = rng.uniform(-5, 5, (120, 2))
    optimizer.tell_array(X, 100 - sphere(X) + 3 * rng.standard_normal(120))
    found = recommend(optimizer.history)
    assert found.value == pytest.approx(100 - sphere(X)[found.row], abs=3)
    assert optimizer.recommend() == {"x": X[found.row, 0], "y": X[found.row, 1]}


def test_categories(rng):
    space = {"kind": CategoricalDistribution(list("abc")), "x": FloatDistribution(0, 1)}
    hits = []
    for _ in range(10):
        X = np.column_stack([rng.integers(3, size=90), rng.random(90)])
        y = np.array([1.0, 0.0, 1.0])[X[:, 0].astype(int)] + (X[:, 1] - 0.4) ** 2
        found = recommend(history_of(space, X, y + 0.4 * rng.standard_normal(90)))
        hits.append(X[found.row, 0] == 1)
    assert np.mean(hits) >= 0.9


def test_parameters_that_are_absent(rng):
    space = {
        "kind": CategoricalDistribution(["a", "b"]),
        "x": FloatDistribution(0, 1),
        "y": FloatDistribution(0, 1),
    }
    X = np.column_stack([rng.integers(2, size=120), rng.random((120, 2))])
    X[X[:, 0] == 0, 2] = np.nan
    X[X[:, 0] == 1, 1] = np.nan
    true = np.where(X[:, 0] == 0, np.nan_to_num(X[:, 1] - 0.3) ** 2, 1.0)
    history = history_of(space, X, true + 0.1 * rng.standard_normal(120))
    found = recommend(history)
    assert X[found.row, 0] == 0
    assert true[found.row] < 0.1


@pytest.mark.parametrize("value", [0.0, np.inf, -np.inf, 1e308])
def test_a_single_evaluation_is_recommended(value):
    assert recommend(history_of(SQUARE, np.zeros((1, 2)), np.array([value]))) == (0, value)


def test_without_parameters_it_is_the_incumbent():
    assert recommend(history_of({}, np.empty((9, 0)), np.arange(9.0))) == (0, 0.0)


def test_nothing_is_recommended_where_nothing_is_complete():
    assert recommend(History()) is None
    assert recommend(history_of(SQUARE, np.zeros((3, 2)), np.full(3, np.nan))) is None


@pytest.mark.parametrize(
    "results",
    [
        [np.inf] * 9,
        [1.0] * 9,
        [np.nan, np.inf, -np.inf, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        [1e308, -1e308, 0.0, 5.0, 1e-308, 2.0, 3.0, 4.0, np.nan],
    ],
)
@pytest.mark.parametrize("n_places", [1, 4, 9])
def test_it_is_a_complete_evaluation_whatever_was_seen(rng, results, n_places, recwarn):
    X = rng.uniform(-5, 5, (n_places, 2))[np.arange(9) % n_places]
    found = recommend(history_of(SQUARE, X, np.array(results)))
    assert not np.isnan(results[found.row])
    assert not np.isnan(found.value)
    assert not recwarn.list


def test_repeated_evaluations_of_one_point_are_averaged(rng):
    # Eight points of twenty evaluations each; the luckiest one belongs to another than the best.
    places = np.linspace(-5, 5, 8)
    X = np.repeat(places, 20)[:, None]
    better = 0
    for _ in range(10):
        y = 0.1 * (X[:, 0] - places[5]) ** 2 + rng.standard_normal(160)
        found = recommend(history_of({"x": FloatDistribution(-5, 5)}, X, y))
        better += abs(X[found.row, 0] - places[5]) <= 1.5
    assert better >= 9


def test_the_lucky_ones_among_many_do_not_mislead_it():
    """Of 2,000 evaluations near the optimum, the best are those with luck, wherever they are."""
    recommended, observed = [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        X = np.clip(rng.normal(1, 1, (2000, 2)), -5, 5)
        history = history_of(SQUARE, X, sphere(X) + 3 * rng.standard_normal(2000))
        recommended.append(sphere(X)[recommend(history).row])
        observed.append(sphere(X)[history.best])
    assert np.median(recommended) < 0.5 * np.median(observed)


def test_a_cusp_is_not_taken_for_noise():
    """Differences near a cusp vanish with the distance, unlike noise."""
    space = {f"x{i}": FloatDistribution(-5, 5) for i in range(5)}
    for seed in range(20):
        rng = np.random.default_rng(seed)
        directions = rng.standard_normal((300, 5))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        X = 1 + 10.0 ** rng.uniform(-3, 0, (300, 1)) * directions
        history = history_of(space, X, np.sqrt(sphere(X)))
        assert recommend(history).row == history.best


def test_it_is_a_complete_evaluation_although_pruned_ones_are_better(rng):
    optimizer = adbo.Optimizer(SQUARE, seed=0)
    for x, y in rng.uniform(-5, 5, (300, 2)):
        params, value = {"x": x, "y": y}, x**2 + y**2 + 3 * rng.standard_normal()
        if x**2 + y**2 < 9:
            optimizer.tell(params, None, reports={1: value}, pruned=True)
        else:
            optimizer.tell(params, value, reports={1: value})
    found = recommend(optimizer.history)
    assert optimizer.history.column("state")[found.row] == TrialState.COMPLETE.value
