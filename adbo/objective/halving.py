"""Successive halving as a pruner of Optuna, decided on what this rank knows (`adbo.core.rungs`).

It does not know how reports travel to other ranks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import optuna
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial

from adbo.core.rungs import Report, Rungs, Verdict

#: The system attribute of a trial with what was decided at each rung: the number of reports, the
#: seconds from the start of the trial to this report, the values with which it was compared, the
#: better ones among them, and whether the trial went on.
RUNGS = "adbo:rungs"

#: Digits of the seconds.
_DIGITS = 3


class HalvingPruner(BasePruner):
    """Ends a trial at a rung where its value is not among the best that this rank knows.

    Parameters
    ----------
    rungs
        The rule, and the values at the rungs.
    publish
        Sends the report of a running trial to the other ranks; called in whatever thread the
        objective reports from.
    clock
        Returns seconds since the epoch.
    """

    def __init__(
        self,
        rungs: Rungs,
        publish: Callable[[Report], None] = lambda report: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.rungs = rungs
        self._name = (-1, 0)
        self._publish = publish
        self._clock = clock
        self._reported_at: dict[int, float] = {}  # of the running trial, by number of reports

    def begin(self, rank: int, seq: int) -> None:
        """Expect the reports of the next trial."""
        self._name = (rank, seq)
        self._reported_at = {}

    def reported(self, n_reports: int, value: float) -> None:
        """Publish a value of the running trial if it is at a rung."""
        if self.rungs.halving.is_rung(n_reports):
            self._reported_at[n_reports] = self._clock()
            report = Report(*self._name, n_reports, value)
            self.rungs.add(report)
            self._publish(report)

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Return whether the trial has reached a rung and is not among its best.

        At each rung a trial is judged once; until the next one, the answer stays the same.
        """
        values = list(trial.intermediate_values.values())
        rung = self.rungs.halving.last_rung(len(values))
        if rung is None:
            return False
        decided = list(trial.system_attrs.get(RUNGS, []))
        if decided and decided[-1][0] == rung:
            return not decided[-1][-1]
        verdict = self.rungs.judge(Report(*self._name, rung, values[rung - 1]))
        decided.append(self._entry(verdict, trial))
        study._storage.set_trial_system_attr(trial._trial_id, RUNGS, decided)
        return not verdict.goes_on

    def _entry(self, verdict: Verdict, trial: FrozenTrial) -> list[Any]:
        assert trial.datetime_start is not None
        # A trial may have been enqueued with reports.
        reported_at = self._reported_at.get(verdict.n_reports, self._clock())
        seconds = round(reported_at - trial.datetime_start.timestamp(), _DIGITS)
        return [verdict.n_reports, seconds, verdict.n_known, verdict.n_better, verdict.goes_on]
