"""The front that is kept as evaluations arrive, and its hypervolume."""

from __future__ import annotations

import math
import sys

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from adbo.core import front as front_module
from adbo.core.front import Front, dominated, most_spread
from adbo.core.hypervolume import hypervolume, hypervolumes, worst

#: Few different values, so that many are equal.
COSTS = st.integers(2, 5).flatmap(
    lambda q: arrays.arrays(
        float, st.tuples(st.integers(1, 30), st.just(q)), elements=st.integers(0, 4)
    )
)


def _is_dominated(costs: np.ndarray) -> list[bool]:
    return [any((other <= one).all() and (other < one).any() for other in costs) for one in costs]


@given(COSTS, st.integers(0, 10))
def test_the_front_is_what_nothing_dominates_in_whatever_parts_it_arrives(costs, cut) -> None:
    rows = np.arange(len(costs))
    front = Front.empty(costs.shape[1])
    for part in (slice(cut), slice(cut, None)):
        front = front.extended(rows[part], costs[part])
    expected = rows[~np.array(_is_dominated(costs))]
    assert sorted(front.rows.tolist()) == expected.tolist()
    np.testing.assert_array_equal(front.costs, costs[front.rows])


@given(COSTS)
def test_it_is_that_of_optuna(costs) -> None:
    study = optuna.create_study(directions=["minimize"] * costs.shape[1])
    study.add_trials(optuna.trial.create_trial(values=row.tolist()) for row in costs)
    front = Front.empty(costs.shape[1]).extended(np.arange(len(costs)), costs)
    assert sorted(front.rows.tolist()) == [trial.number for trial in study.best_trials]


def test_failures_are_not_on_it() -> None:
    costs = np.array([[np.nan, 0.0], [1.0, 1.0], [np.nan, np.nan]])
    assert Front.empty(2).extended(np.arange(3), costs).rows.tolist() == [1]


def test_a_large_front_keeps_the_best_of_each_objective(monkeypatch) -> None:
    monkeypatch.setattr(front_module, "MOST", 20)
    monkeypatch.setattr(front_module, "_BLOCK", 8)
    x = np.random.default_rng(0).random(500)
    front = Front.empty(2).extended(np.arange(500), np.column_stack([x, 1 - x]))
    assert 20 <= len(front.rows) <= 28
    assert {int(np.argmin(x)), int(np.argmax(x))} <= set(front.rows.tolist())
    gaps = np.diff(np.sort(front.costs[:, 0]))
    assert gaps.max() < 4 / 20  # spread out


@given(COSTS, st.integers(1, 40))
def test_the_most_spread_are_different_points_and_hold_the_best(costs, size) -> None:
    chosen = most_spread(costs, size)
    assert len(set(chosen.tolist())) == len(chosen) == min(size, len(costs))
    if len(chosen) >= costs.shape[1]:
        np.testing.assert_array_equal(costs[chosen].min(axis=0), costs.min(axis=0))


def test_infinite_costs_can_be_on_it() -> None:
    costs = np.array([[-np.inf, 1.0], [0.0, 0.5], [1.0, -1e308], [2.0, np.inf]])
    front = Front.empty(2).extended(np.arange(4), costs)
    assert sorted(front.rows.tolist()) == [0, 1, 2]
    assert len(most_spread(costs, 2)) == 2


@given(COSTS)
def test_dominated_is_the_definition(costs) -> None:
    assert dominated(costs, costs).tolist() == _is_dominated(costs)


@given(
    st.integers(2, 3).flatmap(
        lambda q: arrays.arrays(
            float, st.tuples(st.integers(1, 12), st.just(q)), elements=st.integers(0, 5)
        )
    )
)
def test_the_hypervolume_is_the_number_of_cells_that_are_dominated(costs) -> None:
    """With integers, the space is divided into cells of volume 1."""
    q = costs.shape[1]
    cells = np.stack(np.meshgrid(*[np.arange(4)] * q), axis=-1).reshape(-1, q)
    n_dominated = sum(bool((costs <= cell).all(axis=1).any()) for cell in cells)
    assert hypervolume(costs, np.full(q, 4.0)) == pytest.approx(n_dominated)


@pytest.mark.parametrize("q", [4, 5])
def test_the_hypervolume_of_many_objectives_is_estimated(q) -> None:
    costs = np.eye(q)  # they dominate where some coordinate is at least 1
    assert hypervolume(costs, np.full(q, 2.0)) == pytest.approx(2**q - 1, rel=0.01)


@pytest.mark.parametrize("q", [2, 3, 4, 5])
def test_the_hypervolume_of_a_growing_front_never_decreases(q) -> None:
    costs = np.random.default_rng(0).standard_normal((300, q))
    fronts = [Front.empty(q)]
    for i in range(0, 300, 10):
        fronts.append(fronts[-1].extended(np.arange(i, i + 10), costs[i : i + 10]))
    grown = hypervolumes(fronts, np.full(q, 2.0))
    assert grown[0] == 0
    assert (np.diff(grown) >= 0).all()
    assert grown[-1] == pytest.approx(hypervolume(fronts[-1].costs, np.full(q, 2.0)), rel=0.01)


@pytest.mark.parametrize("best", [-sys.float_info.max, -math.inf])
@pytest.mark.parametrize("q", [2, 3, 4])
def test_a_hypervolume_beyond_all_floats_is_infinite(q, best, recwarn) -> None:
    costs = np.full((2, q), best)  # equal ones, between which there is nothing
    assert hypervolume(costs, np.full(q, sys.float_info.max)) == math.inf
    assert not recwarn.list


def test_nothing_beyond_the_reference_point_counts() -> None:
    assert hypervolume(np.array([[0.0, 3.0], [3.0, 0.0]]), np.array([2.0, 2.0])) == 0.0
    assert hypervolume(np.empty((0, 2)), np.array([2.0, 2.0])) == 0.0


def test_the_worst_is_finite() -> None:
    costs = np.array([[1.0, np.inf], [2.0, 3.0], [np.nan, -np.inf]])
    assert worst(costs).tolist() == [2.0, 3.0]
    assert np.isnan(worst(np.empty((0, 2)))).all()
