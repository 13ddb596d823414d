"""A whole run of one process."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from pathlib import Path

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

import adbo
from adbo.comm.endpoint import Endpoint
from adbo.comm.in_process import SingleRank, network
from adbo.core.errors import UsageError
from adbo.core.evaluation import Evaluation, Layout
from adbo.core.job import NUMBERS_PER_JOB, Job
from adbo.core.leftover import Leftover
from adbo.core.settings import Settings
from adbo.core.wire import Received
from adbo.interruption.stopping import EvaluationAbandoned, Interruption, StopReason
from adbo.mirror import rescue
from adbo.mirror.owner import MirrorOwner
from adbo.mirror.settings import ConnectionSettings, MirrorSettings
from adbo.run.execute import Outcome, Silence, execute


def _square(trial: optuna.trial.BaseTrial) -> float:
    return trial.suggest_float("x", -5, 5) ** 2 + trial.suggest_float("y", -5, 5) ** 2


def _run(objective=_square, **settings) -> Outcome:
    return execute(objective, Settings(**settings), SingleRank(), Silence())


def _points(outcome: Outcome) -> list[dict]:
    return [e.params for e in outcome.history.evaluations()]


def test_it_ends_with_the_trials_asked_for() -> None:
    outcome = _run(n_trials=30, seed=0)
    assert len(outcome.history) == 30
    assert outcome.summary.n_complete == 30
    assert outcome.summary.evaluations_per_rank == [30]
    assert outcome.summary.best_value == min(e.value for e in outcome.history.evaluations())
    assert outcome.reason is None
    assert outcome.is_owner


class _Last(Endpoint):
    """The transport of one of three ranks: rank 1 left and ended, rank 2 ended without leaving."""

    settled = True

    def leave(self, statistics) -> None:
        super().leave(statistics)
        self.farewells[1] = {**statistics, "rank": 1}


class _Deserted(SingleRank):
    size = 3

    def transport(self) -> Endpoint:
        transport = _Last(network(3)[0]._mail)
        transport._mail.failed = {1, 2}
        return transport


def test_a_rank_that_left_before_its_process_ended_did_not_die() -> None:
    outcome = execute(_square, Settings(n_trials=5, seed=0), _Deserted(), Silence())
    assert outcome.failed == [1, 2]
    assert outcome.died == [2]
    assert outcome.missing == []


class _Bereaved(SingleRank):
    """Rank 0 of three: rank 1 has died, and rank 2, which has left, has a record of it."""

    size = 3

    def __init__(self) -> None:
        transports = network(3)
        self._own, dead, self._other = transports
        self._mails = [transport._mail for transport in transports]
        post = self._mails[1].post
        self._mails[1].post = lambda peer, data: post(peer, data) if peer == 2 else None
        layout = Layout({"x": FloatDistribution(-5, 5)})
        dead.broadcast(Evaluation(1, 0, TrialState.COMPLETE, 9.0, 0.0, 1.0, layout, (3.0,)))
        self._other.receive()
        words = {"rank": 2, "reason": None, "contradiction": None, "evaluations": 0}
        self._other.leave({**words, "ask_seconds": 0.0, "leftover": Leftover({}, [], 0)})

    def transport(self) -> Endpoint:
        receive = self._own.receive

        def receive_together() -> Received:
            received = receive()
            self._other.receive()
            return received

        self._own.receive = receive_together
        return self._own

    def note_death(self) -> None:
        """Let the two notice the death."""
        for mail in self._mails:
            mail.failed.add(1)


def test_what_others_know_of_a_dead_rank_is_stored_although_all_have_left(tmp_path: Path) -> None:
    ranks = _Bereaved()

    def objective(trial: optuna.trial.BaseTrial) -> float:
        ranks.note_death()
        return trial.suggest_float("x", -5, 5) ** 2

    url = f"sqlite:///{tmp_path}/s.db"
    settings = Settings(n_trials=1, storage=url, study_name="s", seed=0)
    outcome = execute(objective, settings, ranks, Silence())
    assert outcome.died == [1]
    assert len(outcome.history) == 2
    assert len(optuna.load_study(study_name="s", storage=url).trials) == 2


def test_a_continued_study_of_two_branches_keeps_the_order_of_its_trials(tmp_path: Path) -> None:
    """So the best value is as old as it was, although messages group trials by their branch."""

    def objective(trial: optuna.trial.BaseTrial) -> float:
        trial.suggest_float(f"x{trial.number % 2}", 0, 1)
        return -float(trial.number) if trial.number < 11 else 0.0

    where = {"storage": f"sqlite:///{tmp_path}/s.db", "study_name": "s"}
    _run(objective, n_trials=12, **where)
    outcome = _run(objective, n_trials=14, resume=True, patience=5, **where)
    assert outcome.history.column("seq")[:12].tolist() == list(range(12))
    assert outcome.reason is None
    assert len(outcome.history) == 14


def test_a_seed_determines_the_run() -> None:
    first, second, other = (_points(_run(n_trials=40, seed=seed)) for seed in (1, 1, 2))
    assert first == second
    assert first != other


def test_nothing_of_a_run_is_left_in_the_background() -> None:
    before = set(threading.enumerate())
    _run(n_trials=2)
    assert not [t.name for t in set(threading.enumerate()) - before if t.name == "adbo-receiver"]


def test_a_golden_trajectory() -> None:
    """Points of seed 0: the first one, a uniform one, a proposed one; changed only on purpose.

    Proposals of many more evaluations differ between processors: these round differently, and a
    branch that a difference of 1e-15 decides leads elsewhere.
    """
    points = _points(_run(n_trials=11, seed=0))
    found = [[points[i]["x"], points[i]["y"]] for i in (0, 1, 10)]
    np.testing.assert_allclose(found, GOLDEN, rtol=1e-6)


GOLDEN = [
    [-0.552339146853031, -3.2431616359150404],
    [-0.3542489977533778, 4.815881916015348],
    [0.03607986312211686, -0.24386911878892548],
]


def test_resuming_goes_on_to_the_total(tmp_path: Path) -> None:
    settings = {"storage": f"sqlite:///{tmp_path}/s.db", "study_name": "s", "seed": 0}
    first = _run(n_trials=25, **settings)
    numbers: list[int] = []

    def objective(trial: optuna.trial.BaseTrial) -> float:
        numbers.append(trial.number)
        return _square(trial)

    second = _run(objective, n_trials=40, resume=True, **settings)
    assert len(second.history) == 40
    assert second.summary.n_before == 25
    assert _points(second)[:25] == _points(first)
    # The random numbers of the first run are not repeated.
    assert not set(map(str, _points(second)[25:])) & set(map(str, _points(first)))
    assert len(numbers) == 15
    assert min(numbers) >= 25
    assert second.study is not None
    assert [t.number for t in second.study.trials] == list(range(40))


def test_a_study_of_plain_optuna_is_continued(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/s.db"
    study = optuna.create_study(storage=storage, study_name="s")
    study.optimize(_square, n_trials=10)
    study.optimize(lambda trial: float("nan"), n_trials=1)
    outcome = _run(n_trials=30, storage=storage, study_name="s", resume=True)
    trials = study.get_trials()
    assert len(trials) == 30
    assert [t.number for t in trials] == list(range(30))
    assert outcome.history.counts[TrialState.FAIL] == 1
    study.optimize(_square, n_trials=3)  # and Optuna continues it
    assert len(study.get_trials()) == 33


def test_failures_neither_end_nor_poison_the_run() -> None:
    def objective(trial: optuna.trial.BaseTrial) -> float:
        x = trial.suggest_float("x", -5, 5)
        if x < 0:
            raise RuntimeError("no convergence")
        return (x - 1) ** 2

    outcome = _run(objective, n_trials=80, seed=0)
    states = outcome.history.column("state")
    assert outcome.summary.n_fail > 0
    assert outcome.summary.best_value < 1e-2
    # After a while, few points are proposed where every evaluation fails.
    assert np.mean(states[40:] == TrialState.FAIL.value) < 0.3


def test_the_deadline_abandons_the_evaluation() -> None:
    begun: list[int] = []

    def objective(trial: optuna.trial.BaseTrial) -> float:
        begun.append(trial.number)
        if trial.number == 3:
            time.sleep(600)
        return _square(trial)

    outcome = _run(objective, timeout=0.5)  # a slow machine may begin fewer than four
    assert outcome.reason is StopReason.DEADLINE
    assert len(outcome.history) in (len(begun) - 1, len(begun))
    assert len(outcome.history) <= 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_abandons_the_evaluation(number: signal.Signals) -> None:
    before = signal.getsignal(number)

    def objective(trial: optuna.trial.BaseTrial) -> float:
        if trial.number == 2:
            os.kill(os.getpid(), number)
            time.sleep(60)
        return _square(trial)

    outcome = _run(objective, n_trials=100)
    assert outcome.reason is not None
    assert outcome.reason.is_signal
    assert len(outcome.history) == 2
    assert signal.getsignal(number) is before


def test_a_signal_ends_the_wait_for_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = sqlite3.connect(tmp_path / "s.db", timeout=60, isolation_level=None)
    flush = MirrorOwner.flush

    def objective(trial: optuna.trial.BaseTrial) -> float:
        if trial.number == 2:
            holder.execute("BEGIN IMMEDIATE")
            trial.study.enqueue_trial({"x": 0.5})
        return trial.suggest_float("x", -1, 1)

    def interrupted_flush(*arguments) -> None:
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
        flush(*arguments)

    monkeypatch.setattr(MirrorOwner, "flush", interrupted_flush)
    settings = Settings(n_trials=3, storage=f"sqlite:///{tmp_path}/s.db", study_name="s")
    patience = MirrorSettings(connection=ConnectionSettings(0.2), interrupted_patience=0.1)
    said: list[str] = []
    reporter = Silence()
    monkeypatch.setattr(reporter, "say", said.append)
    began = time.monotonic()
    outcome = execute(objective, settings, SingleRank(), reporter, patience)
    holder.close()
    assert time.monotonic() - began < patience.patience
    assert "enqueued trials, or attributes set by callbacks, are not stored" in said
    assert outcome.reason is StopReason.SIGTERM
    assert outcome.rescued is not None
    assert len(rescue.read(outcome.rescued)) == outcome.n_unwritten > 0


def test_a_signal_leaves_other_code_alone() -> None:
    with Interruption(None) as interruption:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.05)  # not interrupted
        assert interruption.check() is StopReason.SIGTERM
        with pytest.raises(EvaluationAbandoned):
            interruption.call(pytest.fail, "must not be entered")


def test_the_deadline_works_outside_the_main_thread() -> None:
    reasons: list[StopReason | None] = []

    def run() -> None:
        reasons.append(_run(lambda t: time.sleep(0.05) or _square(t), timeout=0.3).reason)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert reasons == [StopReason.DEADLINE]


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, 30)), min_size=1, max_size=6),
    st.integers(0, 40),
)
def test_names_and_numbers_are_new_in_every_job(
    jobs: list[tuple[int, int]], by_optuna: int
) -> None:
    """Jobs on any numbers of ranks, which make different numbers of trials, after Optuna's."""
    names = {(-1, number) for number in range(by_optuna)}
    numbers = set(range(by_optuna))
    for job_number, (n_ranks, n_each) in enumerate(jobs):
        job = Job(job_number, n_ranks, len(names))
        for rank in range(n_ranks):
            for i in range(n_each if rank == n_ranks - 1 else n_each // 2):
                seq = job.first_seq + i
                assert job.made(rank, seq)
                assert not Job(job_number + 1).made(rank, seq)
                names.add((rank, seq))
                numbers.add(job.trial_number(rank, seq))
    n = sum(n_each + (n_ranks - 1) * (n_each // 2) for n_ranks, n_each in jobs)
    assert len(names) == len(numbers) == by_optuna + n


@pytest.mark.parametrize("index", [0, 17, NUMBERS_PER_JOB - 1, NUMBERS_PER_JOB, 10**9 - 1])
def test_numbers_of_a_long_job_are_not_those_of_the_next(index: int) -> None:
    numbers = [Job(n).trial_number(0, Job(n).first_seq + index) for n in range(4)]
    assert len({*numbers, *(Job(n).trial_number(0, Job(n).first_seq) for n in range(4))}) >= 4
    assert numbers == sorted(set(numbers))


def test_optimize_gives_the_study() -> None:
    study = adbo.optimize(_square, n_trials=20, storage=None, seed=0, direction="maximize")
    assert len(study.trials) == 20
    assert study.best_value == max(t.value for t in study.trials)
    assert {t.user_attrs["adbo:rank"] for t in study.trials} == {0}
    assert all(t.datetime_start <= t.datetime_complete for t in study.trials)


def test_optimize_into_a_storage_object() -> None:
    storage = optuna.storages.InMemoryStorage()
    study = adbo.optimize(_square, n_trials=12, storage=storage, study_name="s")
    assert len(optuna.load_study(storage=storage, study_name="s").trials) == 12
    assert len(study.trials) == 12


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"n_trials": 0}, "trials is 0"),
        ({"timeout": -1}, "timeout is -1"),
        ({"direction": "up"}, "direction is 'up'"),
        ({"kappa": -1}, "kappa is -1"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_wrong_arguments(arguments: dict, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        adbo.optimize(_square, storage=None, **arguments)


def test_the_objective_must_be_callable() -> None:
    with pytest.raises(UsageError, match="objective is of type int"):
        adbo.optimize(3, storage=None)
    with pytest.raises(UsageError, match="objective is a class: make an instance"):
        adbo.optimize(SingleRank, storage=None)
    with pytest.raises(UsageError, match=r"objective\(a, b\) cannot be called with one argument"):
        adbo.optimize(lambda a, b: a, storage=None)
