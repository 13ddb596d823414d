"""Candidates: points of the unit cube, most of them near good rows.

They are where the acquisition function is evaluated; this module does not know the surrogate.

Notation: ``d`` columns, ``X (m, d)`` complete rows, ``N`` candidates.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adbo.core.space import FloatArray, IntArray
from adbo.optimizer.sample import Geometry
from adbo.optimizer.settings import CandidateSettings, Range

#: Spread of a column, in the unit cube, if the pool has too few rows to estimate it.
_UNKNOWN_SPREAD = 0.1

#: Number of times that a step without effect after rounding is doubled.
_ENLARGEMENTS = 40


def generate(
    X: FloatArray,
    ranking: IntArray,
    geometry: Geometry,
    rng: np.random.Generator,
    settings: CandidateSettings,
) -> FloatArray:
    """Return candidates: points near the first rows of a ranking, and uniform points.

    Parameters
    ----------
    X
        Complete rows ``(m, d)``; there may be none.
    ranking
        Numbers of the rows of the region, the most relevant first; there may be none.
    geometry
        Kinds of the columns.
    rng
        Source of all choices.
    settings
        Tunables.

    Returns
    -------
    FloatArray
        ``(N, d)``, snapped where values are discrete.
    """
    n = settings.n_candidates
    n_local = round(n * (1 - settings.uniform_fraction)) if len(ranking) else 0
    candidates = rng.random((n, len(geometry.levels)))
    if n_local:
        pool = X[ranking[: log_uniform(*settings.pool_range, rng)]]
        base = pool[rng.integers(len(pool), size=n_local)]
        exponents = settings.step_exponents
        candidates[:n_local] = mutate(base, _spread(pool), geometry, rng, exponents)
    return geometry.snap(candidates) if np.isfinite(geometry.levels).any() else candidates


def around(
    centre: FloatArray,
    radius: float,
    geometry: Geometry,
    rng: np.random.Generator,
    settings: CandidateSettings,
) -> FloatArray:
    """Return points ``(n_around, d)`` around a centre ``(d,)``, most of them within the radius."""
    n, d = settings.n_around, len(centre)
    length = radius * 10.0 ** rng.uniform(*settings.around_exponents, size=(n, 1))
    steps = length * rng.standard_normal((n, d)) / np.sqrt(d)
    return geometry.snap(reflect(centre + steps))


def log_uniform(low: float, high: float, rng: np.random.Generator) -> int:
    """Draw an integer whose logarithm is uniform."""
    return round(float(np.exp(rng.uniform(np.log(low), np.log(high)))))


def impute(X: FloatArray, n_elites: int, rng: np.random.Generator) -> FloatArray:
    """Replace each absent value with that of a random elite, or row, in which it is present."""
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
    """Reflect rows ``(m, d)`` at the faces of the unit cube until they are inside."""
    folded = np.mod(X, 2.0)
    return np.minimum(folded, 2.0 - folded)


def mutate(
    base: FloatArray,
    spread: FloatArray,
    geometry: Geometry,
    rng: np.random.Generator,
    step_exponents: Range,
) -> FloatArray:
    """Change rows ``(N, d)`` in a random subset of their columns, at least one.

    Numbers take Gaussian steps, and discrete numbers at least one level. A category takes another
    choice.

    Parameters
    ----------
    base
        Complete rows ``(N, d)``.
    spread
        Standard deviation of each column ``(d,)``.
    geometry, rng
        Those of `generate`.
    step_exponents
        Range of U in the length 10^U of a step, in standard deviations.
    """
    n, d = base.shape
    movable = np.flatnonzero(geometry.levels > 1)
    if not movable.size:
        return base
    length = 10.0 ** rng.uniform(*step_exponents, size=(n, 1))
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
    """Return the standard deviation of each column of the pool ``(d,)``."""
    spread = np.asarray(pool.std(axis=0))
    return np.where(spread > 0, spread, _UNKNOWN_SPREAD) if len(pool) < 3 else spread


def _level_steps(
    base: FloatArray, step: FloatArray, stepped: NDArray[np.bool_], geometry: Geometry
) -> FloatArray:
    """Return steps ``(n, d)`` that reach another level where ``stepped (n, d)``.

    Such a step has at least the width of an average level. It is doubled while rounding undoes it,
    which happens at the low end of a logarithmic range.
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
    """Draw a different choice for each row ``(n,)``, as the middle of its cell."""
    index = np.clip((units * n_choices).astype(np.intp), 0, n_choices - 1)
    shift = rng.integers(1, n_choices, size=len(units)) if n_choices > 1 else 0
    return ((index + shift) % n_choices + 0.5) / n_choices
