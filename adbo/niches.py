"""Which evaluations an ask works with: the elites, or a basin of its own.

Ranks that all follow the elites end in the basin that was found first; some asks look after
others, most of them once the elites have gathered in one.

Notation: ``X (m, d)`` complete rows of the unit cube, ``cost (m,)``, NaN for failures.
"""

from __future__ import annotations

import numpy as np

from adbo.candidates import Geometry
from adbo.space import FloatArray, IntArray

#: Share of the asks that work in a niche, next to the head of some basin, not with the elites:
#: while the best rows are still apart, and once they have gathered. With 0.5 throughout, 5 of 6
#: studies of a 5-dimensional Rosenbrock function were above 0.005 after 2,000 evaluations, with
#: these (and 0.02 for `GATHERED`) 3.
SCATTERED_SHARE, NICHE_SHARE = 0.3, 0.6

#: So many best rows have gathered when no column of theirs has a larger standard deviation.
CORE, GATHERED = 64, 0.01

#: A head counts by this power of its distance to the nearest better row: 1 left 2 of 6 studies of
#: a 6-dimensional Hartmann function in its second best basin, 3 none.
ISOLATION_POWER = 3

#: A basin is exhausted if so many of its rows for each column differ, in cost, by less than this
#: share of what the worst fifth of the sample differs from the incumbent.
EXHAUSTED_ROWS, EXHAUSTED_SHARE = 4, 1e-10

#: How many exhausted heads are passed over.
_PATIENCE = 8


def rank(
    X: FloatArray, cost: FloatArray, n_elites: int, geometry: Geometry, rng: np.random.Generator
) -> IntArray:
    """The rows this ask works with, most relevant first: the elites, or a niche.

    A niche is all rows by their distance to one that is the head of a basin: one with no better
    row nearby (nearest-better clustering, Preuss, EvoApplications 2010). A head is drawn with a
    weight of its isolation, divided by that of all better ones together; failures are no heads. A
    basin in which all rows are as good as equal is left alone.

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

    Returns
    -------
    IntArray
        ``(n_elites,)`` or ``(m,)``.
    """
    if not n_elites:
        return np.arange(0)
    size = EXHAUSTED_ROWS * X.shape[1]
    finite = cost[np.isfinite(cost)]
    tolerance = 0.0
    if finite.size:
        tolerance = EXHAUSTED_SHARE * np.quantile(finite, 0.8) - EXHAUSTED_SHARE * finite.min()
    gathered = X[: min(CORE, n_elites)].std(axis=0).max() <= GATHERED
    if rng.random() >= (NICHE_SHARE if gathered else SCATTERED_SHARE) and not _is_flat(
        cost[: min(size, n_elites)], tolerance
    ):
        return np.arange(n_elites)
    order = np.argsort(cost, kind="stable")
    places = _places(X[order], geometry)
    weight = _head_weights(places)
    weight[np.isnan(cost[order])] = 0.0
    for _ in range(_PATIENCE):
        total = weight.sum()
        head = rng.choice(len(order), p=weight / total) if total > 0 else 0
        distance = np.sum((places - places[head]) ** 2, axis=1)
        niche = order[np.argsort(distance, kind="stable")]
        if not _is_flat(cost[niche[:size]], tolerance):
            break
        weight[head] = 0.0
    return np.asarray(niche)


def _head_weights(places: FloatArray) -> FloatArray:
    """How likely each row ``(m, k)``, best first, becomes a head ``(m,)``."""
    norm = np.sum(places**2, axis=1)
    squares = norm[:, None] + norm - 2 * places @ places.T
    squares[np.triu_indices(len(squares))] = np.inf
    isolation = np.maximum(squares.min(axis=1), 0.0) ** (ISOLATION_POWER / 2)
    isolation[0] = isolation[1:].max(initial=0.0)
    total = isolation[0] + np.cumsum(isolation) - isolation
    return np.divide(isolation, total, out=np.zeros_like(isolation), where=total > 0)


def _is_flat(cost: FloatArray, tolerance: float) -> bool:
    finite = cost[np.isfinite(cost)]
    return bool(finite.size and finite.max() <= finite.min() + tolerance)


def _places(X: FloatArray, geometry: Geometry) -> FloatArray:
    """Rows as points whose distances count: different categories are one unit apart."""
    columns = [X[:, geometry.categories == 0]]
    for column in np.flatnonzero(geometry.categories):
        n = int(geometry.categories[column])
        index = np.clip((X[:, column] * n).astype(np.intp), 0, n - 1)
        columns.append(np.eye(n)[index] / np.sqrt(2))
    return np.concatenate(columns, axis=1)
