"""The hypervolume of a front: how much of the space of the objectives it dominates.

It is the volume of all points that some evaluation dominates and that dominate the reference
point (Zitzler and Thiele, 1998). With two and three objectives it is exact; with more, the mean
of `_DRAWS` points that are uniform in the box from the best of each objective to the reference
point.

Notation: ``n`` evaluations, ``q`` objectives, ``costs (n, q)`` to minimize.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from adbo.core.front import dominated

FloatArray = NDArray[np.float64]

#: Points of the estimate; its standard error is at most 0.2 % of the box.
_DRAWS = 2**16

#: Points that are compared with the front at once.
_BLOCK = 2**12


def hypervolume(costs: FloatArray, reference: FloatArray) -> float:
    """Return the hypervolume of costs ``(n, q)`` for a reference point ``(q,)``.

    It is infinite if it is larger than all floats.
    """
    inside = costs[(costs < reference).all(axis=1)]
    if not len(inside):
        return 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        measured = _measure(inside, reference)
    return math.inf if math.isnan(measured) else measured  # 0 times infinity


def _measure(costs: FloatArray, reference: FloatArray) -> float:
    if costs.shape[1] == 2:
        return _area(costs[np.lexsort(costs.T[::-1])], reference)
    if costs.shape[1] == 3:
        return _volume(costs, reference)
    return _estimate(costs, reference)


def _area(costs: FloatArray, reference: FloatArray) -> float:
    """Return the area that costs ``(n, 2)`` in the order of the first objective dominate."""
    lowest = np.minimum.accumulate(np.minimum(costs[:, 1], reference[1]))
    widths = np.diff(costs[:, 0], append=reference[0])
    return float(np.sum(widths * (reference[1] - lowest)))


def _volume(costs: FloatArray, reference: FloatArray) -> float:
    """Return the volume that costs ``(n, 3)`` dominate: an area for each step of the third one."""
    costs = costs[np.argsort(costs[:, 2], kind="stable")]
    heights = np.diff(costs[:, 2], append=reference[2])
    by_first = np.argsort(costs[:, 0], kind="stable")
    volume = 0.0
    for i in np.flatnonzero(heights > 0).tolist():
        so_far = by_first[by_first <= i]
        volume += float(heights[i]) * _area(costs[so_far, :2], reference[:2])
    return volume


def _estimate(costs: FloatArray, reference: FloatArray) -> float:
    low = costs.min(axis=0)
    rng = np.random.default_rng(0)
    n_dominated = 0
    for _ in range(_DRAWS // _BLOCK):
        points = low + rng.random((_BLOCK, costs.shape[1])) * (reference - low)
        n_dominated += int(np.count_nonzero(dominated(points, costs)))
    return float(np.prod(reference - low)) * n_dominated / _DRAWS


def worst(costs: FloatArray) -> FloatArray:
    """Return the worst finite cost of each objective ``(q,)``, NaN where there is none."""
    finite = np.where(np.isfinite(costs), costs, np.nan)
    return np.fmax.reduce(finite, axis=0, initial=np.nan)
