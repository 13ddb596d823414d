"""The front of several objectives: the evaluations that no other one dominates.

An evaluation dominates another one if it is at least as good in every objective and better in one.
The front is kept as evaluations arrive, so that no ask sorts all of them. It holds at most `MOST`
evaluations; of a larger front, those that are spread out most.

Notation: ``n`` evaluations, ``q`` objectives, ``costs (n, q)`` to minimize.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Evaluations that a front holds at most; more cost time in every ask.
MOST = 1024

#: Evaluations that are compared with each other at once.
_BLOCK = 256


@dataclass(frozen=True)
class Front:
    """Evaluations that do not dominate each other.

    Parameters
    ----------
    rows
        Numbers of the evaluations ``(n,)``.
    costs
        Their costs ``(n, q)``.
    """

    rows: IntArray
    costs: FloatArray

    @classmethod
    def empty(cls, q: int) -> Front:
        """Return a front without evaluations."""
        return cls(np.empty(0, dtype=np.int64), np.empty((0, q)))

    def extended(self, rows: IntArray, costs: FloatArray) -> Front:
        """Return the front of these evaluations and more ``(n,)``; costs of NaN are ignored."""
        known = ~np.isnan(costs).any(axis=1)
        rows, costs = rows[known], costs[known]
        front = self
        for start in range(0, len(rows), _BLOCK):
            block = slice(start, start + _BLOCK)
            front = front._with_block(rows[block], costs[block])
        return front

    def _with_block(self, rows: IntArray, costs: FloatArray) -> Front:
        new = ~dominated(costs, self.costs)
        rows, costs = rows[new], costs[new]
        new = ~dominated(costs, costs)
        rows, costs = rows[new], costs[new]
        if not len(rows):
            return self
        kept = ~dominated(self.costs, costs)
        rows = np.concatenate([self.rows[kept], rows])
        costs = np.concatenate([self.costs[kept], costs])
        if len(rows) > MOST + _BLOCK:
            spread = most_spread(costs, MOST)
            rows, costs = rows[spread], costs[spread]
        return Front(rows, costs)


def dominated(costs: FloatArray, by: FloatArray) -> NDArray[np.bool_]:
    """Return which of the costs ``(n, q)`` any of the others ``(m, q)`` dominates, ``(n,)``."""
    shape = (len(costs), len(by))
    not_worse, better = np.ones(shape, dtype=bool), np.zeros(shape, dtype=bool)
    for of, other in zip(costs.T, by.T, strict=True):
        not_worse &= other <= of[:, None]
        better |= other < of[:, None]
    return np.asarray((not_worse & better).any(axis=1))


def most_spread(costs: FloatArray, size: int) -> IntArray:
    """Return the numbers ``(size,)`` of costs ``(n, q)`` that are far from each other, in order.

    The best of each objective come first; then, one after the other, the one that is farthest
    from all that were chosen. The unit of each objective is its range.
    """
    if len(costs) <= size:
        return np.arange(len(costs))
    scaled = in_ranges(costs)
    chosen = list(dict.fromkeys(np.argmin(scaled, axis=0).tolist()))[:size]
    distance = np.min([_squares(scaled, i) for i in chosen], axis=0)
    while len(chosen) < size:
        farthest = int(np.argmax(distance))
        if distance[farthest] <= 0.0:  # the others are equal to chosen ones
            left = np.setdiff1d(np.arange(len(costs)), chosen)
            chosen += left[: size - len(chosen)].tolist()
            break
        chosen.append(farthest)
        distance = np.minimum(distance, _squares(scaled, farthest))
    return np.sort(np.array(chosen))


def _squares(points: FloatArray, number: int) -> FloatArray:
    return np.asarray(((points - points[number]) ** 2).sum(axis=1))


def in_ranges(costs: FloatArray) -> FloatArray:
    """Return finite costs as fractions of the range of each objective, from 0 to 1 ``(n, q)``."""
    finite = np.where(np.isfinite(costs), costs, np.nan)
    low = np.nan_to_num(np.fmin.reduce(finite, axis=0))
    high = np.nan_to_num(np.fmax.reduce(finite, axis=0))
    half = np.maximum(high / 2 - low / 2, np.finfo(float).tiny)  # a range may overflow
    return np.clip((np.clip(costs, low, high) / 2 - low / 2) / half, 0.0, 1.0)
