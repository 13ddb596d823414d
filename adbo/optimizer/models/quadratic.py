"""A quadratic model of some points, and where it is lowest.

Notation: ``z (m, d)`` points around 0, of about unit spread, ``y (m,)`` targets to minimize.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adbo.core.space import FloatArray
from adbo.optimizer.models import linear

#: A model has at least so many points for each coefficient; products of different columns are
#: left out where there are too few for them.
POINTS_PER_COEFFICIENT = 1.2

#: Weight of the ridge on the coefficients, for each point.
_RIDGE = 1e-5

#: A draw has products of different columns if there are no more coefficients than this, since the
#: time goes with their square.
DRAWN_COEFFICIENTS = 100

IntArray = NDArray[np.intp]


def n_coefficients(m: int, d: int) -> int:
    """Number of coefficients of the model that ``m`` points in ``d`` columns allow."""
    return 1 + d + len(_terms(m, d)[0])


@dataclass(frozen=True)
class Quadratic:
    """A quadratic ``slope z + z hessian z / 2``, and a constant that does not matter.

    Parameters
    ----------
    slope, hessian
        Its coefficients: ``(d,)`` and ``(d, d)``, symmetric.
    """

    slope: FloatArray
    hessian: FloatArray

    def predict(self, z: FloatArray) -> FloatArray:
        """Its values ``(m,)`` at ``z (m, d)``, without the constant."""
        return np.asarray(z @ self.slope + np.sum((z @ self.hessian) * z, axis=1) / 2)

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
    return _quadratic(solution[1 : d + 1], solution[d + 1 :], (rows, columns))


def draw(
    z: FloatArray, y: FloatArray, weight: FloatArray, width: float, rng: np.random.Generator
) -> Quadratic:
    """A draw from the posterior of a quadratic: a round one, one along the columns, or any.

    The one of those that predicts the points best that were left out. (With round ones only, a
    rotated Rastrigin function that is stretched was at 3 after 1,500 evaluations on 64 workers,
    not at 1: medians of 4 studies.)

    Parameters
    ----------
    z, y
        Points ``(m, d)`` and finite targets ``(m,)``.
    weight
        What each point counts ``(m,)``, at most 1.
    width
        How far from the mean of the posterior, as a multiple of what it says.
    rng
        Source of the draw.
    """
    m, d = z.shape
    total_weight = float(weight.sum())
    root = np.sqrt(weight)
    target = root * (y - np.average(y, weights=weight))
    best = None
    for terms, tied in _shapes(total_weight, d):
        products = (z[:, terms[0]] * z[:, terms[1]]) @ tied
        design = root[:, None] * np.concatenate([np.ones((m, 1)), z, products], axis=1)
        posterior = linear.fit(design, target, total_weight * _RIDGE, total_weight)
        error = float(np.sum((posterior.left_out - target) ** 2))
        if best is None or error < best[0]:
            best = error, posterior, terms, tied
    assert best is not None
    _, posterior, terms, tied = best
    solution = posterior.draw(1, rng, width)[:, 0]
    return _quadratic(solution[1 : d + 1], tied @ solution[d + 1 :], terms)


def _shapes(m: float, d: int) -> Iterator[tuple[tuple[IntArray, IntArray], FloatArray]]:
    """Terms of quadratics that ``m`` points allow, and how their coefficients are tied ``(k, c)``.

    A round one is always allowed.
    """
    each = np.arange(d), np.arange(d)
    yield each, np.ones((d, 1))
    if d > 1 and POINTS_PER_COEFFICIENT * (1 + 2 * d) <= m:
        yield each, np.eye(d)
    pairs = np.triu_indices(d)
    n = 1 + d + len(pairs[0])
    if d > 1 and POINTS_PER_COEFFICIENT * n <= m and n <= DRAWN_COEFFICIENTS:
        yield pairs, np.eye(len(pairs[0]))


def _quadratic(
    slope: FloatArray, products: FloatArray, terms: tuple[IntArray, IntArray]
) -> Quadratic:
    hessian = np.zeros((len(slope),) * 2)
    hessian[terms] = products
    return Quadratic(slope, hessian + hessian.T)


def _terms(m: int, d: int) -> tuple[IntArray, IntArray]:
    """Which columns are multiplied with each other: all pairs, or each with itself."""
    rows, columns = np.triu_indices(d)
    if POINTS_PER_COEFFICIENT * (1 + d + len(rows)) <= m:
        return rows, columns
    return np.arange(d), np.arange(d)
