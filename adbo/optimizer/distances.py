"""Distances between the rows of two matrices.

Notation: ``a (n, d)``, ``b (m, d)``.
"""

from __future__ import annotations

import numpy as np

from adbo.core.space import FloatArray


def squared_distances(a: FloatArray, b: FloatArray) -> FloatArray:
    """Squared Euclidean distances ``(n, m)`` between rows.

    By ``|a|^2 + |b|^2 - 2 ab``: for hundreds of rows in 50 dimensions three times as fast as
    scipy's ``cdist``, in 5 half as fast. Near 0 they are off by 1e-16 of the largest squared norm,
    to either side.
    """
    squares = a @ (-2 * b.T)
    # In place: matrices of megabytes cost more to get than to fill.
    squares += np.sum(a**2, axis=1)[:, None]
    squares += np.sum(b**2, axis=1)
    return squares
