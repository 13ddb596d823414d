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
from adbo.optimizer.candidates import reflect
from adbo.optimizer.models.quadratic import Quadratic, draw_quadratic
from adbo.optimizer.sample import Geometry
from adbo.optimizer.settings import GlobalQuadraticSettings

#: Least divisor, and least ratio of distances, so that equal rows cause no division by zero.
_LEAST = 1e-9


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
    settings: GlobalQuadraticSettings,
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
    least = settings.least_rows_per_column * x.shape[1]
    nearest = order[: max(np.count_nonzero(distance <= radius), least)]
    x, y = x[nearest], y[nearest] / (np.abs(y[nearest]).max() or 1.0)
    crowd = max(settings.crowd_fraction * float(distance[nearest[-1]]), _LEAST)
    ratio = np.clip(nearest_better[nearest] / crowd, _LEAST, 1.0)
    weight = ratio**settings.weight_power
    mean = np.average(x, axis=0, weights=weight)
    square = np.sum((x - mean) ** 2, axis=1)
    scale = max(float(np.sqrt(np.average(square, weights=weight) / x.shape[1])), _LEAST)
    width = 10.0 ** rng.uniform(*settings.width_exponents)
    model = draw_quadratic((x - mean) / scale, y, weight, width, rng, settings.quadratic)
    return GlobalQuadratic(smooth, mean, scale, model, float(np.sqrt(square.max())) / scale)


def minimize_global_quadratic(
    X: FloatArray,
    model: GlobalQuadratic,
    geometry: Geometry,
    rng: np.random.Generator,
    settings: GlobalQuadraticSettings,
) -> FloatArray:
    """Return points ``(N, d)`` near the minimum of a global quadratic of rows ``(m, d)``.

    Columns that are not continuous are copied from the first row.
    """
    n = settings.n_points
    lowest = np.clip(model.minimizer(), 0.0, 1.0)
    step = 10.0 ** rng.uniform(*settings.step_exponents, size=(n, 1))
    rows = np.tile(X[0], (n, 1))
    rows[:, model.smooth] = lowest + model.scale * step * rng.standard_normal((n, len(lowest)))
    return geometry.snap(reflect(rows))
