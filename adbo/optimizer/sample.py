"""What an ask reads of the history: a bounded sample, and the kinds of its columns.

Notation: ``d`` columns, ``X (m, d)`` rows of the unit cube, NaN where a parameter is absent,
``cost (m,)`` to minimize, NaN for failures.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from optuna.trial import TrialState

from adbo.core.history import History, sorted_unique
from adbo.core.space import FloatArray, IntArray
from adbo.optimizer.preference import Parts, PreferenceSettings, draw_preference


class Pruned(enum.Enum):
    """What an ask learns from pruned trials."""

    EXPECTED = enum.auto()
    """The costs that they are expected to have had in the end (`adbo.core.pruned_costs`)."""
    LAST = enum.auto()
    """The values that they reported last."""
    IGNORED = enum.auto()
    """Nothing."""


@dataclass(frozen=True)
class SampleSettings:
    """What an ask reads of the history."""

    n_elites: int = 256
    """Best evaluations in the sample, at most `adbo.core.history.ELITES`, and as many others,
    drawn from all times; more cost time."""
    n_auxiliary: int = 2048
    """Auxiliary rows that fill up regions: half are the latest, half are from all times."""
    pruned: Pruned = Pruned.EXPECTED
    """What is learned from pruned trials; the others than the default are for comparison."""


#: Moves rows ``(m, d)`` to the nearest points that the parameters can take.
Snap = Callable[[FloatArray], FloatArray]

#: Tells whether a point ``(d,)`` is allowed.
Allows = Callable[[FloatArray], bool]


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
    allows
        Tells whether the user's predicate allows a point ``(d,)``; None without a predicate. It
        is slow, since it makes a dictionary of parameters of the point.
    """

    categories: IntArray
    levels: FloatArray
    snap: Snap
    all_points: Callable[[], FloatArray] | None = None
    allows: Allows | None = None

    @property
    def smooth(self) -> NDArray[np.bool_]:
        """Which columns are continuous ``(d,)``."""
        return np.asarray(np.isinf(self.levels) & (self.categories == 0))


@dataclass(frozen=True)
class Rows:
    """Complete rows ``X (m, d)`` of the unit cube, their ``cost (m,)``, and what it is made of."""

    X: FloatArray
    cost: FloatArray
    parts: Parts | None = None
    """See `Sample`."""


@dataclass(frozen=True)
class Sample:
    """The part of the history that an ask sees.

    Parameters
    ----------
    X, cost
        Rows ``(m, d)`` and costs ``(m,)``. The elites come first, best first.
    n_elites
        Number of elites, the best complete evaluations. Pruned ones are none: those that seem
        as good are mostly those whose expected cost is most wrong.
    auxiliary
        Returns the auxiliary rows, from which a region is filled. They are read only if an ask
        works in a region other than the elites.
    parts
        What the costs are made of, several objectives and constraints; None if the cost is that
        of one objective.
    """

    X: FloatArray
    cost: FloatArray
    n_elites: int
    auxiliary: Callable[[], Rows]
    parts: Parts | None = None


def draw_sample(history: History, rng: np.random.Generator, settings: SampleSettings) -> Sample:
    """Return the elites and a draw of the other evaluations."""
    elites = history.elites[: settings.n_elites]
    others = _known(history, history.sample(settings.n_elites, rng, elites), settings)
    rows = np.concatenate([elites, others])
    X, cost = history.space.to_unit(history.values(rows)), _costs(history, rows, settings)
    auxiliary = cache(lambda: _draw_auxiliary_rows(history, rows, rng, settings))
    return Sample(X, cost, len(elites), auxiliary)


def draw_preferred_sample(
    history: History,
    rng: np.random.Generator,
    settings: SampleSettings,
    preference_settings: PreferenceSettings,
) -> Sample:
    """Return a sample whose costs are those of a preference that is drawn for it.

    It is chosen from the front or the elites, the latest evaluations, and a draw of all others, so
    that nothing is sorted that grows with the history. The elites are the best of these.
    """
    half = settings.n_auxiliary // 2
    leaders = history.elites if history.n_objectives == 1 else history.front.rows
    latest = np.arange(max(0, len(history) - half), len(history))
    from_all_times = history.sample(half, rng, leaders)
    rows = sorted_unique(np.concatenate([leaders, latest, from_all_times]))
    rows = _known(history, rows, settings)
    parts = draw_preference(history, rows, rng, preference_settings)
    cost = parts.costs
    order = np.argsort(cost, kind="stable")
    n_elites = min(settings.n_elites, int(np.count_nonzero(~np.isnan(cost))))
    elites, rest = order[:n_elites], rng.permutation(order[n_elites:])
    chosen = np.concatenate([elites, rest[: settings.n_elites]])
    X = history.space.to_unit(history.values(rows))
    others = rest[settings.n_elites :]
    if history.space.has_grid:
        others = others[:0]
    others = others[~np.isnan(X[others]).any(axis=1)]
    auxiliary = Rows(X[others], cost[others], parts[others])
    return Sample(X[chosen], cost[chosen], n_elites, lambda: auxiliary, parts[chosen])


def _known(history: History, rows: IntArray, settings: SampleSettings) -> IntArray:
    """Return the rows without those that are ignored."""
    if settings.pruned is not Pruned.IGNORED:
        return rows
    return rows[history.column("state")[rows] != TrialState.PRUNED.value]


def _costs(history: History, rows: IntArray, settings: SampleSettings) -> FloatArray:
    is_expected = settings.pruned is Pruned.EXPECTED
    return history.cost(rows) if is_expected else history.last_cost(rows)


def _draw_auxiliary_rows(
    history: History, rows: IntArray, rng: np.random.Generator, settings: SampleSettings
) -> Rows:
    """Return complete rows outside of the sample ``rows (m,)``; none if a column is discrete."""
    space = history.space
    others = rows[:0]
    if not space.has_grid:
        half = settings.n_auxiliary // 2
        latest = np.arange(max(0, len(history) - half), len(history))
        from_all_times = history.sample(half, rng, history.elites[: settings.n_elites])
        others = sorted_unique(np.concatenate([latest, from_all_times]))
        others = _known(history, others[~np.isin(others, rows)], settings)
    X = space.to_unit(history.values(others))
    complete = ~np.isnan(X).any(axis=1)
    return Rows(X[complete], _costs(history, others, settings)[complete])
