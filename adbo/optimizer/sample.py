"""What an ask is given: a bounded sample of the history, and the kinds of its columns.

Notation: ``d`` columns, ``X (m, d)`` rows of the unit cube, NaN where a parameter is absent,
``cost (m,)`` to minimize, NaN for failures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adbo.core.space import FloatArray, IntArray


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

    @property
    def smooth_fraction(self) -> float:
        """Fraction of continuous columns among those that have more than one value."""
        varying = self.levels > 1
        return float(self.smooth[varying].mean()) if varying.any() else 0.0


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
