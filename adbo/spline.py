"""A cubic spline through some points, in any number of dimensions.

``s(z) = sum_i weight_i |z - z_i|^3 + constant + slope z``, the surrogate of the stochastic radial
basis function method (Regis and Shoemaker, INFORMS Journal on Computing 19, 2007). It follows
curved valleys, which a quadratic cannot.

Notation: ``z (m, d)`` the points, ``y (m,)`` their targets, ``q (N, d)`` where it is evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adbo.space import FloatArray

#: Added to the matrix for each point: a little smoothing, which keeps it regular where points
#: coincide.
_RIDGE = 1e-6

#: The same for the linear part, where the points do not span the space.
_LINEAR_RIDGE = 1e-9


@dataclass(frozen=True)
class Spline:
    """A fitted spline.

    Parameters
    ----------
    z
        The points ``(m, d)``.
    weights
        Of the points, then constant and slope, ``(m + 1 + d,)``.
    """

    z: FloatArray
    weights: FloatArray

    def predict(self, q: FloatArray) -> FloatArray:
        """Its values ``(N,)`` at ``q (N, d)``."""
        m = len(self.z)
        linear = self.weights[m] + q @ self.weights[m + 1 :]
        return np.asarray(_cubes(q, self.z) @ self.weights[:m] + linear)


def fit(z: FloatArray, y: FloatArray) -> Spline:
    """The spline of points ``(m, d)`` and finite targets ``(m,)``."""
    m, d = z.shape
    linear = np.concatenate([np.ones((m, 1)), z], axis=1)
    matrix = np.block(
        [
            [_cubes(z, z) + m * _RIDGE * np.eye(m), linear],
            [linear.T, -_LINEAR_RIDGE * np.eye(d + 1)],
        ]
    )
    weights = np.linalg.solve(matrix, np.concatenate([y, np.zeros(d + 1)]))
    return Spline(z, weights)


def _cubes(a: FloatArray, b: FloatArray) -> FloatArray:
    """Third powers of the distances ``(n, m)``."""
    squares = np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1) - 2 * a @ b.T
    squares = np.maximum(squares, 0.0)
    return np.asarray(squares * np.sqrt(squares))
