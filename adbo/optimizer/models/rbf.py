"""Radial basis functions, cubic or quintic, in any number of dimensions.

The cubic model is ``s(z) = sum_i weight_i |z - z_i|^3 + constant + slope z``, the surrogate of the
stochastic radial basis function method (Regis and Shoemaker, INFORMS Journal on Computing 19,
2007). The quintic model has fifth powers and a quadratic polynomial: it is closer to smooth
functions, but varies more between the points. Both follow curved valleys, unlike a quadratic.

Notation: ``z (m, d)`` points, ``y (m,)`` targets, ``q (N, d)`` queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adbo.core.space import FloatArray
from adbo.optimizer.distances import squared_distances
from adbo.optimizer.models.selection import best_fit

#: Rows for each coefficient that a model with a quadratic polynomial needs.
_QUADRATIC_ROWS = 2.0

#: Ridge for each point of models that interpolate: it keeps the matrix regular where points
#: coincide.
_RIDGE, _QUINTIC_RIDGE = 1e-6, 1e-8

#: Ridge on the polynomial: it keeps the matrix regular where the points do not span the space.
_POLYNOMIAL_RIDGE = 1e-9


@dataclass(frozen=True)
class RBFModel:
    """Fitted radial basis functions.

    Parameters
    ----------
    z
        The points ``(m, d)``.
    weights
        Weights of the points, then the coefficients of the polynomial, ``(m + k,)``.
    quintic
        Whether the powers are fifth powers.
    error
        Leave-one-out mean squared error.
    """

    z: FloatArray
    weights: FloatArray
    quintic: bool
    error: float

    def predict(self, q: FloatArray) -> FloatArray:
        """Predict values ``(N,)`` at ``q (N, d)``."""
        m = len(self.z)
        powers = _powers(squared_distances(q, self.z), self.quintic) @ self.weights[:m]
        return np.asarray(powers + _polynomial(q, self.quintic) @ self.weights[m:])


def fit_rbf(z: FloatArray, y: FloatArray, smoothing: float) -> RBFModel:
    """Fit up to four models and return the one with the lowest leave-one-out error.

    The models are cubic or, if there are enough points, quintic; and they interpolate the points
    or are smoothed. Where evaluations are noisy, a model that interpolates them is lowest where
    the noise happened to be lowest.

    Parameters
    ----------
    z, y
        Points ``(m, d)`` and finite targets ``(m,)``.
    smoothing
        Ridge for each point of the smoothed models.
    """
    m, d = z.shape
    kinds = [False]
    if m >= _QUADRATIC_ROWS * (1 + d + d * (d + 1) // 2):
        kinds.append(True)
    squares = squared_distances(z, z)
    fitted = []
    for quintic in kinds:
        powers, polynomial = _powers(squares, quintic), _polynomial(z, quintic)
        for ridge in (_QUINTIC_RIDGE if quintic else _RIDGE, smoothing):
            weights, error = _solve(powers, polynomial, y, m * ridge)
            fitted.append(RBFModel(z, weights, quintic, error))
    return best_fit(fitted)


@dataclass(frozen=True)
class Smoothed:
    """A smooth function through noisy points.

    Parameters
    ----------
    values
        Its values at the points ``(m,)``.
    error
        Leave-one-out mean squared error.
    """

    values: FloatArray
    error: float


def smooth(z: FloatArray, y: FloatArray, ridges: Sequence[float]) -> Smoothed:
    """Return the cubic model with quadratic terms whose ridge has the lowest leave-one-out error.

    Its limits are the interpolation of all points and, for large ridges, a quadratic.

    Parameters
    ----------
    z, y
        Points ``(m, d)`` and finite targets ``(m,)``.
    ridges
        Ridges for each point that are tried.
    """
    m, d = z.shape
    is_quadratic = m >= _QUADRATIC_ROWS * (1 + d + d * (d + 1) // 2)
    powers = _powers(squared_distances(z, z), quintic=False)
    polynomial = _polynomial(z, is_quadratic)
    fitted = []
    for ridge in ridges:
        weights, error = _solve(powers, polynomial, y, m * ridge)
        fitted.append(Smoothed(powers @ weights[:m] + polynomial @ weights[m:], error))
    return best_fit(fitted)


def _solve(
    powers: FloatArray, polynomial: FloatArray, y: FloatArray, ridge: float
) -> tuple[FloatArray, float]:
    """Return the weights ``(m + k,)`` and the leave-one-out mean squared error."""
    m, k = polynomial.shape
    matrix = np.block(
        [
            [powers + ridge * np.eye(m), polynomial],
            [polynomial.T, -_POLYNOMIAL_RIDGE * np.eye(k)],
        ]
    )
    inverse = np.linalg.inv(matrix)
    weights = inverse[:, :m] @ y
    # Leave-one-out errors without refitting (Rippa, Advances in Computational Mathematics 11,
    # 1999).
    error = float(np.mean((weights[:m] / np.diag(inverse)[:m]) ** 2))
    return weights, error if np.isfinite(error) else np.inf


def _powers(squares: FloatArray, quintic: bool) -> FloatArray:
    """Return powers of distances from their squares, with the sign that makes them definite."""
    squares = np.maximum(squares, 0.0)
    return np.asarray((-(squares**2) if quintic else squares) * np.sqrt(squares))


def _polynomial(z: FloatArray, quadratic: bool) -> FloatArray:
    """Return the polynomial's terms ``(m, k)``: linear, or quadratic."""
    terms = [np.ones((len(z), 1)), z]
    if quadratic:
        i, j = np.triu_indices(z.shape[1])
        terms.append(z[:, i] * z[:, j])
    return np.concatenate(terms, axis=1)
