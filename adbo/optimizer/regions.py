"""Regions: the rows that an ask works with, which are the elites or the rows of one basin.

If all ranks followed the elites, they would end in the basin that was found first. Some asks
therefore work in the basin of another centre: a row that is far from every better row
(nearest-better clustering, Preuss, EvoApplications 2010). Once the incumbent's basin is polished,
most asks restart elsewhere.

Notation: ``X (m, d)`` complete rows of the unit cube, ``embedded (m, k)`` the same as points whose
distances are meaningful, ``cost (m,)``, NaN for failures, ``nearest_better (m,)`` the distance of
each row to the nearest row with a lower cost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache

import numpy as np

from adbo.core.space import FloatArray, IntArray
from adbo.optimizer.distances import embed, squared_distances
from adbo.optimizer.sample import Geometry, Sample
from adbo.optimizer.settings import RegionSettings

#: Rows that are compared with all better rows at once. One matrix of 512 rows takes 1.4 times as
#: long as blocks of 64.
_BLOCK = 64


class RegionKind(Enum):
    """How a region was chosen, and what its rows are."""

    ELITES = auto()
    """The elites, best first."""
    BASIN = auto()
    """All rows of the sample and the auxiliary rows, by their distance to a centre."""
    RESTART = auto()
    """A basin whose centre is far from the polished one; there may be few rows around it."""
    BRANCH = auto()
    """The rows of one branch of a conditional space, best first. The ask stays in the branch."""


@dataclass(frozen=True)
class Region:
    """The rows that an ask works with.

    Parameters
    ----------
    rows
        Numbers of rows in the sample followed by the auxiliary rows ``(k,)``, most relevant first.
    kind
        How they were chosen.
    radius
        Rows within this distance of the centre, the first row, belong to its basin; infinity if
        no row is better than the centre.
    """

    rows: IntArray
    kind: RegionKind
    radius: float = math.inf

    @property
    def is_basin(self) -> bool:
        """Whether the rows are ordered by their distance to a centre."""
        return self.kind in (RegionKind.BASIN, RegionKind.RESTART)


def choose_region(
    sample: Sample, geometry: Geometry, rng: np.random.Generator, settings: RegionSettings
) -> Region:
    """Choose the elites or a basin for this ask.

    Parameters
    ----------
    sample
        Complete rows.
    geometry
        Kinds of the columns.
    rng
        Source of all choices.
    settings
        Tunables.
    """
    n_elites, cost = sample.n_elites, sample.cost
    elites = Region(np.arange(n_elites), RegionKind.ELITES)
    if not n_elites:
        return elites
    size = settings.rows_per_column * sample.X.shape[1]
    cost_range = _cost_range(cost)
    best = cost[: min(size, n_elites)]
    is_polished = is_flat(best, settings.polished_fraction * cost_range)
    restarts = is_polished and bool(rng.random() < settings.restart_probability)
    stays = rng.random() >= settings.probability
    if stays and not restarts and not is_flat(best, settings.converged_fraction * cost_range):
        return elites
    kind = RegionKind.RESTART if restarts else RegionKind.BASIN
    return _choose_basin(sample, geometry, kind, rng, settings)


def _choose_basin(
    sample: Sample,
    geometry: Geometry,
    kind: RegionKind,
    rng: np.random.Generator,
    settings: RegionSettings,
) -> Region:
    """Draw centres until the basin of one has not converged."""
    cost, size = sample.cost, settings.rows_per_column * sample.X.shape[1]
    embedded = embed(sample.X, geometry.categories)
    nearest_better = nearest_better_distances(embedded, cost)
    if kind is RegionKind.RESTART:
        weight = _restart_weights(embedded, nearest_better, cost, size, settings)
    else:
        weight = _centre_weights(nearest_better, cost, settings)
    auxiliary = sample.auxiliary()
    everything = np.concatenate([embedded, embed(auxiliary.X, geometry.categories)])
    all_cost = np.concatenate([cost, auxiliary.cost])
    least_tolerance = settings.converged_fraction * _cost_range(cost)
    for _ in range(settings.attempts):
        total = weight.sum()
        centre = int(rng.choice(len(weight), p=weight / total)) if total > 0 else 0
        distance = np.sum((everything - embedded[centre]) ** 2, axis=1)
        with np.errstate(over="ignore"):
            behind = cost[centre] - cost[0] if np.isfinite(cost[0]) else 0.0
        around = _nearest(distance, size)
        # A basin whose costs span less than its centre is behind cannot reach the incumbent.
        converged = is_flat(all_cost[around], max(least_tolerance, behind))
        # Rows beyond the nearest better row do not inform about a basin with few rows.
        is_searched = (
            kind is RegionKind.BASIN or distance[around].max() <= nearest_better[centre] ** 2
        )
        if not (total > 0 and is_searched and converged):
            break
        around = around[around < len(weight)]
        weight[around[cost[around] >= cost[centre]]] = 0.0
    rows = np.argsort(distance, kind="stable")
    return Region(rows, kind, settings.radius_fraction * float(nearest_better[centre]))


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
