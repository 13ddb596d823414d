"""A quadratic of the whole sample: the broad shape of the objective, and points at its minimum.

A function of many basins often has a bowl under its ripples. The elites crowd in one basin at a
time and do not show the bowl; a quadratic through the best rows of every basin does.

Notation: ``X (m, d)`` complete rows of the unit cube, ``cost (m,)``, ``nearest_better (m,)`` the
distance of each row to the nearest row with a lower cost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adbo.core.space import FloatArray
from adbo.optimizer.candidates import Range, reflect
from adbo.optimizer.distances import embed
from adbo.optimizer.models.quadratic import Quadratic, draw_quadratic
from adbo.optimizer.regions import Region, nearest_better_distances
from adbo.optimizer.sample import Geometry
from adbo.optimizer.view import View

#: Points that are returned: more than one, because some may be known.
_N_POINTS = 64

#: Rows for each column that are used even if they are farther away than the radius.
_LEAST_ROWS_PER_COLUMN = 3

#: Least divisor, and least ratio of distances, so that equal rows cause no division by zero.
_LEAST = 1e-9


@dataclass(frozen=True)
class Bowl:
    """Minimization of a quadratic that is drawn from its posterior given the whole sample."""

    radius_exponents: Range = (-0.5, 0.0)
    """Range of U: rows are used within 10^U times the distance of the farthest."""
    crowd_fraction: float = 0.2
    """A row has full weight if no better row is closer than this fraction of the radius."""
    weight_power: float = 2
    """Weight decreases with this power of the nearest-better distance; 0: equal weights."""
    most_coefficients: int = 100
    """A full Hessian has at most this many; time grows with the square."""
    width_exponents: Range = (-1.0, 0.0)
    """Range of U in the factor 10^U of the draw's distance from the posterior mean."""
    step_exponents: Range = (-2.5, -0.5)
    """Range of U in the distance 10^U of points from the minimum, in spreads of the rows."""

    def propose(self, view: View, region: Region, rng: np.random.Generator) -> FloatArray:
        """Return points; see `Strategy`."""
        geometry, X, cost = view.geometry, region.X, region.cost
        if not geometry.smooth.any() or not np.isfinite(cost).any():
            return X[:0]
        distance = nearest_better_distances(embed(X, geometry.categories), cost)
        model = fit_global_quadratic(X, cost, distance, geometry, rng, self)
        return minimize_global_quadratic(X, model, geometry, rng, self)


@dataclass(frozen=True)
class GlobalQuadratic:
    """A quadratic of the continuous columns.

    Parameters
    ----------
    smooth
        Which columns are continuous ``(d,)``.
    mean, scale
        Mean and spread of the rows: coordinates of the quadratic are ``(x - mean) / scale``.
    quadratic
        The function of these coordinates.
    reach
        Largest distance of a row from the mean, in these coordinates.
    """

    smooth: NDArray[np.bool_]
    mean: FloatArray
    scale: float
    quadratic: Quadratic
    reach: float

    def minimizer(self) -> FloatArray:
        """Return its minimizer in the continuous columns; it may be outside of the cube."""
        return self.mean + self.scale * self.quadratic.minimizer(self.reach)


def fit_global_quadratic(
    X: FloatArray,
    cost: FloatArray,
    nearest_better: FloatArray,
    geometry: Geometry,
    rng: np.random.Generator,
    settings: Bowl,
) -> GlobalQuadratic:
    """Draw a quadratic from its posterior given the rows around the incumbent.

    A row weighs less if a better row is near: a basin that was searched has many rows, but only
    the best of them informs about the bowl.

    Parameters
    ----------
    X, cost, nearest_better
        Complete rows ``(m, d)``, the incumbent first, their costs ``(m,)``, NaN for failures, and
        nearest-better distances ``(m,)``.
    geometry
        Kinds of the columns.
    rng
        Source of the radius and of the draw.
    settings
        Tunables.
    """
    smooth = geometry.smooth
    finite = np.isfinite(cost)
    x, y, nearest_better = X[np.ix_(finite, smooth)], cost[finite], nearest_better[finite]
    distance = np.sqrt(np.sum((x - X[0, smooth]) ** 2, axis=1))
    order = np.argsort(distance, kind="stable")
    radius = 10.0 ** rng.uniform(*settings.radius_exponents) * distance[order[-1]]
    least = _LEAST_ROWS_PER_COLUMN * x.shape[1]
    nearest = order[: max(np.count_nonzero(distance <= radius), least)]
    x, y = x[nearest], y[nearest] / (np.abs(y[nearest]).max() or 1.0)
    crowd = max(settings.crowd_fraction * float(distance[nearest[-1]]), _LEAST)
    ratio = np.clip(nearest_better[nearest] / crowd, _LEAST, 1.0)
    weight = ratio**settings.weight_power
    mean = np.average(x, axis=0, weights=weight)
    square = np.sum((x - mean) ** 2, axis=1)
    scale = max(float(np.sqrt(np.average(square, weights=weight) / x.shape[1])), _LEAST)
    width = 10.0 ** rng.uniform(*settings.width_exponents)
    model = draw_quadratic((x - mean) / scale, y, weight, width, rng, settings.most_coefficients)
    return GlobalQuadratic(smooth, mean, scale, model, float(np.sqrt(square.max())) / scale)


def minimize_global_quadratic(
    X: FloatArray,
    model: GlobalQuadratic,
    geometry: Geometry,
    rng: np.random.Generator,
    settings: Bowl,
) -> FloatArray:
    """Return points ``(N, d)`` near the minimum of a global quadratic of rows ``(m, d)``.

    Columns that are not continuous are copied from the first row.
    """
    n = _N_POINTS
    lowest = np.clip(model.minimizer(), 0.0, 1.0)
    step = 10.0 ** rng.uniform(*settings.step_exponents, size=(n, 1))
    rows = np.tile(X[0], (n, 1))
    rows[:, model.smooth] = lowest + model.scale * step * rng.standard_normal((n, len(lowest)))
    return geometry.snap(reflect(rows))
