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
from adbo.distances import squared_distances
from adbo.space import FloatArray
from adbo.translations import translations

#: Points of a trend: more than one, because some may be known already.
POINTS = 64

#: A trend has all rows around the incumbent up to the farthest one's distance times
#: 10^U(low, high), and at least so many for each column.
RADIUS_EXPONENTS = (-0.5, 0.0)
LEAST_ROWS_PER_COLUMN = 3

#: Rows closer to each other than this share of the farthest row's distance count as one: those
#: of a basin that was searched are many.
CROWD_SHARE = 0.3

#: Share of the trends that rank translations (`adbo.translations`), not go to the minimum.
TRANSLATED_SHARE = 0.5

#: Translations are moved by so many standard deviations of the rows, so that ranks differ.
JITTER = 1e-3

#: Points around the minimum differ by 10^U(low, high) standard deviations of the rows.
STEP_EXPONENTS = (-2.5, -0.5)

#: Standard deviations below this are taken as this.
_LEAST_SPREAD = 1e-9


def descend(
    X: FloatArray, cost: FloatArray, geometry: Geometry, rng: np.random.Generator
) -> FloatArray:
    """Points ``(N, d)`` near the minimum of a quadratic of many rows, or translations low on it.

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
    weight = 1 / _crowd(x, CROWD_SHARE**2 * distance[nearest[-1]])
    mean, spread = x.mean(axis=0), np.maximum(x.std(axis=0), _LEAST_SPREAD)
    z = (x - mean) / spread
    model = quadratic.fit(z, y, weight)
    points = np.empty((0, z.shape[1]))
    if rng.random() < TRANSLATED_SHARE:
        points = translations(X[np.ix_(finite, smooth)], rng)
        value = model.predict((points - X[0, smooth] - mean) / spread)
        points = _mixed(points[np.argsort(value, kind="stable")], spread, rng)
    if not len(points):
        step = 10.0 ** rng.uniform(*STEP_EXPONENTS, size=(POINTS, 1))
        lowest = model.lowest(float(np.sqrt(np.sum(z**2, axis=1).max())))
        z = lowest + step * rng.standard_normal((POINTS, z.shape[1]))
        points = X[0, smooth] + mean + spread * z
    rows = np.tile(X[0], (len(points), 1))
    rows[:, smooth] = points
    return geometry.snap(reflect(rows))


def _mixed(points: FloatArray, spread: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Points ``(N, d)``, best first, in an order and at places that differ a little by the ask."""
    chosen = np.argsort(np.arange(1, len(points) + 1) * rng.exponential(size=len(points)))
    jitter = JITTER * spread * rng.standard_normal((POINTS, points.shape[1]))
    return points[chosen[:POINTS]] + jitter[: len(points)]


def _crowd(x: FloatArray, square: float) -> FloatArray:
    """How many rows are no farther than the root of ``square`` from each, itself included."""
    squares = squared_distances(x, x)
    np.fill_diagonal(squares, 0.0)
    return np.asarray(np.count_nonzero(squares <= square, axis=1), dtype=np.float64)
