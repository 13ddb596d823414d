"""The recommendation: the evaluation that the model believes best.

If the objective is noisy, the best observed value is the luckiest one.
"""

from __future__ import annotations

from typing import NamedTuple

from adbo.core.history import History
from adbo.optimizer.settings import DEFAULT_SETTINGS, OptimizerSettings


class Recommendation(NamedTuple):
    """A row of the history, and its predicted value in the user's sign."""

    row: int
    value: float


def recommend(
    history: History, settings: OptimizerSettings = DEFAULT_SETTINGS
) -> Recommendation | None:
    """Return the evaluation that the model believes best; None if none is complete.

    Parameters
    ----------
    history
        The evaluations.
    settings
        Tunables of the method.
    """
    best = history.best
    return None if best is None else Recommendation(best, float(history.column("value")[best]))
