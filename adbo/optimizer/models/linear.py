"""Linear regression with a Gaussian prior: predictions of rows left out, and posterior draws.

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
    """Coefficients given the targets: ``solve(root^T, white + deviation * normal)``.

    Parameters
    ----------
    left_out
        What each target is predicted to be from the others ``(m,)``.
    root
        Lower triangular ``(F, F)``.
    white
        ``(F,)``.
    deviation
        Standard deviation of the noise.
    """

    left_out: FloatArray
    root: FloatArray
    white: FloatArray
    deviation: float

    def draw(self, n: int, rng: np.random.Generator, width: float = 1.0) -> FloatArray:
        """Coefficients ``(F, n)``, so many times as far from their means as the posterior says."""
        normal = rng.standard_normal((len(self.root), n))
        white = self.white[:, None] + width * self.deviation * normal
        solution = solve_triangular(self.root, white, trans=1, lower=True, check_finite=False)
        return np.asarray(solution)


def fit(
    features: FloatArray,
    y: FloatArray,
    ridge: FloatArray | float,
    total_weight: float | None = None,
) -> Posterior:
    """The posterior of coefficients whose prior variance is that of the noise over the ridge.

    Parameters
    ----------
    features, y
        ``(m, F)`` and finite ``(m,)``.
    ridge
        Positive, of all coefficients or ``(F,)``.
    total_weight
        Sum of the weights with whose roots features and targets were multiplied; without, m.
    """
    matrix = features.T @ features
    matrix[np.diag_indices_from(matrix)] += ridge
    root = np.linalg.cholesky(matrix)
    half = solve_triangular(root, features.T, lower=True, check_finite=False)
    white = half @ y
    residual = y - white @ half
    # A row that was left out is predicted without its own share (Hastie, Tibshirani and Friedman,
    # The Elements of Statistical Learning, 2009, equation 7.64).
    own = np.sum(half**2, axis=0)
    left_out = y - residual / np.maximum(1 - own, np.finfo(np.float64).eps)
    n = len(y) if total_weight is None else total_weight
    deviation = math.sqrt(max(float(y @ residual) / n, 0.0))
    return Posterior(left_out, np.asarray(root, np.float64), white, deviation)
