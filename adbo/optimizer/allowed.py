"""Points that the user's predicate allows.

A strategy knows nothing of the predicate, and often prefers points beyond its boundary, since the
best allowed point is on the boundary. Such a point moves towards the nearest evaluated point that
is allowed, until it is allowed itself.

Notation: ``N`` points, ``d`` columns of the unit cube.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from adbo.core.allowed import DRAWS, NothingAllowedError
from adbo.core.space import FloatArray
from adbo.optimizer.distances import squared_distances

#: The best points of a strategy that are considered, and points of exploration that are kept.
_MOST = 8

#: Evaluated points that are tried as the one to move to.
_ANCHORS = 4

#: Halvings of the way to it.
_HALVINGS = 10

#: Points of exploration that are tested.
_TESTED = 1000


@dataclass(frozen=True)
class Allowed:
    """What is allowed in the unit cube.

    Parameters
    ----------
    test
        Tells whether a point ``(d,)`` is allowed.
    snap
        Moves points ``(N, d)`` to the nearest ones that the parameters can take.
    """

    test: Callable[[FloatArray], bool]
    snap: Callable[[FloatArray], FloatArray]

    def first(self, points: FloatArray) -> FloatArray:
        """Return the first of the points ``(N, d)`` that are allowed."""
        kept = (i for i, point in enumerate(points[:_TESTED]) if self.test(point))
        return points[list(itertools.islice(kept, _MOST))]

    def moved(self, points: FloatArray, known: FloatArray) -> FloatArray:
        """Return the first of the points ``(N, d)``, moved until they are allowed.

        Those without an allowed point nearby, among the known ones ``(m, d)``, are left out.
        """
        moved = []
        for point in points[:_MOST]:
            if self.test(point):
                moved.append(point)
            elif (anchor := self._anchor(point, known)) is not None:
                moved.append(self._towards(point, anchor))
        return np.array(moved).reshape(-1, points.shape[1])

    def random(self, rng: np.random.Generator, d: int) -> FloatArray:
        """Return a random point ``(1, d)``.

        Raises
        ------
        adbo.core.allowed.NothingAllowedError
            If none was found.
        """
        for _ in range(DRAWS):
            point = self.snap(rng.random((1, d)))
            if self.test(point[0]):
                return point
        raise NothingAllowedError

    def _anchor(self, point: FloatArray, known: FloatArray) -> FloatArray | None:
        distance = squared_distances(point[None], known)[0]
        nearest = known[np.argsort(distance, kind="stable")[:_ANCHORS]]
        return next((anchor for anchor in nearest if self.test(anchor)), None)

    def _towards(self, point: FloatArray, anchor: FloatArray) -> FloatArray:
        """Return the farthest allowed point of the way from an anchor that was found."""
        low, high, found = 0.0, 1.0, anchor
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            between = self.snap((anchor + middle * (point - anchor))[None])[0]
            if self.test(between):
                low, found = middle, between
            else:
                high = middle
        return found
