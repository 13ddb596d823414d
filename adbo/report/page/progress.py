"""The best value over time and over evaluations.

Notation: ``n`` complete and feasible trials with finite values, in the order in which they
finished; ``sign`` is +1 to minimize, -1 to maximize.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adbo.core.space import FloatArray, IntArray
from adbo.report.page.columns import Columns

#: A best value that falls by this factor, and stays positive, is shown on a logarithmic axis.
_LOGARITHMIC = 30.0

#: Part of the values, the worst ones, that may lie beyond the frame of a linear axis.
_BEYOND = 0.1

#: The farthest from 0 that a plot shows. The span of an axis, with its margins, must be a float.
_FARTHEST = float(np.finfo(float).max) / 4


@dataclass(frozen=True)
class Progress:
    """How the best value developed.

    Parameters
    ----------
    seconds
        From the first start to the end of each trial ``(n,)``; NaN where times are unknown.
    count
        Number of finished trials of any state at the end of each one ``(n,)``.
    values, best
        The value of each trial, and the best one so far, ``(n,)``, in the user's sign.
    """

    seconds: FloatArray
    count: IntArray
    values: FloatArray
    best: FloatArray

    @property
    def improvements(self) -> IntArray:
        """The indices at which the best value changed."""
        with np.errstate(over="ignore"):
            changed: IntArray = np.flatnonzero(np.diff(self.best, prepend=np.nan) != 0)
        return changed

    @property
    def is_logarithmic(self) -> bool:
        """Whether a logarithmic axis shows the progress better."""
        if self.best.size < 2:
            return False
        low, high = sorted((float(self.best[0]), float(self.best[-1])))
        return low > 0 and high / _LOGARITHMIC > low

    def frame(self) -> tuple[float, float]:
        """Return the lowest and the highest value that a plot shows."""
        values = drawable(self.values)
        if self.is_logarithmic:
            values = values[values > 0]
            return float(values.min() / 1.5), float(values.max() * 1.5)
        is_minimized = self.best[-1] <= self.best[0]
        worst = np.quantile(values, 1 - _BEYOND if is_minimized else _BEYOND)
        low, high = sorted((float(drawable(self.best)[-1]), float(worst)))
        margin = 0.06 * (high - low) or 0.5
        return low - margin, high + margin


def drawable(values: FloatArray) -> FloatArray:
    """Return the values, those at the ends of the range of floats moved to where a plot ends."""
    return np.clip(values, -_FARTHEST, _FARTHEST)


def progress_of(columns: Columns, sign: int) -> Progress:
    """Return how the best value of the first objective developed."""
    order = np.argsort(columns.finished, kind="stable")  # NaN comes last
    counts = columns.complete[order]
    first = np.nanmin(columns.started) if np.isfinite(columns.started).any() else np.nan
    values = columns.values[order, 0][counts]
    return Progress(
        seconds=columns.finished[order][counts] - first,
        count=1 + np.flatnonzero(counts),
        values=values,
        best=sign * np.minimum.accumulate(sign * values),
    )
