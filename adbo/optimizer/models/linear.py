"""Linear regression with a Gaussian prior: leave-one-out predictions and posterior draws.

Notation: ``features (m, F)``, ``y (m,)`` targets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from adbo.core.space import FloatArray


@dataclass(frozen=True)
class Posterior:
    """Posterior of the coefficients: ``solve(root^T, white + deviation * normal)``.

    Parameters
    ----------
    left_out
        Leave-one-out prediction of each target ``(m,)``.
    root
        Cholesky factor of the posterior precision, up to the noise: lower triangular ``(F, F)``.
    white
        Posterior mean in the coordinates of the root ``(F,)``.
    deviation
        Standard deviation of the noise.
    """

    left_out: FloatArray
    root: FloatArray
    white: FloatArray
    deviation: float

    def draw(self, n: int, rng: np.random.Generator, width: float = 1.0) -> FloatArray:
        """Draw coefficients ``(F, n)``; ``width`` scales their distance from the mean."""
        normal = rng.standard_normal((len(self.root), n))
        white = self.white[:, None] + width * self.deviation * normal
        solution = solve_triangular(self.root, white, trans=1, lower=True, check_finite=False)
        return np.asarray(solution)


def fit_linear(
    features: FloatArray,
    y: FloatArray,
    ridge: FloatArray | float,
    total_weight: float | None = None,
) -> Posterior:
    """Fit a linear model whose coefficients have the prior variance ``noise / ridge``.

    Parameters
    ----------
    features, y
        ``(m, F)`` and finite ``(m,)``. To weight rows, multiply both by the roots of the weights.
    ridge
        Positive; one number, or one for each coefficient ``(F,)``.
    total_weight
        Sum of the weights; None if rows are not weighted.
    """
    matrix = features.T @ features
    matrix[np.diag_indices_from(matrix)] += ridge
    root = np.linalg.cholesky(matrix)
    half = solve_triangular(root, features.T, lower=True, check_finite=False)
    white = half @ y
    residual = y - white @ half
    # Leave-one-out predictions without refitting (Hastie, Tibshirani and Friedman, The Elements
    # of Statistical Learning, 2009, equation 7.64).
    leverage = np.sum(half**2, axis=0)
    left_out = y - residual / np.maximum(1 - leverage, np.finfo(np.float64).eps)
    n = len(y) if total_weight is None else total_weight
    deviation = math.sqrt(max(float(y @ residual) / n, 0.0))
    return Posterior(left_out, np.asarray(root, np.float64), white, deviation)
