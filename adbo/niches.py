"""Which evaluations an ask works with: the elites, or a basin of its own.

Ranks that all follow the elites end in the basin that was found first; some asks look after
others, most of them once the elites have gathered in one.

Notation: ``X (m, d)`` complete rows of the unit cube, ``cost (m,)``, NaN for failures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from adbo.candidates import Geometry, places
from adbo.distances import squared_distances
from adbo.space import FloatArray, IntArray

#: Share of the asks that work in a niche, next to the head of some basin, not with the elites:
#: while the best rows are still apart, and once they have gathered. Most of these heads are the
#: incumbent, whose niche has the rows nearest to it, not the best ones. With a share of 0.5
#: throughout, 5 of 6 studies of a 5-dimensional Rosenbrock function were above 0.005 after 2,000
#: evaluations; with half of both, never the incumbent and a rank power of 2, five of six functions
#: were worse after 200 evaluations on 8 workers.
SCATTERED_SHARE, NICHE_SHARE = 0.3, 0.75

#: So many best rows have gathered when no column of theirs has a larger standard deviation.
CORE, GATHERED = 64, 0.01

#: A head counts by this power of its distance to the nearest better row, divided by that power of
#: the sum over all better ones. With 1.5 and 2, after 2,000 evaluations on 64 workers, a
#: 30-dimensional Ackley function was at 1.2, not at 0.7 (5 studies); a rotated 5-dimensional
#: Rastrigin function at 3.4, not at 3.0 (24 and 56), which says nothing; with 1.5 and 4, at 4.5
#: (24).
ISOLATION_POWER, RANK_POWER = 1.5, 3.0

#: To the basin of a head belong the rows that are closer to it than this share of its distance to
#: the nearest better row.
CELL = 0.5

#: A basin is exhausted if so many of its rows for each column differ, in cost, by less than this
#: share of what the worst fifth of the sample differs from the incumbent; or by less than its head
#: does, so that it cannot get so far.
EXHAUSTED_ROWS, EXHAUSTED_SHARE = 4, 1e-10

#: How many exhausted heads are passed over.
_PATIENCE = 30


@dataclass(frozen=True)
class Niche:
    """What an ask works with.

    Parameters
    ----------
    rows
        Of the sample ``(k,)``, most relevant first; the elites, all by their distance to a head,
        or those of a branch.
    is_elites
        Whether they are the elites.
    radius
        Up to where, from the head, rows belong to its basin; infinity if no row is better.
    is_branch
        Whether they are the rows of a branch, best first, which this ask does not leave.
    """

    rows: IntArray
    is_elites: bool
    radius: float
    is_branch: bool = False


def choose(
    X: FloatArray, cost: FloatArray, n_elites: int, geometry: Geometry, rng: np.random.Generator
) -> Niche:
    """The rows this ask works with.

    A niche is all rows by their distance to one that is the head of a basin: one with no better
    row nearby (nearest-better clustering, Preuss, EvoApplications 2010). Failures are no heads. A
    basin that is exhausted is left alone.

    Parameters
    ----------
    X, cost
        Complete rows ``(m, d)``, the elites first and best first, and costs ``(m,)``.
    n_elites
        Number of elites.
    geometry
        What the columns are.
    rng
        Source of all choices.
    """
    elites = Niche(np.arange(n_elites), True, math.inf)
    if not n_elites:
        return elites
    size = EXHAUSTED_ROWS * X.shape[1]
    finite = cost[np.isfinite(cost)]
    tolerance = 0.0
    if finite.size:
        tolerance = EXHAUSTED_SHARE * np.quantile(finite, 0.8) - EXHAUSTED_SHARE * finite.min()
    gathered = X[: min(CORE, n_elites)].std(axis=0).max() <= GATHERED
    if rng.random() >= (NICHE_SHARE if gathered else SCATTERED_SHARE) and not is_flat(
        cost[: min(size, n_elites)], tolerance
    ):
        return elites
    order = np.argsort(cost, kind="stable")
    best = cost[order[0]]
    place = places(X[order], geometry.categories)
    isolation = _isolation(place)
    weight = _head_weights(isolation)
    weight[np.isnan(cost[order])] = 0.0
    for _ in range(_PATIENCE):
        total = weight.sum()
        head = rng.choice(len(order), p=weight / total) if total > 0 else 0
        distance = np.sum((place - place[head]) ** 2, axis=1)
        nearest = np.argsort(distance, kind="stable")
        with np.errstate(over="ignore"):
            behind = cost[order[head]] - best if np.isfinite(best) else 0.0
        around = nearest[:size]
        if not is_flat(cost[order[around]], max(tolerance, behind)):
            break
        weight[around[around >= head]] = 0.0  # not of better ones, perhaps of other basins
    return Niche(order[nearest], False, CELL * float(isolation[head]))


def _isolation(place: FloatArray) -> FloatArray:
    """Distance of each row ``(m, k)``, best first, to the nearest better one ``(m,)``."""
    squares = squared_distances(place, place)
    squares = np.where(np.tri(len(squares), k=-1, dtype=bool), squares, np.inf)
    return np.sqrt(np.maximum(squares.min(axis=1), 0.0))


def _head_weights(isolation: FloatArray) -> FloatArray:
    """How likely each row, best first, becomes a head ``(m,)``."""
    power = isolation**ISOLATION_POWER
    power[0] = power[1:].max(initial=0.0)
    total = (power[0] + np.cumsum(power) - power) ** RANK_POWER
    return np.divide(power, total, out=np.zeros_like(power), where=total > 0)


def is_flat(cost: FloatArray, tolerance: float) -> bool:
    """Whether all costs that are finite, and there is one, are within the tolerance."""
    finite = cost[np.isfinite(cost)]
    with np.errstate(over="ignore"):
        return bool(finite.size and finite.max() <= finite.min() + tolerance)
