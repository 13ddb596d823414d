"""Threads that send and receive while the main thread is busy.

An evaluation may take hours. Meanwhile the results of other ranks should arrive, and what this
rank has to send should leave. This works for objectives that release the interpreter's lock, as
waiting, subprocesses and numerical libraries do.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

#: Seconds between two exchanges of a background thread; news from a busy rank are as old as this.
INTERVAL = 0.5

#: Seconds from a wake-up to the exchange, in which further changes join the same message.
DELAY = 0.01


class BackgroundReceiver:
    """A thread that works only while the main thread has lent it the transport.

    Parameters
    ----------
    receive
        Called by the thread every `INTERVAL` seconds, only within `lent`.
    seconds_until_due
        Returns the seconds to wait before a call, if they are fewer.
    """

    def __init__(
        self,
        receive: Callable[[], object],
        seconds_until_due: Callable[[], float] = lambda: INTERVAL,
    ) -> None:
        self._receive = receive
        self._seconds_until_due = seconds_until_due
        self._lock = threading.Lock()
        self._is_lent = threading.Event()
        self._hurried = threading.Event()
        self._received = threading.Event()
        self._stopped = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="adbo-receiver", daemon=True)

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """Let the thread receive until the end of the context.

        Raises
        ------
        BaseException
            What the thread raised.
        """
        if not self._thread.is_alive() and self._error is None:
            self._thread.start()
        self._is_lent.set()
        try:
            yield
        finally:
            self._is_lent.clear()
            with self._lock:  # wait for the end of a call under way
                pass
        if self._error is not None:
            raise self._error

    def hurry(self, patience: float) -> None:
        """Let the thread receive now, within `lent`; wait for it, at most `patience` seconds.

        Any thread may call it; a signal may interrupt it, but not the thread.
        """
        self._received.clear()
        self._hurried.set()
        if self._is_lent.is_set() and self._error is None:
            self._received.wait(patience)

    def stop(self) -> None:
        """End the thread, which holds all that it could receive; nothing is lent after that."""
        self._stopped.set()
        self._is_lent.set()  # ends both waits
        self._hurried.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                self._is_lent.wait()
                self._hurried.wait(min(INTERVAL, self._seconds_until_due() or INTERVAL))
                self._hurried.clear()
                with self._lock:
                    if self._is_lent.is_set() and not self._stopped.is_set():
                        self._receive()
                self._received.set()
        except BaseException as error:
            self._error = error


class BackgroundSender:
    """A thread that exchanges messages at intervals, and soon after it was woken.

    Parameters
    ----------
    exchange
        Called by the thread; it must take whatever lock protects what it uses.
    """

    def __init__(self, exchange: Callable[[], object]) -> None:
        self._exchange = exchange
        self._woken = threading.Event()
        self._stopped = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="adbo-sender", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def is_alive(self) -> bool:
        """Return whether the thread runs, so that `wake` has an effect."""
        return self._thread.is_alive()

    def wake(self) -> None:
        """Ask for an exchange soon; several calls before it count as one."""
        self._woken.set()

    def stop(self) -> None:
        """End the thread, after the exchange under way or one more."""
        self._stopped.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join()

    def check(self) -> None:
        """Raise what the thread raised, if it did."""
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                if self._woken.wait(INTERVAL):
                    self._stopped.wait(DELAY)
                    self._woken.clear()
                self._exchange()
        except BaseException as error:
            self._error = error
