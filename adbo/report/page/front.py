"""Several objectives: the front, and how its hypervolume grew.

Notation: ``C (n, m)`` are costs: values with the signs that make lower better.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adbo.core import front
from adbo.core.hypervolume import hypervolumes
from adbo.core.space import FloatArray, IntArray

#: Numbers of evaluations at which the hypervolume is computed.
_POINTS = 60


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
        Whether the front has more trials than are kept, so that the hypervolumes are lower bounds.
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
    fronts = [front.Front.empty(costs.shape[1])]
    for first, last in zip([0, *counts[:-1]], counts, strict=True):
        fronts.append(fronts[-1].extended(np.arange(first, last), costs[first:last]))
    indices = np.sort(fronts[-1].rows)
    is_thinned = len(indices) >= front.MOST
    return Front(indices, counts, hypervolumes(fronts[1:], reference), reference, is_thinned)
