"""Processes that an objective forks: they are not ranks, and never become one."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterable
from typing import NoReturn, Protocol


class SignalOwner(Protocol):
    """Something that has set signal handlers, which are meant for this process only."""

    def give_back(self) -> None:
        """In a forked child: set the handlers that were there before."""


class _Masks(threading.local):
    """The blocked signals of each thread, from before it forked."""

    stack: list[Iterable[int]]

    def __init__(self) -> None:
        self.stack = []


#: Those that have set handlers in this process, the latest last.
_owners: list[SignalOwner] = []
_masks = _Masks()


def register(owner: SignalOwner) -> None:
    """Let children that are forked from now on give back the handlers of an owner."""
    _owners.append(owner)


def unregister(owner: SignalOwner) -> None:
    """Undo `register`."""
    _owners.remove(owner)


def end_child(error: BaseException | None) -> NoReturn:
    """End this forked process as Python ends a program that an error left, None for none.

    Its buffers are written and the error is printed, but nothing that the parent has registered
    for its own end is called.
    """
    status = 0
    if isinstance(error, SystemExit):
        status = _status(error.code)
    elif error is not None:
        status = 1
        with contextlib.suppress(Exception):
            traceback.print_exception(error)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(status & 0xFF)


def _status(code: object) -> int:
    """Return the exit status for the argument of `sys.exit`; print it if it is a message."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code
    print(code, file=sys.stderr)
    return 1


def _before() -> None:
    # A signal between the fork and `_in_child` would run the parent's handler in the child.
    if _owners:
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        _masks.stack.append(blocked)


def _in_parent() -> None:
    if _masks.stack:
        signal.pthread_sigmask(signal.SIG_SETMASK, _masks.stack.pop())


def _in_child() -> None:
    try:
        while _owners:
            _owners.pop().give_back()
    finally:
        _in_parent()


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
