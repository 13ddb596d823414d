"""A Gaussian process of a few hundred rows, with a length scale for each column.

The kernel is Matern's with smoothness 5/2. The length scales and the noise maximize the posterior
density (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, section 5.4). The
prior of the length scales grows with the number of columns (Hvarfner, Hellsten and Nardi, ICML
2024): without it, a few rows in many columns would be taken for noise. It shrinks with the spread
of the rows: from scales that are much longer, the fit takes rows close to each other for noise.

Notation: ``Z (m, k)`` embedded rows (`adbo.optimizer.distances.embed`), ``y (m,)`` targets,
``q (N, k)`` queries.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack, solve_triangular
from scipy.optimize import minimize

from adbo.core.space import FloatArray, IntArray
from adbo.optimizer.distances import squared_distances

#: Standard deviations of the logarithms of length scales and of the noise variance in the prior.
_LENGTH_SPREAD, _NOISE_SPREAD = 1.5, 3.0

#: Mean of the logarithm of the noise variance, as a fraction of the variance of the targets.
_LOG_NOISE = np.log(1e-4)

#: Least noise variance: it keeps the matrix regular where rows coincide.
_LEAST_LOG_NOISE = np.log(1e-8)

#: Standard deviation in each column of rows that are uniform in the unit cube.
CUBE_SPREAD = 12**-0.5

#: Least spread of rows that differ, as a fraction of that: less is rounding.
_LEAST_SIZE = 1e-12


@dataclass(frozen=True)
class GaussianProcess:
    """A fitted process.

    Parameters
    ----------
    origin
        Mean of the rows ``(k,)``.
    Z
        Rows ``(m, k)`` minus the origin, divided by the length scales.
    lengths
        Length scale of each embedded column ``(k,)``.
    noise
        Noise variance, as a fraction of the signal's.
    root
        Lower Cholesky factor of the kernel matrix ``(m, m)``.
    weights
        Its solution for the standardized targets ``(m,)``.
    mean, deviation
        Of the targets: predictions are on their scale.
    amplitude
        Standard deviation of the process, in standard deviations of the targets.
    """

    origin: FloatArray
    Z: FloatArray
    lengths: FloatArray
    noise: float
    root: FloatArray
    weights: FloatArray
    mean: float
    deviation: float
    amplitude: float

    def predict(self, q: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation of the noiseless values ``(N,)`` at ``q (N, k)``."""
        cross = _matern(squared_distances((q - self.origin) / self.lengths, self.Z))[0]
        half = solve_triangular(self.root, cross.T, lower=True, check_finite=False)
        variance = np.maximum(1.0 - np.sum(half**2, axis=0), 0.0)
        mean = self.mean + self.deviation * (cross @ self.weights)
        return np.asarray(mean), self.deviation * self.amplitude * np.sqrt(variance)


def fit_gaussian_process(
    Z: FloatArray, y: FloatArray, groups: IntArray, iterations: int
) -> GaussianProcess:
    """Fit length scales and noise, and return the process.

    Parameters
    ----------
    Z, y
        Embedded rows ``(m, k)`` and finite targets ``(m,)``.
    groups
        Column of the space to which each embedded column belongs ``(k,)``, from 0: the choices of
        a category share a length scale.
    iterations
        Upper limit of the steps of the optimizer; more cost time.
    """
    mean, deviation = float(y.mean()), float(y.std()) or 1.0
    targets = (y - mean) / deviation
    n = int(groups.max()) + 1
    # Distances between rows that are close to each other are exact only near 0.
    origin = Z.mean(axis=0)
    Z = Z - origin
    size = np.log(_sizes(Z, groups))
    # sqrt(2) + log(k) / 2 is the mean of Hvarfner et al., for the unit cube.
    centre = np.append(size + np.log(0.5) + 0.5 * np.log(n), _LOG_NOISE)
    spread = np.append(np.full(n, _LENGTH_SPREAD), _NOISE_SPREAD)

    def loss(theta: FloatArray) -> tuple[float, FloatArray]:
        value, gradient = _negative_log_likelihood(theta, Z, targets, groups)
        off = (theta - centre) / spread
        return value + 0.5 * float(off @ off), gradient + off / spread

    bounds = [(s + np.log(1e-3), np.log(1e3)) for s in size] + [(_LEAST_LOG_NOISE, 0.0)]
    found = minimize(
        loss, centre, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": iterations}
    )
    theta = found.x if np.isfinite(found.fun) else centre
    lengths, noise = np.exp(theta[:n])[groups], float(np.exp(theta[n]))
    scaled = Z / lengths
    matrix = _matern(squared_distances(scaled, scaled))[0]
    matrix[np.diag_indices_from(matrix)] = 1.0 + noise
    root = np.asarray(np.linalg.cholesky(matrix), np.float64)
    half = solve_triangular(root, targets, lower=True, check_finite=False)
    weights = solve_triangular(root, half, lower=True, trans=1, check_finite=False)
    amplitude = float(np.sqrt(half @ half / len(y)))
    return GaussianProcess(
        origin, scaled, lengths, noise, root, weights, mean, deviation, amplitude
    )


def _sizes(Z: FloatArray, groups: IntArray) -> FloatArray:
    """Return the spread of rows ``(m, k)`` in each group, as a fraction of the unit cube's.

    It is 1 where all rows are equal, because they do not tell the length scale.
    """
    size = np.bincount(groups, weights=Z.std(axis=0)) / np.bincount(groups) / CUBE_SPREAD
    return np.where(size > _LEAST_SIZE, np.minimum(size, 1.0), 1.0)


def _negative_log_likelihood(
    theta: FloatArray, Z: FloatArray, y: FloatArray, groups: IntArray
) -> tuple[float, FloatArray]:
    """Return it with its gradient, with the best amplitude of the process."""
    m = len(y)
    lengths, noise = np.exp(theta[:-1])[groups], np.exp(theta[-1])
    scaled = Z / lengths
    kernel, slope = _matern(squared_distances(scaled, scaled))
    kernel[np.diag_indices_from(kernel)] = 1.0 + noise
    root, info = lapack.dpotrf(kernel, lower=1, clean=1)
    if info:
        return np.inf, np.zeros_like(theta)
    inverse = _inverse(root)
    weights = inverse @ y
    variance = max(float(y @ weights) / m, np.finfo(np.float64).tiny)
    value = 0.5 * m * np.log(variance) + float(np.log(np.diag(root)).sum())
    # Derivative by each entry of the matrix.
    sensitivity = 0.5 * (inverse - np.outer(weights, weights) / variance)
    by_noise = noise * float(np.trace(sensitivity))
    # d kernel / d log length = slope * squared difference of the scaled column.
    weighted = sensitivity * slope
    by_column = 2 * (
        (scaled**2).T @ weighted.sum(axis=1) - np.sum(scaled * (weighted @ scaled), axis=0)
    )
    by_length = np.bincount(groups, weights=by_column, minlength=len(theta) - 1)
    return value, np.append(by_length, by_noise)


def _matern(squares: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the kernel of squared scaled distances, and its slope; see the likelihood."""
    distance = np.sqrt(5.0 * np.maximum(squares, 0.0))
    decay = np.exp(-distance)
    return (1.0 + distance + distance**2 / 3.0) * decay, 5.0 / 3.0 * (1.0 + distance) * decay


def _inverse(root: FloatArray) -> FloatArray:
    """Return the inverse of a matrix from its lower Cholesky factor."""
    lower, _ = lapack.dpotri(root, lower=1)
    return np.asarray(np.tril(lower) + np.tril(lower, -1).T)
