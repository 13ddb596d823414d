"""The scale of costs on which surrogates are fitted."""

from __future__ import annotations

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
