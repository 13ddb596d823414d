"""Points that lie from one good basin as another one lies from a third.

Where basins repeat, as ripples on a bowl do, however they are turned, the difference of two
minima leads from any third one to another: the mutation of differential evolution (Storn and
Price, Journal of Global Optimization 11, 1997), applied to the heads of basins.

Notation: ``x (m, d)`` rows of the unit cube: the elites, best first, then others in any order.
"""

from __future__ import annotations

import numpy as np

from adbo.distances import squared_distances
from adbo.space import FloatArray

#: So many heads: rows with no earlier one within 10^U(low, high) of the farthest row. Others than
#: elites being in order of their costs, too, made no difference.
HEADS = 16
RADIUS_EXPONENTS = (-2.5, -0.5)

#: So many of them are moved.
MOVED = 4

#: A translation that ends at a row, by this share of its length or of twice the radius, is left
#: out.
NEAR = 0.3


def translations(x: FloatArray, rng: np.random.Generator) -> FloatArray:
    """The first heads moved by the differences of all ``(N, d)``; there may be none.

    Parameters
    ----------
    x
        Rows ``(m, d)``.
    rng
        Source of the radius.
    """
    radius = 10.0 ** rng.uniform(*RADIUS_EXPONENTS)
    square = radius**2 * np.sum((x - x[0]) ** 2, axis=1).max()
    heads = x[_heads(x, square)]
    i, j = np.nonzero(~np.eye(len(heads), dtype=bool))
    steps = heads[i] - heads[j]
    moved = heads[:MOVED]
    points = (moved[:, None, :] + steps).reshape(-1, x.shape[1])
    lengths = np.tile(np.sum(steps**2, axis=1), len(moved))
    inside = (np.abs(points - 0.5) <= 0.5).all(axis=1)
    points, lengths = points[inside], lengths[inside]
    nearest = squared_distances(points, x).min(axis=1, initial=np.inf)
    new = nearest > NEAR**2 * np.minimum(lengths, 4 * square)
    return np.asarray(points[new])


def _heads(x: FloatArray, square: float) -> list[int]:
    """Rows with no earlier head within the root of ``square``, at most `HEADS`."""
    heads: list[int] = []
    free = np.ones(len(x), dtype=bool)
    while free.any() and len(heads) < HEADS:
        head = int(np.argmax(free))
        heads.append(head)
        free &= np.sum((x - x[head]) ** 2, axis=1) > square
    return heads
