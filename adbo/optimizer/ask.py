"""One ask: from the history to the next point to evaluate.

An ask reads a bounded sample of the history, its best evaluations and a draw of the others, so that
its cost does not depend on the length of the history. It chooses a region (`regions`: the elites,
the basin of another centre, or the whole space), then a strategy (`strategies`), and takes the
first point of the strategy that is new. Region and strategy are drawn by shares that follow what
each has brought lately (`shares`). Every rank asks by itself; ranks that know the same evaluations
propose different points because each has its own random stream.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from adbo.core.history import History
from adbo.core.origins import NO_ORIGIN, to_code
from adbo.core.space import FloatArray, IntArray
from adbo.optimizer.branches import enter_branch, is_in_branch
from adbo.optimizer.distances import squared_distances
from adbo.optimizer.regions import make_region
from adbo.optimizer.sample import Geometry, draw_sample
from adbo.optimizer.settings import DEFAULT_SETTINGS, OptimizerSettings
from adbo.optimizer.shares import Credits, learn_credits
from adbo.optimizer.strategies import GLOBAL, Strategy
from adbo.optimizer.threads import one_thread
from adbo.optimizer.view import View, make_view


class Proposal(NamedTuple):
    """A point to evaluate, and what proposed it."""

    point: FloatArray
    """Internal values ``(d,)`` that the distributions can hold."""
    origin: int
    """A code of `adbo.core.origins`."""


def propose(
    history: History,
    kappa_mean: float,
    rng: np.random.Generator,
    settings: OptimizerSettings = DEFAULT_SETTINGS,
    part: tuple[int, int] = (0, 1),
) -> Proposal:
    """Propose the next point to evaluate.

    Parameters
    ----------
    history
        All evaluations that this rank knows; the search space may still be empty.
    kappa_mean
        Mean of the exponential distribution from which this ask draws kappa, the weight of the
        standard deviation.
    rng
        Random stream of this rank.
    settings
        Tunables of the method.
    part
        This rank and the number of ranks, among which new points of a finite space are dealt out.
    """
    space = history.space
    if len(space) == 0:
        return Proposal(np.empty(0), NO_ORIGIN)
    is_small = space.levels.prod() <= settings.sample.n_enumerated
    all_points = space.all_units if is_small else None
    geometry = Geometry(space.categories, space.levels, space.snap, all_points)

    def is_known(units: FloatArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
        return history.contains(space.from_unit(units))

    sample = draw_sample(history, rng, settings.sample)
    check = is_known if space.has_grid else None
    view = make_view(sample, geometry, float(rng.exponential(kappa_mean)), check, rng)
    credits = learn_credits(history, settings.shares)
    with one_thread():
        point, origin = _propose_unit(view, credits, rng, settings, part)
    return Proposal(space.from_unit(point[None, :])[0], origin)


def _propose_unit(
    view: View,
    credits: Credits,
    rng: np.random.Generator,
    settings: OptimizerSettings,
    part: tuple[int, int],
) -> tuple[FloatArray, int]:
    """Return a point of the unit cube ``(d,)`` and its origin."""
    known: tuple[FloatArray, int] | None = None
    for name, strategy, kind in _draw_arms(view, credits, rng, settings):
        points, kind = _points(view, strategy, kind, rng, settings)
        origin = to_code(name, kind)
        if not len(points):
            continue
        new = np.flatnonzero(~view.is_known(points))
        if len(new):
            return points[_own(points, new, view.geometry, part)], origin
        known = known or (points[0], origin)
    if known is None:
        units = view.geometry.snap(rng.random((1, len(view.geometry.levels))))
        known = units[0], NO_ORIGIN
    return known


def _draw_arms(
    view: View, credits: Credits, rng: np.random.Generator, settings: OptimizerSettings
) -> Iterator[tuple[str, Strategy, str]]:
    """Yield names, strategies and kinds of region in the order in which an ask tries them."""
    all_strategies = settings.strategies
    if "exploration" in all_strategies and view.sample.n_elites < settings.initial:
        yield "exploration", all_strategies["exploration"], "space"
    if not view.sample.n_elites:
        return
    spatial = {name: s for name, s in all_strategies.items() if name in GLOBAL}
    regional = {name: s for name, s in all_strategies.items() if name not in GLOBAL}
    arms = {"space": spatial, "elites": regional, "basin": regional}
    if np.isnan(view.sample.X).any() and rng.random() < settings.regions.branch_probability:
        arms["branch"] = all_strategies
    arms = {kind: dict(strategies) for kind, strategies in arms.items() if strategies}
    codes = {kind: _codes(strategies, kind) for kind, strategies in arms.items()}
    while arms:
        kinds = list(arms)
        kind = "branch"
        if kind not in arms:
            kind = kinds[_draw(credits.shares([codes[k].ravel() for k in kinds]), rng)]
        names = list(arms[kind])
        name = names[_draw(credits.shares(list(_codes(names, kind))), rng)]
        yield name, arms[kind].pop(name), kind
        if not arms[kind]:
            del arms[kind]


def _codes(strategies: Sequence[str] | Mapping[str, Strategy], kind: str) -> IntArray:
    """Return the codes ``(n, 2)`` of each strategy in a kind of region and in its restarts."""
    other = "restart" if kind == "elites" else kind
    codes = [[to_code(name, kind), to_code(name, other)] for name in strategies]
    return np.array(codes, dtype=np.int64)


def _draw(shares: FloatArray, rng: np.random.Generator) -> int:
    return int(rng.choice(len(shares), p=shares))


def _points(
    view: View, strategy: Strategy, kind: str, rng: np.random.Generator, settings: OptimizerSettings
) -> tuple[FloatArray, str]:
    """Return the points ``(N, d)`` of a strategy, without those that would fail, and the region."""
    inner = None
    if kind == "branch":
        inner = enter_branch(view, rng, settings.regions.rows_per_column)
        if inner is None:
            kind = "elites"
    seen = view if inner is None else inner
    if not seen.sample.n_elites:
        return strategy.propose(seen, None, rng), kind
    region = make_region(seen, kind, rng, settings.regions)
    points = strategy.propose(seen, region, rng)
    if inner is not None and len(points):
        points = points[is_in_branch(view.mark_absent(points), inner.sample.X[0])]
    failed = ~np.isfinite(view.sample.cost)
    if failed.any() and len(points):
        # Most models do not know failures: drop points whose nearest row failed.
        nearest = np.argmin(squared_distances(points, view.complete), axis=1)
        points = points[~failed[nearest]]
    return points, region.kind


def _own(
    points: FloatArray, new: IntArray, geometry: Geometry, part: tuple[int, int]
) -> int:
    """Return the first of the new points, and in a finite space the first that is dealt to a rank.

    Ranks that ask before they know of each other's points would otherwise take the same.
    """
    rank, n_ranks = part
    n = min(n_ranks, len(new))
    if n > 1 and np.isfinite(geometry.levels).all():
        for i in new:
            if zlib.crc32(points[i].tobytes()) % n == rank % n:
                return int(i)
    return int(new[0])
