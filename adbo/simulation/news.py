"""When records arrive, and what messages cost: the dissemination on the virtual clock.

With all ranks awake, where a record is at which time follows from the overlay alone: a rank passes
it on at its next tick, and it goes the path that the digits of the distance name. So arrival
times are computed for many records or ranks at once, without a message. A test compares them with
ranks that exchange messages (`adbo.comm.dissemination`).

Notation: ``n`` records or ranks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from adbo.comm.overlay import DIRECT, choose_radix, n_digits
from adbo.comm.pace import Pace
from adbo.core.space import FloatArray

IntArray = NDArray[np.int64]

#: Records from which the typical age is computed.
_N_SAMPLED = 20_000


@dataclass(frozen=True)
class MessageCosts:
    """CPU seconds of a rank, measured by ``experiments/messaging.py``.

    Parameters
    ----------
    tick
        To wake up in a tick, whatever has arrived.
    evaluation
        To make the record of an evaluation, and to look at what has arrived after it.
    message
        To make, send, receive and read one message, without its records.
    record
        To take one record from a message and pass it on. Appending it to the history comes on top.
    entry
        To read and write one entry of a version vector.
    transit
        Seconds from the sending of a message until it can be received.
    """

    tick: float = 0.4e-3
    evaluation: float = 1.2e-3
    message: float = 50e-6
    record: float = 1e-6
    entry: float = 5e-9
    transit: float = 1e-3


@dataclass(frozen=True)
class News:
    """The dissemination among many ranks.

    Parameters
    ----------
    size
        Number of ranks.
    phases
        When each rank has its first tick, ``(size,)``.
    pace
        How often ranks send.
    costs
        What messages cost.
    """

    size: int
    phases: FloatArray
    pace: Pace = field(default_factory=Pace)
    costs: MessageCosts = field(default_factory=MessageCosts)

    def arrival(self, born: FloatArray, origin: IntArray, rank: IntArray) -> FloatArray:
        """Return when records can be received by ranks, ``(n,)``.

        Parameters
        ----------
        born
            When the records were made, ``(n,)``.
        origin, rank
            Who made each, and who receives it, ``(n,)``.
        """
        radix = choose_radix(self.size, has_threads=True)
        distance = (rank - origin) % self.size
        time, place = born.astype(np.float64), origin.copy()
        for digit in reversed(range(n_digits(self.size, radix))):
            step = distance // radix**digit % radix * radix**digit
            hop = step > 0
            sent = time[hop] if radix >= self.size else self._next_tick(place[hop], time[hop])
            time[hop] = sent + self.costs.transit
            place[hop] = (place[hop] + step[hop]) % self.size
        return time

    def messages(self, rate: float) -> float:
        """Return the messages that a rank sends per second.

        Parameters
        ----------
        rate
            Records that each rank makes per second.
        """
        radix = choose_radix(self.size, has_threads=True)
        digests = 1 / self.pace.digest
        if radix >= self.size:
            return (self.size - 1) * (rate + digests)
        ticks, sent, n_in = 1 / self.pace.tick, 0.0, 0
        for digit in reversed(range(n_digits(self.size, radix))):
            # In a tick, a neighbour is sent a message if there is at least one record for it.
            arriving = rate * min(radix ** (n_digits(self.size, radix) - 1 - digit), self.size)
            sent += (radix - 1) * ticks * -math.expm1(-arriving / ticks)
            n_in += radix - 1
        return sent + n_in * digests

    def share(self, rate: float) -> float:
        """Return the fraction of a rank's time that messages and records take."""
        digests = 2 * n_digits(self.size, choose_radix(self.size, True)) / self.pace.digest
        return (
            self.costs.tick / self.pace.tick
            + rate * self.costs.evaluation
            + self.messages(rate) * self.costs.message
            + (self.size - 1) * rate * self.costs.record
            + 2 * digests * self.size * self.costs.entry
        )

    def seconds(self, elapsed: float, n_records: int) -> float:
        """Return the CPU seconds of a rank for messages in a time in which it got records."""
        if not elapsed > 0 or self.size == 1:
            return 0.0
        return elapsed * self.share(n_records / elapsed / (self.size - 1))

    def ages(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Return the ages at which `n` random records are seen by random ranks, in seconds.

        A rank looks at what has arrived at its ticks, and before each ask.
        """
        if self.size == 1:
            return np.zeros(n)
        born = self.pace.tick * (2 + rng.random(n))
        origin = rng.integers(self.size, size=n)
        rank = (origin + rng.integers(1, self.size, size=n)) % self.size
        return self._next_tick(rank, self.arrival(born, origin, rank)) - born

    def _next_tick(self, rank: IntArray, time: FloatArray) -> FloatArray:
        phase = self.phases[rank]
        ticks = np.ceil((time - phase) / self.pace.tick)
        return phase + np.maximum(ticks, 0) * self.pace.tick


@lru_cache
def news_of(size: int) -> News:
    """Return the dissemination among a number of ranks that begin their ticks at random times."""
    return News(size, np.random.default_rng(size).random(size) * Pace().tick)


@lru_cache
def typical_ages(size: int) -> tuple[float, float]:
    """Return the median age of news and its 99 % quantile, in seconds."""
    ages = news_of(size).ages(_N_SAMPLED, np.random.default_rng(0))
    median, high = np.quantile(ages, [0.5, 0.99]).tolist()
    return median, high


def latency_of(size: int) -> float:
    """Return the seconds after which a record counts as known: none if all send directly."""
    return 0.0 if size <= DIRECT else typical_ages(size)[0]
