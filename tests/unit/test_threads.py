"""One thread for linear algebra during an ask, and as many as before after it."""

from __future__ import annotations

import threading

import numpy as np
import optuna
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import adbo
from adbo.optimizer import ask
from adbo.optimizer.threads import one_thread


def _n_threads() -> set[int]:
    return {
        library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"
    }


@pytest.fixture(autouse=True)
def _three_threads():
    with threadpool_limits(3):  # only this Python thread may then change it
        assert _n_threads() == {3}
        yield


def test_an_ask_has_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    propose_unit = ask._propose_unit

    def spy(*arguments):
        seen.append(_n_threads())
        return propose_unit(*arguments)

    monkeypatch.setattr(ask, "_propose_unit", spy)
    optimizer = adbo.Optimizer({"x": optuna.distributions.FloatDistribution(0, 1)}, seed=0)
    for _ in range(3):
        optimizer.tell(optimizer.ask(), 1.0)
    assert seen == [{1}] * 3
    assert _n_threads() == {3}


def test_of_several_threads_the_first_one_decides() -> None:
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with one_thread():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=other)
    with one_thread():
        thread.start()
        inside.wait()
        assert _n_threads() == {1}
    assert _n_threads() == {3}
    leave.set()
    thread.join()
    assert _n_threads() == {3}
    test_the_limit_is_taken_back_after_an_error()


def test_the_limit_is_taken_back_after_an_error() -> None:
    with pytest.raises(np.linalg.LinAlgError), one_thread():
        np.linalg.inv(np.zeros((2, 2)))
    assert _n_threads() == {3}
