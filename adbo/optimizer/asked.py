"""The points that an `Optimizer` has proposed and that have not been told yet, with their origins.

Notation: ``d`` columns of the search space.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from adbo.core.space import FloatArray

#: Points that are remembered; if more are asked for and never told, the oldest are forgotten.
MOST = 10_000


class Asked:
    """Origins of points that were asked for and have not been told yet.

    A point may be asked for several times; each tell takes one of its origins.
    """

    def __init__(self) -> None:
        self._origins: dict[bytes, deque[int]] = {}

    def __len__(self) -> int:
        """Return the number of different points."""
        return len(self._origins)

    def add(self, point: FloatArray, origin: int) -> None:
        """Remember internal values ``(d,)`` that were proposed, and their origin."""
        self._origins.setdefault(_key(point), deque(maxlen=MOST)).append(origin)
        if len(self._origins) > MOST:
            del self._origins[next(iter(self._origins))]

    def take(self, point: FloatArray) -> int:
        """Return the origin of internal values ``(d,)`` that are told, and forget it; or 0.

        Values that are NaN belong to parameters that were absent, and match any proposed value.
        """
        key = _key(point)
        if key not in self._origins:
            key = self._completion(point)
        origins = self._origins.get(key)
        if origins is None:
            return 0
        origin = origins.popleft()
        if not origins:
            del self._origins[key]
        return origin

    def _completion(self, point: FloatArray) -> bytes:
        """Return the key of the oldest point that agrees with an incomplete one; else no bytes."""
        absent = np.isnan(point)
        if not self._origins or not absent.any():
            return b""
        points = np.frombuffer(b"".join(self._origins)).reshape(-1, len(point))
        agree = (absent | (points == point)).all(axis=1)
        return points[agree.argmax()].tobytes() if agree.any() else b""


def _key(point: FloatArray) -> bytes:
    return (point + 0.0).tobytes()  # -0.0 becomes 0.0
