"""The recommendation: the evaluation that the model believes best.

If the objective is noisy, the best observed value is the luckiest one. The model is a Gaussian
process of the elites, whose noise is fitted; the recommendation has its lowest mean.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from adbo.core.history import History
from adbo.optimizer.distances import embed, embedded_columns
from adbo.optimizer.models.gaussian_process import fit_gaussian_process
from adbo.optimizer.models.targets import plain_targets
from adbo.optimizer.threads import one_thread

#: Noise variance, as a fraction of the signal's, below which the best value is what it seems.
_NO_NOISE = 1e-6

#: Elites that the model is fitted to, and steps of the fit.
_MOST_ROWS, _ITERATIONS = 200, 50


class Recommendation(NamedTuple):
    """A row of the history, and its predicted value in the user's sign."""

    row: int
    value: float


def recommend(history: History) -> Recommendation | None:
    """Return the evaluation that the model believes best; None if none is complete.

    It is the incumbent, with its observed value, if the model finds no noise.
    """
    if history.best is None:
        return None
    rows = history.elites[:_MOST_ROWS]
    rows = rows[np.isfinite(history.cost(rows))]
    cost = history.cost(rows)
    if not len(history.space) or len(np.unique(cost)) < 3:
        return Recommendation(history.best, float(history.column("value")[history.best]))
    space = history.space
    # A constant: a parameter that is absent in two rows adds nothing to their distance.
    X = np.nan_to_num(space.to_unit(history.values(rows)), nan=0.5)
    Z = embed(X, space.categories)
    y = plain_targets(cost)
    with one_thread():
        model = fit_gaussian_process(Z, y, embedded_columns(space.categories), _ITERATIONS)
    if model.noise < _NO_NOISE:
        return Recommendation(history.best, float(history.column("value")[history.best]))
    mean = model.predict(Z)[0]
    best = int(np.argmin(mean))
    low, high = float(cost.min()), float(cost.max())
    predicted = low + float(np.clip(mean[best], 0.0, 1.0)) * (high - low)
    return Recommendation(int(rows[best]), history.sign * predicted)
