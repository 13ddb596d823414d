"""Minimization of a smooth model of a few rows, within the cube.

Trees are constant between the rows they are fitted to, so they cannot locate the minimum of a
basin; a smooth model can.

Notation: ``X (m, d)`` complete rows of the unit cube, ``y (m,)`` finite targets to minimize, ``z``
coordinates along the principal axes of ``X``, in standard deviations from its mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from adbo.core.history import ELITES
from adbo.core.space import FloatArray
from adbo.optimizer.allowed import allowed_first
from adbo.optimizer.candidates import BEST, UNKNOWN_SPREAD, reflect
from adbo.optimizer.sample import Allows, Geometry
from adbo.optimizer.view import Range, View

#: Range of U in the distance 10^U from a face of the cube of points whose minimum is on or behind
#: it, in spreads.
_FACE_EXPONENTS = (-4.0, -1.0)

#: Times the mean spread: the probability that points outside the cube are reflected.
_REFLECTIONS_PER_SPREAD = 3.0

#: Points that are returned: more than one, because some may be known.
N_POINTS = 64

#: Rounds of a search, and points of each.
_ROUNDS, _SEARCH_POINTS = 6, 256

#: Longest step of a search among rows that are the best of many, in spreads: beyond all of them.
_LONGEST = 2.0

#: Range of U in the longest step 10^U before, when the rows are spread over all that is known.
_EARLY_LONGEST_EXPONENTS = (-1.0, 0.3)

#: Range of U in the steps of a search's first round, as a part 10^U of the longest; each round
#: halves them.
_STEP_EXPONENTS = (-2.0, 0.0)

#: Predicts values ``(N,)`` at points ``(N, d)``.
Predict = Callable[[FloatArray], FloatArray]


class Feasible(NamedTuple):
    """What a minimization must keep to, in the coordinates ``z``."""

    project: Callable[[FloatArray], FloatArray]
    """Moves points ``(N, d)`` to the nearest ones of the cube, or of the region."""
    allows: Allows | None = None
    """See `Geometry`."""


#: Minimizes a model of rows at ``z (m, d)`` among feasible points; returns points ``(N, d)``.
Minimize = Callable[[FloatArray, Feasible], FloatArray]


def minimize_locally(
    X: FloatArray,
    y: FloatArray,
    geometry: Geometry,
    rng: np.random.Generator,
    minimize: Minimize,
    reach: float = math.inf,
) -> FloatArray:
    """Return points ``(N, d)`` near the minimum of a model of rows, best first.

    The model is a function of the continuous columns; the other columns are copied from the best
    row. Points whose minimum is on or behind a face of the cube are either moved close to that
    face or, the more likely the wider the rows are spread, reflected at it.

    Parameters
    ----------
    X, y
        Complete rows ``(m, d)``, the most relevant first, and finite targets ``(m,)``.
    geometry
        Kinds of the columns.
    rng
        Source of the choice to reflect, and of distances from faces.
    minimize
        Minimizes the model.
    reach
        Largest distance of points from the first row.
    """
    smooth = geometry.smooth
    is_near = math.isfinite(reach)
    x = X[:, smooth]
    spread = x.std(axis=0)
    reflects = not is_near and rng.random() < _REFLECTIONS_PER_SPREAD * float(spread.mean())
    axes = _principal_axes(x)
    project = _identity if reflects else axes.to_cube
    if is_near:
        project = partial(axes.to_ball, x[0], reach)
    best = X[np.argmin(y)]

    def allows(z: FloatArray) -> bool:
        assert geometry.allows is not None
        point = best.copy()
        point[smooth] = reflect(axes.points(z))
        return geometry.allows(geometry.snap(point[None])[0])

    feasible = Feasible(project, allows if geometry.allows else None)
    found = axes.points(minimize(axes.coordinates(x), feasible))
    points = np.tile(best, (len(found), 1))
    if reflects:
        points[:, smooth] = reflect(found)
    else:
        points[:, smooth] = _off_faces(found, spread, rng, _FACE_EXPONENTS)
    return geometry.snap(points)


def _off_faces(
    x: FloatArray, spread: FloatArray, rng: np.random.Generator, exponents: Range
) -> FloatArray:
    """Move points ``(N, d)`` that are at faces of the unit cube, or outside, to just inside.

    Ranks that ask at the same moment then propose different points, which are the closer to the
    face the closer the rows are to each other.

    Parameters
    ----------
    x
        Points ``(N, d)``.
    spread
        Standard deviations of the model's rows ``(d,)``.
    rng
        Source of the distances.
    exponents
        Range of U in the distance 10^U from the face, in standard deviations.
    """
    # Projected points are at the face up to rounding.
    margin = 1e-9 * spread + 1e-15
    below, above = x < margin, x > 1 - margin
    if not (below.any() or above.any()):
        return x
    spread = np.where(spread > 0, spread, UNKNOWN_SPREAD)
    off = spread * 10.0 ** rng.uniform(*exponents, size=x.shape)
    return np.where(below, off, np.where(above, 1 - off, x))


@dataclass(frozen=True)
class _Axes:
    """Principal axes of rows: ``x = mean + z back`` and ``z = (x - mean) forth``."""

    mean: FloatArray
    forth: FloatArray
    back: FloatArray

    def coordinates(self, X: FloatArray) -> FloatArray:
        return (X - self.mean) @ self.forth

    def points(self, z: FloatArray) -> FloatArray:
        return self.mean + z @ self.back

    def to_cube(self, z: FloatArray) -> FloatArray:
        """Move points ``(N, d)`` outside of the unit cube to the nearest point of its surface.

        "Nearest" refers to the coordinates of the cube; the result is exact up to rounding.
        """
        x = self.points(z)
        clipped = np.clip(x, 0.0, 1.0)
        outside = (x != clipped).any(axis=1)
        if not outside.any():
            return z
        z = z.copy()
        z[outside] = self.coordinates(clipped[outside])
        return z

    def to_ball(self, centre: FloatArray, radius: float, z: FloatArray) -> FloatArray:
        """Move points ``(N, d)`` into the cube and the ball around a centre ``(d,)``."""
        step = self.points(z) - centre
        length = np.maximum(np.sqrt(np.sum(step**2, axis=1, keepdims=True)), radius)
        return self.to_cube(self.coordinates(centre + step * (radius / length)))


def _principal_axes(X: FloatArray) -> _Axes:
    m, d = X.shape
    mean = X.mean(axis=0)
    covariance = (X - mean).T @ (X - mean) / m
    size = float(np.trace(covariance)) / d
    covariance += (1e-12 * size if size > 0 else UNKNOWN_SPREAD**2) * np.eye(d)
    variances, directions = np.linalg.eigh(covariance)
    deviations = np.sqrt(np.maximum(variances, np.finfo(np.float64).tiny))
    return _Axes(mean, directions / deviations, (directions * deviations).T)


def _identity(z: FloatArray) -> FloatArray:
    return z


def draw_longest(view: View, rng: np.random.Generator) -> float:
    """Return the longest step of a `search`, in spreads.

    While all evaluations are elites, each ask draws its own. Later, the elites are close to each
    other, and with short steps they would come to rest in a curved valley.
    """
    if len(view.sample.cost) > ELITES:
        return _LONGEST
    return float(10.0 ** rng.uniform(*_EARLY_LONGEST_EXPONENTS))


def search(
    predict: Predict,
    z: FloatArray,
    feasible: Feasible,
    longest: float,
    rng: np.random.Generator,
) -> FloatArray:
    """Return feasible points ``(N, d)`` where a model is lowest, lowest first.

    Parameters
    ----------
    predict
        The model.
    z
        Rows ``(m, d)`` that the search starts from.
    feasible
        What the points must keep to.
    longest
        Longest step of the first round, in spreads.
    rng
        Source of the steps.
    """
    n = _SEARCH_POINTS
    start = z[rng.integers(len(z), size=n)]
    step = longest * 10.0 ** rng.uniform(*_STEP_EXPONENTS, size=(n, 1))
    points = np.empty((0, z.shape[1]))
    for _ in range(_ROUNDS):
        moved = feasible.project(start + step * rng.standard_normal(start.shape))
        points = np.concatenate([moved, points[:BEST]])
        points = points[np.argsort(predict(points), kind="stable")]
        points = allowed_first(points, feasible.allows)
        start = points[rng.integers(BEST, size=n)]
        step = step / 2
    return points[:N_POINTS]
