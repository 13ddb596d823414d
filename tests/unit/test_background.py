"""Threads that exchange messages in the background."""

from __future__ import annotations

import copy
import threading
import time

import optuna
import pytest
from optuna.trial import TrialState

from adbo.comm import background
from adbo.comm.background import BackgroundReceiver, BackgroundSender
from adbo.comm.in_process import network
from adbo.replicated.replicator import Replicator
from adbo.replicated.storage import ReplicatedStorage


def test_the_sender_exchanges_when_woken_and_ends_when_stopped() -> None:
    exchanged = threading.Event()
    sender = BackgroundSender(exchanged.set)
    assert not sender.is_alive()
    sender.start()
    sender.wake()
    assert exchanged.wait(60)
    sender.stop()
    assert not sender.is_alive()
    sender.check()


def test_who_is_in_a_hurry_does_not_wait_for_the_interval(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(background, "INTERVAL", 600.0)
    received: list[str] = []
    receiver = BackgroundReceiver(lambda: received.append(threading.current_thread().name))
    with receiver.lent():
        receiver.hurry(60)
        assert received == ["adbo-receiver"]
    receiver.hurry(60)  # returns at once: nobody receives now
    assert len(received) == 1


def test_a_receiver_that_is_stopped_receives_no_more() -> None:
    others, received = set(threading.enumerate()), [0]
    receiver = BackgroundReceiver(lambda: received.append(0))
    with receiver.lent():
        receiver.hurry(60)
    received.clear()
    receiver.stop()
    assert not received
    assert set(threading.enumerate()) <= others
    BackgroundReceiver(lambda: None).stop()  # it has not begun


def test_errors_of_the_thread_are_raised_by_check() -> None:
    def fail() -> None:
        raise ValueError("no such peer")

    sender = BackgroundSender(fail)
    sender.start()
    sender.wake()
    while sender.is_alive():
        time.sleep(0.001)
    with pytest.raises(ValueError, match="no such peer"):
        sender.check()
    sender.stop()


def test_a_running_trial_reaches_the_others_while_its_rank_is_busy() -> None:
    transports = network(2)
    transports[0].may_use_threads = True
    replications = [Replicator(transport) for transport in transports]
    replications[0].start_background()
    studies = [
        optuna.create_study(storage=ReplicatedStorage(replication, "token"), study_name="s")
        for replication in replications
    ]
    trial = studies[0].ask()
    x = trial.suggest_float("x", 0, 1)
    trial.set_user_attr("note", "long")
    while (
        not (seen := studies[1].get_trials(states=(TrialState.RUNNING,)))
        or len(seen[0].user_attrs) < 1
    ):
        time.sleep(0.001)
    assert seen[0].params == {"x": x}
    studies[0].tell(trial, 1.0)
    assert studies[1].trials[0].state is TrialState.COMPLETE  # at once
    replications[1].close(0.0)
    assert replications[0].close(0.0) == []
    assert replications[1].close(None) == []
    assert replications[0].close(None) == []


def test_a_study_is_copied_while_changes_arrive() -> None:
    transports = network(2)
    transports[0].may_use_threads = True
    replications = [Replicator(transport) for transport in transports]
    copied, other = (
        optuna.create_study(storage=ReplicatedStorage(replication, "token"), study_name="s")
        for replication in replications
    )
    other.add_trials([optuna.trial.create_trial(value=0.0) for _ in range(300)])
    assert len(copied.trials) == 300
    replications[0].start_background()
    over = threading.Event()

    def change() -> None:
        while not over.is_set():
            other.add_trial(optuna.trial.create_trial(value=1.0))
            replications[0]._background.wake()
            time.sleep(0.01)

    peer = threading.Thread(target=change)
    peer.start()
    try:
        copies = [copy.deepcopy(copied) for _ in range(30)]
    finally:
        over.set()
        peer.join()
        replications[0]._background.stop()
    n_trials = [len(study.trials) for study in copies]
    assert n_trials == sorted(n_trials)
    assert 300 <= n_trials[0] <= n_trials[-1] <= len(copied.trials)


def test_a_message_under_way_is_looked_after_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over some networks, a large one makes progress only with calls of MPI."""
    transport = network(2)[0]
    assert transport.seconds_until_due == 0.0
    monkeypatch.setattr(type(transport._mail), "is_idle", False)
    assert 0.0 < transport.seconds_until_due < 0.1
