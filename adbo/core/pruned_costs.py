"""The cost that a pruned trial is expected to have had in the end, from its last reported value.

A value that was reported early is no result: most trials get better afterwards. But its position
among the values that others had reported by then tells how good its trial is. So the trial gets
the final cost at the position that complete trials had in the end, on average, if they were as
good then. This average is an isotonic regression of the positions in the end on those then, so
pruned trials keep their order. The less the early values say about the final ones, the closer it
is to the middle. Between two positions the map is linear. A trial behind all of them stays behind
by the difference that it had, and one ahead of all gets the cost of the one that was best then.

Notation: a trial that was pruned at its report ``k`` with cost ``v``; ``early (m,)`` the costs of
complete trials at their report k in order, ``final (m,)`` what is expected of each in the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from optuna.trial import TrialState

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Complete trials that are compared with at most; beyond, every second one is left out.
_MOST_COMPLETE = 1024

#: Numbers of reports are rounded down to this number of binary digits, so that few differ.
_DIGITS = 4


def expected_costs(v: FloatArray, early: FloatArray, final: FloatArray) -> FloatArray:
    """Return the expected final costs of pruned trials; `v` itself if nothing is complete.

    Parameters
    ----------
    v
        Costs at the last report ``(n,)``; NaN where a trial has none.
    early, final
        Finite costs then, and those expected in the end, of complete trials ``(m,)``; both ascend.

    Returns
    -------
    FloatArray
        ``(n,)``, NaN where `v` is; it ascends with `v`.
    """
    if not early.size:
        return v
    behind = np.maximum(np.nan_to_num(v, nan=0.0, posinf=np.inf) - early[-1], 0.0)
    # The slope between two early costs that hardly differ may overflow.
    next_final = final[np.minimum(np.searchsorted(early, v, "right"), len(final) - 1)]
    between = np.minimum(np.interp(v, early, final), next_final)
    return np.where(np.isnan(v), np.nan, between + behind)


def expected_of_complete(early: FloatArray, final: FloatArray) -> FloatArray:
    """Return what complete trials were expected to cost in the end, from their early costs.

    Only the order of the costs counts, so that a few high ones do not matter.

    Parameters
    ----------
    early, final
        Their finite costs then, in ascending order, and in the end ``(m,)``.

    Returns
    -------
    FloatArray
        ``(m,)``, ascending.
    """
    # Here, since its import takes longer than all others of the programs that only read a study.
    from scipy.optimize import isotonic_regression

    if not final.size:
        return final
    positions = np.arange(len(final), dtype=np.float64)
    position = np.empty(len(final))
    position[np.argsort(final, kind="stable")] = positions
    _, same, count = np.unique(early, return_inverse=True, return_counts=True)
    mean = np.bincount(same, position) / count
    expected = isotonic_regression(mean, weights=count).x
    # The difference between two costs may overflow, that of their halves does not; the half of the
    # smallest numbers is rounded.
    costs = 2.0 * np.interp(expected[same], positions, np.sort(final) / 2.0)
    return np.clip(costs, final.min(), final.max())


@dataclass
class _Table:
    """The complete trials with at least k reports.

    Parameters
    ----------
    early
        Their costs at report k, in order ``(m,)``.
    final
        Their costs in the end ``(m,)``.
    n_read
        Complete trials that were looked at.

    Attributes
    ----------
    expected
        What they were expected to cost in the end ``(m,)``.
    """

    early: FloatArray = field(default_factory=lambda: np.empty(0))
    final: FloatArray = field(default_factory=lambda: np.empty(0))
    n_read: int = 0
    expected: FloatArray = field(default_factory=lambda: np.empty(0), init=False)

    def add(self, early: FloatArray, final: FloatArray) -> None:
        """Add trials ``(n,)``, those with finite costs."""
        finite = np.isfinite(early) & np.isfinite(final)
        early = np.concatenate([self.early, early[finite]])
        final = np.concatenate([self.final, final[finite]])
        order = np.lexsort([final, early])
        self.early, self.final = early[order], final[order]
        self.expected = expected_of_complete(self.early, self.final)


class PrunedCosts:
    """Expected costs of the pruned trials of a history, which is read once.

    Parameters
    ----------
    sign
        +1 to minimize, -1 to maximize the reported values.
    """

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self.n_read = 0
        # Of each row, the number of reports, 0 unless it is pruned, and the cost then.
        self._k: IntArray = np.zeros(0, dtype=np.int64)
        self._v: FloatArray = np.zeros(0)
        # The reports of every `_stride`th complete trial that reported, and its final cost.
        self._complete: list[tuple[Sequence[float], float]] = []
        self._stride = 1
        self._n_complete = 0
        self._tables: dict[int, _Table] = {}

    def read(
        self,
        states: NDArray[np.integer],
        values: FloatArray,
        reports: Iterable[tuple[int, Sequence[float]]],
    ) -> None:
        """Read new rows.

        Parameters
        ----------
        states, values
            The states and final values of all rows ``(n,)``, in the user's sign.
        reports
            The new rows that have reported values, and these values.
        """
        start, n = self.n_read, len(states)
        if n > len(self._k):
            room = max(n, 2 * len(self._k)) - len(self._k)
            self._k = np.concatenate([self._k, np.zeros(room, dtype=np.int64)])
            self._v = np.concatenate([self._v, np.full(room, np.nan)])
        self._k[start:n], self._v[start:n] = 0, np.nan
        for row, reported in reports:
            if states[row] == TrialState.COMPLETE.value:
                self._add_complete(reported, self._sign * float(values[row]))
            elif states[row] == TrialState.PRUNED.value:
                k = rounded(len(reported))
                self._k[row], self._v[row] = k, self._sign * reported[k - 1]
        self.n_read = n

    def costs(self, rows: IntArray) -> FloatArray:
        """Return the expected costs of rows ``(n,)``; NaN unless they are pruned and reported."""
        k, v = self._k[rows], self._v[rows]
        costs = v
        for number in np.unique(k[k > 0]).tolist():
            table, those = self._table(number), k == number
            costs[those] = expected_costs(v[those], table.early, table.expected)
        return costs

    def copy(self) -> PrunedCosts:
        """Return a copy; rows that it reads are unknown to this one."""
        other = copy(self)
        other._complete = list(self._complete)
        other._tables = {k: copy(table) for k, table in self._tables.items()}
        return other

    def _add_complete(self, values: Sequence[float], cost: float) -> None:
        if self._n_complete % self._stride == 0:
            self._complete.append((values, cost))
        self._n_complete += 1
        if len(self._complete) > _MOST_COMPLETE:
            self._complete = self._complete[::2]
            self._stride *= 2
            self._tables = {}

    def _table(self, k: int) -> _Table:
        """Return the table of a number of reports, with all complete trials."""
        table = self._tables.setdefault(k, _Table())
        new = [(r[k - 1], cost) for r, cost in self._complete[table.n_read :] if len(r) >= k]
        table.n_read = len(self._complete)
        if new:
            early, final = np.array(new, dtype=np.float64).T
            table.add(self._sign * early, final)
        return table


def rounded(n_reports: int) -> int:
    """Return a number of reports rounded down to few binary digits."""
    unused = max(n_reports.bit_length() - _DIGITS, 0)
    return n_reports >> unused << unused
