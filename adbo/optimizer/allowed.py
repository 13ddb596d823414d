"""Points that the user's predicate allows.

The best allowed point is often on the boundary of what is allowed, and the minimum of a model
beyond it. A search among points therefore goes on from those that are allowed, and so follows the
boundary. Where it finds none, or a strategy does not search, a point moves towards the nearest
evaluated point that is allowed, until it is allowed itself.

Notation: ``N`` points, ``d`` columns of the unit cube.
"""

from __future__ import annotations

import itertools

import numpy as np

from adbo.core.allowed import DRAWS, NothingAllowedError
from adbo.core.space import FloatArray
from adbo.optimizer.candidates import BEST
from adbo.optimizer.distances import squared_distances
from adbo.optimizer.sample import Allows, Snap

#: Points of a strategy, or of a round of a search, that are tested, the best first. More find the
#: boundary of a narrow region sooner, and cost the time of the user's predicate.
_TESTED = 64

#: Points of exploration that are tested.
_TESTED_OF_EXPLORATION = 1000

#: Evaluated points that are tried as the one to move to.
_ANCHORS = 4

#: Halvings of the way to it.
_HALVINGS = 10


def allowed_first(points: FloatArray, allows: Allows | None) -> FloatArray:
    """Return points ``(N, d)``, the best first, with some that are allowed before the others."""
    if allows is None:
        return points
    kept = _indices(points, allows, slice(_TESTED))
    if not kept:  # all good ones are beyond the boundary
        step = max(1, len(points) // _TESTED)
        kept = _indices(points, allows, slice(_TESTED, None, step))
    return np.concatenate([points[kept], np.delete(points, kept, axis=0)])


def allowed_points(
    points: FloatArray, known: FloatArray, allows: Allows, snap: Snap
) -> FloatArray:
    """Return allowed points ``(n, d)`` of a strategy, or points that were moved to be allowed.

    Parameters
    ----------
    points
        Points of the strategy ``(N, d)``, the best first.
    known
        Evaluated points ``(m, d)``, to which others move. Without an allowed one nearby, a point
        is left out.
    allows, snap
        Those of a `Geometry`.
    """
    if kept := _indices(points, allows, slice(_TESTED)):
        return points[kept]
    moved = []
    for point in points[:BEST]:
        if (anchor := _anchor(point, known, allows)) is not None:
            moved.append(_moved(point, anchor, allows, snap))
    return np.array(moved).reshape(-1, points.shape[1])


def allowed_exploration(points: FloatArray, allows: Allows) -> FloatArray:
    """Return allowed ones of many points ``(N, d)``."""
    return points[_indices(points, allows, slice(_TESTED_OF_EXPLORATION))]


def random_allowed(rng: np.random.Generator, d: int, allows: Allows, snap: Snap) -> FloatArray:
    """Return a random allowed point ``(d,)``.

    Raises
    ------
    adbo.core.allowed.NothingAllowedError
        If none was found.
    """
    for _ in range(DRAWS):
        point = snap(rng.random((1, d)))[0]
        if allows(point):
            return point
    raise NothingAllowedError


def _indices(points: FloatArray, allows: Allows, tested: slice) -> list[int]:
    """Return the indices of those tested that are allowed, at most as many as a search keeps."""
    found = (i for i in range(len(points))[tested] if allows(points[i]))
    return list(itertools.islice(found, BEST))


def _anchor(point: FloatArray, known: FloatArray, allows: Allows) -> FloatArray | None:
    distance = squared_distances(point[None], known)[0]
    nearest = known[np.argsort(distance, kind="stable")[:_ANCHORS]]
    return next((anchor for anchor in nearest if allows(anchor)), None)


def _moved(point: FloatArray, anchor: FloatArray, allows: Allows, snap: Snap) -> FloatArray:
    """Return the farthest allowed point of the way from an anchor that was found."""
    low, high, found = 0.0, 1.0, anchor
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        between = snap((anchor + middle * (point - anchor))[None])[0]
        if allows(between):
            low, found = middle, between
        else:
            high = middle
    return found
