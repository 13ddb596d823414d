"""The overlay: which ranks are neighbours, and which of them pass on whose records.

It is arithmetic on rank numbers, which every rank does for itself; it knows no messages.

Notation: ``P`` ranks, ``b`` the radix, ``d`` the *distance* ``(rank - origin) mod P`` of a rank
from the origin of a record. The *level* of a distance is the place of its lowest non-zero digit in
base ``b``; the level of 0 is the number of digits.

A rank at distance ``d`` passes a record on to the distances ``d + j b^i`` for ``0 < j < b`` and
all ``i`` below the level of ``d``. So the digits of a distance are set one after the other, from
the highest to the lowest. Each distance has one such path from 0, so these passes form a tree that
spans all ranks, for each origin another one. A record takes as many hops as its distance has non-
zero digits, at most ``log_b P``, and each rank has ``(b - 1) log_b P`` neighbours to send to and
as many to receive from, the same for all origins.

A rank that died is replaced by the ranks that it passed records on to (`outgoing`): each tree
still spans all living ranks, whichever have died.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Largest number of ranks that send directly to all others: there this costs little.
DIRECT = 32


@dataclass(frozen=True)
class Route:
    """The records that one neighbour passes on to another.

    Parameters
    ----------
    peer
        The neighbour.
    offset
        Its distance from this rank. A record at distance d from its origin takes this route only
        if d + offset < P.
    digit
        A record takes this route only if the level of its distance is above `digit`.
    """

    peer: int
    offset: int
    digit: int


def choose_radix(size: int, has_threads: bool) -> int:
    """Return the radix for a number of ranks.

    Few ranks need no overlay. Where ranks pass records on only between evaluations, each hop
    takes an evaluation, so there are two hops and about 2 sqrt(P) neighbours.
    """
    if size <= DIRECT:
        return max(size, 2)
    return 2 if has_threads else math.isqrt(size - 1) + 1


def n_digits(size: int, radix: int) -> int:
    """Return the number of digits of the largest distance, which is also the most hops."""
    return next(digits for digits in range(1, 65) if radix**digits >= size)


def levels(size: int, radix: int) -> NDArray[np.int8]:
    """Return the level of each distance, ``(P,)``."""
    distance = np.arange(size)
    level = np.zeros(size, dtype=np.int8)
    for digit in range(n_digits(size, radix)):
        level[distance % radix ** (digit + 1) == 0] = digit + 1
    return level


def outgoing(rank: int, size: int, radix: int, dead: Collection[int] = ()) -> list[Route]:
    """Return the routes on which a rank passes records on.

    The routes through a dead rank are replaced by those that it had.
    """

    def below(offset: int, top: int, digit: int | None) -> Iterator[Route]:
        for lower in range(top):
            for further in range(offset + radix**lower, size, radix**lower)[: radix - 1]:
                peer = (rank + further) % size
                first = lower if digit is None else digit
                if peer not in dead:
                    yield Route(peer, further, first)
                else:
                    yield from below(further, lower, first)

    return list(below(0, n_digits(size, radix), None))


class RouteTable:
    """The routes of one rank to its neighbours, and whose records take which of them."""

    def __init__(self, rank: int, size: int, radix: int, dead: Collection[int] = ()) -> None:
        routes = {route.peer: route for route in outgoing(rank, size, radix, dead)}
        self.peers = list(routes)
        self._rank, self._size = rank, size
        self._is_direct = radix >= size
        self._levels = levels(size, radix)
        digits = np.array([route.digit for route in routes.values()], dtype=np.int64)
        offsets = np.array([route.offset for route in routes.values()], dtype=np.int64)
        self._digits, self._room = digits[:, np.newaxis], size - offsets[:, np.newaxis]

    def taken(self, origins: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which routes the records of some origins take, ``(routes, n)``."""
        if self._is_direct:  # the same, sooner: only what this rank made is passed on
            return (origins == self._rank)[np.newaxis].repeat(len(self.peers), axis=0)
        distance = (self._rank - origins) % self._size
        taken: NDArray[np.bool_] = self._levels[distance] > self._digits
        return taken & (distance < self._room)


def incoming(rank: int, size: int, radix: int, dead: Collection[int] = ()) -> list[int]:
    """Return the ranks that have a route to a rank."""
    digits = n_digits(size, radix)

    def above(offset: int, bottom: int) -> Iterator[int]:
        for digit in range(bottom, digits):
            for further in range(offset + radix**digit, size, radix**digit)[: radix - 1]:
                peer = (rank - further) % size
                if peer not in dead:
                    yield peer
                else:
                    yield from above(further, digit + 1)

    return list(above(0, 0))
