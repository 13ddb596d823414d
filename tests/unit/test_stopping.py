"""Stopping: what a signal or the deadline interrupts, and what it does not."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import pytest

from adbo.interruption import alarm, stopping
from adbo.interruption.stopping import (
    EvaluationAbandoned,
    Interruption,
    StopReason,
    ended_by_ctrl_c,
    signals_ignored,
)

SIGNALS = [(signal.SIGINT, StopReason.SIGINT), (signal.SIGTERM, StopReason.SIGTERM)]


@pytest.fixture
def _an_alarm_that_rings_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarm, "INTERVAL", 600.0)
    monkeypatch.setattr(stopping, "INTERVAL", 600.0)


@pytest.mark.parametrize(("number", "reason"), SIGNALS)
def test_a_signal_abandons_the_objective(number: signal.Signals, reason: StopReason) -> None:
    with Interruption(None) as interruption:
        with pytest.raises(EvaluationAbandoned):
            interruption.call(signal.raise_signal, number)
        assert interruption.check() is reason


@pytest.mark.parametrize(("number", "reason"), SIGNALS)
def test_outside_the_objective_a_signal_is_recorded(
    number: signal.Signals, reason: StopReason
) -> None:
    with Interruption(None) as interruption:
        assert interruption.call(lambda: 3) == 3
        assert interruption.check() is None
        signal.raise_signal(number)
        assert interruption.check() is reason
        with pytest.raises(EvaluationAbandoned):
            interruption.call(pytest.fail, "an objective was begun after the signal")


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
        with pytest.raises(EvaluationAbandoned):
            interruption.call(pytest.fail, "the objective was begun")
        assert interruption.check() is StopReason.SIGTERM


def test_the_first_reason_counts_and_the_second_signal_does_not_raise() -> None:
    with Interruption(None) as interruption:
        signal.raise_signal(signal.SIGTERM)
        since = interruption.since
        signal.raise_signal(signal.SIGINT)
        assert interruption.check() is StopReason.SIGTERM
        assert interruption.since == since


@pytest.mark.usefixtures("_an_alarm_that_rings_once")
def test_only_one_signal_abandons_an_objective_that_cleans_up() -> None:
    cleaned = []

    def objective() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)
            cleaned.append(True)

    with Interruption(None) as interruption, pytest.raises(EvaluationAbandoned):
        interruption.call(objective)
    assert cleaned


def test_no_except_exception_of_the_user_catches_it() -> None:
    assert not issubclass(EvaluationAbandoned, Exception)


def test_the_deadline_abandons_the_objective() -> None:
    with Interruption(0.05) as interruption:
        with pytest.raises(EvaluationAbandoned):
            interruption.call(time.sleep, 60)
        assert interruption.check() is StopReason.DEADLINE
    assert not StopReason.DEADLINE.is_signal


def test_outside_the_objective_the_deadline_is_recorded() -> None:
    with Interruption(0.02) as interruption:
        time.sleep(0.05)
        assert interruption.check() is StopReason.DEADLINE


@pytest.mark.parametrize("seconds", [None, 60])
def test_the_previous_handlers_are_restored(seconds: float | None) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGURG)
    before = [signal.getsignal(number) for number in numbers]
    n_threads = threading.active_count()
    with pytest.raises(ZeroDivisionError), Interruption(seconds):
        _ = 1 / 0
    assert [signal.getsignal(number) for number in numbers] == before
    assert signal.set_wakeup_fd(-1) == -1
    assert threading.active_count() == n_threads


SWALLOWED = 1e9


def _bare() -> float:
    try:
        signal.raise_signal(signal.SIGTERM)
    except:  # noqa: E722 - as users write it
        return SWALLOWED
    return 0.0


def _other_error() -> float:
    try:
        signal.raise_signal(signal.SIGTERM)
    finally:
        raise ValueError("the clean-up failed")


def _in_finally() -> float:
    try:
        signal.raise_signal(signal.SIGTERM)
    finally:
        return SWALLOWED  # noqa: B012


@pytest.mark.parametrize("objective", [_bare, _other_error, _in_finally])
def test_whatever_an_interrupted_objective_gives_is_discarded(objective) -> None:
    with Interruption(None) as interruption:
        with pytest.raises(EvaluationAbandoned) as caught:
            interruption.call(objective)
        assert caught.value.__context__ is None
        assert interruption.reason is StopReason.SIGTERM


def _work() -> None:
    for _ in range(60000):
        time.sleep(0.01)


def _retry() -> None:
    while True:
        try:
            _work()
            break
        except BaseException:
            continue


def _retry_in_a_function() -> None:
    try:
        _retry()
    except BaseException:
        _retry()


@pytest.mark.parametrize("objective", [_retry, _retry_in_a_function])
def test_an_interruption_that_was_swallowed_is_raised_again(objective) -> None:
    def tracer(*_: object) -> None:
        return None

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        start = time.monotonic()
        with Interruption(0.05) as interruption, pytest.raises(EvaluationAbandoned):
            interruption.call(objective)
        assert sys.gettrace() is tracer
    finally:
        sys.settrace(before)
    assert time.monotonic() - start < 120  # the work takes 600


@pytest.mark.usefixtures("_an_alarm_that_rings_once")
def test_cleaning_up_is_not_interrupted_before_the_alarm_rings_again() -> None:
    cleaned = []

    def objective() -> None:
        try:
            time.sleep(60)
        finally:
            time.sleep(0.3)
            cleaned.append(True)

    with Interruption(0.05) as interruption, pytest.raises(EvaluationAbandoned):
        interruption.call(objective)
    assert cleaned


def test_what_is_finished_before_a_signal_counts() -> None:
    """The signal comes when the objective has returned, but its result is not yet taken."""
    with Interruption(None) as interruption:
        interruption._unwinding.disarm = lambda: signal.raise_signal(signal.SIGTERM)
        assert interruption.call(lambda: 3) == 3
        assert interruption.check() is StopReason.SIGTERM


def test_a_handler_that_an_objective_has_left_is_replaced() -> None:
    with Interruption(None) as interruption:
        interruption.call(signal.signal, signal.SIGTERM, signal.SIG_IGN)
        with pytest.raises(EvaluationAbandoned):
            interruption.call(signal.raise_signal, signal.SIGTERM)


def test_a_handler_of_an_objective_does_its_part_first() -> None:
    handled = []

    def objective() -> None:
        signal.signal(signal.SIGTERM, lambda *_: handled.append(True))
        signal.raise_signal(signal.SIGTERM)
        time.sleep(60)

    with Interruption(None) as interruption:
        with pytest.raises(EvaluationAbandoned):
            interruption.call(objective)
        assert interruption.reason is StopReason.SIGTERM
    assert handled == [True]


def test_ctrl_c_where_the_objective_has_replaced_the_handler() -> None:
    def objective() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.raise_signal(signal.SIGINT)

    with Interruption(None) as interruption:
        with pytest.raises(EvaluationAbandoned):
            interruption.call(objective)
        assert interruption.reason is StopReason.SIGINT


def test_a_process_lives_if_the_alarm_rings_where_all_handlers_are_the_default() -> None:
    with Interruption(None) as interruption:

        def objective() -> int:
            for number in (*(n for n, _ in SIGNALS), signal.SIGUSR1, signal.SIGURG):
                signal.signal(number, signal.SIG_DFL)
            interruption._ring(None, 0)
            return 3

        assert interruption.call(objective) == 3  # it cannot be interrupted
        with pytest.raises(EvaluationAbandoned):
            interruption.call(objective)
        assert interruption.reason is StopReason.DEADLINE


def test_a_program_that_the_objective_waits_for_in_c_ends_too() -> None:
    """Python does not handle the signal before the program has ended."""
    start = time.monotonic()
    with Interruption(None) as interruption:
        with pytest.raises(EvaluationAbandoned):
            interruption.call(os.system, "kill -TERM $PPID; exec sleep 600")
        assert interruption.reason is StopReason.SIGTERM
    assert time.monotonic() - start < 120


# Python reports that it cannot write to the closed pipe.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_deadline_survives_an_objective_that_closes_all_files() -> None:
    with Interruption(0.3) as interruption:
        assert interruption._alarm is not None
        os.close(interruption._alarm._writing)
        os.close(interruption._alarm._reading)
        with pytest.raises(EvaluationAbandoned):
            interruption.call(time.sleep, 600)


def test_a_call_costs_microseconds() -> None:
    with Interruption(60) as interruption:
        costs = []
        for _ in range(200):
            start = time.perf_counter()
            interruption.call(int)
            costs.append(time.perf_counter() - start)
    assert sorted(costs)[20] < 1e-3


def test_in_another_thread_the_deadline_is_seen_and_no_handler_set() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen: list[object] = []

    def run() -> None:
        with Interruption(0.02) as interruption:
            seen.append(signal.getsignal(signal.SIGTERM))
            interruption.call(time.sleep, 0.05)
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


def test_other_handlers_of_ctrl_c_are_left_alone() -> None:
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        for handler, inside in (
            (signal.default_int_handler, signal.SIG_DFL),
            (signal.SIG_IGN, signal.SIG_IGN),
        ):
            signal.signal(signal.SIGINT, handler)
            with ended_by_ctrl_c():
                assert signal.getsignal(signal.SIGINT) is inside
            assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, previous)


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
