"""Distances between rows of the unit cube.

Notation: ``X (m, d)`` complete rows; ``a (n, k)`` and ``b (m, k)`` embedded rows.
"""

from __future__ import annotations

import numpy as np

from adbo.core.space import FloatArray, IntArray


def embed(X: FloatArray, categories: IntArray) -> FloatArray:
    """Return rows ``(m, k)`` in which two different choices of a category have distance 1.

    Parameters
    ----------
    X
        Complete rows ``(m, d)``.
    categories
        Number of choices of each column ``(d,)``, 0 for numbers. A category becomes one column
        for each choice.
    """
    columns = [X[:, categories == 0]]
    for column in np.flatnonzero(categories):
        n = int(categories[column])
        index = np.clip((X[:, column] * n).astype(np.intp), 0, n - 1)
        chosen = np.zeros((len(X), n))
        chosen[np.arange(len(X)), index] = 1 / np.sqrt(2)
        columns.append(chosen)
    return np.concatenate(columns, axis=1)


def embedded_columns(categories: IntArray) -> IntArray:
    """Return the column ``(k,)`` of each embedded column, for numbers of choices ``(d,)``."""
    numbers, choices = np.flatnonzero(categories == 0), np.flatnonzero(categories)
    return np.concatenate([numbers, np.repeat(choices, categories[choices])])


def squared_distances(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the squared Euclidean distances ``(n, m)`` between the rows of two matrices.

    They are computed as ``|a|^2 + |b|^2 - 2 ab``, which is three times as fast as scipy's
    ``cdist`` for hundreds of rows in 50 dimensions and half as fast in 5. Near 0 the error is
    1e-16 of the largest squared norm, and the result may be negative.
    """
    squares = a @ (-2 * b.T)
    # In place: allocating matrices of megabytes costs more than filling them.
    squares += np.sum(a**2, axis=1)[:, None]
    squares += np.sum(b**2, axis=1)
    return squares
