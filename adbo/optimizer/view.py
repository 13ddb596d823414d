"""What an ask derives from its sample once: complete rows, and which parameters will be absent.

Notation: ``X (m, d)`` the sample, ``N`` points, all in the unit cube.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from adbo.core.space import FloatArray
from adbo.optimizer import candidates
from adbo.optimizer.models import forest
from adbo.optimizer.regions import Region
from adbo.optimizer.sample import Sample

#: Tells which points ``(N, d)`` were evaluated before ``(N,)``.
IsKnown = Callable[[FloatArray], NDArray[np.bool_]]


@dataclass(frozen=True)
class View:
    """A sample with complete rows and predictions of presence.

    Parameters
    ----------
    sample
        The sample.
    complete
        Its rows ``(m, d)``, with values for absent parameters.
    mark_absent
        Sets parameters of points ``(N, d)`` to NaN where they are predicted to be absent.
    is_known
        Tells which points ``(N, d)`` were evaluated before.
    """

    sample: Sample
    complete: FloatArray
    mark_absent: Callable[[FloatArray], FloatArray]
    is_known: IsKnown


def make_view(sample: Sample, is_known: IsKnown | None, rng: np.random.Generator) -> View:
    """Complete the rows of a sample; learn presence when it is needed for the first time."""
    present = ~np.isnan(sample.X)
    if present.all():
        return View(sample, sample.X, lambda points: points, is_known or _none_known)
    complete = candidates.impute(sample.X, sample.n_elites, rng)
    learn = cache(lambda: forest.learn_presence(complete, present))

    def mark_absent(points: FloatArray) -> FloatArray:
        return np.where(learn()(points), points, np.nan)

    if is_known is None:
        return View(sample, complete, mark_absent, _none_known)
    return View(sample, complete, mark_absent, lambda points: is_known(mark_absent(points)))


def enter_region(view: View, region: Region, most_rows: int) -> tuple[View, Region]:
    """Restrict a basin to the rows within its radius, and add its auxiliary rows to the view.

    Parameters
    ----------
    view
        View of the sample.
    region
        A basin, with rows of the sample and auxiliary rows.
    most_rows
        Largest number of rows, the nearest to the centre, that are kept.

    Returns
    -------
    tuple[View, Region]
        The row numbers of the region refer to the view.
    """
    sample, n = view.sample, len(view.complete)
    auxiliary = sample.auxiliary()
    everything = np.concatenate([view.complete, auxiliary.X])
    distance = np.sum((everything[region.rows] - everything[region.rows[0]]) ** 2, axis=1)
    rows = region.rows[distance <= region.radius**2][:most_rows]
    is_auxiliary = rows >= n
    added = rows[is_auxiliary] - n
    view = replace(
        view,
        sample=replace(
            sample,
            X=np.concatenate([sample.X, auxiliary.X[added]]),
            cost=np.concatenate([sample.cost, auxiliary.cost[added]]),
        ),
        complete=np.concatenate([view.complete, auxiliary.X[added]]),
    )
    rows[is_auxiliary] = n + np.arange(len(added))
    return view, replace(region, rows=rows)


def _none_known(points: FloatArray) -> NDArray[np.bool_]:
    """Return False for all points: in a continuous space no two points are equal."""
    return np.zeros(len(points), dtype=bool)
