"""The broad shape of the objective, and points where it is lowest.

A function of many basins often has a bowl under its ripples. Elites crowd in one basin after the
other and do not see it; a quadratic through the best rows of every basin does.

Notation: ``X (m, d)`` complete rows of the unit cube, ``cost (m,)``, ``isolation (m,)`` the
distance of each row to the nearest better one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adbo.core.space import FloatArray
from adbo.optimizer.candidates import Geometry, reflect
from adbo.optimizer.local_search import is_smooth
from adbo.optimizer.models import quadratic
from adbo.optimizer.models.quadratic import Quadratic

#: Points of a trend: more than one, because some may be known already.
POINTS = 64

#: A trend has all rows around the incumbent up to the farthest one's distance times
#: 10^U(low, high), and at least so many for each column.
RADIUS_EXPONENTS = (-0.5, 0.0)
LEAST_ROWS_PER_COLUMN = 3

#: A row counts in full if no better one is closer than this share of the farthest row's distance,
#: and with the square of its distance if one is: those of a basin that was searched are many, but
#: only the best of them tells of the bowl. With all alike, of 15 studies of Rosenbrock and rotated
#: Rastrigin functions, 2,000 evaluations on 64 workers, 7 were worse and 2 better.
CROWD_SHARE = 0.2

#: A trend is 10^U(low, high) times as far from the mean of its posterior as a draw from it would
#: be. A whole draw is wrong in each of many columns: a 100-dimensional sphere was at 0.2 after 500
#: evaluations on 16 workers with whole draws only, at 0.02 with these (3 studies).
WIDTH_EXPONENTS = (-1.0, 0.0)

#: Points around the minimum differ by 10^U(low, high) standard deviations of the rows.
STEP_EXPONENTS = (-2.5, -0.5)

#: The least distances by which others are divided, and the least of their ratios.
_LEAST = 1e-9


@dataclass(frozen=True)
class Trend:
    """A quadratic of the continuous columns.

    Parameters
    ----------
    smooth
        Which columns are continuous ``(d,)``.
    mean, scale
        The point and the length that its coordinates start from and are divided by.
    quadratic
        In those coordinates.
    reach
        How far from the mean its rows are, in the same.
    """

    smooth: NDArray[np.bool_]
    mean: FloatArray
    scale: float
    quadratic: Quadratic
    reach: float

    def lowest(self) -> FloatArray:
        """Where it is lowest, in the continuous columns."""
        return self.mean + self.scale * self.quadratic.lowest(self.reach)


def fit(
    X: FloatArray,
    cost: FloatArray,
    isolation: FloatArray,
    geometry: Geometry,
    rng: np.random.Generator,
) -> Trend:
    """A trend as it may be, around the mean of its posterior.

    Parameters
    ----------
    X, cost, isolation
        Complete rows ``(m, d)``, the first the incumbent, their costs ``(m,)``, NaN for failures,
        and isolation.
    geometry
        What the columns are.
    rng
        Source of how many rows it has, and of the draw.
    """
    smooth = is_smooth(geometry)
    finite = np.isfinite(cost)
    x, y, isolation = X[np.ix_(finite, smooth)], cost[finite], isolation[finite]
    distance = np.sqrt(np.sum((x - X[0, smooth]) ** 2, axis=1))
    order = np.argsort(distance, kind="stable")
    radius = 10.0 ** rng.uniform(*RADIUS_EXPONENTS) * distance[order[-1]]
    n = max(np.count_nonzero(distance <= radius), LEAST_ROWS_PER_COLUMN * x.shape[1])
    nearest = order[:n]
    x, y = x[nearest], y[nearest] / (np.abs(y[nearest]).max() or 1.0)
    crowd = max(CROWD_SHARE * float(distance[nearest[-1]]), _LEAST)
    weight = np.clip(isolation[nearest] / crowd, _LEAST, 1.0) ** 2
    mean = np.average(x, axis=0, weights=weight)
    square = np.sum((x - mean) ** 2, axis=1)
    scale = max(float(np.sqrt(np.average(square, weights=weight) / x.shape[1])), _LEAST)
    width = 10.0 ** rng.uniform(*WIDTH_EXPONENTS)
    model = quadratic.draw((x - mean) / scale, y, weight, width, rng)
    return Trend(smooth, mean, scale, model, float(np.sqrt(square.max())) / scale)


def descend(
    X: FloatArray, trend: Trend, geometry: Geometry, rng: np.random.Generator
) -> FloatArray:
    """Points ``(N, d)`` near the minimum of a trend of rows ``(m, d)``.

    Other columns than the continuous ones are copied from the first row.
    """
    lowest = np.clip(trend.lowest(), 0.0, 1.0)
    step = 10.0 ** rng.uniform(*STEP_EXPONENTS, size=(POINTS, 1))
    rows = np.tile(X[0], (POINTS, 1))
    rows[:, trend.smooth] = lowest + trend.scale * step * rng.standard_normal(
        (POINTS, len(lowest))
    )
    return geometry.snap(reflect(rows))
