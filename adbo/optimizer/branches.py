"""Branches of a conditional space: rows with the same parameters, each a problem of its own.

A branch that is hard to learn looks bad until it has been searched for a while, so half of the
asks search any branch, not the best.

Notation: ``X (m, d)`` rows of the unit cube, NaN for parameters that are absent, and their
``cost (m,)``, NaN for failures.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from adbo.core.space import FloatArray
from adbo.optimizer.models.boolean_rows import unique_rows
from adbo.optimizer.regions import EXHAUSTED_ROWS, Niche, is_flat

#: Share of the asks of a conditional space that search a branch. Without, three models to choose
#: from were at 0.5 after 400 evaluations, with 0.3 at 0.009, with 0.5 at 0.003; a network to tune
#: at 0.007, 0.001 and 0.002 (medians of 12 studies, 16 workers; the models of a branch still saw
#: the columns of others, without which three models are at 2e-12).
BRANCH_SHARE = 0.5


def choose(X: FloatArray, cost: FloatArray, rng: np.random.Generator) -> Niche | None:
    """A branch, as likely as any other; none if all are exhausted, or there is only one.

    A branch is exhausted if its best rows, so many for each of its parameters, differ in cost by
    no more than it is behind the incumbent.

    Parameters
    ----------
    X, cost
        The sample.
    rng
        Source of the choice.
    """
    order = np.argsort(cost, kind="stable")
    order = order[np.isfinite(cost[order])]
    # Without failures: one may end before it has asked for all its parameters.
    patterns, branch = unique_rows(np.isnan(X[order]))
    if len(patterns) < 2:
        return None
    for chosen in rng.permutation(len(patterns)):
        rows = order[branch == chosen]
        size = EXHAUSTED_ROWS * np.count_nonzero(~np.isnan(X[rows[0]]))
        with np.errstate(over="ignore"):
            behind = float(cost[rows[0]] - cost[order[0]])
        if len(rows) < size or not is_flat(cost[rows[:size]], behind):
            return Niche(rows, False, math.inf, is_branch=True)
    return None


def is_here(X: FloatArray, row: FloatArray) -> NDArray[np.bool_]:
    """Which rows ``(m,)`` have the same parameters as one row ``(d,)``."""
    return np.asarray((np.isnan(X) == np.isnan(row)).all(axis=1))
