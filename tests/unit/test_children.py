"""A trial in processes that the objective starts works as it does in the objective itself."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import optuna
import pytest

import adbo


def suggest(trial: optuna.Trial) -> float:
    trial.set_user_attr("best", trial.study.best_value if trial.number else None)
    trial.report(1.5, step=1)
    return trial.suggest_float("x", -5, 5) ** 2


def send(trial: optuna.Trial, results: Any) -> None:
    results.put(suggest(trial))


def in_process(trial: optuna.Trial, method: str) -> float:
    context = multiprocessing.get_context(method)
    results = context.Queue()
    process = context.Process(target=send, args=(trial, results))
    process.start()
    value: float = results.get(timeout=60)
    process.join()
    return value


def in_pool(trial: optuna.Trial, method: str) -> float:
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(suggest, trial).result(timeout=60)


@pytest.mark.parametrize("evaluate", [in_process, in_pool])
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_suggests_for_its_parent(evaluate: Any, method: str) -> None:
    study = adbo.optimize(lambda trial: evaluate(trial, method), 3, storage=None, seed=1)
    assert len(study.trials) == 3
    assert len({trial.params["x"] for trial in study.trials}) == 3
    values = []
    for trial in study.trials:
        assert trial.value == trial.params["x"] ** 2
        assert trial.intermediate_values == {1: 1.5}
        assert trial.user_attrs["best"] == (min(values) if values else None)
        values.append(trial.value)


def test_a_trial_that_no_rank_evaluates_is_not_sent() -> None:
    trials: list[optuna.Trial] = []
    adbo.optimize(lambda trial: trials.append(trial) or 1.0, 1, storage=None)
    with pytest.raises(TypeError, match="no rank evaluates"):
        multiprocessing.reduction.ForkingPickler.dumps(trials[0])
