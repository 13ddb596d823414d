"""Rungs: when a trial is compared with others, and whether it goes on (successive halving).

A *rung* is a number of reported values: with the reduction factor eta, rung r ends at the report
``min_resource - 1 + eta**r``, counted from 1. What a step means, and where steps begin, does not
matter. A trial that reaches a rung goes on if its value is among the best ``max(1, n // eta)`` of
the latest n values known there, equal values included; n is at most `LATEST`. Nobody waits for
others to reach it (asynchronous successive halving: Li et al., arXiv 1810.05934). They compare
random trials, all that were ever at the rung. But those of an optimizer become better, and nearly
all would soon go on: compared with the latest ones, always a part of them does.

Until one trial that reported values is complete, all go on. A report of NaN, and each report of a
failed trial, counts as the worst value; a trial that reports NaN goes on only where nobody has
reported a number.

This module does not know who sends reports.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from optuna.trial import TrialState

from adbo.core.history import History
from adbo.core.settings import MIN_RESOURCE, REDUCTION_FACTOR, check_halving

#: Trials at a rung with which one is compared, its own value included. More prune less, since
#: many of them are older and worse; fewer prune more by chance.
LATEST = 64


class Report(NamedTuple):
    """A value that a running trial has reported at a rung."""

    rank: int
    seq: int
    n_reports: int
    """Values that the trial has reported so far, this one included."""
    value: float
    """In the user's sign; NaN allowed."""


class Verdict(NamedTuple):
    """Whether a trial goes on, and the numbers from which this follows."""

    n_reports: int
    """The rung."""
    n_known: int
    """Values with which it was compared, that of the trial included; at most `LATEST`."""
    n_better: int
    """Those of them that are better than that of the trial."""
    goes_on: bool


@dataclass(frozen=True)
class Halving:
    """The parameters of successive halving, named as in Optuna.

    Parameters
    ----------
    reduction_factor
        The best ``1 / reduction_factor`` of the trials at a rung go on; at least 2.
    min_resource
        Number of reports at the first rung; at least 1.
    """

    reduction_factor: int = REDUCTION_FACTOR
    min_resource: int = MIN_RESOURCE

    def __post_init__(self) -> None:
        check_halving(self.reduction_factor, self.min_resource)

    def rungs(self, n_reports: int) -> Iterator[int]:
        """Yield the rungs that a trial with this number of reports has reached, in order."""
        step = 1
        while (rung := self.min_resource - 1 + step) <= n_reports:
            yield rung
            step *= self.reduction_factor

    def last_rung(self, n_reports: int) -> int | None:
        """Return the last rung that a trial has reached; None if it has reached none."""
        return max(self.rungs(n_reports), default=None)

    def is_rung(self, n_reports: int) -> bool:
        """Return whether a rung ends at this number of reports."""
        return self.last_rung(n_reports) == n_reports

    def goes_on(self, n_known: int, n_better: int) -> bool:
        """Return whether a value is among the best of those at a rung."""
        return n_better < max(1, n_known // self.reduction_factor)


class Rungs:
    """All values that a rank knows at the rungs: those of its history, and of running trials.

    Any thread may call any method.

    Parameters
    ----------
    halving
        The rule.
    history
        The finished trials that the rank knows; they are read when a trial is judged.
    """

    def __init__(self, halving: Halving, history: History) -> None:
        self.halving = halving
        self._history = history
        self._n_read = 0  # rows of the history
        self._has_complete = False  # a trial that reported values
        # The costs of all trials at each rung, infinite where a trial has none, in the order in
        # which they became known. Setting the cost of a known trial leaves it in its place.
        self._costs: dict[int, dict[tuple[int, int], float]] = defaultdict(dict)
        self._lock = threading.Lock()

    def add(self, report: Report) -> None:
        """Add the report of a running trial; what the history says of the trial replaces it."""
        with self._lock:
            if not self._history.knows(report.rank, report.seq):
                self._set(report)

    def judge(self, report: Report) -> Verdict:
        """Return whether a trial of this rank goes on; its report is added."""
        with self._lock:
            self._read_history()
            known = self._costs[report.n_reports]
            known.pop((report.rank, report.seq), None)  # it becomes the latest one
            self._set(report)
            costs = list(itertools.islice(reversed(known.values()), LATEST))
            cost = self._cost(report.value)
            n_better = sum(other < cost for other in costs)
            goes_on = self.halving.goes_on(len(costs), n_better)
            if not self._has_complete:
                goes_on = True
            elif cost == math.inf:
                goes_on = n_better == 0
            return Verdict(report.n_reports, len(costs), n_better, goes_on)

    def _read_history(self) -> None:
        """Add the trials that the history has got since the last call."""
        states = self._history.column("state")
        for row, reports in self._history.reports(self._n_read, len(states)):
            state = states[row]
            self._has_complete |= bool(state == TrialState.COMPLETE.value)
            failed = state == TrialState.FAIL.value
            rank, seq = (int(self._history.column(name)[row]) for name in ("rank", "seq"))
            for rung, value in at_rungs(self.halving, reports):
                self._set(Report(rank, seq, rung, math.nan if failed else value))
        self._n_read = len(states)

    def _set(self, report: Report) -> None:
        self._costs[report.n_reports][report.rank, report.seq] = self._cost(report.value)

    def _cost(self, value: float) -> float:
        return math.inf if math.isnan(value) else self._history.sign * value


def at_rungs(halving: Halving, values: Sequence[float]) -> Iterator[tuple[int, float]]:
    """Yield the rungs that a trial has reached, with its values there.

    Parameters
    ----------
    halving
        The rule.
    values
        All values of the trial, in the order in which it reported them.
    """
    return ((rung, values[rung - 1]) for rung in halving.rungs(len(values)))
