"""Which evaluations an ask works with: the elites, or a basin of its own.

Ranks that all follow the elites end in the basin that was found first; some asks look after
others.

Notation: ``X (m, d)`` complete rows of the unit cube, ``cost (m,)``, NaN for failures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from adbo.core.space import FloatArray, IntArray
from adbo.optimizer.candidates import Geometry, Sample, places
from adbo.optimizer.distances import squared_distances

#: Share of the asks that work in a niche, next to the head of some basin, not with the elites.
#: Without, a 5-dimensional Rosenbrock function was at 6e-6 after 2,000 evaluations on 64 workers,
#: with 0.75 once the best rows were close to each other at 1e-6, with this at 1e-9 (geometric
#: means of the same 4 seeds).
NICHE_SHARE = 0.3

#: A head counts by this power of its distance to the nearest better row, divided by that power of
#: the sum over all better ones. With 1.5 and 2, after 2,000 evaluations on 64 workers, a
#: 30-dimensional Ackley function was at 1.2, not at 0.7 (5 studies).
ISOLATION_POWER, RANK_POWER = 1.5, 3.0

#: To the basin of a head belong the rows that are closer to it than this share of its distance to
#: the nearest better row.
CELL = 0.5

#: A basin is exhausted if so many of its rows for each column differ, in cost, by less than this
#: share of what the worst fifth of the sample differs from the incumbent; or by less than its head
#: does, so that it cannot get so far.
EXHAUSTED_ROWS, EXHAUSTED_SHARE = 4, 1e-10

#: The incumbent's basin is polished if as many of the best rows differ by less than this share of
#: the same. Then so many of the asks leave: they work elsewhere, with heads that are the best of
#: many rows around them, however bad. With half of the asks, 8 of 20 studies of Hartmann functions
#: (five instances that start in the second best basin) were not within 1e-3 of the optimum after
#: 1,600 evaluations on 64 workers, with this 3; with half, and the heads of other niches, 10.
POLISHED_SHARE, LEAVING_SHARE = 1e-7, 0.75

#: So many rows are compared with all better ones at once.
_BLOCK = 64

#: How many exhausted heads are passed over.
_PATIENCE = 30


@dataclass(frozen=True)
class Niche:
    """What an ask works with.

    Parameters
    ----------
    rows
        Of the sample and its reserve ``(k,)``, most relevant first; the elites, all by their
        distance to a head, or those of a branch.
    is_elites
        Whether they are the elites.
    radius
        Up to where, from the head, rows belong to its basin; infinity if no row is better.
    is_branch
        Whether they are the rows of a branch, best first, which this ask does not leave.
    is_restart
        Whether the head is far from a polished basin, and may have few rows around it.
    """

    rows: IntArray
    is_elites: bool
    radius: float
    is_branch: bool = False
    is_restart: bool = False


def choose(sample: Sample, geometry: Geometry, rng: np.random.Generator) -> Niche:
    """The rows this ask works with.

    A niche is rows by their distance to one that is the head of a basin: one with no better row
    nearby (nearest-better clustering, Preuss, EvoApplications 2010). Failures are no heads. A
    basin that is exhausted is left alone.

    Parameters
    ----------
    sample
        Complete rows.
    geometry
        What the columns are.
    rng
        Source of all choices.
    """
    n_elites, cost = sample.n_elites, sample.cost
    elites = Niche(np.arange(n_elites), True, math.inf)
    if not n_elites:
        return elites
    size = EXHAUSTED_ROWS * sample.X.shape[1]
    difference = _difference(cost)
    best = cost[: min(size, n_elites)]
    leaves = is_flat(best, POLISHED_SHARE * difference) and bool(rng.random() < LEAVING_SHARE)
    stays = rng.random() >= NICHE_SHARE
    if stays and not leaves and not is_flat(best, EXHAUSTED_SHARE * difference):
        return elites
    place = places(sample.X, geometry.categories)
    isolation = isolations(place, cost)
    weight = _restart_weights(place, isolation) if leaves else _head_weights(isolation, cost)
    weight[np.isnan(cost)] = 0.0
    if leaves:
        distance = np.sum((place - place[0]) ** 2, axis=1)
        far = distance > 4 * distance[_nearest(distance, size)].max()
        if weight[far].any():  # choices are all as far from each other
            weight[~far] = 0.0
    reserve = sample.reserve()
    everything = np.concatenate([place, places(reserve.X, geometry.categories)])
    all_cost = np.concatenate([cost, reserve.cost])
    for _ in range(_PATIENCE):
        total = weight.sum()
        head = int(rng.choice(len(weight), p=weight / total)) if total > 0 else 0
        distance = np.sum((everything - place[head]) ** 2, axis=1)
        with np.errstate(over="ignore"):
            behind = cost[head] - cost[0] if np.isfinite(cost[0]) else 0.0
        around = _nearest(distance, size)
        tolerance = max(EXHAUSTED_SHARE * difference, behind)
        # Rows from beyond the next better one say nothing of a basin that was hardly searched.
        is_searched = not leaves or distance[around].max() <= isolation[head] ** 2
        if not (total > 0 and is_searched and is_flat(all_cost[around], tolerance)):
            break
        around = around[around < len(weight)]
        weight[around[cost[around] >= cost[head]]] = 0.0
    rows = np.argsort(distance, kind="stable")
    return Niche(rows, False, CELL * float(isolation[head]), is_restart=leaves)


def _difference(cost: FloatArray) -> float:
    """What the worst fifth of the costs ``(m,)`` differs from the best one, at least."""
    finite = cost[np.isfinite(cost)]
    if not finite.size:
        return 0.0
    fourth_fifth = len(finite) * 4 // 5
    with np.errstate(over="ignore"):
        difference = np.partition(finite, fourth_fifth)[fourth_fifth] - finite.min()
    return float(min(difference, np.finfo(np.float64).max))


def _nearest(distance: FloatArray, n: int) -> IntArray:
    """The rows of the smallest distances, at most n of ``(m,)``, in no order."""
    return np.argpartition(distance, n)[:n] if n < len(distance) else np.arange(len(distance))


def isolations(place: FloatArray, cost: FloatArray) -> FloatArray:
    """Distance of each row ``(m, k)`` to the nearest better one ``(m,)``, infinity if none is."""
    order = np.argsort(cost, kind="stable")
    ordered = place[order]
    squares = np.empty(len(order))
    # By blocks: one matrix of 512 rows takes 1.4 times as long.
    for start in range(0, len(order), _BLOCK):
        stop = min(start + _BLOCK, len(order))
        block = squared_distances(ordered[start:stop], ordered[:stop])
        block[:, start:] += _not_better()[: stop - start, : stop - start]
        squares[start:stop] = block.min(axis=1)
    isolation = np.empty(len(order))
    isolation[order] = np.sqrt(np.maximum(squares, 0.0))
    return isolation


@cache
def _not_better() -> FloatArray:
    """Infinity on the diagonal and above it."""
    return np.where(np.tri(_BLOCK, k=-1, dtype=bool), 0.0, np.inf)


def _isolation_weights(isolation: FloatArray) -> FloatArray:
    """How much each row counts ``(m,)``; the best one, that has no better row, as the next."""
    power = isolation**ISOLATION_POWER
    power[np.isinf(power)] = power[np.isfinite(power)].max(initial=0.0)
    return power


def _head_weights(isolation: FloatArray, cost: FloatArray) -> FloatArray:
    """How likely each row becomes a head ``(m,)``, the best the likeliest."""
    order = np.argsort(cost, kind="stable")
    ordered = _isolation_weights(isolation)[order]
    total = (ordered[0] + np.cumsum(ordered) - ordered) ** RANK_POWER
    weight = np.empty(len(order))
    weight[order] = np.divide(ordered, total, out=np.zeros_like(ordered), where=total > 0)
    return weight


def _restart_weights(place: FloatArray, isolation: FloatArray) -> FloatArray:
    """The same ``(m,)`` without regard to cost: the likeliest is the best of the most rows.

    Of the rows that are closer to it than any better one, few if it is on the slope of a basin,
    whose next better row is as close as others are.
    """
    closer = squared_distances(place, place) < isolation[:, None] ** 2
    return np.asarray(_isolation_weights(isolation) * np.maximum(closer.sum(axis=1), 1))


def is_flat(cost: FloatArray, tolerance: float) -> bool:
    """Whether all costs that are finite, and there is one, are within the tolerance."""
    finite = cost[np.isfinite(cost)]
    with np.errstate(over="ignore"):
        return bool(finite.size and finite.max() <= finite.min() + tolerance)
