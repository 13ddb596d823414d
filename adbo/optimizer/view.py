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
from adbo.optimizer.models import forest
from adbo.optimizer.sample import Geometry, Sample

#: Range of U in a factor 10^U.
Range = tuple[float, float]

#: Tells of points ``(N, d)`` something about each ``(N,)``.
Test = Callable[[FloatArray], NDArray[np.bool_]]


@dataclass(frozen=True)
class CandidateSettings:
    """Where strategies evaluate an acquisition function."""

    uniform_fraction: float = 0.1
    """Fraction of the candidates that is uniform in the cube; the others are near good rows."""
    pool_range: tuple[int, int] = (4, 128)
    """Range of the number of best rows that candidates start from, log-uniform."""
    step_exponents: Range = (-1.5, 0.3)
    """Range of U in the length 10^U of a step, in standard deviations of those rows."""


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
    candidates
        Where strategies evaluate an acquisition function.
    """

    sample: Sample
    geometry: Geometry
    kappa: float
    complete: FloatArray
    mark_absent: Callable[[FloatArray], FloatArray]
    is_known: Test
    candidates: CandidateSettings


def make_view(
    sample: Sample,
    geometry: Geometry,
    kappa: float,
    is_known: Test | None,
    rng: np.random.Generator,
    candidates: CandidateSettings,
) -> View:
    """Complete the rows of a sample; learn presence when it is needed for the first time.

    Parameters
    ----------
    sample, geometry, kappa, candidates
        See `View`.
    is_known
        Tells which points were evaluated before; None for a continuous space.
    rng
        Source of the values of absent parameters.
    """
    present = ~np.isnan(sample.X)
    if is_known is None:
        is_known = _none_known
    if present.all():
        return View(sample, geometry, kappa, sample.X, lambda points: points, is_known, candidates)
    complete = _impute(sample.X, sample.n_elites, rng)
    learn = cache(lambda: forest.learn_presence(complete, present))

    def mark_absent(points: FloatArray) -> FloatArray:
        return np.where(learn()(points), points, np.nan)

    def is_known_if_marked(points: FloatArray) -> NDArray[np.bool_]:
        return is_known(mark_absent(points))

    return View(sample, geometry, kappa, complete, mark_absent, is_known_if_marked, candidates)


def _none_known(points: FloatArray) -> NDArray[np.bool_]:
    """Return False for all points: in a continuous space no two points are equal."""
    return np.zeros(len(points), dtype=bool)


def _impute(X: FloatArray, n_elites: int, rng: np.random.Generator) -> FloatArray:
    """Replace each absent value with that of a random elite, or row, in which it is present."""
    filled = X.copy()
    for column in np.flatnonzero(np.isnan(X).any(axis=0)):
        absent = np.isnan(X[:, column])
        source = X[:n_elites, column][~absent[:n_elites]]
        if not source.size:
            source = X[:, column][~absent]
        n = int(absent.sum())
        filled[absent, column] = rng.choice(source, n) if source.size else rng.random(n)
    return filled
