"""What pruned trials are expected to have cost in the end."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from adbo.core.evaluation import Evaluation, Extras, Layout, to_batch
from adbo.core.history import History
from adbo.core.pruned_costs import (
    PrunedCosts,
    expected_costs,
    expected_of_complete,
    rounded,
)
from adbo.optimizer.sample import Pruned, SampleSettings, draw_sample

COMPLETE, PRUNED = TrialState.COMPLETE, TrialState.PRUNED

costs = st.floats(-1e6, 1e6)


def test_a_position_among_early_values_becomes_one_among_final_values() -> None:
    early, final = np.array([1.0, 2.0, 4.0]), np.array([0.1, 0.2, 0.6])
    v = np.array([0.5, 1.0, 1.5, 3.0, 4.0, 6.0, math.inf, math.nan])
    expected = [0.1, 0.1, 0.15, 0.4, 0.6, 2.6, math.inf, math.nan]
    np.testing.assert_allclose(expected_costs(v, early, final), expected)


def test_nothing_is_known_without_complete_trials() -> None:
    np.testing.assert_array_equal(
        expected_costs(np.array([3.0, math.nan]), np.empty(0), np.empty(0)), [3.0, math.nan]
    )


def test_the_less_early_costs_say_the_closer_is_what_is_expected() -> None:
    early = np.arange(5.0)
    expected = [
        expected_of_complete(early, np.array(final)).tolist()
        for final in ([1.0, 2.0, 3.0, 4.0, 90.0], [1.0, 3.0, 2.0, 90.0, 4.0], [90.0, 4, 3, 2, 1])
    ]
    assert expected == [[1.0, 2.0, 3.0, 4.0, 90.0], [1.0, 2.5, 2.5, 47.0, 47.0], [3.0] * 5]
    same = expected_of_complete(np.zeros(4), np.array([1.0, 2.0, 3.0, 4.0]))
    assert same.tolist() == [2.5] * 4
    huge = expected_of_complete(np.zeros(2), np.array([-1.7e308, 1.7e308]))
    assert huge.tolist() == [0.0, 0.0]


def test_costs_that_follow_from_noisy_ones_are_closer_to_the_true_ones() -> None:
    rng = np.random.default_rng(0)
    early, final = rng.standard_normal((2, 300)) + 0.5 * rng.standard_normal(300)
    order = np.argsort(early)
    new_early = rng.standard_normal(1000)
    new_final = 0.2 * new_early + rng.standard_normal(1000)
    by_position, expected = (
        expected_costs(new_early, early[order], costs)
        for costs in (np.sort(final), expected_of_complete(early[order], final[order]))
    )
    errors = [np.abs(costs - new_final).mean() for costs in (by_position, expected)]
    assert errors[1] < 0.9 * errors[0]


@given(st.lists(st.tuples(costs, costs), min_size=1, max_size=30), st.lists(costs, min_size=2))
@example([(0.0, 0.0), (2.2e-309, 1.0)], [1.0, 2.2e-311])
@example([(0.0, 5e-324)], [0.0, 1.0])
def test_pruned_trials_keep_their_order(
    complete: list[tuple[float, float]], pruned: list[float]
) -> None:
    early, final = map(np.array, zip(*sorted(complete), strict=True))
    of_complete = expected_of_complete(early, final)
    assert (np.diff(of_complete) >= 0).all()
    assert final.min() <= of_complete[0] <= of_complete[-1] <= final.max()
    v = np.sort(np.array(pruned))
    expected = expected_costs(v, early, of_complete)
    assert (np.diff(expected) >= 0).all()
    assert (expected >= of_complete[0] - 1e-9 * (1 + abs(final).max())).all()


@given(st.lists(st.tuples(costs, costs), min_size=1, max_size=30), st.lists(costs, min_size=2))
@example([(0.0, 0.0), (2.2e-309, 1.0)], [1.0, 2.2e-311])
def test_if_the_order_stays_none_is_better_than_as_many_as_were_better(
    complete: list[tuple[float, float]], pruned: list[float]
) -> None:
    early, final = (np.sort(np.array(column)) for column in zip(*complete, strict=True))
    v = np.sort(np.array(pruned))
    expected = expected_costs(v, early, final)
    assert (np.diff(expected) >= 0).all()
    for value, cost in zip(v, expected, strict=True):
        n_better = int((early <= value).sum())
        assert cost >= final[max(n_better - 1, 0)] - 1e-9 * (1 + abs(final).max())


def test_numbers_of_reports_are_rounded() -> None:
    assert [rounded(n) for n in (1, 9, 15, 17, 27, 81, 243, 999)] == [
        1, 9, 15, 16, 26, 80, 240, 960
    ]  # fmt: skip


def _trial(seq: int, state: TrialState, *reports: float) -> Evaluation:
    layout = Layout.of({"x": FloatDistribution(0.0, 1.0)})
    extras = Extras(intermediate_values=dict(enumerate(reports)))
    internal = ((seq % 97) / 97,)
    value = reports[-1] if reports else math.nan
    return Evaluation(0, seq, state, value, 0.0, seq, layout, internal, extras)


def _history(*trials: Evaluation, sign: int = 1) -> History:
    history = History(sign)
    history.extend(map(to_batch, trials))
    return history


TRIALS = (
    _trial(0, COMPLETE, 10.0, 5.0, 1.0),
    _trial(1, COMPLETE, 20.0, 9.0, 3.0),
    _trial(2, PRUNED, 15.0),  # in the middle
    _trial(3, PRUNED, 12.0, 0.5),  # better than all at its second report
    _trial(4, PRUNED, 30.0),  # behind all
    _trial(5, PRUNED),
)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_costs_of_a_history(sign: int) -> None:
    trials = [
        _trial(t.seq, t.state, *(sign * v for v in t.extras.intermediate_values.values()))
        for t in TRIALS
    ]
    history = _history(*trials, sign=sign)
    expected = [1.0, 3.0, 2.0, 1.0, 13.0, math.nan]
    np.testing.assert_allclose(history.cost(slice(None)), expected)
    np.testing.assert_allclose(history.cost(np.array([4, 0, 2])), [13.0, 1.0, 2.0])
    np.testing.assert_allclose(history.cost(slice(2, 4)), [2.0, 1.0])
    assert history.elites.tolist() == [0, 1]


def test_later_results_change_the_costs_of_earlier_pruned_trials() -> None:
    history = _history(*TRIALS)
    assert history.cost(np.array([2]))[0] == 2.0
    history.extend([to_batch(_trial(6, COMPLETE, 14.0, 4.0, 2.5))])
    assert history.cost(np.array([2])) == pytest.approx(2.5 + (15 - 14) / (20 - 14) * 0.5)


def test_a_history_in_another_order_has_the_same_costs() -> None:
    history = _history(*reversed(TRIALS))
    history.cost(slice(None))
    history.sort()
    np.testing.assert_array_equal(history.cost(slice(None)), _history(*TRIALS).cost(slice(None)))


def test_a_copy_reads_more_than_the_original() -> None:
    states = np.array([COMPLETE.value, PRUNED.value])
    original = PrunedCosts(1)
    original.read(states[:1], np.array([1.0]), [(0, [4.0, 1.0])])
    copy = original.copy()
    copy.read(states, np.array([1.0, 5.0]), [(1, [5.0])])
    assert copy.costs(np.array([1])) == [2.0]
    original.read(states, np.array([1.0, 9.0]), [(1, [9.0])])
    assert original.costs(np.array([1])) == [6.0]
    assert original.copy().costs(np.array([1])) == [6.0]  # with the table that it has by now


def test_thousands_of_trials_are_thinned_out() -> None:
    rng = np.random.default_rng(0)
    quality = rng.random(20_000)
    trials = [_trial(i, COMPLETE, 10 + q, q) for i, q in enumerate(quality.tolist())]
    history = _history(*trials, _trial(20_000, PRUNED, 10.25))
    assert history.cost(np.array([20_000])) == pytest.approx(0.25, abs=0.02)


def test_what_an_ask_may_learn_from_pruned_trials() -> None:
    history = _history(*TRIALS)
    rng = np.random.default_rng(0)

    def learned(pruned: Pruned) -> tuple[int, list[float]]:
        sample = draw_sample(history, rng, SampleSettings(pruned=pruned))
        return sample.n_elites, [cost for cost in sample.cost.tolist() if cost == cost]

    assert learned(Pruned.EXPECTED) == (2, [1.0, 3.0, 2.0, 1.0, 13.0])
    assert learned(Pruned.LAST) == (2, [1.0, 3.0, 15.0, 0.5, 30.0])
    assert learned(Pruned.IGNORED) == (2, [1.0, 3.0])
