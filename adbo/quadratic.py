"""A quadratic model of a few evaluated points, and where it is lowest.

Trees are constant between the points they have seen, so they cannot tell where in a basin the
minimum is; a quadratic can. It does not know what an elite is.

Notation: ``X (m, d)`` points, ``y (m,)`` targets to minimize, ``z (d,)`` coordinates along the
principal axes of ``X``, in standard deviations from its mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adbo.space import FloatArray

#: Weight of the ridge on the curvatures, and on the slopes, for each point.
_CURVATURE_RIDGE, _SLOPE_RIDGE = 1e-3, 1e-5

#: How far from the mean the minimum is looked for along each axis, in standard deviations.
REACH = 2.0

#: The standard deviation, where the points have none.
_UNKNOWN_SPREAD = 0.1


@dataclass(frozen=True)
class Quadratic:
    """``y = constant + slope z + curvature z^2 / 2`` with ``x = mean + z axes``.

    Products of different ``z`` are left out: with them, a model needs several times the points
    and follows the evaluations later.

    Parameters
    ----------
    mean
        ``(d,)`` of the points.
    axes
        ``(d, d)``, a principal axis in each row, as long as the points' standard deviation.
    slope, curvature
        ``(d,)``.
    """

    mean: FloatArray
    axes: FloatArray
    slope: FloatArray
    curvature: FloatArray

    def minimum(self) -> FloatArray:
        """Where it is lowest within ``REACH``, in ``x``, ``(d,)``."""
        # Where the curvature is not positive, or the minimum too far, it is an end of the reach.
        inside = np.abs(self.slope) < REACH * self.curvature
        ends = -REACH * np.sign(self.slope)
        z = np.divide(-self.slope, self.curvature, out=ends, where=inside)
        return self.mean + z @ self.axes


def fit(X: FloatArray, y: FloatArray) -> Quadratic:
    """Ridge regression.

    Parameters
    ----------
    X, y
        Points ``(m, d)`` and finite targets ``(m,)``.
    """
    m, d = X.shape
    mean = X.mean(axis=0)
    covariance = (X - mean).T @ (X - mean) / m
    size = float(np.trace(covariance)) / d
    covariance += (1e-12 * size if size > 0 else _UNKNOWN_SPREAD**2) * np.eye(d)
    variances, directions = np.linalg.eigh(covariance)
    deviations = np.sqrt(np.maximum(variances, np.finfo(np.float64).tiny))
    z = (X - mean) @ (directions / deviations)
    design = np.concatenate([np.ones((m, 1)), z, z**2 / 2], axis=1)
    ridge = m * np.repeat([0.0, _SLOPE_RIDGE, _CURVATURE_RIDGE], [1, d, d])
    solution = np.linalg.solve(design.T @ design + np.diag(ridge), design.T @ y)
    axes = (directions * deviations).T
    return Quadratic(mean, axes, solution[1 : d + 1], solution[d + 1 :])
