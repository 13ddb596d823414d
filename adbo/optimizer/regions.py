"""Regions: the rows that an ask works with.

They are the elites; or the rows of the basin of another centre, a row that is far from every
better row (nearest-better clustering, Preuss, GECCO 2010 companion); or, for strategies that model
the whole space, the whole sample. If all ranks followed the elites, they would end in the basin
that was found first. Once the elites have converged, asks that would work among them restart
elsewhere.

Notation: ``X (m, d)`` complete rows of the unit cube, ``embedded (m, k)`` the same as points whose
distances are meaningful, ``cost (m,)``, NaN for failures, ``nearest_better (m,)`` the distance of
each row to the nearest row with a lower cost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from adbo.core.history import ELITES
from adbo.core.space import FloatArray, IntArray
from adbo.optimizer.distances import embed, squared_distances
from adbo.optimizer.preference import Parts
from adbo.optimizer.view import View

#: Rows that are compared with all better rows at once. One matrix of 512 rows takes 1.4 times as
#: long as blocks of 64.
_BLOCK = 64


@dataclass(frozen=True)
class RegionSettings:
    """Where an ask works."""

    branch_probability: float = 0.5
    """Asks in a conditional space that search one branch, drawn at random."""
    distance_power: float = 1.5
    """p in the probability d^p / (cumulative d^p over better rows)^q of a centre."""
    cumulative_power: float = 3.0
    """q in the same formula: a higher value prefers better centres."""
    radius_fraction: float = 0.5
    """Radius of a basin, as a fraction of its centre's nearest-better distance."""
    least_rows: int = 8
    """With fewer rows, a region has no model of its own, and points stay within its radius."""
    rows_per_column: int = 4
    """The k of the k * d rows that decide whether a region has converged."""
    converged_fraction: float = 1e-8
    """Converged: the costs span less than this fraction of the sample's range of costs."""


@dataclass(frozen=True)
class Region:
    """The rows that an ask works with.

    Parameters
    ----------
    kind
        One of `adbo.core.origins.REGIONS`.
    X, cost
        Complete rows ``(k, d)`` and costs ``(k,)``, the most relevant first.
    reach
        Largest distance of proposed points from the first row.
    parts
        What the costs are made of; see `adbo.optimizer.sample.Sample`.
    """

    kind: str
    X: FloatArray
    cost: FloatArray
    reach: float = math.inf
    parts: Parts | None = None

    @property
    def is_basin(self) -> bool:
        """Whether the rows are ordered by their distance to a centre."""
        return self.kind in ("basin", "restart")


def make_region(
    view: View, kind: str, rng: np.random.Generator, settings: RegionSettings
) -> Region:
    """Return the region of a kind; a restart in place of elites that have converged.

    Parameters
    ----------
    view
        What the ask sees; its sample has at least one complete evaluation.
    kind
        One of `adbo.core.origins.REGIONS`.
    rng
        Source of the centre.
    settings
        Tunables.
    """
    sample, n_elites = view.sample, view.sample.n_elites
    if kind == "space":
        return Region(kind, view.complete, sample.cost, parts=sample.parts)
    if kind == "elites":
        best = sample.cost[: min(settings.rows_per_column * sample.X.shape[1], n_elites)]
        if is_flat(best, settings.converged_fraction * _cost_range(sample.cost)):
            kind = "restart"
    if kind in ("elites", "branch"):
        parts = None if sample.parts is None else sample.parts[:n_elites]
        return Region(kind, view.complete[:n_elites], sample.cost[:n_elites], parts=parts)
    return _make_basin(view, kind, rng, settings)


def _make_basin(
    view: View, kind: str, rng: np.random.Generator, settings: RegionSettings
) -> Region:
    """Draw centres until the basin of one has not converged, and return its nearest rows."""
    sample, geometry = view.sample, view.geometry
    cost, size = sample.cost, settings.rows_per_column * sample.X.shape[1]
    # A constant: a parameter that is absent in two rows adds nothing to their distance.
    embedded = embed(np.nan_to_num(sample.X, nan=0.5), geometry.categories)
    nearest_better = nearest_better_distances(embedded, cost)
    if kind == "restart":
        weight = _restart_weights(embedded, nearest_better, cost, size, settings)
    else:
        weight = _centre_weights(nearest_better, cost, settings)
    auxiliary = sample.auxiliary()
    X = np.concatenate([view.complete, auxiliary.X])
    everything = np.concatenate([embedded, embed(auxiliary.X, geometry.categories)])
    all_cost = np.concatenate([cost, auxiliary.cost])
    least_tolerance = settings.converged_fraction * _cost_range(cost)
    while True:
        total = weight.sum()
        centre = int(rng.choice(len(weight), p=weight / total)) if total > 0 else 0
        distance = np.sum((everything - embedded[centre]) ** 2, axis=1)
        with np.errstate(over="ignore"):
            behind = cost[centre] - cost[0] if np.isfinite(cost[0]) else 0.0
        around = _nearest(distance, size)
        # A basin whose costs span less than its centre is behind cannot reach the incumbent.
        converged = is_flat(all_cost[around], max(least_tolerance, behind))
        # Rows beyond the nearest better row do not inform about a basin with few rows.
        is_searched = kind == "basin" or distance[around].max() <= nearest_better[centre] ** 2
        if not (total > 0 and is_searched and converged):
            break
        around = around[around < len(weight)]
        weight[around[cost[around] >= cost[centre]]] = 0.0
        weight[centre] = 0.0  # many equal rows may be as near
    rows = np.argsort(distance, kind="stable")[:ELITES]
    radius = settings.radius_fraction * float(nearest_better[centre])
    inside = rows[distance[rows] <= radius**2]
    if len(inside) >= settings.least_rows:
        rows, radius = inside, math.inf
    parts = None
    if sample.parts is not None and auxiliary.parts is not None:
        values = np.concatenate([sample.parts.values, auxiliary.parts.values])[rows]
        parts = Parts(values, sample.parts.preference)
    return Region(kind, X[rows], all_cost[rows], radius, parts)


