"""Ends of a run that follow from its history: target, patience, failures in a row."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

import adbo
from adbo.comm.in_process import SingleRank
from adbo.core.errors import UsageError
from adbo.core.evaluation import Evaluation, Extras, Layout, to_batch
from adbo.core.history import History
from adbo.core.job import SEQS_PER_JOB
from adbo.core.settings import DIRECTIONS, Settings, default_max_failures
from adbo.interruption.stopping import StopReason
from adbo.run.ends import Ends, Failures, Pace, describe, interval, is_reached, is_stalled
from adbo.run.execute import Outcome, Silence, execute
from adbo.run.state import RunState, StartInfo

LAYOUT = Layout({"x": FloatDistribution(-5, 5)})
COMPLETE, PRUNED, FAIL = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL


def _state(n_ranks: int = 1, n_before: int = 0, **settings: Any) -> RunState:
    chosen = Settings(**settings)
    history = History(DIRECTIONS[chosen.direction])
    return RunState(history, chosen, StartInfo("s", "none", 0), n_ranks, n_before, 0.0)


def _add(history: History, *values: float | TrialState, job: int = 0, reason: str = "") -> None:
    """Append complete evaluations with these values, or evaluations of these states."""
    for value in values:
        state = value if isinstance(value, TrialState) else COMPLETE
        number = math.nan if isinstance(value, TrialState) else value
        seq = job * SEQS_PER_JOB + len(history)
        extras = Extras({"adbo:fail_reason": reason} if reason else {})
        evaluation = Evaluation(0, seq, state, number, 0.0, 1.0, LAYOUT, (0.0,), extras)
        history.extend([to_batch(evaluation)])


@pytest.mark.parametrize(("direction", "better"), [("minimize", -1.0), ("maximize", 1.0)])
def test_the_target_counts_in_the_direction(direction: str, better: float) -> None:
    state = _state(direction=direction, target=0.5)
    assert not is_reached(state.history, state.settings)
    _add(state.history, FAIL, 0.5 - better)
    assert not is_reached(state.history, state.settings)
    _add(state.history, 0.5)
    assert is_reached(state.history, state.settings)
    assert not is_reached(state.history, Settings(direction=direction))


def test_patience_counts_all_trials_after_the_best() -> None:
    state = _state(patience=3)
    _add(state.history, FAIL, FAIL, FAIL)
    assert not is_stalled(state.history, state.settings)  # there is nothing to improve yet
    _add(state.history, 2.0, 3.0, 2.0)
    assert not is_stalled(state.history, state.settings)
    _add(state.history, 1.0, PRUNED, FAIL)
    assert not is_stalled(state.history, state.settings)
    _add(state.history, 1.0)  # as good is not better
    assert is_stalled(state.history, state.settings)


def test_failures_count_in_a_row_and_for_this_job_only() -> None:
    history = History()
    _add(history, FAIL, FAIL)
    state = RunState(history, Settings(), StartInfo("s", "none", 0), 1, len(history), 0.0)
    failures = Failures(state)
    assert failures.update() == 0
    _add(history, FAIL)
    assert failures.update() == 1
    _add(history, FAIL, FAIL, job=1)
    assert failures.update() == 1
    _add(history, 1.0, job=1)
    _add(history, FAIL, FAIL)
    assert failures.update() == 3
    _add(history, FAIL, 1.0, FAIL, FAIL)
    assert failures.update() == 2
    _add(history, PRUNED)
    assert failures.update() == 0
    assert failures.update() == 0


def test_the_limit_of_failures_grows_with_the_ranks() -> None:
    few, many = _state(n_ranks=1), _state(n_ranks=4096)
    for state in (few, many):
        _add(state.history, *[FAIL] * default_max_failures(1))
    assert Ends(few).reason() is StopReason.FAILURES
    assert Ends(many).reason() is None
    assert Ends(_state(max_failures=1)).reason() is None


@pytest.mark.parametrize("n_ranks", [1, 10, 4096])
def test_an_objective_that_fails_often_passes(n_ranks: int) -> None:
    """Failures are instantaneous and the first success takes long: each rank fails until then."""
    rng = np.random.default_rng(0)
    until_success = rng.geometric(0.05, (100, n_ranks)) - 1
    assert until_success.sum(axis=1).max() < default_max_failures(n_ranks)


def test_a_pace_grows_to_a_limit_and_ends_with_a_success() -> None:
    assert [interval(n) for n in (0, 9)] == [0.0, 0.0]
    assert [interval(n) for n in (10, 11, 100, 10**6)] == [0.01, 0.02, 0.1, 0.1]
    now = 100.0
    pace = Pace(lambda: now)
    for _ in range(50):
        pace.begin()
        pace.end(FAIL)
    assert pace.seconds_left == pytest.approx(0.1)
    now += 0.2  # an evaluation that takes longer is not delayed
    assert pace.seconds_left < 0
    pace.begin()
    pace.end(COMPLETE)
    assert pace.seconds_left <= 0


def test_reasons_are_told_with_their_numbers() -> None:
    state = _state(target=1e-3, patience=7, max_failures=3, n_trials=9)
    assert describe(None, state) == "the study already has its 9 trials"
    assert describe(StopReason.TARGET, state) == "the target 0.001 was already reached"
    _add(state.history, FAIL, reason="ValueError: no mesh")
    assert describe(None, state) == "the study has its 9 trials"
    assert describe(StopReason.TARGET, state) == "the target 0.001 was reached"
    assert describe(StopReason.PATIENCE, state) == "no improvement in the last 7 trials"
    expected = "the last 3 evaluations failed: ValueError: no mesh"
    assert describe(StopReason.FAILURES, state) == expected
    assert describe(StopReason.SIGTERM, state) == "SIGTERM"


def _run(objective: Callable[[Any], float], **settings: Any) -> Outcome:
    return execute(objective, Settings(seed=0, **settings), SingleRank(), Silence())


def _square(trial: optuna.trial.BaseTrial) -> float:
    return trial.suggest_float("x", -5, 5) ** 2


def _fail(trial: optuna.trial.BaseTrial) -> float:
    trial.suggest_float("x", -5, 5)
    raise ValueError("no mesh")


def test_a_run_ends_at_its_target() -> None:
    outcome = _run(_square, target=0.1, n_trials=500)
    values = outcome.history.column("value")
    assert outcome.reason is StopReason.TARGET
    assert values[-1] <= 0.1
    assert (values[:-1] > 0.1).all()


def test_a_run_ends_without_improvement() -> None:
    outcome = _run(lambda trial: float(trial.number >= 3), direction="maximize", patience=5)
    assert outcome.reason is StopReason.PATIENCE
    assert len(outcome.history) == 4 + 5


@pytest.mark.parametrize("end", [{"target": 25.0}, {"patience": 1}, {"n_trials": 2}])
def test_a_study_that_has_ended_is_left_alone(tmp_path: Path, end: dict[str, Any]) -> None:
    where = {"storage": f"sqlite:///{tmp_path}/s.db", "study_name": "s"}
    _run(_square, n_trials=20, **where)
    again = _run(_square, resume=True, **where, **end)
    assert again.summary.n_own == 0


def test_a_run_that_only_fails_is_given_up() -> None:
    outcome = _run(_fail, max_failures=15)
    assert outcome.reason is StopReason.FAILURES
    assert outcome.summary.n_fail == len(outcome.history) == 15


def test_a_success_in_time_keeps_a_run_going() -> None:
    def objective(trial: optuna.trial.BaseTrial) -> float:
        return float("nan") if trial.number % 5 else 1.0

    outcome = _run(objective, max_failures=5, n_trials=40)
    assert outcome.reason is None
    assert len(outcome.history) == 40


def test_failures_are_paced() -> None:
    outcome = _run(_fail, max_failures=25)
    started = outcome.history.column("started")
    assert started[-1] - started[20] > 4 * 0.09
    assert len(_run(_fail, timeout=1.5).history) < 40


def test_a_pause_ends_at_once_when_the_run_is_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adbo.run.ends._PACE", 1e6)
    monkeypatch.setattr("adbo.run.ends._FIRST_PACE", 1e6)
    paused = threading.Event()

    def stop() -> None:
        paused.wait(60)
        time.sleep(0.2)  # without a pause, there would be many more evaluations
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    def objective(trial: optuna.trial.BaseTrial) -> float:
        if trial.number == 9:
            paused.set()
        return _fail(trial)

    thread = threading.Thread(target=stop)
    thread.start()
    outcome = _run(objective, timeout=100)
    thread.join()
    assert outcome.reason is StopReason.SIGTERM
    assert len(outcome.history) <= 10


def test_python_raises_what_the_command_line_calls_a_failure() -> None:
    with pytest.raises(RuntimeError, match="the last 4 evaluations failed: ValueError: no mesh"):
        adbo.optimize(_fail, storage=None, max_failures=4)
    study = adbo.optimize(_square, storage=None, target=20.0, patience=50)
    assert study.best_value <= 20


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": math.nan}, "target is nan: it must be a finite number"),
        ({"target": -math.inf}, "target is -inf: it must be a finite number"),
        ({"patience": 0}, "patience is 0: it must be a positive integer"),
        ({"max_failures": -1}, "max failures is -1: it must be a positive integer"),
        ({"enqueue": [3]}, "enqueue[0] is 3: it must be a dictionary of parameter values"),
        ({"enqueue": [{}, {"f": {1}}]}, "enqueue[1] is {'f': {1}}: its values must be numbers"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Settings(**settings)
    assert message in str(caught.value)
