"""Processes that user code forks: how they end, and what they inherit."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from adbo.interruption import forks
from adbo.interruption.stopping import Interruption


def _status(child: Callable[[], object]) -> int:
    """Return the exit status of a forked process that calls a function."""
    process = os.fork()
    if process == 0:
        try:
            child()
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, 0),
        (SystemExit(), 0),
        (SystemExit(None), 0),
        (SystemExit(7), 7),
        (SystemExit(-1), 255),
        (SystemExit("no license"), 1),
        (ValueError("no mesh"), 1),
        (KeyboardInterrupt(), 1),
    ],
    ids=repr,
)
def test_a_child_ends_as_a_program_does(error: BaseException | None, status: int) -> None:
    assert _status(lambda: forks.end_child(error)) == status


def test_what_a_child_says_at_its_end(capfd: pytest.CaptureFixture[str]) -> None:
    def child() -> None:
        print("written without a flush")
        forks.end_child(SystemExit("no license"))

    _status(child)
    out, err = capfd.readouterr()
    assert "written without a flush" in out
    assert err == "no license\n"


def test_a_child_that_comes_back_from_user_code_ends() -> None:
    with Interruption(None) as interruption:
        process = interruption.call(os.fork)
        assert process  # the child has not come here
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0


def test_a_child_has_the_handlers_from_before_and_the_parent_keeps_its_own() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGURG)
    before = [signal.getsignal(number) for number in numbers]
    with Interruption(None):
        own = [signal.getsignal(number) for number in numbers]
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())

        def child() -> None:
            handlers = [signal.getsignal(number) for number in numbers]
            is_so = handlers == before and signal.set_wakeup_fd(-1) == -1
            is_so = is_so and signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask
            os._exit(0 if is_so else 1)

        assert _status(child) == 0
        assert [signal.getsignal(number) for number in numbers] == own
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask


def test_a_child_keeps_the_handlers_of_the_objective() -> None:
    def objective() -> int:
        signal.signal(signal.SIGUSR1, _mine)
        return _status(lambda: os._exit(signal.getsignal(signal.SIGUSR1) is not _mine))

    with Interruption(None) as interruption:
        assert interruption.call(objective) == 0


def _mine(*_: object) -> None:
    """A handler."""
