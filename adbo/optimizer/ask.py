"""One ask: from the history to the next point to evaluate.

An ask reads a bounded sample of the history, its best evaluations and a draw of the others, so
that its cost does not depend on the length of the history. It chooses a region (`regions`: the
elites, the basin of another centre, or the whole space), then a strategy (`strategies`), and takes
the first point of the strategy that is new. Both are drawn by shares that follow what each has
brought lately (`shares`). Every rank asks by itself; ranks that know the same evaluations propose
different points because each has its own random stream. Several objectives, or constraints,
become one cost by a preference that each ask draws (`preference`).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from adbo.core.allowed import Predicate, is_allowed
from adbo.core.history import History
from adbo.core.origins import NO_ORIGIN, to_code
from adbo.core.space import FloatArray, IntArray
from adbo.optimizer.allowed import allowed_exploration, allowed_points, random_allowed
from adbo.optimizer.branches import enter_branch, is_in_branch
from adbo.optimizer.distances import squared_distances
from adbo.optimizer.preference import is_plain
from adbo.optimizer.regions import Region, make_region
from adbo.optimizer.sample import Geometry, draw_preferred_sample, draw_sample
from adbo.optimizer.settings import DEFAULT_SETTINGS, OptimizerSettings
from adbo.optimizer.shares import Credits, learn_credits
from adbo.optimizer.strategies import GLOBAL
from adbo.optimizer.strategies.exploration import Exploration
from adbo.optimizer.threads import one_thread
from adbo.optimizer.view import View, make_view

#: A finite space of at most this many points is searched as a whole for new points; more take
#: longer than an ask may.
MOST_ENUMERATED = 2**16

#: Points whose nearest rows are sought at once: a matrix for all of a finite space would take
#: hundreds of megabytes.
_BLOCK = 2**12


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
    predicate: Predicate | None = None,
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
    predicate
        Allows a point or not; None to allow all.

    Raises
    ------
    adbo.core.allowed.NotAllowedError
        If the predicate fails, or no point was found that it allows.
    """
    space = history.space
    if len(space) == 0:
        return Proposal(np.empty(0), NO_ORIGIN)
    is_small = space.levels.prod() <= MOST_ENUMERATED
    all_points = space.all_units if is_small else None
    geometry = Geometry(space.categories, space.levels, space.snap, all_points)

    def is_known(units: FloatArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
        return history.contains(space.from_unit(units))

    if is_plain(history):
        sample = draw_sample(history, rng, settings.sample)
    else:
        sample = draw_preferred_sample(history, rng, settings.sample, settings.preference)
    check = is_known if space.has_grid else None
    kappa = float(rng.exponential(kappa_mean))
    view = make_view(sample, geometry, kappa, check, rng, settings.candidates)
    preference = None if sample.parts is None else sample.parts.preference
    credits = learn_credits(history, settings.shares, preference)
    if predicate is not None:

        def allows(point: FloatArray) -> bool:
            params = space.decode(space.from_unit(view.mark_absent(point[None]))[0])
            return is_allowed(predicate, params)

        view = replace(view, geometry=replace(geometry, allows=allows))
    with one_thread():
        point, origin = _propose_unit(view, credits, rng, settings, part)
    units = point[None]
    if predicate is not None:  # as it was tested: what is expected to be absent may contradict it
        units = view.mark_absent(units)
    return Proposal(space.from_unit(units)[0], origin)


def _propose_unit(
    view: View,
    credits: Credits,
    rng: np.random.Generator,
    settings: OptimizerSettings,
    part: tuple[int, int],
) -> tuple[FloatArray, int]:
    """Return a point of the unit cube ``(d,)`` and its origin."""
    strategies = {"exploration": Exploration(), **settings.strategies}
    risky: tuple[FloatArray, int] | None = None
    known: tuple[FloatArray, int] | None = None
    for inner, kind, names in _draw_regions(view, credits, rng, settings):
        region = make_region(inner, kind, rng, settings.regions)
        for i in credits.draw_order(_codes(names, kind), rng):
            points = strategies[names[i]].propose(inner, region, rng)
            points = _inside(points, view, inner)
            points = _allowed(points, view, region, names[i])
            if not len(points):
                continue
            origin = to_code(names[i], region.kind)
            new = points[~view.is_known(points)]
            safe = _without_failures(new, view)
            if len(safe):
                return safe[_own(safe, view.geometry, part)], origin
            if len(new):
                risky = risky or (new[_own(new, view.geometry, part)], origin)
            else:
                known = known or (points[0], origin)
    if view.geometry.allows is not None and risky is known is None:
        d = view.sample.X.shape[1]
        return random_allowed(rng, d, view.geometry.allows, view.geometry.snap), NO_ORIGIN
    found = risky or known
    assert found is not None, "exploration always has a point"
    return found


def _allowed(points: FloatArray, view: View, region: Region, strategy: str) -> FloatArray:
    """Return allowed points ``(N, d)``, best first; of exploration, new ones first."""
    allows, snap = view.geometry.allows, view.geometry.snap
    if allows is None or not len(points):
        return points
    if strategy != "exploration":
        return allowed_points(points, region.X, allows, snap)
    return allowed_exploration(points[np.argsort(view.is_known(points), kind="stable")], allows)


def _draw_regions(
    view: View, credits: Credits, rng: np.random.Generator, settings: OptimizerSettings
) -> Iterator[tuple[View, str, list[str]]]:
    """Yield views, kinds of region, and names of strategies in the order an ask tries them.

    Exploration comes last in any case: the others may have no new point.
    """
    spatial = [name for name in settings.strategies if name in GLOBAL]
    regional = [name for name in settings.strategies if name not in GLOBAL]
    explore = view, "space", ["exploration"]
    if view.sample.n_elites < settings.initial and "exploration" in spatial:
        yield explore
    if not view.sample.n_elites:
        yield explore
        return
    if np.isnan(view.sample.X).any() and rng.random() < settings.regions.branch_probability:
        branch = enter_branch(view, rng, settings.regions.rows_per_column)
        if branch is not None:
            yield branch, "branch", list(settings.strategies)
    kinds = {"space": spatial, "elites": regional, "basin": regional}
    arms = [(kind, names) for kind, names in kinds.items() if names]
    codes = [np.concatenate(_codes(names, kind)) for kind, names in arms]
    for i in credits.draw_order(codes, rng):
        kind, names = arms[i]
        yield view, kind, names
    yield explore


def _codes(names: Sequence[str], kind: str) -> list[IntArray]:
    """Return the codes of each strategy in a kind of region; restarts are in place of elites."""
    kinds = ("elites", "restart") if kind == "elites" else (kind,)
    return [np.array([to_code(name, k) for k in kinds]) for name in names]


def _inside(points: FloatArray, view: View, inner: View) -> FloatArray:
    """Return the points ``(N, d)`` that are predicted to be in the branch of the inner view."""
    if inner is view or not len(points):
        return points
    return points[is_in_branch(view.mark_absent(points), inner.sample.X[0])]


def _without_failures(points: FloatArray, view: View) -> FloatArray:
    """Return the points ``(N, d)`` whose nearest row did not fail: most models ignore failures.

    If all rows failed, they say nothing about where points would not.
    """
    failed = ~np.isfinite(view.sample.cost)
    if not failed.any() or failed.all() or not len(points):
        return points
    blocks = np.split(points, range(_BLOCK, len(points), _BLOCK))
    nearest = [np.argmin(squared_distances(block, view.complete), axis=1) for block in blocks]
    return points[~failed[np.concatenate(nearest)]]


def _own(points: FloatArray, geometry: Geometry, part: tuple[int, int]) -> int:
    """Return the first point; in a finite space, the first that is dealt to a rank.

    Ranks that ask before they know of each other's points would otherwise take the same. A rank
    to which none is dealt takes the first that is dealt to the next rank that has one.
    """
    rank, n_ranks = part
    if n_ranks == 1 or not np.isfinite(geometry.levels).all():
        return 0
    return int(np.argmin([(zlib.crc32(point.tobytes()) - rank) % n_ranks for point in points]))
