"""Where the acquisition function is evaluated: points of the unit cube, most of them near elites.

It does not know the surrogate. Notation: ``d`` columns, ``X (m, d)`` the sample, NaN where a
parameter is absent, ``w`` elites in the pool, ``N`` candidates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adbo.core.space import FloatArray, IntArray


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
    all_points
        Gives all points of the space ``(N, d)``, if they are few.
    """

    categories: IntArray
    levels: FloatArray
    snap: Callable[[FloatArray], FloatArray]
    all_points: Callable[[], FloatArray] | None = None


@dataclass(frozen=True)
class Rows:
    """Complete points ``X (m, d)`` of the unit cube and their costs ``(m,)``, NaN for failures."""

    X: FloatArray
    cost: FloatArray


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
    reserve
        Gives other rows, of which only those around a place are looked at.
    """

    X: FloatArray
    cost: FloatArray
    n_elites: int
    reserve: Callable[[], Rows]


#: Candidates of an ask, and the share of them that is uniform.
CANDIDATES = 1000
UNIFORM_SHARE = 0.1

#: The pool of an ask has w elites, log w uniform between these.
POOL_LOW, POOL_HIGH = 4, 128

#: Steps are the pool's standard deviation times 10^U(low, high).
STEP_EXPONENTS = (-1.5, 0.3)

#: Points around a place: more than one, because some may be known already; they are 10^U(low,
#: high) radii away.
AROUND = 64
AROUND_EXPONENTS = (-1.5, 0.0)

#: The step, in the unit cube, where the pool is too small to tell.
_UNKNOWN_SPREAD = 0.1

#: How often a step that rounding undid is doubled.
_ENLARGEMENTS = 40


def generate(
    X: FloatArray, ranking: IntArray, geometry: Geometry, rng: np.random.Generator
) -> FloatArray:
    """Candidates for one ask.

    Parameters
    ----------
    X
        Complete rows ``(m, d)``; there may be none.
    ranking
        The rows this ask works with, the most relevant first; there may be none.
    geometry
        What the columns are.
    rng
        Source of all choices.

    Returns
    -------
    FloatArray
        ``(N, d)``, snapped where values are discrete.
    """
    d = len(geometry.levels)
    n_local = round(CANDIDATES * (1 - UNIFORM_SHARE)) if len(ranking) else 0
    candidates = rng.random((CANDIDATES, d))
    if n_local:
        pool = X[ranking[: log_uniform(POOL_LOW, POOL_HIGH, rng)]]
        base = pool[rng.integers(len(pool), size=n_local)]
        candidates[:n_local] = mutate(base, _spread(pool), geometry, rng)
    return geometry.snap(candidates) if np.isfinite(geometry.levels).any() else candidates


def around(
    place: FloatArray, radius: float, geometry: Geometry, rng: np.random.Generator
) -> FloatArray:
    """Points ``(AROUND, d)`` around a place ``(d,)``, most of them within the radius."""
    d = len(place)
    length = radius * 10.0 ** rng.uniform(*AROUND_EXPONENTS, size=(AROUND, 1))
    steps = length * rng.standard_normal((AROUND, d)) / np.sqrt(d)
    return geometry.snap(reflect(place + steps))


def log_uniform(low: float, high: float, rng: np.random.Generator) -> int:
    """A whole number with a uniform logarithm."""
    return round(float(np.exp(rng.uniform(np.log(low), np.log(high)))))


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


def mutate(
    base: FloatArray, spread: FloatArray, geometry: Geometry, rng: np.random.Generator
) -> FloatArray:
    """Rows ``(N, d)`` moved in a random subset of their columns, at least one.

    Numbers take Gaussian steps, discrete ones at least one level; a categorical takes another
    choice.

    Parameters
    ----------
    base
        Complete rows ``(N, d)``.
    spread
        Typical step of each column ``(d,)``.
    geometry, rng
        As for `generate`.
    """
    n, d = base.shape
    movable = np.flatnonzero(geometry.levels > 1)
    if not movable.size:
        return base
    length = 10.0 ** rng.uniform(*STEP_EXPONENTS, size=(n, 1))
    step = rng.standard_normal((n, d)) * spread * length
    rate = np.exp(rng.uniform(-np.log(d), 0.0, size=(n, 1)))
    changed = rng.random((n, d)) < rate
    changed[np.arange(n), rng.choice(movable, n)] = True
    stepped = changed & np.isfinite(geometry.levels) & (geometry.categories == 0)
    if stepped.any():
        step = _level_steps(base, step, stepped, geometry)
    rows = reflect(base + np.where(changed, step, 0.0))
    for column in np.flatnonzero(geometry.categories):
        rows[:, column] = np.where(
            changed[:, column],
            _other_choice(base[:, column], int(geometry.categories[column]), rng),
            base[:, column],
        )
    return rows


def _spread(pool: FloatArray) -> FloatArray:
    """Standard deviation of each column of the pool ``(d,)``."""
    spread = np.asarray(pool.std(axis=0))
    return np.where(spread > 0, spread, _UNKNOWN_SPREAD) if len(pool) < 3 else spread


def _level_steps(
    base: FloatArray, step: FloatArray, stepped: NDArray[np.bool_], geometry: Geometry
) -> FloatArray:
    """Steps ``(n, d)`` that reach another level where ``stepped (n, d)``.

    They start from one even cell, and grow where that is lost in rounding, as it is at the low
    end of a logarithmic range.
    """
    here = geometry.snap(base)
    stepped = stepped & (geometry.levels > 1)
    step = np.where(
        stepped, np.copysign(np.maximum(np.abs(step), 1 / geometry.levels), step), step
    )
    for _ in range(_ENLARGEMENTS):
        outside = np.abs(base + step - 0.5) > 0.5
        step = np.where(stepped & outside, -step, step)
        stuck = stepped & (geometry.snap(reflect(base + step)) == here)
        if not stuck.any():
            break
        step = np.where(stuck, 2 * step, step)
    return step


def _other_choice(units: FloatArray, n_choices: int, rng: np.random.Generator) -> FloatArray:
    """Another choice than the present one, uniformly, as the middle of its cell."""
    index = np.clip((units * n_choices).astype(np.intp), 0, n_choices - 1)
    shift = rng.integers(1, n_choices, size=len(units)) if n_choices > 1 else 0
    return ((index + shift) % n_choices + 0.5) / n_choices


def places(X: FloatArray, categories: IntArray) -> FloatArray:
    """Rows as points whose distances count: different categories are one unit apart."""
    columns = [X[:, categories == 0]]
    for column in np.flatnonzero(categories):
        n = int(categories[column])
        index = np.clip((X[:, column] * n).astype(np.intp), 0, n - 1)
        chosen = np.zeros((len(X), n))
        chosen[np.arange(len(X)), index] = 1 / np.sqrt(2)
        columns.append(chosen)
    return np.concatenate(columns, axis=1)
