"""Several objectives: the front, and how its hypervolume grew.

Notation: ``C (n, m)`` are costs: values with the signs that make lower better.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from optuna._hypervolume import compute_hypervolume

from adbo.core.space import FloatArray, IntArray

#: Numbers of evaluations at which the hypervolume is computed.
_POINTS = 60

#: Points of a front that the hypervolume takes into account: it is expensive for many.
_MOST = 300


@dataclass(frozen=True)
class Front:
    """The front of a study.

    Parameters
    ----------
    indices
        The trials of the front, in the order in which they were given.
    counts, hypervolumes
        Numbers of trials, and the hypervolume of the front after them.
    reference
        The reference point ``(m,)``, as costs: the worst value of each objective.
    is_thinned
        Whether some hypervolumes are of a part of the front, and so lower bounds.
    """

    indices: IntArray
    counts: IntArray
    hypervolumes: FloatArray
    reference: FloatArray
    is_thinned: bool


def front_of(costs: FloatArray) -> Front:
    """Return the front of trials that are given in the order in which they finished."""
    n = len(costs)
    counts = np.unique(np.geomspace(1, n, _POINTS).round().astype(np.int64))
    reference = costs.max(axis=0)
    indices = np.empty(0, dtype=np.int64)
    hypervolumes = []
    is_thinned = False
    for first, last in zip([0, *counts[:-1]], counts, strict=True):
        indices = _front_after(costs, indices, np.arange(first, last))
        shown = indices
        if len(indices) > _MOST:
            is_thinned = True
            shown = indices[np.linspace(0, len(indices) - 1, _MOST).astype(np.int64)]
        hypervolumes.append(compute_hypervolume(costs[shown], reference))
    return Front(indices, counts, np.array(hypervolumes), reference, is_thinned)


def _front_after(costs: FloatArray, front: IntArray, new: IntArray) -> IntArray:
    """Return the front of the trials of a front and of new ones."""
    members = list(front)
    for index in new:
        cost = costs[index]
        of_members = costs[members]
        if members and bool((of_members <= cost).all(axis=1).any()):
            continue  # dominated, or equal to a member
        is_dominated = (of_members >= cost).all(axis=1)
        members = [member for member, out in zip(members, is_dominated, strict=True) if not out]
        members.append(int(index))
    return np.array(members, dtype=np.int64)
