"""Candidates: points of the unit cube, most of them near good rows.

They are where the acquisition function is evaluated; this module does not know the surrogate.

Notation: ``d`` columns, ``X (m, d)`` complete rows, ``N`` candidates.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from adbo.core.space import FloatArray
from adbo.optimizer.regions import Region
from adbo.optimizer.sample import Geometry
from adbo.optimizer.view import CandidateSettings, Range

#: Spread of a column, in the unit cube, if the pool has too few rows to estimate it.
UNKNOWN_SPREAD = 0.1

#: Range of U in the length 10^U of a step around a centre, in radii.
_AROUND = (-1.5, 0.0)

#: Points of a round around which the next round searches.
BEST = 8

#: Number of times that a step without effect after rounding is doubled.
_ENLARGEMENTS = 40


def generate(
    region: Region,
    geometry: Geometry,
    rng: np.random.Generator,
    n: int,
    settings: CandidateSettings,
) -> FloatArray:
    """Return candidates: points near the first rows of a region, and uniform points.

    Parameters
    ----------
    region
        Its rows; if its reach is finite, most points are that close to its first row.
    geometry
        Kinds of the columns.
    rng
        Source of all choices.
    n
        Number of candidates.
    settings
        Tunables.

    Returns
    -------
    FloatArray
        ``(n, d)``, snapped where values are discrete.
    """
    d = region.X.shape[1]
    if np.isfinite(region.reach):
        length = region.reach * 10.0 ** rng.uniform(*_AROUND, size=(n, 1)) / np.sqrt(d)
        base = np.tile(region.X[0], (n, 1))
        return geometry.snap(mutate(base, np.ones(d), geometry, rng, length))
    n_local = round(n * (1 - settings.uniform_fraction))
    pool = region.X[: log_uniform(*settings.pool_range, rng)]
    base = pool[rng.integers(len(pool), size=n_local)]
    length = 10.0 ** rng.uniform(*settings.step_exponents, size=(n_local, 1))
    near = mutate(base, _spread(pool), geometry, rng, length)
    return geometry.snap(np.concatenate([near, rng.random((n - n_local, d))]))


def refine(
    points: FloatArray,
    ranked: Callable[[FloatArray], FloatArray],
    geometry: Geometry,
    rng: np.random.Generator,
    rounds: int,
    step_exponents: Range,
) -> FloatArray:
    """Search around the best points of each round, with steps that shrink as these come closer.

    Parameters
    ----------
    points
        Points ``(N, d)``, best first.
    ranked
        Orders points, the best first.
    geometry, rng
        Those of `generate`.
    rounds
        Number of rounds, each with N points.
    step_exponents
        Range of U in the length 10^U of a step, in standard deviations of the best points.
    """
    for _ in range(rounds):
        best = points[:BEST]
        base = best[rng.integers(len(best), size=len(points))]
        length = 10.0 ** rng.uniform(*step_exponents, size=(len(points), 1))
        moved = geometry.snap(mutate(base, _spread(best), geometry, rng, length))
        points = ranked(np.concatenate([moved, best]))
    return points


def log_uniform(low: float, high: float, rng: np.random.Generator) -> int:
    """Draw an integer whose logarithm is uniform."""
    return round(float(np.exp(rng.uniform(np.log(low), np.log(high)))))


def reflect(X: FloatArray) -> FloatArray:
    """Reflect rows ``(m, d)`` at the faces of the unit cube until they are inside."""
    folded = np.mod(X, 2.0)
    return np.minimum(folded, 2.0 - folded)


def mutate(
    base: FloatArray,
    spread: FloatArray,
    geometry: Geometry,
    rng: np.random.Generator,
    length: FloatArray,
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
    length
        Length of each row's step ``(N, 1)``, in standard deviations.
    """
    n, d = base.shape
    movable = np.flatnonzero(geometry.levels > 1)
    if not movable.size:
        return base
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
    return np.where(spread > 0, spread, UNKNOWN_SPREAD) if len(pool) < 3 else spread


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
