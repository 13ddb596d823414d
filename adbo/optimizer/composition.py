"""Models of several objectives and constraints, and the cost that they predict together.

A model of each objective and each constraint predicts the cost better than a model of the cost,
which has an edge where another objective becomes the worst one, and where a constraint begins to
be violated (for constraints: Eriksson and Poloczek, AISTATS 2021).

Notation: ``m`` rows, ``p`` parts of the cost: first the objectives, then the constraints.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from adbo.core.space import FloatArray
from adbo.optimizer.models.targets import plain_targets, scale_targets
from adbo.optimizer.preference import Parts

#: Predicts something of points ``(N, d)``.
Predict = Callable[[FloatArray], FloatArray]


class Composition:
    """What is modelled instead of the cost.

    Parameters
    ----------
    parts
        What the costs of the rows are made of.
    is_scaled
        Whether the scale of a single objective resolves the best rows; see `scale_targets`.
        Several objectives are scaled by the preference.
    """

    def __init__(self, parts: Parts, is_scaled: bool) -> None:
        self._preference, values = parts.preference, parts.values
        finite = np.where(np.isfinite(values), values, np.nan)
        self._low = np.nan_to_num(np.fmin.reduce(finite, axis=0))
        with np.errstate(over="ignore"):
            span = np.nan_to_num(np.fmax.reduce(finite, axis=0)) - self._low
        self._span = np.minimum(span, np.finfo(float).max)
        q = len(self._preference.weights)
        #: Constraints that no row violates are assumed to be satisfied everywhere.
        self._modelled = np.flatnonzero(
            (np.arange(values.shape[1]) < q) | (values > 0).any(axis=0)
        )
        columns = [plain_targets(column) for column in values.T[self._modelled]]
        #: The plain target 1 on the scale of the objective, before its arcsinh is taken.
        self._largest: float | None = None
        if is_scaled and q == 1:
            scaled = scale_targets(values[:, 0], len(values))
            if scaled.max() > 0:
                columns[0] = scaled
                self._largest = float(np.sinh(scaled.max()))
        #: Targets of models ``(m, k)``; failures have the worst values.
        self.targets = np.stack(columns, axis=1)

    def predictor(self, predict: Predict) -> Predict:
        """Return what predicts the cost ``(N,)``, from what predicts the targets ``(N, k)``."""

        def predict_cost(points: FloatArray) -> FloatArray:
            predicted = np.zeros((len(points), len(self._low)))
            predicted[:, self._modelled] = predict(points)
            with np.errstate(over="ignore", invalid="ignore"):
                if self._largest is not None:
                    predicted[:, 0] = np.sinh(predicted[:, 0]) / self._largest
                return self._preference.combine(self._low + self._span * predicted)

        return predict_cost
