"""An additive model: a sum of functions of single columns, and points where it is lowest.

Parameters often act one by one, at least approximately. Then every evaluation informs about each
of them, and the best value of each is found independently, however many basins the objective has.

The model is a Gaussian process with an additive kernel (Duvenaud, Nickisch and Rasmussen, NeurIPS
2011). Each column's function is expanded in its first cosines (Solin and Särkkä, Statistics and
Computing 30, 2020), so that the model is a ridge regression. A point is the minimum of a draw from
the posterior (Thompson sampling). The leave-one-out correlation decides whether the model is used.

Notation: ``X (m, d)`` complete rows of the unit cube, ``y (m,)`` standardized targets to minimize,
``features (m, F)``: a constant, then the features of each column.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adbo.core.space import FloatArray, IntArray
from adbo.optimizer.candidates import log_uniform
from adbo.optimizer.distances import embed
from adbo.optimizer.models.linear import Posterior, fit_linear
from adbo.optimizer.models.selection import best_fit
from adbo.optimizer.models.targets import scale_targets
from adbo.optimizer.regions import Region
from adbo.optimizer.sample import Geometry
from adbo.optimizer.view import Range, View

#: Points that are returned: more than one, because some may be known.
_N_POINTS = 8

#: Rows that the model needs for each column.
_LEAST_ROWS_PER_COLUMN = 4

#: Upper limit of the cosines of all columns together, and of all features.
_ALL_COSINES, _MOST_FEATURES = 160, 400

#: Models of plain costs; the others are of costs on the scale of the forest's targets.
_PLAIN_PROBABILITY = 0.5

#: Values of each column among which the minimum is sought.
_N_VALUES = 64

#: Least range of a column's rows, so that equal rows cause no division by zero.
_LEAST_WIDTH = 1e-12


@dataclass(frozen=True)
class Additive:
    """The best value of each column by itself, if a sum of their functions predicts the costs."""

    most_rows: int = 512
    """Upper limit of its rows, whose number is log-uniform; more cost time."""
    cosines: int = 24
    """Cosines of each column: a higher number resolves narrower basins."""
    attempts: int = 4
    """Drawn pairs of length scale and noise; the one that predicts best is used."""
    length_exponents: Range = (-1.3, 0.0)
    """Range of U in the length scale 10^U, as a fraction of the rows' range."""
    noise_exponents: Range = (-6.0, -1.0)
    """Range of U in the noise variance 10^U of a row, as a fraction of the prior variance."""
    correlation_power: float = 4
    """The model is used with the probability r^power, r its leave-one-out correlation."""

    def propose(self, view: View, region: Region, rng: np.random.Generator) -> FloatArray:
        """Return points; see `Strategy`."""
        return minimize_additive(region.X, region.cost, view.geometry, rng, self)


