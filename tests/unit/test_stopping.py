"""Stopping: what a signal or the deadline interrupts, and what it does not."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from adbo.core.stopping import EvaluationAbandoned, Interruption, StopReason, signals_ignored

SIGNALS = [(signal.SIGINT, StopReason.SIGINT), (signal.SIGTERM, StopReason.SIGTERM)]


@pytest.mark.parametrize(("number", "reason"), SIGNALS)
def test_a_signal_abandons_the_objective(number: signal.Signals, reason: StopReason) -> None:
    with Interruption(None) as interruption:
        with pytest.raises(EvaluationAbandoned), interruption.abandonable():
            signal.raise_signal(number)
        assert interruption.check() is reason


@pytest.mark.parametrize(("number", "reason"), SIGNALS)
def test_outside_the_objective_a_signal_is_recorded(
    number: signal.Signals, reason: StopReason
) -> None:
    with Interruption(None) as interruption:
        with interruption.abandonable():
            pass
        assert interruption.check() is None
        signal.raise_signal(number)
        assert interruption.check() is reason
        with pytest.raises(EvaluationAbandoned), interruption.abandonable():
            pytest.fail("an objective was begun after the signal")


def test_a_signal_just_before_the_objective_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal arrives just after the last check."""
    with Interruption(None) as interruption:
        look = interruption.check

        def look_then_signal() -> StopReason | None:
            reason = look()
            monkeypatch.setattr(interruption, "check", look)
            signal.raise_signal(signal.SIGTERM)
            return reason

        monkeypatch.setattr(interruption, "check", look_then_signal)
        with pytest.raises(EvaluationAbandoned), interruption.abandonable():
            pytest.fail("the objective was begun")
        assert interruption.check() is StopReason.SIGTERM


def test_the_first_reason_counts_and_the_second_signal_does_not_raise() -> None:
    with Interruption(None) as interruption:
        signal.raise_signal(signal.SIGTERM)
        since = interruption.since
        signal.raise_signal(signal.SIGINT)
        assert interruption.check() is StopReason.SIGTERM
        assert interruption.since == since


def test_only_one_signal_abandons_an_objective_that_cleans_up() -> None:
    cleaned = []

    def objective() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)
            cleaned.append(True)

    with (
        Interruption(None) as interruption,
        pytest.raises(EvaluationAbandoned),
        interruption.abandonable(),
    ):
        objective()
    assert cleaned


def test_no_except_exception_of_the_user_catches_it() -> None:
    assert not issubclass(EvaluationAbandoned, Exception)


def test_the_deadline_abandons_the_objective() -> None:
    with Interruption(0.05) as interruption:
        with pytest.raises(EvaluationAbandoned), interruption.abandonable():
            time.sleep(60)
        assert interruption.check() is StopReason.DEADLINE
    assert not StopReason.DEADLINE.is_signal


def test_outside_the_objective_the_deadline_is_recorded() -> None:
    with Interruption(0.02) as interruption:
        time.sleep(0.05)
        assert interruption.check() is StopReason.DEADLINE


@pytest.mark.parametrize("seconds", [None, 60])
def test_the_previous_handlers_are_restored(seconds: float | None) -> None:
    before = [signal.getsignal(number) for number, _ in SIGNALS]
    n_threads = threading.active_count()
    with pytest.raises(ZeroDivisionError), Interruption(seconds):
        _ = 1 / 0
    assert [signal.getsignal(number) for number, _ in SIGNALS] == before
    assert threading.active_count() == n_threads


def test_in_another_thread_the_deadline_is_seen_and_no_handler_set() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen: list[object] = []

    def run() -> None:
        with Interruption(0.02) as interruption:
            seen.append(signal.getsignal(signal.SIGTERM))
            with interruption.abandonable():
                time.sleep(0.05)
                seen.append("not interrupted")
            seen.append(interruption.check())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [before, "not interrupted", StopReason.DEADLINE]


def test_a_stop_requested_by_a_peer_stops_this_rank() -> None:
    with Interruption(None) as interruption:
        interruption.request_stop(StopReason.SIGTERM)
        interruption.request_stop(StopReason.DEADLINE)
        assert interruption.check() is StopReason.SIGTERM


def test_ignored_signals() -> None:
    # A shell starts its background jobs with SIGINT ignored.
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with signals_ignored():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, previous)
