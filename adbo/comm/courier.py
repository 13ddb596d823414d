"""A thread that goes to the network now and then, and soon after it was woken.

An evaluation may take hours. Meanwhile what others did should be taken in, and what this rank has
to tell should leave. It works for objectives that release the interpreter's lock, as waiting,
subprocesses and numerical libraries do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

#: Longest time between two errands, and from a wake to an errand, in seconds.
INTERVAL, DELAY = 0.5, 0.01


class Courier:
    """Runs an errand in the background.

    Parameters
    ----------
    errand
        Called from the thread, at every interval and after every wake.
    """

    def __init__(self, errand: Callable[[], object]) -> None:
        self._errand = errand
        self._woken = threading.Event()
        self._stopped = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="adbo-courier", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether a wake has an effect."""
        return self._thread.is_alive()

    def wake(self) -> None:
        """Let it go soon; wakes until it goes are one."""
        self._woken.set()

    def stop(self) -> None:
        """End, after the errand that it is on."""
        self._stopped.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join()

    def check(self) -> None:
        """Raise what went wrong in the thread, if anything did."""
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                if self._woken.wait(INTERVAL):
                    self._stopped.wait(DELAY)
                    self._woken.clear()
                self._errand()
        except BaseException as error:
            self._error = error
