"""A trial in processes that the objective starts works as it does in the objective itself."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import optuna
import pytest

import adbo
from adbo.core.history import History
from adbo.objective.trial import RankStudy, remote_trial
from adbo.objective.trial_server import TrialServer


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


def test_an_interrupted_call_leaves_its_answer_to_no_later_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = RankStudy(History(), "mine", {"note": 1})
    study.begin((), 0, 0.0, np.random.default_rng(0))
    interrupted = threading.Event()

    def interrupt(*_: Any) -> None:
        interrupted.set()
        raise TimeoutError("the objective's own limit")

    def answer_late(study_id: int) -> str:
        os.kill(os.getpid(), signal.SIGALRM)  # while the caller waits for the answer
        interrupted.wait(60)
        return "late"

    monkeypatch.setattr(study.storage, "get_study_name_from_id", answer_late)
    server, before = TrialServer(study), signal.signal(signal.SIGALRM, interrupt)
    try:
        storage = remote_trial("mine", server.address, 0).storage
        with pytest.raises(TimeoutError, match="own limit"):
            storage.get_study_name_from_id(0)
        assert storage.get_study_user_attrs(0) == {"note": 1}
    finally:
        signal.signal(signal.SIGALRM, before)
        server.close()
