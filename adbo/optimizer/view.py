"""What an ask derives from its sample once: complete rows, and which parameters will be absent.

Notation: ``X (m, d)`` the sample, ``N`` points, all in the unit cube.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from adbo.core.space import FloatArray
from adbo.optimizer import candidates
from adbo.optimizer.models import forest
from adbo.optimizer.sample import Geometry, Sample

#: Tells of points ``(N, d)`` something about each ``(N,)``.
Test = Callable[[FloatArray], NDArray[np.bool_]]


@dataclass(frozen=True)
class View:
    """A sample with complete rows and predictions of presence.

    Parameters
    ----------
    sample
        The sample.
    geometry
        Kinds of the columns.
    kappa
        Weight of the standard deviation in this ask.
    complete
        Rows of the sample ``(m, d)``, with values for absent parameters.
    mark_absent
        Sets parameters of points ``(N, d)`` to NaN where they are predicted to be absent.
    is_known
        Tells which points ``(N, d)`` were evaluated before.
    """

    sample: Sample
    geometry: Geometry
    kappa: float
    complete: FloatArray
    mark_absent: Callable[[FloatArray], FloatArray]
    is_known: Test


def make_view(
    sample: Sample,
    geometry: Geometry,
    kappa: float,
    is_known: Test | None,
    rng: np.random.Generator,
) -> View:
    """Complete the rows of a sample; learn presence when it is needed for the first time.

    Parameters
    ----------
    sample, geometry, kappa
        See `View`.
    is_known
        Tells which points were evaluated before; None for a continuous space.
    rng
        Source of the values of absent parameters.
    """
    present = ~np.isnan(sample.X)
    if present.all():
        known = is_known or _none_known
        return View(sample, geometry, kappa, sample.X, lambda points: points, known)
    complete = candidates.impute(sample.X, sample.n_elites, rng)
    learn = cache(lambda: forest.learn_presence(complete, present))

    def mark_absent(points: FloatArray) -> FloatArray:
        return np.where(learn()(points), points, np.nan)

    def known(points: FloatArray) -> NDArray[np.bool_]:
        return _none_known(points) if is_known is None else is_known(mark_absent(points))

    return View(sample, geometry, kappa, complete, mark_absent, known)


def _none_known(points: FloatArray) -> NDArray[np.bool_]:
    """Return False for all points: in a continuous space no two points are equal."""
    return np.zeros(len(points), dtype=bool)
