"""How often each strategy of the optimizer was asked, and how often it found a new best value.

Notation: ``n`` evaluations in the order in which they were added to the history.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from optuna.trial import TrialState

from adbo.core.origins import STRATEGIES, strategy_indices

if TYPE_CHECKING:
    from adbo.core.history import History
    from adbo.core.space import FloatArray

#: Name of a strategy to its numbers of ``asks`` and ``improvements``.
StrategyCounts = dict[str, dict[str, int]]


def count_strategies(cost: FloatArray, origins: NDArray[np.integer]) -> StrategyCounts | None:
    """Return the asks and improvements of each strategy that was asked.

    Parameters
    ----------
    cost
        Values to minimize ``(n,)``; NaN where an evaluation is not complete.
    origins
        Codes of `adbo.core.origins` ``(n,)``.

    Returns
    -------
    dict
        In the order of `STRATEGIES`. An improvement is an evaluation that was better than all
        before it, or the first complete one. None if no strategy was asked.
    """
    best_before = np.fmin.accumulate(np.concatenate([[np.inf], cost]))[:-1]
    return _counts(cost < best_before, origins)


def _counts(improves: NDArray[np.bool_], origins: NDArray[np.integer]) -> StrategyCounts | None:
    """Return the asks and improvements of each strategy that was asked."""
    strategies = strategy_indices(origins)
    known = strategies >= 0
    asks = np.bincount(strategies[known], minlength=len(STRATEGIES)).tolist()
    improvements = np.bincount(strategies[known & improves], minlength=len(STRATEGIES)).tolist()
    counts = {
        name: {"asks": n, "improvements": k}
        for name, n, k in zip(STRATEGIES, asks, improvements, strict=True)
        if n
    }
    return counts or None


def strategies_of(history: History) -> StrategyCounts | None:
    """Return the asks and improvements of each strategy in a history; see `count_strategies`.

    Of several objectives, the improvements are the evaluations on the front.
    """
    origins = history.column("origin")
    if history.n_objectives > 1:
        is_improvement = np.zeros(len(history), dtype=bool)
        is_improvement[history.front.rows] = True
        return _counts(is_improvement, origins)
    is_complete = history.column("state") == TrialState.COMPLETE.value
    is_best = is_complete & (history.violation(slice(None)) == 0)
    return count_strategies(np.where(is_best, history.cost(slice(None)), np.nan), origins)
