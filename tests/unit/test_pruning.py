"""Trials that are pruned in a run of one process, and the decisions replayed from the study."""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Sequence
from typing import Any

import optuna
import pytest
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    SuccessiveHalvingPruner,
    ThresholdPruner,
)
from optuna.trial import FrozenTrial, TrialState

import adbo
from adbo.core.evaluation import to_batch
from adbo.core.history import History
from adbo.core.optuna_trials import evaluation_of
from adbo.core.rungs import LATEST, Halving, Report, Rungs
from adbo.objective.halving import RUNGS

N_STEPS = 12


def train(trial: optuna.Trial, steps: Sequence[int] = range(N_STEPS)) -> float:
    """Learn for some steps, and report each."""
    x = trial.suggest_float("x", -5, 5)
    for i, step in enumerate(steps):
        trial.report(x * x + 10 / (1 + i), step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return x * x


def states(study: optuna.Study) -> dict[str, int]:
    """Return the number of trials of each state."""
    names = [trial.state.name for trial in study.trials]
    return {name: names.count(name) for name in sorted(set(names))}


def replay(trials: Sequence[FrozenTrial], halving: Halving, sign: int = 1) -> int:
    """Decide anew, one trial after the other, and return the number of decisions."""
    history, n_decisions = History(sign), 0
    rungs = Rungs(halving, history)
    for trial in trials:
        evaluation = evaluation_of(trial)
        values = list(trial.intermediate_values.values())
        made = trial.system_attrs.get(RUNGS, [])
        assert [entry[0] for entry in made] == list(halving.rungs(len(values)))
        for n_reports, seconds, *decision in made:
            report = Report(evaluation.rank, evaluation.seq, n_reports, values[n_reports - 1])
            assert list(rungs.judge(report))[1:] == decision
            assert 0 <= seconds < 60
            n_decisions += 1
        assert all(entry[-1] for entry in made[:-1])
        ended = bool(made) and not made[-1][-1]
        assert ended == (trial.state is TrialState.PRUNED)
        history.extend([to_batch(evaluation)])
    return n_decisions


@pytest.mark.parametrize(
    "steps", [range(N_STEPS), range(7, 7 + N_STEPS), range(100, 100 + 50 * N_STEPS, 50)]
)
def test_the_worse_are_pruned_whatever_the_steps_mean(steps: range) -> None:
    study = adbo.optimize(lambda t: train(t, steps), n_trials=60, storage=None, seed=1)
    trials = study.trials
    assert states(study)["PRUNED"] > 20
    assert {len(t.intermediate_values) for t in trials} <= {1, 3, 9, N_STEPS}
    assert all(
        t.value == t.intermediate_values[t.last_step] for t in trials if t.state.name[0] == "P"
    )
    assert replay(trials, Halving()) > 60


def test_trials_are_pruned_as_long_as_they_become_better() -> None:
    study = adbo.optimize(train, n_trials=300, storage=None, seed=1)
    trials = study.trials
    assert replay(trials, Halving()) > 400
    assert trials[-1].system_attrs[RUNGS][0][2] == LATEST
    late = [trial.state for trial in trials[-100:]]
    assert late.count(TrialState.PRUNED) > 40


def test_the_parameters_are_those_of_the_user() -> None:
    study = adbo.optimize(
        train, n_trials=60, storage=None, seed=1, reduction_factor=2, min_resource=3
    )
    assert {len(t.intermediate_values) for t in study.trials} <= {3, 4, 6, 10, N_STEPS}
    replay(study.trials, Halving(2, 3))


def test_no_pruner_and_no_reports() -> None:
    study = adbo.optimize(train, n_trials=30, storage=None, seed=1, pruner="none")
    assert states(study) == {"COMPLETE": 30}

    def silent(trial: optuna.Trial) -> float:
        assert not trial.should_prune()
        return trial.suggest_float("x", 0, 1)

    study = adbo.optimize(silent, n_trials=30, storage=None, seed=1)
    assert states(study) == {"COMPLETE": 30}


@pytest.mark.parametrize(
    "pruner",
    [
        MedianPruner(n_startup_trials=2),
        SuccessiveHalvingPruner(),
        HyperbandPruner(min_resource=1, max_resource=N_STEPS, reduction_factor=2),
        ThresholdPruner(upper=15),
    ],
    ids=lambda pruner: type(pruner).__name__,
)
def test_pruners_of_optuna(pruner: BasePruner) -> None:
    study = adbo.optimize(train, n_trials=60, storage=None, seed=1, pruner=pruner)
    assert set(states(study)) == {"COMPLETE", "PRUNED"}


def test_a_wrong_pruner() -> None:
    with pytest.raises(ValueError, match="pruner is 'median': it must be halving, none, or in"):
        adbo.optimize(train, n_trials=1, storage=None, pruner="median")


def test_nan_is_pruned_once_another_trial_is_complete() -> None:
    def diverging(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", -5, 5)
        trial.report(math.nan if x > 0 else x, 1)
        if trial.should_prune():
            raise optuna.TrialPruned
        return x

    study = adbo.optimize(diverging, n_trials=40, storage=None, seed=1)
    finite = [t for t in study.trials if not math.isnan(t.intermediate_values[1])]
    first = next(t.number for t in finite)
    late = [t for t in study.trials if t.params["x"] > 0 and t.number > first]
    assert late
    assert {t.state for t in late} == {TrialState.PRUNED}
    assert all(t.value is None for t in late)


def test_the_answer_at_a_rung_stays_until_the_next_one() -> None:
    answers: list[tuple[int, int, bool]] = []

    def stubborn(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", -5, 5)
        for step in range(9):
            trial.report(x * x, step)
            for _ in range(2):
                answers.append((trial.number, step, trial.should_prune()))
        return x * x

    study = adbo.optimize(stubborn, n_trials=20, storage=None, seed=1)
    assert states(study) == {"COMPLETE": 20}
    of_rung: dict[tuple[int, int], set[bool]] = {}
    for number, step, answer in answers:
        rung = Halving().last_rung(step + 1)
        assert rung is not None
        of_rung.setdefault((number, rung), set()).add(answer)
    assert all(len(given) == 1 for given in of_rung.values())
    assert {True, False} == set.union(*of_rung.values())


def _in_child(trial: optuna.Trial, results: Any) -> None:
    try:
        results.send(train(trial))
    except optuna.TrialPruned:
        results.send(None)


def child(method: str) -> Any:
    """Return an objective that trains in a process of its own."""

    def objective(trial: optuna.Trial) -> float:
        context = multiprocessing.get_context(method)
        ours, theirs = context.Pipe()
        process = context.Process(target=_in_child, args=(trial, theirs))
        process.start()
        theirs.close()  # so that the end of the process is noticed
        result = ours.recv()
        process.join()
        if result is None:
            raise optuna.TrialPruned
        return result

    return objective


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_in_a_process_that_the_objective_starts(method: str) -> None:
    n_trials = 20 if method == "fork" else 4
    study = adbo.optimize(child(method), n_trials=n_trials, storage=None, seed=2)
    assert replay(study.trials, Halving()) >= n_trials
    assert states(study)["PRUNED"] > 0


def test_in_an_isolated_process() -> None:
    study = adbo.optimize(train, n_trials=20, storage=None, seed=1, isolate=True)
    assert states(study)["PRUNED"] > 5
    replay(study.trials, Halving())


def test_a_resumed_study_keeps_its_rungs(tmp_path: Any) -> None:
    where = {"storage": f"sqlite:///{tmp_path}/s.db", "study_name": "s", "resume": True}
    adbo.optimize(train, n_trials=12, seed=1, **where)
    study = adbo.optimize(train, n_trials=30, seed=2, **where)
    trials = study.trials
    assert replay(trials, Halving()) > 30
    assert all(trial.system_attrs[RUNGS][0][2] == n for n, trial in enumerate(trials, 1))
