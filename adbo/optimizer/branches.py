"""Branches of a conditional space: each has its own parameters and is a problem of its own.

A branch that is hard to learn looks bad until it has been searched for a while. A fraction of the
asks therefore searches a branch that is drawn at random instead of the best one.

Notation: ``X (m, d)`` rows of the unit cube, NaN for parameters that are absent, and their
``cost (m,)``, NaN for failures.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from adbo.core.space import FloatArray
from adbo.optimizer.models.boolean_rows import unique_rows
from adbo.optimizer.regions import is_flat
from adbo.optimizer.view import View


def enter_branch(view: View, rng: np.random.Generator, rows_per_column: int) -> View | None:
    """Draw a branch that has not converged, uniformly, and return the view of its rows alone.

    A branch has converged if the costs of its best rows span no more than the difference between
    its best cost and the incumbent's.

    Parameters
    ----------
    view
        View of all rows.
    rng
        Source of the choice.
    rows_per_column
        Number of best rows that are compared, for each parameter of the branch.

    Returns
    -------
    View | None
        None if all branches have converged, or there is only one. Columns that the branch does
        not have are fixed in its geometry.
    """
    X, cost = view.sample.X, view.sample.cost
    order = np.argsort(cost, kind="stable")
    # Without failures, because a trial may fail before it has asked for all its parameters.
    order = order[np.isfinite(cost[order])]
    patterns, branch = unique_rows(np.isnan(X[order]))
    if len(patterns) < 2:
        return None
    for chosen in rng.permutation(len(patterns)):
        rows = order[branch == chosen]
        absent = np.isnan(X[rows[0]])
        size = rows_per_column * np.count_nonzero(~absent)
        with np.errstate(over="ignore"):
            behind = float(cost[rows[0]] - cost[order[0]])
        if len(rows) < size or not is_flat(cost[rows[:size]], behind):
            parts = None if view.sample.parts is None else view.sample.parts[rows]
            sample = replace(
                view.sample, X=X[rows], cost=cost[rows], n_elites=len(rows), parts=parts
            )
            levels = np.where(absent, 1.0, view.geometry.levels)
            geometry = replace(view.geometry, levels=levels, all_points=None)
            complete = view.complete[rows]
            return replace(view, sample=sample, geometry=geometry, complete=complete)
    return None


def is_in_branch(X: FloatArray, row: FloatArray) -> NDArray[np.bool_]:
    """Return which rows ``(m,)`` have the same parameters as one row ``(d,)``."""
    return np.asarray((np.isnan(X) == np.isnan(row)).all(axis=1))
