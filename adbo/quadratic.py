"""A separable quadratic model of a few points, and where it is lowest.

Notation: ``z (m, d)`` points along their principal axes, in standard deviations from their mean,
``y (m,)`` targets to minimize.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adbo.space import FloatArray

#: Weight of the ridge on the curvatures, and on the slopes, for each point.
_CURVATURE_RIDGE, _SLOPE_RIDGE = 1e-3, 1e-5

#: How far from the mean the minimum is looked for along each axis, in standard deviations.
REACH = 2.0


@dataclass(frozen=True)
class Quadratic:
    """``y = constant + slope z + curvature z^2 / 2``.

    Products of different ``z`` are left out: with them, a model needs several times the points
    and follows the evaluations later.

    Parameters
    ----------
    slope, curvature
        ``(d,)``.
    """

    slope: FloatArray
    curvature: FloatArray

    def minimum(self) -> FloatArray:
        """Where it is lowest within `REACH` ``(d,)``."""
        # Where the curvature is not positive, or the minimum too far, it is an end of the reach.
        inside = np.abs(self.slope) < REACH * self.curvature
        ends = -REACH * np.sign(self.slope)
        return np.divide(-self.slope, self.curvature, out=ends, where=inside)


def fit(z: FloatArray, y: FloatArray) -> Quadratic:
    """Ridge regression; ``y`` must be finite."""
    m, d = z.shape
    design = np.concatenate([np.ones((m, 1)), z, z**2 / 2], axis=1)
    ridge = m * np.repeat([0.0, _SLOPE_RIDGE, _CURVATURE_RIDGE], [1, d, d])
    solution = np.linalg.solve(design.T @ design + np.diag(ridge), design.T @ y)
    return Quadratic(solution[1 : d + 1], solution[d + 1 :])