def minimize_additive(
    X: FloatArray,
    cost: FloatArray,
    geometry: Geometry,
    rng: np.random.Generator,
    settings: Additive,
) -> FloatArray:
    """Return points ``(N, d)`` where draws from an additive model are lowest.

    The model is fitted to rows around the first. The points lie within the ranges of those rows
    and have choices that occur in them.

    Parameters
    ----------
    X, cost
        Complete rows ``(m, d)``, the best first, and their costs ``(m,)``, NaN for failures.
    geometry
        Kinds of the columns; those with a single value are copied from the first row.
    rng
        Source of all choices.
    settings
        Tunables.

    Returns
    -------
    FloatArray
        No points if there are too few rows, or no additive model predicts the costs.
    """
    none = np.empty((0, X.shape[1]))
    columns = np.flatnonzero(geometry.levels > 1)
    finite = np.isfinite(cost)
    X, cost = X[finite], cost[finite]
    least = _LEAST_ROWS_PER_COLUMN * (len(columns) + 1)
    if not len(columns) or len(X) < least:
        return none
    m = log_uniform(least, max(least, settings.most_rows), rng)
    categories = geometry.categories[columns]
    embedded = embed(X[:, columns], categories)
    distance = np.sum((embedded - embedded[0]) ** 2, axis=1)
    order = np.argsort(distance, kind="stable")[:m]
    x, cost = X[order][:, columns], cost[order]
    n_waves = int(np.clip(_ALL_COSINES // len(columns), 1, settings.cosines))
    n_features = np.where(categories, np.minimum(categories, len(x)), n_waves).sum()
    if n_features > _MOST_FEATURES:
        return none
    y = _centred_targets(cost, rng.random() < _PLAIN_PROBABILITY)
    if not y.std() > 0:
        return none
    grid = _value_grid(X[order[0]], x, columns, rng, _N_VALUES)
    basis = _basis(x, geometry.snap(grid)[:, columns], categories, n_waves)
    model = _best_model(basis, y / y.std(), rng, settings)
    if rng.random() >= max(model.correlation, 0.0) ** settings.correlation_power:
        return none
    points = grid[:_N_POINTS].copy()
    points[:, columns] = _minimizers(basis, model.draw(_N_POINTS, rng))
    return geometry.snap(points)


def _centred_targets(cost: FloatArray, plain: bool) -> FloatArray:
    """Return targets ``(m,)`` of mean 0: plain costs, or costs on the forest's scale."""
    # Plain costs are divided by the largest first, because sums of the largest floats overflow.
    y = cost / (np.abs(cost).max() or 1.0) if plain else scale_targets(cost, len(cost))
    return np.asarray(y - y.mean())


def _value_grid(
    first: FloatArray, x: FloatArray, columns: IntArray, rng: np.random.Generator, n: int
) -> FloatArray:
    """Return copies ``(n, d)`` of a row with jittered values over the range of ``columns``."""
    low, width = x.min(axis=0), np.maximum(np.ptp(x, axis=0), _LEAST_WIDTH)
    grid = np.tile(first, (n, 1))
    steps = np.arange(n)[:, None] + rng.random((n, len(columns)))
    grid[:, columns] = low + width * steps / n
    return grid


@dataclass(frozen=True)
class _Basis:
    """Basis of the functions of single columns.

    Parameters
    ----------
    features
        Features of the rows ``(m, F)``.
    column
        Column of each feature ``(F,)``; -1 for the constant.
    frequency
        Frequency of each feature ``(F,)`` in half waves over the rows' range; 0 for choices.
    values
        For each column, the values ``(v,)`` among which its minimum is sought.
    features_of_values
        For each column, the features ``(v, f)`` of these values.
    """

    features: FloatArray
    column: IntArray
    frequency: FloatArray
    values: list[FloatArray]
    features_of_values: list[FloatArray]


def _basis(x: FloatArray, grid: FloatArray, categories: IntArray, n_waves: int) -> _Basis:
    """Return the basis of rows ``x (m, d)``, with ``grid (v, d)`` as the values of numbers."""
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
            angle = np.pi * (np.concatenate([x[:, j], grid[:, j]]) - low[j]) / width[j]
            known, of_values = np.split(np.cos(angle[:, None] * waves), [len(x)])
            values.append(grid[:, j])
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
    """A posterior of scaled coefficients, with its leave-one-out error and correlation."""

    error: float
    posterior: Posterior
    correlation: float
    scale: FloatArray

    def draw(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Draw coefficients ``(F, n)``."""
        return self.scale[:, None] * self.posterior.draw(n, rng)


def _best_model(
    basis: _Basis, y: FloatArray, rng: np.random.Generator, settings: Additive
) -> _Model:
    """Return the best of some models with drawn length scales and noise."""
    models = []
    for _ in range(settings.attempts):
        length = 10.0 ** rng.uniform(*settings.length_exponents)
        noise = 10.0 ** rng.uniform(*settings.noise_exponents)
        models.append(_fit_model(basis.features, _prior_scale(basis, length), y, noise))
    return best_fit(models)


def _prior_scale(basis: _Basis, length: float) -> FloatArray:
    """Return the prior standard deviation of each coefficient ``(F,)``.

    The functions of all columns have the same prior variance.
    """
    density = np.exp(-((np.pi * length * basis.frequency) ** 2) / 2)
    n_columns = len(basis.values)
    for j in range(n_columns):
        of_column = basis.column == j
        if basis.frequency[of_column].any():  # the mean square of a cosine is a half
            density[of_column] *= 2 / density[of_column].sum()
    density[1:] /= n_columns
    return np.asarray(np.sqrt(density))


def _fit_model(features: FloatArray, scale: FloatArray, y: FloatArray, noise: float) -> _Model:
    posterior = fit_linear(features * scale, y, len(y) * noise)
    error = float(np.mean((posterior.left_out - y) ** 2))
    return _Model(error, posterior, _correlation(posterior.left_out, y), scale)


def _correlation(a: FloatArray, b: FloatArray) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size > 0 else 0.0


def _minimizers(basis: _Basis, coefficients: FloatArray) -> FloatArray:
    """Return the columns' minimizers ``(n, d)`` for coefficients ``(F, n)``."""
    minimizers = [
        values[np.argmin(features @ coefficients[basis.column == j], axis=0)]
        for j, (values, features) in enumerate(
            zip(basis.values, basis.features_of_values, strict=True)
        )
    ]
    return np.stack(minimizers, axis=1)