def nearest_better_distances(embedded: FloatArray, cost: FloatArray) -> FloatArray:
    """Return each row's distance to the nearest better row ``(m,)``, infinity for the best."""
    order = np.argsort(cost, kind="stable")
    ordered = embedded[order]
    squares = np.empty(len(order))
    for start in range(0, len(order), _BLOCK):
        stop = min(start + _BLOCK, len(order))
        block = squared_distances(ordered[start:stop], ordered[:stop])
        block[:, start:] += _not_better()[: stop - start, : stop - start]
        squares[start:stop] = block.min(axis=1)
    distances = np.empty(len(order))
    distances[order] = np.sqrt(np.maximum(squares, 0.0))
    return distances


def is_flat(cost: FloatArray, tolerance: float) -> bool:
    """Return whether the finite costs span at most the tolerance; False if there are none."""
    finite = cost[np.isfinite(cost)]
    with np.errstate(over="ignore"):
        return bool(finite.size and finite.max() <= finite.min() + tolerance)


def _cost_range(cost: FloatArray) -> float:
    """Return the difference between the 80 % quantile of the costs ``(m,)`` and the lowest."""
    finite = cost[np.isfinite(cost)]
    if not finite.size:
        return 0.0
    index = len(finite) * 4 // 5
    with np.errstate(over="ignore"):
        difference = np.partition(finite, index)[index] - finite.min()
    return float(min(difference, np.finfo(np.float64).max))


def _nearest(distance: FloatArray, n: int) -> IntArray:
    """Return the numbers of the n smallest distances ``(m,)``, in no order."""
    return np.argpartition(distance, n)[:n] if n < len(distance) else np.arange(len(distance))


@cache
def _not_better() -> FloatArray:
    """Return a matrix with infinity on and above the diagonal and 0 below."""
    return np.where(np.tri(_BLOCK, k=-1, dtype=bool), 0.0, np.inf)


def _distance_weights(nearest_better: FloatArray, settings: RegionSettings) -> FloatArray:
    """Return ``d^p (m,)``; for the best row, whose d is infinite, the largest finite value."""
    power = nearest_better**settings.distance_power
    power[np.isinf(power)] = power[np.isfinite(power)].max(initial=0.0)
    return power


def _centre_weights(
    nearest_better: FloatArray, cost: FloatArray, settings: RegionSettings
) -> FloatArray:
    """Return each row's weight as a centre ``(m,)``: d^p / (cumulative d^p over better rows)^q.

    d is the nearest-better distance. Failures have the weight 0.
    """
    order = np.argsort(cost, kind="stable")
    ordered = _distance_weights(nearest_better, settings)[order]
    total = (ordered[0] + np.cumsum(ordered) - ordered) ** settings.cumulative_power
    weight = np.empty(len(order))
    weight[order] = np.divide(ordered, total, out=np.zeros_like(ordered), where=total > 0)
    weight[np.isnan(cost)] = 0.0
    return weight


def _restart_weights(
    embedded: FloatArray,
    nearest_better: FloatArray,
    cost: FloatArray,
    size: int,
    settings: RegionSettings,
) -> FloatArray:
    """Return each row's weight as the centre of a restart ``(m,)``, whatever its cost.

    The weight is d^p times the number of rows that are closer than the nearest better row. That
    number is low on the slope of a basin, where the next better row is as close as other rows.
    Rows near the incumbent, whose basin has ``size`` rows or more, have the weight 0.
    """
    closer = squared_distances(embedded, embedded) < nearest_better[:, None] ** 2
    n_closer = np.maximum(closer.sum(axis=1), 1)
    weight = np.asarray(_distance_weights(nearest_better, settings) * n_closer)
    weight[np.isnan(cost)] = 0.0
    distance = np.sum((embedded - embedded[0]) ** 2, axis=1)
    far = distance > 4 * distance[_nearest(distance, size)].max()
    if weight[far].any():  # different choices all have the same distance
        weight[~far] = 0.0
    return weight
