"""Where the acquisition function is evaluated: points of the unit cube, most of them near elites.

It does not know the surrogate. Notation: ``d`` columns, ``X (m, d)`` the sample, NaN where a
parameter is absent, ``w`` elites in the pool, ``N`` candidates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from adbo.space import FloatArray, IntArray


@dataclass(frozen=True)
class Geometry:
    """What the columns of the unit cube are.

    Parameters
    ----------
    categories
        ``(d,)``, number of unordered choices; 0 for numbers.
    levels
        ``(d,)``, number of possible values; infinity for continuous ones.
    snap
        Moves rows ``(m, d)`` to the nearest points that the parameters can take.
    """

    categories: IntArray
    levels: FloatArray
    snap: Callable[[FloatArray], FloatArray]


@dataclass(frozen=True)
class Sample:
    """What an ask sees of the history.

    Parameters
    ----------
    X
        ``(m, d)`` in the unit cube, NaN for absent parameters.
    cost
        ``(m,)`` to minimize, NaN for failures.
    n_elites
        The first so many rows are the best evaluations, best first.
    """

    X: FloatArray
    cost: FloatArray
    n_elites: int


#: Candidates of an ask, and how many of them are uniform.
CANDIDATES = 1000
UNIFORM_SHARE = 0.1

#: The pool of an ask is the best w elites, log w uniform between these.
POOL_LOW, POOL_HIGH = 4, 128

#: Up to so many elites are averaged to a base point.
PARENTS = 8

#: Steps are the pool's standard deviation times 10^U(low, high).
STEP_EXPONENTS = (-1.5, 0.3)


def generate(elites: FloatArray, geometry: Geometry, rng: np.random.Generator) -> FloatArray:
    """Candidates ``(N, d)`` from complete elites ``(e, d)``, best first; ``e`` may be 0.

    Raises
    ------
    ValueError
        If there are no columns.
    """
    d = len(geometry.levels)
    n_uniform = int(CANDIDATES * UNIFORM_SHARE) if len(elites) else CANDIDATES
    parts = [rng.random((n_uniform, d))]
    if len(elites):
        width = round(float(np.exp(rng.uniform(np.log(POOL_LOW), np.log(POOL_HIGH)))))
        parts.append(_around(elites[:width], CANDIDATES - n_uniform, geometry, rng))
    candidates = np.concatenate(parts)
    return geometry.snap(candidates) if np.isfinite(geometry.levels).any() else candidates


def impute(X: FloatArray, n_elites: int, rng: np.random.Generator) -> FloatArray:
    """Rows with every absent value replaced by that of a random elite (or row) that has one."""
    filled = X.copy()
    for column in np.flatnonzero(np.isnan(X).any(axis=0)):
        absent = np.isnan(X[:, column])
        source = X[:n_elites, column][~absent[:n_elites]]
        if not source.size:
            source = X[:, column][~absent]
        n = int(absent.sum())
        filled[absent, column] = rng.choice(source, n) if source.size else rng.random(n)
    return filled


def reflect(X: FloatArray) -> FloatArray:
    """Rows folded back at the faces of the unit cube."""
    folded = np.mod(X, 2.0)
    return np.minimum(folded, 2.0 - folded)


def _around(pool: FloatArray, n: int, geometry: Geometry, rng: np.random.Generator) -> FloatArray:
    """Steps around means of elites ``(n, d)``."""
    d = pool.shape[1]
    first = rng.integers(len(pool), size=n)
    base = _recombine(pool, first, rng)
    spread = pool.std(axis=0)
    # A pool of one point, or of equal values, still has to be left.
    spread = np.where(spread > 0, spread, 0.1) if len(pool) < 3 else spread
    length = 10.0 ** rng.uniform(*STEP_EXPONENTS, size=(n, 1))
    step = rng.standard_normal((n, d)) * spread * length
    discrete = np.isfinite(geometry.levels)
    if discrete.any():
        width = 1.0 / geometry.levels[discrete]
        part = step[:, discrete]
        sign = np.where(rng.random(part.shape) < 0.5, -1.0, 1.0)
        step[:, discrete] = np.where(np.abs(part) < width, sign * width, part)
    rate = np.exp(rng.uniform(np.log(1.0 / d), 0.0, size=(n, 1)))
    changed = rng.random((n, d)) < rate
    changed[np.arange(n), rng.integers(d, size=n)] = True
    candidates = reflect(base + np.where(changed, step, 0.0))
    categorical = geometry.categories > 0
    if categorical.any():
        fresh = rng.random((n, int(categorical.sum())))
        candidates[:, categorical] = np.where(
            changed[:, categorical], fresh, pool[first][:, categorical]
        )
    return candidates


def _recombine(pool: FloatArray, first: IntArray, rng: np.random.Generator) -> FloatArray:
    """Means of 1 to `PARENTS` elites, ``first`` being one of them."""
    n = len(first)
    parents = rng.integers(len(pool), size=(n, PARENTS))
    parents[:, 0] = first
    count = rng.integers(1, PARENTS + 1, size=n)
    weight = (np.arange(PARENTS) < count[:, None]) / count[:, None]
    return np.einsum("np,npd->nd", weight, pool[parents])
