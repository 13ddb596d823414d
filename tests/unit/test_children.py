"""A trial in processes that the objective starts works as it does in the objective itself."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import select
import signal
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.connection import Client
from typing import Any

import numpy as np
import optuna
import pytest

import adbo
from adbo.core.history import History
from adbo.objective.remote import Line, RemoteStorage
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


def stop(trial: optuna.Trial) -> float:
    trial.study.stop()
    return 1.0


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_stops_the_study(method: str) -> None:
    def objective(trial: optuna.Trial) -> float:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
            return pool.submit(stop, trial).result(timeout=60)

    assert len(adbo.optimize(objective, 50, storage=None).trials) == 1


def test_a_child_that_outlives_the_run_does_not_wait_for_an_answer() -> None:
    (begun, begins), (over, ends), (told, tells) = os.pipe(), os.pipe(), os.pipe()

    def objective(trial: optuna.Trial) -> float:
        if os.fork() == 0:
            signal.alarm(100)  # if it waits forever
            trial.set_user_attr("early", 1)
            os.write(begins, b"x")
            os.read(over, 1)
            try:
                trial.set_user_attr("late", 1)
            except ConnectionError:
                os.write(tells, b"x")
            os._exit(0)
        os.read(begun, 1)
        return 1.0

    adbo.optimize(objective, 2, storage=None)
    for _ in range(2):  # the second child has inherited what the first one calls
        os.write(ends, b"x")
        assert select.select([told], [], [], 60)[0]
        assert os.read(told, 1) == b"x"


def test_threads_of_an_objective_see_each_trial_once() -> None:
    def objective(trial: optuna.Trial) -> float:
        if trial.number == 30:
            with ThreadPoolExecutor(8) as pool:
                found = list(pool.map(lambda _: trial.study.get_trials(deepcopy=False), range(8)))
            assert all([t.number for t in trials] == list(range(31)) for trials in found)
        return trial.suggest_float("x", 0, 1)

    study = adbo.optimize(objective, 31, storage=None)
    assert study.trials[-1].state.name == "COMPLETE"


def served() -> tuple[RankStudy, TrialServer]:
    study = RankStudy(History())
    server = TrialServer(study)
    study.begin((), 5, 0.0, np.random.default_rng(0))
    return study, server


def test_attributes_are_set_by_the_names_of_arguments_of_optuna() -> None:
    study, server = served()
    storage = RemoteStorage(Line(server.address))
    storage.set_study_user_attr(study_id=0, key="study", value=(1, 2))
    storage.set_trial_user_attr(trial_id=5, key="trial", value=np.float64(3))
    assert study.study.user_attrs == {"study": [1, 2]}
    assert study.storage.get_trial(5).user_attrs == {"trial": 3.0}
    server.close()


def test_a_child_that_is_forked_while_a_connection_closes_keeps_its_files() -> None:
    _, server = served()
    line, is_closed, goes_on = Line(server.address), threading.Event(), threading.Event()
    assert line.call("storage", "get_trial", 5).number == 5
    (connection,) = server._connections
    number, parent = connection.fileno(), os.getpid()
    with open(os.devnull) as file:

        def close_slowly() -> None:
            if os.getpid() != parent:
                os.close(number)
                return
            os.dup2(file.fileno(), number)  # closed, and at once the number of another file
            is_closed.set()
            goes_on.wait(60)

        connection._close = close_slowly  # type: ignore[method-assign]
        try:
            del line  # closes this end, and so the thread closes the other one
            assert is_closed.wait(60)
            child = os.fork()
            if child == 0:
                with contextlib.suppress(OSError):
                    os.fstat(number)
                    os._exit(0)
                os._exit(1)
            assert os.waitpid(child, 0)[1] == 0
            os.close(number)
        finally:
            goes_on.set()
            server.close()


def test_who_does_not_know_the_key_gets_no_answer_and_blocks_nobody() -> None:
    _, server = served()
    with Client(server.address.path), Client(server.address.path) as stranger:
        stranger.send_bytes(b"x" * len(server.address.key))
        with contextlib.suppress(BrokenPipeError):  # the rank may have hung up already
            stranger.send(("storage", "get_trial", (5,), {}))
        with pytest.raises((EOFError, OSError)):
            stranger.recv()
        assert Line(server.address).call("storage", "get_trial", 5).number == 5
        server.close()


def test_a_process_of_an_attempt_that_failed_cannot_change_the_next_one() -> None:
    study, server = served()
    first = Line(server.address)
    earlier = study.trial
    assert earlier is not None
    earlier.suggest_float("x", 0, 1)
    again = study.restart()
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        first.call("storage", "set_trial_user_attr", earlier._trial_id, "late", 1)
    assert again.suggest_float("x", 0, 1) == earlier.params["x"]
    assert again.number == earlier.number
    assert again.running.user_attrs == {}
    server.close()
    with pytest.raises(ConnectionError):
        first.call("storage", "get_trial", again._trial_id)
