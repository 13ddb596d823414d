"""Points where a smooth model of a few evaluations is lowest.

Trees are constant between the points they have seen, so they cannot tell where in a basin the
minimum is; a smooth model can. Most models are splines; some are quadratics of a few rows, which
lead out of the small dents of a basin.

Notation: ``X (m, d)`` complete rows of the unit cube, ``y (m,)`` finite targets to minimize,
``z`` coordinates along the principal axes of ``X``, in standard deviations from its mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from adbo.core.space import FloatArray
from adbo.optimizer.candidates import Geometry, log_uniform, reflect
from adbo.optimizer.models import quadratic, rbf

#: Points of a descent: more than one, because some may be known already.
POINTS = 64

#: Share of the descents on a spline. With 0.6, a 5-dimensional Rosenbrock function was at 0.004
#: after 2,000 evaluations on 64 workers, not at 2e-10; with 1, a rotated Rastrigin function was at
#: 0.5, not at 1e-5 (medians of the same 8 seeds).
SPLINE_SHARE = 0.8

#: Splines that are smooth are so by 10^U(low, high). With none, but quintic ones in one of two
#: descents, sphere and Ackley functions with noise were at 0.25 and 2.9 after 400 evaluations on
#: 16 workers, not at 0.13 and 1.5, and without noise an Ackley function at 0.004, not 0.0004
#: (medians of the same 8 seeds).
SMOOTHING_EXPONENTS = (-4.0, 0.5)

#: A spline goes through so many points, log-uniform: the lower limit for each of its linear
#: coefficients.
SPLINE_LOW, SPLINE_HIGH = 2.0, 320

#: Its minimum is looked for in rounds of so many points around the best of the round before.
SEARCH_POINTS, SEARCH_ROUNDS, SEARCH_BEST = 256, 6, 8

#: Steps of the first round are 10^U(low, high) standard deviations, then half as long each time.
SEARCH_EXPONENTS = (-1.5, 0.3)

#: A quadratic has so many points for each of its coefficients, log-uniform.
QUADRATIC_LOW, QUADRATIC_HIGH = 1.2, 3.0

#: It has products of different columns if it then needs no more points than this: with more, it
#: would follow the evaluations too late.
QUADRATIC_MOST = 64

#: How far from the mean of its points its minimum is looked for, in standard deviations, unless
#: that is outside of the cube.
QUADRATIC_REACH = 2.0

#: Points of a quadratic's descent differ by 10^U(low, high) standard deviations.
QUADRATIC_EXPONENTS = (-3.0, -0.3)

#: A point at a face of the cube, or outside, is moved to 10^U(low, high) standard deviations of
#: the rows away from it: ranks that descend at the same moment differ, and get closer to it as the
#: rows do. Folded back, as far inside as they were outside, points never come close: with its
#: minimum behind one face, a 5-dimensional sphere was 2e-4 above the lowest value inside after 400
#: evaluations on 16 workers, not 3e-10 (4 studies).
FACE_EXPONENTS = (-4.0, -1.0)

#: While the rows are all over the cube, a model that is lowest outside says little of the faces,
#: and descents would gather in corners: such a share of them, for each standard deviation of the
#: rows, are folded back. With none, a 20-dimensional Ackley function was at 4.0 after 500
#: evaluations on 16 workers, not at 3.3 (the same 4 seeds, the ranges of which overlap).
FOLDED_PER_DEVIATION = 3.0

#: The standard deviation, where the rows have none.
_UNKNOWN_SPREAD = 0.1

#: Given points ``(N, d)``, the nearest ones inside the cube, or the same where descents are folded
#: back; and the values of a model ``(N,)``.
ToInside = Callable[[FloatArray], FloatArray]
Predict = Callable[[FloatArray], FloatArray]


def descend(
    X: FloatArray,
    y: FloatArray,
    geometry: Geometry,
    rng: np.random.Generator,
    radius: float = math.inf,
) -> FloatArray:
    """Points ``(N, d)`` near the minimum of a model of the first rows, best first.

    Only continuous columns are modelled; the others are copied from the best row of the model.

    Parameters
    ----------
    X, y
        Complete rows ``(m, d)``, the most relevant first, and finite targets ``(m,)``.
    geometry
        What the columns are.
    rng
        Source of all choices.
    radius
        How far points may be from the first row; the model is a spline, if that is finite.
    """
    smooth = is_smooth(geometry)
    is_near = math.isfinite(radius)
    on_spline = is_near or rng.random() < SPLINE_SHARE
    m = (_spline_size if on_spline else _quadratic_size)(len(X), int(smooth.sum()), rng)
    X, y = X[:m], y[:m]
    x = X[:, smooth]
    spread = x.std(axis=0)
    folds = not is_near and rng.random() < FOLDED_PER_DEVIATION * float(spread.mean())
    axes = _principal_axes(x)
    to_inside = _as_they_are if folds else axes.to_inside
    if is_near:
        to_inside = partial(axes.to_ball, x[0], radius)
    model = _on_spline if on_spline else _on_quadratic
    found = model(axes.coordinates(x), y, to_inside, rng)
    lowest = axes.points(found)
    points = np.tile(X[np.argmin(y)], (len(found), 1))
    points[:, smooth] = reflect(lowest) if folds else _off_faces(lowest, spread, rng)
    return geometry.snap(points)


def _off_faces(x: FloatArray, spread: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Points ``(N, d)``, with those at the faces of the unit cube or outside moved close to them.

    Parameters
    ----------
    x
        Points ``(N, d)``.
    spread
        Standard deviations of their rows ``(d,)``.
    rng
        Source of how close.
    """
    # Those that were moved to a face are back there but for rounding.
    margin = 1e-9 * spread + 1e-15
    below, above = x < margin, x > 1 - margin
    if not (below.any() or above.any()):
        return x
    spread = np.where(spread > 0, spread, _UNKNOWN_SPREAD)
    off = spread * 10.0 ** rng.uniform(*FACE_EXPONENTS, size=x.shape)
    return np.where(below, off, np.where(above, 1 - off, x))


