"""Points where a sum of functions of single columns is lowest.

Parameters often act one by one, at least for the most part. Then every evaluation tells of each of
them, and the best value of each can be found on its own, however many basins there are together.

The model is a Gaussian process with an additive kernel (Duvenaud, Nickisch and Rasmussen, NeurIPS
2011), each column's in its first cosines (Solin and Särkkä, Statistics and Computing 30, 2020), so
that it is a ridge regression; a point is the minimum of a draw from its posterior (Thompson
sampling). A cross-validation tells whether parameters do act one by one.

Notation: ``X (m, d)`` complete rows of the unit cube, ``y (m,)`` standardized targets to minimize,
``features (m, F)``: a constant, then those of each column.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adbo.core.space import FloatArray, IntArray
from adbo.optimizer.candidates import Geometry, log_uniform, places
from adbo.optimizer.models import forest, linear
from adbo.optimizer.models.linear import Posterior

#: Points of an ask: more than one, because some may be known already.
POINTS = 8

#: A model has so many rows for each column, at least, and so many at most, log-uniform, so that it
#: mostly has all while evaluations are few. With as many as there are for the upper limit, a
#: 5-dimensional Schwefel function was at 12 after 200 evaluations on 8 workers, not at 1.6 (16
#: studies).
LEAST_ROWS_PER_COLUMN, MOST_ROWS = 4, 512

#: Cosines of each column, at most, and of all columns together. With choices, there may be more
#: features; with too many, there is no model, since it would take long.
COSINES, ALL_COSINES, MOST_FEATURES = 24, 160, 400

#: Models are fitted for so many drawn length scales, 10^U(low, high) of the rows' range, and
#: noises, 10^U(low, high) of the prior variance for each row; the one that predicts best is used.
TRIES = 4
LENGTH_EXPONENTS, NOISE_EXPONENTS = (-1.3, 0.0), (-6.0, -1.0)

#: It is used with this power of the correlation of its leave-one-out predictions with the targets
#: as the chance. Used whatever they predict, a 5-dimensional Rosenbrock function was at 7e-6 after
#: 2,000 evaluations on 64 workers, not at 2e-10 (medians of the same 4 seeds, all of them worse).
CORRELATION_POWER = 4

#: Share of the models of plain costs; others are of costs on a scale like the forest's. Sums are
#: such on one of them: after 400 evaluations on 16 workers, a 10-dimensional Levy function was at
#: 0.05, with plain costs only at 0.1; with none of them, one of 6 Schwefel functions was at 118,
#: with half or all at 0.02 at most.
PLAIN_SHARE = 0.5

#: A column's minimum is looked for at so many values.
VALUES = 64

#: The range of rows that are equal.
_LEAST_WIDTH = 1e-12


def descend(
    X: FloatArray, cost: FloatArray, geometry: Geometry, rng: np.random.Generator
) -> FloatArray:
    """Points ``(N, d)`` where draws from an additive model of rows around the first are lowest.

    They lie within the ranges, and have choices, of those rows: of others the model knows nothing.

    Parameters
    ----------
    X, cost
        Complete rows ``(m, d)``, the best first, and their costs ``(m,)``, NaN for failures.
    geometry
        What the columns are; those with a single value are copied from the first row.
    rng
        Source of all choices.

    Returns
    -------
    FloatArray
        None if the rows are few, or no such model predicts them.
    """
    none = np.empty((0, X.shape[1]))
    columns = np.flatnonzero(geometry.levels > 1)
    finite = np.isfinite(cost)
    X, cost = X[finite], cost[finite]
    least = LEAST_ROWS_PER_COLUMN * (len(columns) + 1)
    if not len(columns) or len(X) < least:
        return none
    m = log_uniform(least, max(least, MOST_ROWS), rng)
    categories = geometry.categories[columns]
    place = places(X[:, columns], categories)
    distance = np.sum((place - place[0]) ** 2, axis=1)
    order = np.argsort(distance, kind="stable")[:m]
    x, cost = X[order][:, columns], cost[order]
    n_waves = int(np.clip(ALL_COSINES // len(columns), 1, COSINES))
    if np.where(categories, np.minimum(categories, len(x)), n_waves).sum() > MOST_FEATURES:
        return none
    # The largest first: sums of the widest floats overflow.
    plain = rng.random() < PLAIN_SHARE
    y = cost / (np.abs(cost).max() or 1.0) if plain else forest.targets(cost, len(cost))
    y = y - y.mean()
    if not y.std() > 0:
        return none
    low, width = x.min(axis=0), np.maximum(np.ptp(x, axis=0), _LEAST_WIDTH)
    among = np.tile(X[order[0]], (VALUES, 1))
    steps = np.arange(VALUES)[:, None] + rng.random((VALUES, len(columns)))
    among[:, columns] = low + width * steps / VALUES
    basis = _basis(x, geometry.snap(among)[:, columns], categories, n_waves)
    model = _best(basis, y / y.std(), rng)
    if model is None or rng.random() >= model.correlation**CORRELATION_POWER:
        return none
    points = among[:POINTS].copy()
    points[:, columns] = _lowest(basis, model.draw(POINTS, rng))
    return geometry.snap(points)


@dataclass(frozen=True)
class _Basis:
    """What the functions of single columns are made of.

    Parameters
    ----------
    features
        Of the rows ``(m, F)``.
    column
        Of which column each feature is ``(F,)``; -1 for the constant.
    frequency
        Of each feature ``(F,)``, in half waves over the rows' range; 0 for choices.
    values
        Values of each column, ``(v,)`` in the unit cube, among which its minimum is looked for.
    features_of_values
        Their features in the column's part of the basis, ``(v, f)`` each.
    """

    features: FloatArray
    column: IntArray
    frequency: FloatArray
    values: list[FloatArray]
    features_of_values: list[FloatArray]


def _basis(x: FloatArray, among: FloatArray, categories: IntArray, n_waves: int) -> _Basis:
    """The basis of rows ``(m, d)``, where numbers take the values ``among (v, d)``."""
    low, width = x.min(axis=0), np.maximum(np.ptp(x, axis=0), _LEAST_WIDTH)
    waves = np.arange(1, n_waves + 1)
    features, column, frequency = [np.ones((len(x), 1))], [np.array([-1])], [np.zeros(1)]
    values, features_of_values = [], []
    for j, n in enumerate(categories):
        if n:
            index = np.clip((x[:, j] * n).astype(np.intp), 0, n - 1)
            seen, index = np.unique(index, return_inverse=True)
            of_values = np.eye(len(seen))
            known = of_values[index]
            values.append((seen + 0.5) / n)
            frequency.append(np.zeros(len(seen)))
        else:
            angle = np.pi * (np.concatenate([x[:, j], among[:, j]]) - low[j]) / width[j]
            known, of_values = np.split(np.cos(angle[:, None] * waves), [len(x)])
            values.append(among[:, j])
            frequency.append(waves.astype(np.float64))
        features.append(known)
        features_of_values.append(of_values)
        column.append(np.full(known.shape[1], j))
    return _Basis(
        np.concatenate(features, axis=1),
        np.concatenate(column),
        np.concatenate(frequency),
        values,
        features_of_values,
    )


@dataclass(frozen=True)
class _Model:
    """A posterior of scaled coefficients, and how well it predicts."""

    posterior: Posterior
    correlation: float
    scale: FloatArray

    def draw(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Coefficients ``(F, n)``."""
        return self.scale[:, None] * self.posterior.draw(n, rng)


