"""A quadratic model of some points, and its minimizer.

Notation: ``z (m, d)`` points around 0, of about unit spread, ``y (m,)`` targets to minimize.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from adbo.core.space import FloatArray, IntArray
from adbo.optimizer.models.linear import Posterior, fit_linear
from adbo.optimizer.models.selection import best_fit

#: Rows that a quadratic needs for each coefficient; with fewer, it has fewer terms.
_ROWS_PER_COEFFICIENT = 1.2

#: Ridges on the coefficients that are tried, for each point.
_RIDGES = (1e-5, 1e-10)


@dataclass(frozen=True)
class Quadratic:
    """The function ``slope z + z hessian z / 2``, up to a constant.

    Parameters
    ----------
    slope, hessian
        Its coefficients: ``(d,)`` and ``(d, d)``, symmetric.
    """

    slope: FloatArray
    hessian: FloatArray

    def predict(self, z: FloatArray) -> FloatArray:
        """Return its values ``(m,)`` at ``z (m, d)``, without the constant."""
        return np.asarray(z @ self.slope + np.sum((z @ self.hessian) * z, axis=1) / 2)

    def minimizer(self, reach: float) -> FloatArray:
        """Return its minimizer ``(d,)`` within ``reach`` of 0 along each principal axis."""
        curvature, axes = np.linalg.eigh(self.hessian)
        slope = axes.T @ self.slope
        # An end of the reach where the curvature is not positive or the minimum is too far.
        inside = np.abs(slope) < reach * curvature
        along = np.divide(-slope, curvature, out=-reach * np.sign(slope), where=inside)
        return np.asarray(axes @ along)


def most_coefficients(d: int, most: int) -> int:
    """Return the number of coefficients of the largest quadratic in ``d`` columns.

    Without mixed terms, if it had more than ``most`` with them.
    """
    full = (d + 1) * (d + 2) // 2
    return full if full <= most else 1 + 2 * d


def fit_quadratic(z: FloatArray, y: FloatArray, most: int) -> Quadratic:
    """Fit a quadratic with an isotropic, a diagonal or a full Hessian.

    The kind of Hessian and the ridge are those with the lowest leave-one-out error.

    Parameters
    ----------
    z, y
        Points ``(m, d)`` and finite targets ``(m,)``.
    most
        Upper limit of the coefficients with a full Hessian.
    """
    m, d = z.shape
    target = y - y.mean()
    fitted = []
    for terms, tied in _hessian_kinds(m, d, most):
        products = (z[:, terms[0]] * z[:, terms[1]]) @ tied
        design = np.concatenate([np.ones((m, 1)), z, products], axis=1)
        for ridge in _RIDGES:
            posterior = fit_linear(design, target, m * ridge)
            error = float(np.mean((posterior.left_out - target) ** 2))
            fitted.append(_Fit(error, posterior, terms, tied))
    return best_fit(fitted).quadratic()


@dataclass(frozen=True)
class _Fit:
    """A posterior of the coefficients, with its leave-one-out error and its kind of Hessian."""

    error: float
    posterior: Posterior
    terms: tuple[IntArray, IntArray]
    tied: FloatArray

    def quadratic(self) -> Quadratic:
        coefficients = self.posterior.mean()
        n = len(coefficients) - self.tied.shape[1]
        return _from_coefficients(coefficients[1:n], self.tied @ coefficients[n:], self.terms)


def _hessian_kinds(
    m: int, d: int, most: int
) -> Iterator[tuple[tuple[IntArray, IntArray], FloatArray]]:
    """Yield the kinds of Hessian that ``m`` points allow.

    A kind is the pairs of columns whose products are terms ``(k,)``, and the matrix ``(k, c)``
    that maps free coefficients to those of the terms. The isotropic kind is always allowed.
    """
    squares = np.arange(d), np.arange(d)
    yield squares, np.ones((d, 1))
    if d > 1 and _ROWS_PER_COEFFICIENT * (1 + 2 * d) <= m:
        yield squares, np.eye(d)
    pairs = np.triu_indices(d)
    n = 1 + d + len(pairs[0])
    if d > 1 and _ROWS_PER_COEFFICIENT * n <= m and n <= most:
        yield pairs, np.eye(len(pairs[0]))


def _from_coefficients(
    slope: FloatArray, products: FloatArray, terms: tuple[IntArray, IntArray]
) -> Quadratic:
    hessian = np.zeros((len(slope),) * 2)
    hessian[terms] = products
    return Quadratic(slope, hessian + hessian.T)
