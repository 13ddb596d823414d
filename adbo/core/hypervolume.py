"""The hypervolume of a front: how much of the space of the objectives it dominates.

It is the volume of all points that some evaluation dominates and that dominate the reference
point (Zitzler and Thiele, 1998). With two and three objectives it is exact; with more, the mean
of `_DRAWS` points that are uniform in the box from the best of each objective to the reference
point.

Notation: ``n`` evaluations, ``q`` objectives, ``costs (n, q)`` to minimize.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from adbo.core.front import Front, dominated

FloatArray = NDArray[np.float64]

#: Points of the estimate; its standard error is at most 0.2 % of the box.
_DRAWS = 2**16

#: Points that are compared with the front at once.
_BLOCK = 2**12


def hypervolume(costs: FloatArray, reference: FloatArray) -> float:
    """Return the hypervolume of costs ``(n, q)`` for a reference point ``(q,)``.

    It is infinite if it is larger than all floats.
    """
    return float(_measures([costs], [costs], reference)[0])


def hypervolumes(fronts: Sequence[Front], reference: FloatArray) -> FloatArray:
    """Return the hypervolumes ``(k,)`` of a front as it grew.

    Each front extends the one before it. Estimates are made with the same points, so that they
    never decrease.
    """
    new, known = [], Front.empty(len(reference)).rows
    for front in fronts:
        new.append(front.costs[~np.isin(front.rows, known)])
        known = front.rows
    return _measures([front.costs for front in fronts], new, reference)


def _measures(
    fronts: Sequence[FloatArray], new: Sequence[FloatArray], reference: FloatArray
) -> FloatArray:
    """Return the hypervolumes ``(k,)`` of fronts, of which each adds new costs to the last one."""
    with np.errstate(over="ignore", invalid="ignore"):
        measure = _EXACT.get(len(reference))
        if measure is None:
            measured = _estimates([_inside(costs, reference) for costs in new], reference)
        else:
            inside = [_inside(costs, reference) for costs in fronts]
            measured = np.array([measure(costs, reference) for costs in inside])
    return np.where(np.isnan(measured), math.inf, measured)  # 0 times infinity


def _inside(costs: FloatArray, reference: FloatArray) -> FloatArray:
    return costs[(costs < reference).all(axis=1)]


def _plane(costs: FloatArray, reference: FloatArray) -> float:
    """Return the area that costs ``(n, 2)`` in any order dominate."""
    return _area(costs[np.lexsort(costs.T[::-1])], reference)


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


def _estimates(new: Sequence[FloatArray], reference: FloatArray) -> FloatArray:
    """Return the volumes ``(k,)`` that costs dominate to which others are added one after another.

    All are the means of the same points, of which those that are dominated stay so.
    """
    inside = np.concatenate(new)
    if not len(inside):
        return np.zeros(len(new))
    size = reference - inside.min(axis=0)
    free = reference - np.random.default_rng(0).random((_DRAWS, len(reference))) * size
    dominated_share = []
    for costs in new:
        blocks = [free[i : i + _BLOCK] for i in range(0, len(free), _BLOCK)]
        free = np.concatenate([free[:0], *(b[~dominated(b, costs)] for b in blocks)])
        dominated_share.append(1 - len(free) / _DRAWS)
    return np.asarray(np.prod(size) * np.array(dominated_share))


#: By the number of objectives; with more, the hypervolume is estimated.
_EXACT = {2: _plane, 3: _volume}


def worst(costs: FloatArray) -> FloatArray:
    """Return the worst finite cost of each objective ``(q,)``, NaN where there is none."""
    finite = np.where(np.isfinite(costs), costs, np.nan)
    return np.fmax.reduce(finite, axis=0, initial=np.nan)
