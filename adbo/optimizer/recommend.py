"""The recommendation: the evaluation that a smooth model of the costs believes best.

If the objective is noisy, the best observed value is the luckiest one. Radial basis functions
with the ridge that predicts best average over the noise; the recommendation is the evaluation at
which they are lowest.

What such a model does not follow may also be ripples that few evaluations cannot show. Noise makes
evaluations differ however close they are; ripples do not. The differences of the closest pairs
therefore tell how much of the model's error is noise (Gasser, Sroka and Jennen-Steinmetz,
Biometrika 73, 1986).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from adbo.core.history import History
from adbo.core.space import FloatArray
from adbo.optimizer.distances import embed, squared_distances
from adbo.optimizer.models.rbf import smooth
from adbo.optimizer.models.targets import plain_targets
from adbo.optimizer.threads import one_thread

#: Least fraction of the model's squared error that must be noise.
_NOISE_FRACTION = 0.25

#: Fraction of the rows, those with the closest neighbours, from which noise is estimated.
_CLOSE_FRACTION = 0.25

#: Elites that the model is fitted to.
_MOST_ROWS = 200

#: Ridges for each row.
_RIDGES = 10.0 ** np.arange(-8, 3)

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
    rows = history.elites[:_MOST_ROWS]
    rows = rows[np.isfinite(history.cost(rows))]
    cost = history.cost(rows)
    if not len(history.space) or len(np.unique(cost)) < 3:
        return incumbent
    space = history.space
    # A constant: a parameter that is absent in two rows adds nothing to their distance.
    X = np.nan_to_num(space.to_unit(history.values(rows)), nan=0.5)
    Z = embed(X, space.categories)
    z = (Z - Z.mean(axis=0)) / (Z.std() or 1.0)
    y = plain_targets(cost)
    with one_thread():
        model = smooth(z, y, _RIDGES)
    if _noise_variance(z, y) < _NOISE_FRACTION * model.error:
        return incumbent
    best = int(np.argmin(model.values))
    low, high = float(cost.min()), float(cost.max())
    predicted = low + float(np.clip(model.values[best], 0.0, 1.0)) * (high - low)
    return Recommendation(int(rows[best]), history.sign * predicted)


def _noise_variance(z: FloatArray, y: FloatArray) -> float:
    """Return the variance of the noise of targets ``(m,)``, from the nearest pairs of points."""
    squares = squared_distances(z, z)
    np.fill_diagonal(squares, np.inf)
    nearest = np.argmin(squares, axis=1)
    distance = squares[np.arange(len(z)), nearest]
    close = np.argsort(distance, kind="stable")[: int(np.ceil(_CLOSE_FRACTION * len(z)))]
    difference = y[close] - y[nearest[close]]
    return float(np.median(difference**2)) / (2 * _MEDIAN_SQUARE)
