"""The recommendation: the evaluation that a model which averages over noise believes best.

If the objective is noisy, the best observed value is the luckiest one. There are two models:
radial basis functions with the ridge that predicts best, and a Gaussian process, which follows
several basins. They are fitted to the best evaluations and as many others, whatever their values:
the best alone are those that were lucky, the more so the worse their points are.

What the models do not follow may be noise, or ripples that few evaluations cannot show. Noise
makes evaluations differ however close they are; ripples do not. So a model is used if the
differences of the closest pairs confirm the noise that it assumes (Gasser, Sroka and
Jennen-Steinmetz, Biometrika 73, 1986).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from optuna.trial import TrialState

from adbo.core.history import History
from adbo.core.space import FloatArray, IntArray
from adbo.optimizer.distances import embed, embedded_columns, squared_distances
from adbo.optimizer.models.gaussian_process import fit_gaussian_process
from adbo.optimizer.models.rbf import smooth
from adbo.optimizer.models.targets import plain_targets
from adbo.optimizer.threads import one_thread

#: Least fraction of the noise variance that a model assumes which the closest pairs must have.
_NOISE_FRACTION = 0.25

#: Noise variance of a process, as a fraction of the signal's, that is too small to be fitted.
_NO_NOISE = 1e-6

#: Fractions of the rows, those with the closest neighbours, from which noise is estimated.
_CLOSE_FRACTIONS = (0.25, 0.125)

#: Elites, and as many others, that the models are fitted to; steps of the fit of the process.
_MOST_ELITES, _ITERATIONS = 100, 50

#: Ridges for each row.
_RIDGES = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0)

#: Median of the square of a standard normal variable.
_MEDIAN_SQUARE = 0.455


class Recommendation(NamedTuple):
    """A row of the history, and its predicted value in the user's sign."""

    row: int
    value: float


def recommend(history: History) -> Recommendation | None:
    """Return the evaluation that the model believes best; None if none is complete.

    It is the incumbent, with its observed value, if there is no noise.
    """
    if history.best is None:
        return None
    incumbent = Recommendation(history.best, float(history.column("value")[history.best]))
    rows = _rows(history)
    cost = history.cost(rows)
    if not len(history.space) or len(np.unique(cost)) < 3:
        return incumbent
    space = history.space
    # A constant: a parameter that is absent in two rows adds nothing to their distance.
    X = np.nan_to_num(space.to_unit(history.values(rows)), nan=0.5)
    Z = embed(X, space.categories)
    y = plain_targets(cost)
    noise = _noise_variance(Z, y)
    with one_thread():
        for values, assumed in _models(Z, y, embedded_columns(space.categories)):
            if noise >= _NOISE_FRACTION * assumed:
                best = int(np.argmin(values))
                low, high = float(cost.min()), float(cost.max())
                predicted = low + float(np.clip(values[best], 0.0, 1.0)) * (high - low)
                return Recommendation(int(rows[best]), history.sign * predicted)
    return incumbent


def _rows(history: History) -> IntArray:
    """Return the complete and feasible rows that the models are fitted to, ``(m,)``."""
    rows = np.flatnonzero(history.column("state") == TrialState.COMPLETE.value)
    rows = rows[(history.violation(rows) == 0) & np.isfinite(history.cost(rows))]
    is_elite = np.isin(rows, history.elites[:_MOST_ELITES])
    others = rows[~is_elite]
    if len(others) > _MOST_ELITES:
        others = others[np.linspace(0, len(others) - 1, _MOST_ELITES).astype(int)]
    return np.concatenate([rows[is_elite], others])


def _models(Z: FloatArray, y: FloatArray, groups: IntArray) -> Iterator[tuple[FloatArray, float]]:
    """Yield the values of models at their rows ``(m,)``, and the noise variance they assume."""
    smoothed = smooth((Z - Z.mean(axis=0)) / (Z.std() or 1.0), y, _RIDGES)
    yield smoothed.values, smoothed.error
    process = fit_gaussian_process(Z, y, groups, _ITERATIONS)
    if process.noise > _NO_NOISE:
        variance = process.noise * (process.deviation * process.amplitude) ** 2
        yield process.predict(Z)[0], variance


def _noise_variance(Z: FloatArray, y: FloatArray) -> float:
    """Return the variance of the noise of targets ``(m,)``, from the nearest pairs of points.

    Differences that vanish with the distance are no noise, so the closest pairs of all count, too.
    """
    squares = squared_distances(Z, Z)
    np.fill_diagonal(squares, np.inf)
    nearest = np.argmin(squares, axis=1)
    distance = squares[np.arange(len(Z)), nearest]
    close = np.argsort(distance, kind="stable")
    square = (y[close] - y[nearest[close]]) ** 2
    counts = [int(np.ceil(fraction * len(Z))) for fraction in _CLOSE_FRACTIONS]
    return min(float(np.median(square[:n])) for n in counts) / (2 * _MEDIAN_SQUARE)
