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

    def mean(self) -> FloatArray:
        """Return the posterior mean of the coefficients ``(F,)``."""
        return self._solve(self.white)

    def draw(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Draw coefficients ``(F, n)``."""
        normal = rng.standard_normal((len(self.root), n))
        return self._solve(self.white[:, None] + self.deviation * normal)

    def _solve(self, white: FloatArray) -> FloatArray:
        solution = solve_triangular(self.root, white, trans=1, lower=True, check_finite=False)
        return np.asarray(solution)


def fit_linear(features: FloatArray, y: FloatArray, ridge: FloatArray | float) -> Posterior:
    """Fit a linear model whose coefficients have the prior variance ``noise / ridge``.

    Parameters
    ----------
    features, y
        ``(m, F)`` and finite ``(m,)``.
    ridge
        Positive; one number, or one for each coefficient ``(F,)``.
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
    deviation = math.sqrt(max(float(y @ residual) / len(y), 0.0))
    return Posterior(left_out, np.asarray(root, np.float64), white, deviation)
