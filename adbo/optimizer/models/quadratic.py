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


def draw_quadratic(
    z: FloatArray,
    y: FloatArray,
    weight: FloatArray,
    width: float,
    rng: np.random.Generator,
    most: int,
) -> Quadratic:
    """Draw a quadratic from its posterior, with an isotropic, a diagonal or a full Hessian.

    The kind of Hessian and the ridge are those with the lowest leave-one-out error.

    Parameters
    ----------
    z, y
        Points ``(m, d)`` and finite targets ``(m,)``.
    weight
        Weight of each point ``(m,)``, at most 1.
    width
        Factor of the draw's distance from the posterior mean.
    rng
        Source of the draw.
    most
        Upper limit of the coefficients with a full Hessian.
    """
    m, d = z.shape
    total_weight = float(weight.sum())
    root = np.sqrt(weight)
    target = root * (y - np.average(y, weights=weight))
    fitted = []
    for terms, tied in _hessian_kinds(total_weight, d, most):
        products = (z[:, terms[0]] * z[:, terms[1]]) @ tied
        design = root[:, None] * np.concatenate([np.ones((m, 1)), z, products], axis=1)
        for ridge in _RIDGES:
            posterior = fit_linear(design, target, total_weight * ridge, total_weight)
            error = float(np.mean((posterior.left_out - target) ** 2))
            fitted.append(_Fit(error, posterior, terms, tied))
    return best_fit(fitted).draw(width, rng)


@dataclass(frozen=True)
class _Fit:
    """A posterior of the coefficients, with its leave-one-out error and its kind of Hessian."""

    error: float
    posterior: Posterior
    terms: tuple[IntArray, IntArray]
    tied: FloatArray

    def draw(self, width: float, rng: np.random.Generator) -> Quadratic:
        solution = self.posterior.draw(1, rng, width)[:, 0]
        n = len(solution) - self.tied.shape[1]
        return _from_coefficients(solution[1:n], self.tied @ solution[n:], self.terms)


def _hessian_kinds(
    m: float, d: int, most: int
) -> Iterator[tuple[tuple[IntArray, IntArray], FloatArray]]:
    """Yield the kinds of Hessian that the weight ``m`` of all points allows.

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
