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

from adbo.core.space import FloatArray
from adbo.optimizer.distances import squared_distances

#: Added to the matrix for each point: so little smoothing that it only keeps it regular where
#: points coincide.
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
    error
        Mean square of what it mistakes each point's target by, from all others.
    """

    z: FloatArray
    weights: FloatArray
    quintic: bool
    error: float

    def predict(self, q: FloatArray) -> FloatArray:
        """Its values ``(N,)`` at ``q (N, d)``."""
        m = len(self.z)
        powers = _powers(squared_distances(q, self.z), self.quintic) @ self.weights[:m]
        return np.asarray(powers + _polynomial(q, self.quintic) @ self.weights[m:])


def fit(z: FloatArray, y: FloatArray, smoothing: float) -> Spline:
    """The spline that predicts each point best from the others, of up to four.

    They are cubic and, if the points are not too few, quintic, and go through the points or are
    smooth: where evaluations are noisy, one through all of them is lowest where luck was best.

    Parameters
    ----------
    z, y
        Points ``(m, d)`` and finite targets ``(m,)``.
    smoothing
        Of the smooth ones: what is added to the matrix for each point.
    """
    m, d = z.shape
    kinds = [False]
    if m >= POINTS_PER_COEFFICIENT * (1 + d + d * (d + 1) // 2):
        kinds.append(True)
    squares = squared_distances(z, z)
    splines = []
    for quintic in kinds:
        powers, polynomial = _powers(squares, quintic), _polynomial(z, quintic)
        for ridge in (_QUINTIC_RIDGE if quintic else _RIDGE, smoothing):
            weights, error = _solve(powers, polynomial, y, m * ridge)
            splines.append(Spline(z, weights, quintic, error))
    return min(splines, key=lambda spline: spline.error)


def _solve(
    powers: FloatArray, polynomial: FloatArray, y: FloatArray, ridge: float
) -> tuple[FloatArray, float]:
    """Weights ``(m + k,)`` of a spline, and its error."""
    m, k = polynomial.shape
    matrix = np.block(
        [
            [powers + ridge * np.eye(m), polynomial],
            [polynomial.T, -_POLYNOMIAL_RIDGE * np.eye(k)],
        ]
    )
    inverse = np.linalg.inv(matrix)
    weights = inverse[:, :m] @ y
    # Without a solution for each point (Rippa, Advances in Computational Mathematics 11, 1999).
    error = float(np.mean((weights[:m] / np.diag(inverse)[:m]) ** 2))
    return weights, error if np.isfinite(error) else np.inf


def _powers(squares: FloatArray, quintic: bool) -> FloatArray:
    """Powers of distances, given their squares, with the sign that makes them definite."""
    squares = np.maximum(squares, 0.0)
    return np.asarray((-(squares**2) if quintic else squares) * np.sqrt(squares))


def _polynomial(z: FloatArray, quintic: bool) -> FloatArray:
    """Terms of the polynomial ``(m, k)``: linear, or quadratic."""
    terms = [np.ones((len(z), 1)), z]
    if quintic:
        i, j = np.triu_indices(z.shape[1])
        terms.append(z[:, i] * z[:, j])
    return np.concatenate(terms, axis=1)
