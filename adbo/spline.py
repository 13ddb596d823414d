"""A cubic or quintic spline through some points, in any number of dimensions.

``s(z) = sum_i weight_i |z - z_i|^3 + constant + slope z``, the surrogate of the stochastic radial
basis function method (Regis and Shoemaker, INFORMS Journal on Computing 19, 2007); or with fifth
powers and a quadratic, which is closer to smooth functions, but wilder between the points. They
follow curved valleys, which a quadratic cannot.

Notation: ``z (m, d)`` the points, ``y (m,)`` their targets, ``q (N, d)`` where it is evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adbo.distances import squared_distances
from adbo.space import FloatArray

#: Added to the matrix for each point: a little smoothing, which keeps it regular where points
#: coincide.
_RIDGE, _QUINTIC_RIDGE = 1e-6, 1e-8

#: The same for the polynomial, where the points do not span the space.
_POLYNOMIAL_RIDGE = 1e-9

#: A quintic spline has at least so many points for each coefficient of its polynomial.
POINTS_PER_COEFFICIENT = 2.0


@dataclass(frozen=True)
class Spline:
    """A fitted spline.

    Parameters
    ----------
    z
        The points ``(m, d)``.
    weights
        Of the points, then the coefficients of the polynomial, ``(m + k,)``.
    quintic
        Whether it is quintic.
    """

    z: FloatArray
    weights: FloatArray
    quintic: bool

    def predict(self, q: FloatArray) -> FloatArray:
        """Its values ``(N,)`` at ``q (N, d)``."""
        m = len(self.z)
        powers = _powers(q, self.z, self.quintic) @ self.weights[:m]
        return np.asarray(powers + _polynomial(q, self.quintic) @ self.weights[m:])


def fit(z: FloatArray, y: FloatArray, quintic: bool = False) -> Spline:
    """The spline of points ``(m, d)`` and finite targets ``(m,)``; cubic if they are few."""
    m, d = z.shape
    quintic = quintic and m >= POINTS_PER_COEFFICIENT * (1 + d + d * (d + 1) // 2)
    polynomial = _polynomial(z, quintic)
    k = polynomial.shape[1]
    ridge = m * (_QUINTIC_RIDGE if quintic else _RIDGE)
    matrix = np.block(
        [
            [_powers(z, z, quintic) + ridge * np.eye(m), polynomial],
            [polynomial.T, -_POLYNOMIAL_RIDGE * np.eye(k)],
        ]
    )
    weights = np.linalg.solve(matrix, np.concatenate([y, np.zeros(k)]))
    return Spline(z, weights, quintic)


def _powers(a: FloatArray, b: FloatArray, quintic: bool) -> FloatArray:
    """Powers of the distances ``(n, m)``, with the sign that makes them positive definite."""
    squares = np.maximum(squared_distances(a, b), 0.0)
    return np.asarray((-(squares**2) if quintic else squares) * np.sqrt(squares))


def _polynomial(z: FloatArray, quintic: bool) -> FloatArray:
    """Terms of the polynomial ``(m, k)``: linear, or quadratic."""
    terms = [np.ones((len(z), 1)), z]
    if quintic:
        i, j = np.triu_indices(z.shape[1])
        terms.append(z[:, i] * z[:, j])
    return np.concatenate(terms, axis=1)