def _best(basis: _Basis, y: FloatArray, rng: np.random.Generator) -> _Model | None:
    """The model that predicts best, of some with drawn length scales and noises; often none."""
    best = None
    for _ in range(TRIES):
        length = 10.0 ** rng.uniform(*LENGTH_EXPONENTS)
        noise = 10.0 ** rng.uniform(*NOISE_EXPONENTS)
        model = _fit(basis.features, _scale(basis, length), y, noise)
        if model.correlation > (best.correlation if best else 0.0):
            best = model
    return best


def _scale(basis: _Basis, length: float) -> FloatArray:
    """Prior standard deviation of each coefficient ``(F,)``: all columns' functions vary alike."""
    density = np.exp(-((np.pi * length * basis.frequency) ** 2) / 2)
    n_columns = len(basis.values)
    for j in range(n_columns):
        of_column = basis.column == j
        if basis.frequency[of_column].any():  # the mean square of a cosine is a half
            density[of_column] *= 2 / density[of_column].sum()
    density[1:] /= n_columns
    return np.asarray(np.sqrt(density))


def _fit(features: FloatArray, scale: FloatArray, y: FloatArray, noise: float) -> _Model:
    posterior = linear.fit(features * scale, y, len(y) * noise)
    return _Model(posterior, _correlation(posterior.left_out, y), scale)


def _correlation(a: FloatArray, b: FloatArray) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size > 0 else 0.0


def _lowest(basis: _Basis, coefficients: FloatArray) -> FloatArray:
    """Where the functions of the columns are lowest ``(n, d)``, for coefficients ``(F, n)``."""
    lowest = [
        values[np.argmin(features @ coefficients[basis.column == j], axis=0)]
        for j, (values, features) in enumerate(
            zip(basis.values, basis.features_of_values, strict=True)
        )
    ]
    return np.stack(lowest, axis=1)
