"""A quadratic model of some points, and where it is lowest.

Notation: ``z (m, d)`` points in standard deviations from their mean, ``y (m,)`` targets to
minimize.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adbo.space import FloatArray

#: A model has at least so many points for each coefficient; products of different columns are
#: left out where there are too few for them.
POINTS_PER_COEFFICIENT = 1.2

#: Weight of the ridge on the coefficients, for each point.
_RIDGE = 1e-5

IntArray = NDArray[np.intp]


def n_coefficients(m: int, d: int) -> int:
    """Number of coefficients of the model that ``m`` points in ``d`` columns allow."""
    return 1 + d + len(_terms(m, d)[0])


@dataclass(frozen=True)
class Quadratic:
    """A fitted quadratic ``slope z + z hessian z / 2``, and a constant that does not matter.

    Parameters
    ----------
    slope, hessian
        Its coefficients: ``(d,)`` and ``(d, d)``, symmetric.
    """

    slope: FloatArray
    hessian: FloatArray

    def lowest(self, reach: float) -> FloatArray:
        """Where it is lowest ``(d,)``, no farther than the reach along any of its axes."""
        curvature, axes = np.linalg.eigh(self.hessian)
        slope = axes.T @ self.slope
        # Where the curvature is not positive, or the minimum too far, it is an end of the reach.
        inside = np.abs(slope) < reach * curvature
        along = np.divide(-slope, curvature, out=-reach * np.sign(slope), where=inside)
        return np.asarray(axes @ along)


def fit(z: FloatArray, y: FloatArray) -> Quadratic:
    """The quadratic of points ``(m, d)``, finite targets ``(m,)``."""
    m, d = z.shape
    rows, columns = _terms(m, d)
    design = np.concatenate([np.ones((m, 1)), z, z[:, rows] * z[:, columns]], axis=1)
    ridge = m * _RIDGE * np.diag(np.arange(design.shape[1]) > 0)
    solution = np.linalg.solve(design.T @ design + ridge, design.T @ (y - y.mean()))
    hessian = np.zeros((d, d))
    hessian[rows, columns] = solution[d + 1 :]
    return Quadratic(solution[1 : d + 1], hessian + hessian.T)


def _terms(m: int, d: int) -> tuple[IntArray, IntArray]:
    """Which columns are multiplied with each other: all pairs, or each with itself."""
    rows, columns = np.triu_indices(d)
    if POINTS_PER_COEFFICIENT * (1 + d + len(rows)) <= m:
        return rows, columns
    return np.arange(d), np.arange(d)
