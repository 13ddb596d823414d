"""Radial basis functions, cubic or quintic, in any number of dimensions.

The cubic model is ``s(z) = sum_i weight_i |z - z_i|^3 + constant + slope z``, the surrogate of the
stochastic radial basis function method (Regis and Shoemaker, INFORMS Journal on Computing 19,
2007). The quintic model has fifth powers and a quadratic polynomial: it is closer to smooth
functions, but varies more between the points. Both follow curved valleys, unlike a quadratic.

Notation: ``z (m, d)`` points, ``y (m,)`` targets, ``q (N, d)`` queries.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from adbo.core.space import FloatArray, IntArray
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
    error
        Leave-one-out mean squared error.
    quintic
        Whether the powers are fifth powers.
    """

    z: FloatArray
    weights: FloatArray
    error: float
    quintic: bool

    def predict(self, q: FloatArray) -> FloatArray:
        """Predict values ``(N,)`` at ``q (N, d)``."""
        m = len(self.z)
        powers = _powers(squared_distances(q, self.z), self.quintic) @ self.weights[:m]
        return np.asarray(powers + _polynomial(q, self.quintic) @ self.weights[m:])


@dataclass(frozen=True)
class SeveralRBFs:
    """A model for each of several targets of the same points.

    Parameters
    ----------
    models
        One for each power, with the weights of its targets ``(m + k, p)``.
    columns
        The numbers of the targets of each model.
    error
        Leave-one-out mean squared error of each target ``(p,)``.
    """

    models: Sequence[RBFModel]
    columns: Sequence[IntArray]
    error: FloatArray

    def predict(self, q: FloatArray) -> FloatArray:
        """Predict all targets ``(N, p)`` at ``q (N, d)``."""
        predicted = np.empty((len(q), len(self.error)))
        for model, columns in zip(self.models, self.columns, strict=True):
            predicted[:, columns] = model.predict(q)
        return predicted


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
    return best_fit(fits[0] for fits in _fit_all(z, [y], smoothing))


def fit_several_rbfs(z: FloatArray, targets: FloatArray, smoothing: float) -> SeveralRBFs:
    """Fit a model to each of several targets ``(m, p)``; see `fit_rbf`."""
    best = [best_fit(fits) for fits in zip(*_fit_all(z, list(targets.T), smoothing), strict=True)]
    models, columns = [], []
    for quintic in sorted({model.quintic for model in best}):
        of_kind = [i for i, model in enumerate(best) if model.quintic == quintic]
        weights = np.stack([best[i].weights for i in of_kind], axis=1)
        models.append(RBFModel(z, weights, math.nan, quintic))
        columns.append(np.array(of_kind))
    return SeveralRBFs(models, columns, np.array([model.error for model in best]))


def _fit_all(
    z: FloatArray, targets: Sequence[FloatArray], smoothing: float
) -> Iterator[list[RBFModel]]:
    """Yield a model of each target ``(m,)``, for each power and each ridge."""
    m, d = z.shape
    kinds = [False]
    if m >= _QUADRATIC_ROWS * (1 + d + d * (d + 1) // 2):
        kinds.append(True)
    squares = squared_distances(z, z)
    for quintic in kinds:
        powers, polynomial = _powers(squares, quintic), _polynomial(z, quintic)
        for ridge in (_QUINTIC_RIDGE if quintic else _RIDGE, smoothing):
            inverse = _inverse(powers, polynomial, m * ridge)
            yield [RBFModel(z, *_solve(inverse, y), quintic) for y in targets]


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
    if d > m:  # coordinates in which the distances and the linear terms are the same
        u, sizes, _ = np.linalg.svd(z, full_matrices=False)
        z = u * sizes
    powers = _powers(squared_distances(z, z), quintic=False)
    polynomial = _polynomial(z, is_quadratic)
    fitted = []
    for ridge in ridges:
        weights, error = _solve(_inverse(powers, polynomial, m * ridge), y)
        fitted.append(Smoothed(powers @ weights[:m] + polynomial @ weights[m:], error))
    return best_fit(fitted)


def _inverse(powers: FloatArray, polynomial: FloatArray, ridge: float) -> FloatArray:
    """Return the inverse of the matrix of the weights' equations ``(m + k, m + k)``."""
    m, k = polynomial.shape
    matrix = np.block(
        [
            [powers + ridge * np.eye(m), polynomial],
            [polynomial.T, -_POLYNOMIAL_RIDGE * np.eye(k)],
        ]
    )
    return np.linalg.inv(matrix)


def _solve(inverse: FloatArray, y: FloatArray) -> tuple[FloatArray, float]:
    """Return the weights ``(m + k,)`` and the leave-one-out mean squared error."""
    m = len(y)
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
