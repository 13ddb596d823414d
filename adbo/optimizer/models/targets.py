"""The scale of costs on which surrogates are fitted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from adbo.core.space import FloatArray


def plain_targets(cost: FloatArray) -> FloatArray:
    """Return costs ``(m,)`` between 0 and 1; failures get the worst finite cost.

    A quadratic objective stays quadratic.
    """
    finite = cost[np.isfinite(cost)]
    if not finite.size:
        return np.zeros(len(cost))
    best, worst = float(finite.min()), float(finite.max())
    # Halves, because the difference of the largest and the smallest float overflows.
    gap = np.clip(np.where(np.isnan(cost), worst, cost), best, worst) / 2 - best / 2
    return np.asarray(gap / (float(gap.max()) or 1.0))


def draw_targets(cost: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return plain or scaled targets ``(m,)``, each in half of the calls."""
    return plain_targets(cost) if rng.random() < 0.5 else scale_targets(cost, len(cost))


def scale_targets(cost: FloatArray, n_elites: int) -> FloatArray:
    """Return costs on a scale that resolves the elites, whatever their magnitude.

    The scale is ``arcsinh((cost - best) / median |elite - best|)``: linear among the elites and
    logarithmic beyond. Failures get the worst finite cost.

    Parameters
    ----------
    cost
        ``(m,)``, the elites first and best first; NaN for failures, infinities allowed.
    n_elites
        Number of elites.

    Returns
    -------
    FloatArray
        ``(m,)``, finite.
    """
    finite = np.isfinite(cost)
    if not finite.any():
        return np.where(cost == -np.inf, -1.0, 0.0)
    best, worst = float(cost[finite].min()), float(cost[finite].max())
    # Halves, because the difference of the largest and the smallest float overflows.
    gap = np.clip(np.where(np.isnan(cost), worst, cost), best, worst) / 2 - best / 2
    elite_gap = gap[:n_elites]
    positive = elite_gap[elite_gap > 0]
    if not positive.size:
        positive = gap[gap > 0]
    if not positive.size:
        return np.zeros(len(cost))
    # The lower median, because the mean of the middle two may overflow.
    unit = float(np.sort(positive)[(len(positive) - 1) // 2])
    with np.errstate(over="ignore"):
        scaled = np.minimum(gap / unit, np.finfo(np.float64).max / 4)
    return np.asarray(np.arcsinh(scaled), dtype=np.float64)


class Composition:
    """Targets that are modelled one by one, and the cost that they make together.

    A model of each objective and each constraint predicts the cost better than a model of the cost,
    which has an edge where another objective becomes the worst one, and where a constraint begins
    to be violated (for constraints: Eriksson and Poloczek, AISTATS 2021).

    Parameters
    ----------
    parts
        What the costs of the rows are made of ``(m, p)``; NaN for failures.
    combine
        Returns the costs ``(N,)`` of parts ``(N, p)``.
    """

    def __init__(self, parts: FloatArray, combine: Callable[[FloatArray], FloatArray]) -> None:
        self._combine = combine
        columns = [plain_targets(column) for column in parts.T]
        #: Targets of models ``(m, p)``, between 0 and 1; failures have the worst values.
        self.targets = np.stack(columns, axis=1)
        finite = np.where(np.isfinite(parts), parts, np.nan)
        self._low = np.nan_to_num(np.fmin.reduce(finite, axis=0))
        self._span = np.nan_to_num(np.fmax.reduce(finite, axis=0)) - self._low

    def of(self, predict: Callable[[FloatArray], FloatArray]) -> Callable[[FloatArray], FloatArray]:
        """Return a function that predicts the cost ``(N,)``, from one that predicts targets."""

        def predict_cost(points: FloatArray) -> FloatArray:
            return self._combine(self._low + self._span * predict(points))

        return predict_cost
