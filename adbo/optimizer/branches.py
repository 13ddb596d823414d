"""Branches of a conditional space: each has its own parameters and is a problem of its own.

A branch that is hard to learn looks bad until it has been searched for a while. A fraction of the
asks therefore searches a branch that is drawn at random instead of the best one.

Notation: ``X (m, d)`` rows of the unit cube, NaN for parameters that are absent, and their
``cost (m,)``, NaN for failures.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adbo.core.space import FloatArray
from adbo.optimizer.models.boolean_rows import unique_rows
from adbo.optimizer.regions import Region, RegionKind, is_flat


def choose_branch(
    X: FloatArray, cost: FloatArray, rng: np.random.Generator, rows_per_column: int
) -> Region | None:
    """Draw a branch that has not converged, uniformly.

    A branch has converged if the costs of its best rows span no more than the difference between
    its best cost and the incumbent's.

    Parameters
    ----------
    X, cost
        The sample.
    rng
        Source of the choice.
    rows_per_column
        Number of best rows that are compared, for each parameter of the branch.

    Returns
    -------
    Region | None
        None if all branches have converged, or there is only one.
    """
    order = np.argsort(cost, kind="stable")
    # Without failures, because a trial may fail before it has asked for all its parameters.
    order = order[np.isfinite(cost[order])]
    patterns, branch = unique_rows(np.isnan(X[order]))
    if len(patterns) < 2:
        return None
    for chosen in rng.permutation(len(patterns)):
        rows = order[branch == chosen]
        size = rows_per_column * np.count_nonzero(~np.isnan(X[rows[0]]))
        with np.errstate(over="ignore"):
            behind = float(cost[rows[0]] - cost[order[0]])
        if len(rows) < size or not is_flat(cost[rows[:size]], behind):
            return Region(rows, RegionKind.BRANCH)
    return None


def is_in_branch(X: FloatArray, row: FloatArray) -> NDArray[np.bool_]:
    """Return which rows ``(m,)`` have the same parameters as one row ``(d,)``."""
    return np.asarray((np.isnan(X) == np.isnan(row)).all(axis=1))
