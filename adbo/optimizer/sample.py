"""What an ask reads of the history: a bounded sample, and the kinds of its columns.

Notation: ``d`` columns, ``X (m, d)`` rows of the unit cube, NaN where a parameter is absent,
``cost (m,)`` to minimize, NaN for failures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from adbo.core.history import History, sorted_unique
from adbo.core.space import FloatArray, IntArray


@dataclass(frozen=True)
class SampleSettings:
    """What an ask reads of the history."""

    n_elites: int = 256
    """Best evaluations in the sample, at most `adbo.core.history.ELITES`, and as many others,
    drawn from all times; more cost time."""
    n_auxiliary: int = 2048
    """Auxiliary rows that fill up regions: half are the latest, half are from all times."""
    n_enumerated: int = 2**16
    """A finite space of at most this many points is searched as a whole for new points."""


@dataclass(frozen=True)
class Geometry:
    """The kinds of the columns of the unit cube.

    Parameters
    ----------
    categories
        ``(d,)``, number of unordered choices; 0 for numbers.
    levels
        ``(d,)``, number of possible values; infinity for continuous columns.
    snap
        Moves rows ``(m, d)`` to the nearest points that the parameters can take.
    all_points
        Returns all points of the space ``(N, d)``; None if they are many.
    """

    categories: IntArray
    levels: FloatArray
    snap: Callable[[FloatArray], FloatArray]
    all_points: Callable[[], FloatArray] | None = None

    @property
    def smooth(self) -> NDArray[np.bool_]:
        """Which columns are continuous ``(d,)``."""
        return np.asarray(np.isinf(self.levels) & (self.categories == 0))


@dataclass(frozen=True)
class Rows:
    """Complete rows ``X (m, d)`` of the unit cube and their ``cost (m,)``."""

    X: FloatArray
    cost: FloatArray


@dataclass(frozen=True)
class Sample:
    """The part of the history that an ask sees.

    Parameters
    ----------
    X, cost
        Rows ``(m, d)`` and costs ``(m,)``. The elites come first, best first.
    n_elites
        Number of elites, which are the best complete evaluations.
    auxiliary
        Returns the auxiliary rows, from which a region is filled. They are read only if an ask
        works in a region other than the elites.
    """

    X: FloatArray
    cost: FloatArray
    n_elites: int
    auxiliary: Callable[[], Rows]


def draw_sample(history: History, rng: np.random.Generator, settings: SampleSettings) -> Sample:
    """Return the elites and a draw of the other evaluations."""
    elites = history.elites[: settings.n_elites]
    others = history.sample(settings.n_elites, rng, elites)
    rows = np.concatenate([elites, others])
    X, cost = history.space.to_unit(history.values(rows)), history.cost(rows)
    auxiliary = cache(lambda: _draw_auxiliary_rows(history, rows, rng, settings))
    return Sample(X, cost, len(elites), auxiliary)


def _draw_auxiliary_rows(
    history: History, rows: IntArray, rng: np.random.Generator, settings: SampleSettings
) -> Rows:
    """Return complete rows outside of the sample ``rows (m,)``; none if a column is discrete."""
    space = history.space
    others = rows[:0]
    if not space.has_grid:
        half = settings.n_auxiliary // 2
        latest = np.arange(max(0, len(history) - half), len(history))
        elites = history.elites[: settings.n_elites]
        from_all_times = history.sample(half, rng, elites)
        others = sorted_unique(np.concatenate([latest, from_all_times]))
        others = others[~np.isin(others, rows)]
    X = space.to_unit(history.values(others))
    complete = ~np.isnan(X).any(axis=1)
    return Rows(X[complete], history.cost(others)[complete])
