"""An alarm: it rings at a deadline, or at a signal even if the main thread is busy in C."""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import signal
import threading
import time
from collections.abc import Callable

#: Seconds between two rings.
INTERVAL = 1.0

#: Milliseconds of the longest wait at once, since the time is a C integer.
_LONGEST_WAIT = 1e9


class Alarm:
    """A thread that rings at the first signal or at the deadline, and then at intervals.

    Python calls a handler only when the main thread runs Python code again. But it writes the
    number of a signal to a pipe at once, whatever the handler is.

    Parameters
    ----------
    deadline
        By the monotonic clock; None for none.
    heeds
        Returns whether to ring at a signal.
    ring
        Called by the thread at once, and then every `INTERVAL` seconds, with the signal, None for
        the deadline, and the number of earlier calls.
    """

    def __init__(
        self,
        deadline: float | None,
        heeds: Callable[[int], bool],
        ring: Callable[[int | None, int], object],
    ) -> None:
        self._deadline = deadline
        self._heeds = heeds
        self._ring = ring
        self._over = threading.Event()
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        self._previous = -1
        self._thread = threading.Thread(target=self._run, name="adbo-alarm", daemon=True)

    def start(self) -> None:
        """Start the thread, and `listen`; in the main thread."""
        self._previous = signal.set_wakeup_fd(-1)
        self.listen()
        self._thread.start()

    def listen(self) -> None:
        """Let Python write the numbers of signals to the pipe, if it does so elsewhere."""
        with contextlib.suppress(OSError):  # user code has closed all files
            signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)

    def listen_no_more(self) -> None:
        """Let Python write them to where it did before the start."""
        signal.set_wakeup_fd(self._previous)

    def end(self) -> None:
        """End the thread."""
        self._over.set()
        with contextlib.suppress(OSError):
            os.write(self._writing, b"\0")
        self._thread.join()
        for descriptor in (self._reading, self._writing):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _run(self) -> None:
        number = self._wait()
        for times in itertools.count():
            if self._over.is_set():
                return
            self._ring(number, times)
            self._over.wait(INTERVAL)

    def _wait(self) -> int | None:
        """Wait for a signal, for the deadline or for the end; return the signal."""
        poll = select.poll()
        poll.register(self._reading, select.POLLIN)
        while not self._over.is_set():
            left = None if self._deadline is None else self._deadline - time.monotonic()
            if left is not None and left <= 0:
                return None
            if not poll.poll(None if left is None else min(1000 * left + 1, _LONGEST_WAIT)):
                continue
            try:
                numbers = os.read(self._reading, 1 << 12)
            except OSError:  # user code has closed all files: only the deadline is left
                self._over.wait(left)
                return None
            for number in numbers:
                if number and self._heeds(number):
                    return number
        return None
