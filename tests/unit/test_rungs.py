"""Successive halving on what a rank knows."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from optuna.trial import TrialState

from adbo.core.errors import UsageError
from adbo.core.evaluation import Evaluation, Extras, Layout, to_batch
from adbo.core.history import History
from adbo.core.rungs import LATEST, Halving, Report, Rungs

COMPLETE, PRUNED, FAIL = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL


def _trial(seq: int, state: TrialState, *reports: float, rank: int = 0) -> Evaluation:
    value = reports[-1] if reports and state is not FAIL else math.nan
    extras = Extras(intermediate_values=dict(enumerate(reports)))
    return Evaluation(rank, seq, state, value, 0.0, 1.0, Layout.of({}), (), extras)


def _rungs(*known: Evaluation, sign: int = 1, halving: Halving = Halving()) -> Rungs:  # noqa: B008
    history = History(sign)
    history.extend(map(to_batch, known))
    return Rungs(halving, history)


def test_the_rungs_of_the_published_study() -> None:
    assert list(Halving(3, 1).rungs(50)) == [1, 3, 9, 27]
    assert list(Halving(2, 5).rungs(12)) == [5, 6, 8, 12]
    assert [n for n in range(1, 30) if Halving(3, 1).is_rung(n)] == [1, 3, 9, 27]
    assert Halving(4, 3).last_rung(2) is None
    assert Halving(4, 3).last_rung(17) == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 1), "reduction factor is 1: it must be an integer of at least 2"),
        ((2.5, 1), "reduction factor is 2.5: it must be an integer of at least 2"),
        ((3, 0), "min resource is 0: it must be an integer of at least 1"),
        ((3, True), "min resource is True: it must be an integer of at least 1"),
    ],
)
def test_wrong_parameters(arguments: tuple[int, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Halving(*arguments)


def test_all_go_on_until_one_is_complete() -> None:
    rungs = _rungs(_trial(0, PRUNED, 0.0), _trial(1, FAIL, 0.0))
    assert rungs.judge(Report(1, 0, 1, 9.0)) == (1, 3, 1, True)
    rungs._history.extend([to_batch(_trial(2, COMPLETE))])  # it reported nothing
    assert rungs.judge(Report(1, 1, 1, 9.0)).goes_on
    rungs._history.extend([to_batch(_trial(3, COMPLETE, 1.0))])
    assert rungs.judge(Report(1, 2, 1, 9.0)) == (1, 6, 2, False)


def test_the_best_third_goes_on() -> None:
    rungs = _rungs(*(_trial(i, COMPLETE, float(i), float(i)) for i in range(5)))
    assert rungs.judge(Report(1, 0, 1, 0.5)) == (1, 6, 1, True)  # 2 of 6
    assert rungs.judge(Report(1, 1, 1, 0.6)) == (1, 7, 2, False)
    assert rungs.judge(Report(1, 2, 1, 0.5)) == (1, 8, 1, True)  # ties
    assert rungs.judge(Report(1, 0, 3, 7.0)) == (3, 1, 0, True)  # nobody else was here


def test_larger_is_better_if_the_study_maximizes() -> None:
    rungs = _rungs(_trial(0, COMPLETE, 1.0), sign=-1)
    assert rungs.judge(Report(0, 1, 1, 2.0)).goes_on
    assert not rungs.judge(Report(0, 2, 1, 1.5)).goes_on


def test_reports_of_running_trials_count_once() -> None:
    rungs = _rungs(_trial(0, COMPLETE, 1.0))
    for _ in range(2):
        rungs.add(Report(7, 0, 1, 0.0))
    assert rungs.judge(Report(1, 0, 1, 0.5)) == (1, 3, 1, False)
    rungs._history.extend([to_batch(_trial(0, PRUNED, 0.7, rank=7))])  # a second attempt
    assert rungs.judge(Report(1, 0, 1, 0.5)) == (1, 3, 0, True)
    rungs.add(Report(7, 0, 1, 0.0))  # late
    assert rungs.judge(Report(1, 0, 1, 0.5)) == (1, 3, 0, True)


def test_failed_trials_and_nan_count_as_the_worst() -> None:
    rungs = _rungs(_trial(0, COMPLETE, 5.0), _trial(1, FAIL, 0.0), _trial(2, PRUNED, math.nan))
    assert rungs.judge(Report(0, 3, 1, 4.0)) == (1, 4, 0, True)
    assert rungs.judge(Report(0, 4, 1, math.inf)).n_better == 2
    assert rungs.judge(Report(0, 5, 1, math.nan)) == (1, 6, 2, False)  # though 2 of 6 go on
    rungs = _rungs(_trial(0, COMPLETE, math.nan, 1.0))
    assert rungs.judge(Report(0, 1, 1, math.nan)).goes_on  # nobody has a number there


def test_what_is_known_does_not_depend_on_the_order() -> None:
    trials = [_trial(i, (COMPLETE, PRUNED, FAIL)[i % 3], 1.0 * i, 2.0 * i) for i in range(20)]
    forth, back = _rungs(*trials), _rungs(*reversed(trials))
    for seq, value in enumerate((3.5, 0.1, 12.0)):
        report = Report(1, seq, 1, value)
        assert forth.judge(report) == back.judge(report)


def test_a_trial_is_compared_with_the_latest_ones() -> None:
    old = [_trial(i, COMPLETE, 0.0) for i in range(100)]
    new = [_trial(100 + i, PRUNED, 2.0 + i) for i in range(LATEST - 1)]
    rungs = _rungs(*old, *new)
    assert rungs.judge(Report(1, 0, 1, 1.0)) == (1, LATEST, 0, True)
    assert rungs.judge(Report(1, 1, 1, 90.0)) == (1, LATEST, LATEST - 1, False)
    assert rungs.judge(Report(1, 2, 1, 22.5)) == (1, LATEST, 20, True)  # 1.0, and 4.0 to 22.0
    assert rungs.judge(Report(1, 3, 1, 23.5)) == (1, LATEST, 21, False)  # 21 go on


def test_what_becomes_known_again_is_not_new() -> None:
    rungs = _rungs(_trial(0, COMPLETE, 1.0))
    rungs.add(Report(7, 0, 1, 0.0))
    for seq in range(1, LATEST):
        rungs.add(Report(7, seq, 1, 2.0))
    rungs._history.extend([to_batch(_trial(0, COMPLETE, 0.0, 5.0, rank=7))])  # it has ended
    assert rungs.judge(Report(1, 0, 1, 1.0)) == (1, LATEST, 0, True)


def test_a_trial_that_asks_late_is_compared_with_those_that_came_meanwhile() -> None:
    rungs = _rungs(_trial(0, COMPLETE, 3.0))
    rungs.add(Report(1, 0, 1, 1.5))
    for seq in range(LATEST):
        rungs.add(Report(7, seq, 1, 2.0))
    assert rungs.judge(Report(1, 0, 1, 1.5)) == (1, LATEST, 0, True)
    assert rungs.judge(Report(1, 1, 1, 1.7)) == (1, LATEST, 1, True)


def test_a_trial_of_the_history_is_judged_by_all_its_rungs() -> None:
    reports = tuple(float(i) for i in range(30))
    rungs = _rungs(_trial(0, COMPLETE, *reports), replace(_trial(1, PRUNED, *reports[:9])))
    for n_reports, n_known in ((1, 3), (3, 3), (9, 3), (27, 2)):
        verdict = rungs.judge(Report(1, 0, n_reports, n_reports - 1.5))
        assert verdict == (n_reports, n_known, 0, True)