def is_smooth(geometry: Geometry) -> NDArray[np.bool_]:
    """Which columns are continuous ``(d,)``."""
    return np.asarray(np.isinf(geometry.levels) & (geometry.categories == 0))


def smooth_share(geometry: Geometry) -> float:
    """Share of the columns that are continuous, of those that have more than one value."""
    varying = geometry.levels > 1
    return float(is_smooth(geometry)[varying].mean()) if varying.any() else 0.0


@dataclass(frozen=True)
class _Axes:
    """Principal axes of some rows: ``x = mean + z back`` and ``z = (x - mean) forth``."""

    mean: FloatArray
    forth: FloatArray
    back: FloatArray

    def coordinates(self, X: FloatArray) -> FloatArray:
        return (X - self.mean) @ self.forth

    def points(self, z: FloatArray) -> FloatArray:
        return self.mean + z @ self.back

    def to_inside(self, z: FloatArray) -> FloatArray:
        """Points ``(N, d)``, those outside of the unit cube moved to the nearest of its faces.

        Nearest in the cube's own coordinates, and there but for rounding.
        """
        x = self.points(z)
        clipped = np.clip(x, 0.0, 1.0)
        outside = (x != clipped).any(axis=1)
        if not outside.any():
            return z
        z = z.copy()
        z[outside] = self.coordinates(clipped[outside])
        return z

    def to_ball(self, place: FloatArray, radius: float, z: FloatArray) -> FloatArray:
        """Points ``(N, d)`` inside, those too far from a place ``(d,)`` moved towards it."""
        step = self.points(z) - place
        length = np.maximum(np.sqrt(np.sum(step**2, axis=1, keepdims=True)), radius)
        return self.to_inside(self.coordinates(place + step * (radius / length)))


def _principal_axes(X: FloatArray) -> _Axes:
    m, d = X.shape
    mean = X.mean(axis=0)
    covariance = (X - mean).T @ (X - mean) / m
    size = float(np.trace(covariance)) / d
    covariance += (1e-12 * size if size > 0 else _UNKNOWN_SPREAD**2) * np.eye(d)
    variances, directions = np.linalg.eigh(covariance)
    deviations = np.sqrt(np.maximum(variances, np.finfo(np.float64).tiny))
    return _Axes(mean, directions / deviations, (directions * deviations).T)


def _spline_size(m: int, d: int, rng: np.random.Generator) -> int:
    low = SPLINE_LOW * (d + 1)
    return min(m, log_uniform(low, max(low, SPLINE_HIGH), rng))


def _quadratic_size(m: int, d: int, rng: np.random.Generator) -> int:
    coefficients = quadratic.n_coefficients(QUADRATIC_MOST, d)
    return min(m, log_uniform(QUADRATIC_LOW * coefficients, QUADRATIC_HIGH * coefficients, rng))


def _as_they_are(z: FloatArray) -> FloatArray:
    return z


def _on_spline(
    z: FloatArray, y: FloatArray, to_inside: ToInside, rng: np.random.Generator
) -> FloatArray:
    model = rbf.fit(z, y, 10.0 ** rng.uniform(*SMOOTHING_EXPONENTS))
    return _searched(model.predict, z, to_inside, rng)


def _on_quadratic(
    z: FloatArray, y: FloatArray, to_inside: ToInside, rng: np.random.Generator
) -> FloatArray:
    model = quadratic.fit(z, y)
    lowest = model.lowest(QUADRATIC_REACH)[None, :]
    inside = to_inside(lowest)
    if (inside != lowest).any():
        return _searched(model.predict, inside, to_inside, rng)
    length = 10.0 ** rng.uniform(*QUADRATIC_EXPONENTS, size=(POINTS, 1))
    return lowest + length * rng.standard_normal((POINTS, z.shape[1]))


def _searched(
    predict: Predict, z: FloatArray, to_inside: ToInside, rng: np.random.Generator
) -> FloatArray:
    """Points where a model is lowest, from some of ``z (m, d)`` on; inside the cube, or not."""
    start = z[rng.integers(len(z), size=SEARCH_POINTS)]
    step = 10.0 ** rng.uniform(*SEARCH_EXPONENTS, size=(SEARCH_POINTS, 1))
    points = np.empty((0, z.shape[1]))
    for _ in range(SEARCH_ROUNDS):
        moved = to_inside(start + step * rng.standard_normal(start.shape))
        points = np.concatenate([moved, points[:SEARCH_BEST]])
        points = points[np.argsort(predict(points), kind="stable")]
        start = points[rng.integers(SEARCH_BEST, size=SEARCH_POINTS)]
        step = step / 2
    return points[:POINTS]
