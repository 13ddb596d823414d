"""A quadratic model of some points, and where it is lowest.

Notation: ``z (m, d)`` points in standard deviations from their mean, ``y (m,)`` targets to
minimize.
"""

from __future__ import annotations

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


def lowest(z: FloatArray, y: FloatArray, weight: FloatArray, reach: float) -> FloatArray:
    """Where the model is lowest, no farther than the reach along any of its axes.

    Parameters
    ----------
    z, y, weight
        Points ``(m, d)``, their finite targets ``(m,)`` and positive weights ``(m,)``.
    reach
        How far from the mean of the points to look, in standard deviations.

    Returns
    -------
    FloatArray
        ``(d,)``.
    """
    m, d = z.shape
    rows, columns = _terms(m, d)
    design = np.concatenate([np.ones((m, 1)), z, z[:, rows] * z[:, columns]], axis=1)
    weighted = design * (weight / weight.mean())[:, None]
    ridge = m * _RIDGE * np.diag(np.arange(design.shape[1]) > 0)
    solution = np.linalg.solve(weighted.T @ design + ridge, weighted.T @ (y - y.mean()))
    hessian = np.zeros((d, d))
    hessian[rows, columns] = solution[d + 1 :]
    curvature, axes = np.linalg.eigh(hessian + hessian.T)
    slope = axes.T @ solution[1 : d + 1]
    # Where the curvature is not positive, or the minimum too far, it is an end of the reach.
    inside = np.abs(slope) < reach * curvature
    along = np.divide(-slope, curvature, out=-reach * np.sign(slope), where=inside)
    return np.asarray(axes @ along)


def _terms(m: int, d: int) -> tuple[IntArray, IntArray]:
    """Which columns are multiplied with each other: all pairs, or each with itself."""
    rows, columns = np.triu_indices(d)
    if POINTS_PER_COEFFICIENT * (1 + d + len(rows)) <= m:
        return rows, columns
    return np.arange(d), np.arange(d)
