"""Polite polling: sleep briefly after news, and longer the longer there are none."""

from __future__ import annotations

import time
from collections.abc import Callable


class Backoff:
    """Sleeps that double from the shortest to the longest.

    Idle ranks then use almost no CPU, and what arrives is still answered soon.

    Parameters
    ----------
    shortest, longest
        Seconds of the first sleep, and of the late ones.
    sleep
        How to sleep.
    """

    def __init__(
        self,
        shortest: float = 1e-4,
        longest: float = 2e-2,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._shortest = self._next = shortest
        self._longest = longest
        self._sleep = sleep

    def pause(self) -> None:
        """Sleep, and sleep twice as long the next time."""
        self._sleep(self._next)
        self._next = min(2 * self._next, self._longest)

    def reset(self) -> None:
        """Begin again with the shortest sleep."""
        self._next = self._shortest
