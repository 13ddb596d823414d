"""Listening to the peers while the objective holds the main thread.

An evaluation may take hours. Meanwhile the results of others should reach the mirror, and what
this rank has to send should leave. It works for objectives that release the interpreter's lock, as
waiting, subprocesses and numerical libraries do.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

#: Seconds between two looks at the network during an evaluation.
INTERVAL = 0.5


class Listener:
    """A thread that works only while the main thread is elsewhere.

    Parameters
    ----------
    listen
        What the thread does at every interval. Never called while the main thread is not within
        `away`.
    """

    def __init__(self, listen: Callable[[], object]) -> None:
        self._listen = listen
        self._lock = threading.Lock()
        self._away = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="adbo-listener", daemon=True)

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """A stretch in which the thread listens.

        Raises
        ------
        BaseException
            What went wrong in the thread.
        """
        if not self._thread.is_alive() and self._error is None:
            self._thread.start()
        self._away.set()
        try:
            yield
        finally:
            self._away.clear()
            with self._lock:  # until it has finished what it does
                pass
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        pause = threading.Event()  # never set: a sleep
        try:
            while True:
                self._away.wait()
                pause.wait(INTERVAL)
                with self._lock:
                    if self._away.is_set():
                        self._listen()
        except BaseException as error:
            self._error = error
