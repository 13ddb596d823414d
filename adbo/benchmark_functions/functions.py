"""The test functions, for points in any number of dimensions.

Notation: ``x (m, d)`` points, ``f(x) (m,)`` values to minimize.

Source: Surjanovic and Bingham, Virtual Library of Simulation Experiments (sfu.ca/~ssurjano).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def ackley(x: FloatArray) -> FloatArray:
    """Return Ackley's function: one funnel with many local minima."""
    radius = np.sqrt(np.mean(x**2, axis=1))
    waves = np.mean(np.cos(2 * np.pi * x), axis=1)
    # With expm1, the optimum is exactly 0.
    return -20 * np.expm1(-0.2 * radius) - np.e * np.expm1(waves - 1)


def levy(x: FloatArray) -> FloatArray:
    """Return Levy's function: ridges of different height in every coordinate."""
    w = 1 + (x - 1) / 4
    first = np.sin(np.pi * w[:, 0]) ** 2
    middle = (w[:, :-1] - 1) ** 2 * (1 + 10 * np.sin(np.pi * w[:, :-1] + 1) ** 2)
    last = (w[:, -1] - 1) ** 2 * (1 + np.sin(2 * np.pi * w[:, -1]) ** 2)
    return first + middle.sum(axis=1) + last


def griewank(x: FloatArray) -> FloatArray:
    """Return Griewank's function: a wide paraboloid with shallow, regular local minima."""
    i = np.arange(1, x.shape[1] + 1)
    return np.sum(x**2, axis=1) / 4000 - np.prod(np.cos(x / np.sqrt(i)), axis=1) + 1


#: The maximizer of x sin(sqrt(x)) in the box, and the maximum.
SCHWEFEL_X, _SCHWEFEL_F = 420.968746359982, 418.9828872724338


def schwefel(x: FloatArray) -> FloatArray:
    """Return Schwefel's function: many basins, the second best far from the best.

    Outside of [-500, 500], where the formula has ever deeper basins, a quadratic penalty replaces
    it, so that the optimum remains the optimum when the function is shifted or rotated (Hansen et
    al., Real-parameter black-box optimization benchmarking 2009, f20).
    """
    inside = np.clip(x, -500, 500)
    basins = _SCHWEFEL_F - inside * np.sin(np.sqrt(np.abs(inside)))
    return np.sum(basins + 0.01 * (x - inside) ** 2, axis=1)


def rosenbrock(x: FloatArray) -> FloatArray:
    """Return Rosenbrock's function: a curved narrow valley."""
    return np.sum(100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2, axis=1)


def rastrigin(x: FloatArray) -> FloatArray:
    """Return Rastrigin's function: a paraboloid with deep, regular local minima."""
    return np.sum(x**2 + 10 * (1 - np.cos(2 * np.pi * x)), axis=1)


def sphere(x: FloatArray) -> FloatArray:
    """Return the squared norm."""
    return np.sum(x**2, axis=1)


_HARTMANN_ALPHA = np.array([1.0, 1.2, 3.0, 3.2])
_HARTMANN_A = np.array(
    [
        [10, 3, 17, 3.5, 1.7, 8],
        [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8],
        [17, 8, 0.05, 10, 0.1, 14],
    ]
)
_HARTMANN_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)
HARTMANN_X = np.array([0.20168951, 0.15001069, 0.47687398, 0.27533243, 0.31165162, 0.65730053])


def hartmann6(x: FloatArray) -> FloatArray:
    """Return the Hartmann function of six dimensions: six local minima."""
    squares = (x[:, None, :] - _HARTMANN_P) ** 2
    return -np.exp(-np.sum(_HARTMANN_A * squares, axis=2)) @ _HARTMANN_ALPHA
