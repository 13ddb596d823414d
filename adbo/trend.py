"""Points where the broad shape of the objective is lowest.

A function of many basins often has a bowl under its ripples. Elites crowd in one basin after the
other and do not see it; a quadratic through rows from far and near averages the ripples out.

Notation: ``X (m, d)`` complete rows of the unit cube, ``cost (m,)``, ``z`` standardized columns.
"""

from __future__ import annotations

import numpy as np

from adbo import quadratic
from adbo.candidates import Geometry, reflect
from adbo.descent import is_smooth
from adbo.space import FloatArray

#: Points of a trend: more than one, because some may be known already.
POINTS = 64

#: A trend has all rows around the incumbent up to the farthest one's distance times
#: 10^U(low, high), and at least so many for each column.
RADIUS_EXPONENTS = (-0.5, 0.0)
LEAST_ROWS_PER_COLUMN = 3

#: Points around the minimum differ by 10^U(low, high) standard deviations of the rows.
STEP_EXPONENTS = (-2.5, -0.5)

#: Standard deviations below this are taken as this.
_LEAST_SPREAD = 1e-9


def descend(
    X: FloatArray, cost: FloatArray, geometry: Geometry, rng: np.random.Generator
) -> FloatArray:
    """Points ``(N, d)`` near the minimum of a quadratic of many rows.

    Parameters
    ----------
    X, cost
        Complete rows ``(m, d)``, the elites first and best first, and their costs ``(m,)``, NaN
        for failures.
    geometry
        What the columns are; only the continuous ones are modelled, the others copied from the
        best row.
    rng
        Source of all choices.
    """
    smooth = is_smooth(geometry)
    finite = np.isfinite(cost)
    x, y = X[np.ix_(finite, smooth)] - X[0, smooth], cost[finite]
    distance = np.sum(x**2, axis=1)
    order = np.argsort(distance, kind="stable")
    radius = 10.0 ** rng.uniform(*RADIUS_EXPONENTS) * np.sqrt(distance[order[-1]])
    n = max(np.count_nonzero(distance <= radius**2), LEAST_ROWS_PER_COLUMN * x.shape[1])
    nearest = order[:n]
    x, y = x[nearest], y[nearest] / (np.abs(y[nearest]).max() or 1.0)
    mean, spread = x.mean(axis=0), np.maximum(x.std(axis=0), _LEAST_SPREAD)
    z = (x - mean) / spread
    lowest = quadratic.fit(z, y).lowest(float(np.sqrt(np.sum(z**2, axis=1).max())))
    step = 10.0 ** rng.uniform(*STEP_EXPONENTS, size=(POINTS, 1))
    z = lowest + step * rng.standard_normal((POINTS, z.shape[1]))
    rows = np.tile(X[0], (POINTS, 1))
    rows[:, smooth] = X[0, smooth] + mean + spread * z
    return geometry.snap(reflect(rows))
