"""The ends of a run that follow from its history: target, patience, failures in a row.

They are reasons to begin no further evaluation. Those that are running are finished, as when the
study has its number of trials. This module does not know ranks or messages.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from optuna.trial import TrialState

from adbo.core.evaluation import FAIL_REASON
from adbo.core.history import History
from adbo.core.settings import Settings, default_max_failures
from adbo.interruption.stopping import StopReason
from adbo.run.state import RunState

#: Reasons to begin no further evaluation, while those that are running are finished.
ENDS = frozenset(
    {
        StopReason.TARGET,
        StopReason.PATIENCE,
        StopReason.FAILURES,
        StopReason.STUDY,
        StopReason.CALLBACK,
    }
)

#: Failed evaluations of one rank in a row before it slows down. If half of the evaluations fail,
#: this happens once in 1,000 evaluations.
_UNPACED = 10

#: Seconds between the starts of two evaluations: after the first failures in a row that are
#: paced, and at most. A larger limit delays the end of a run that always fails.
_FIRST_PACE, _PACE = 0.01, 0.1


def is_reached(history: History, settings: Settings) -> bool:
    """Return whether the best value is at least as good as the target, if there is one."""
    best = history.best
    if settings.target is None or best is None:
        return False
    return bool(history.last_cost(slice(best, best + 1))[0] <= history.sign * settings.target)


def is_stalled(history: History, settings: Settings) -> bool:
    """Return whether the best value is older than the latest trials that `patience` says."""
    best = history.best
    if settings.patience is None or best is None:
        return False
    return len(history) - 1 - best >= settings.patience


class Failures:
    """Counts the latest evaluations of this job that failed, reading each row once.

    Parameters
    ----------
    state
        The run. The trials of earlier runs and of other jobs do not count.
    """

    def __init__(self, state: RunState) -> None:
        self._state = state
        self._cursor = state.n_before
        #: Failed evaluations since the last one that did not fail.
        self.in_a_row = 0

    def update(self) -> int:
        """Read the new rows, and return `in_a_row`."""
        first, last = self._cursor, len(self._state.history)
        self._cursor = last
        own = self._state.own(first, last)
        failed = self._state.history.column("state")[first:last][own] == TrialState.FAIL.value
        since = int(failed[::-1].argmin()) if not failed.all() else None
        self.in_a_row = self.in_a_row + len(failed) if since is None else since
        return self.in_a_row


class Ends:
    """Tells when the history of a run is a reason to end it.

    Parameters
    ----------
    state
        The run.
    """

    def __init__(self, state: RunState) -> None:
        self._history = state.history
        self._settings = state.settings
        self._failures = Failures(state)
        self._max_failures = max_failures(state)

    def reason(self) -> StopReason | None:
        """Return why the run should end, or None."""
        if is_reached(self._history, self._settings):
            return StopReason.TARGET
        if is_stalled(self._history, self._settings):
            return StopReason.PATIENCE
        if self._failures.update() >= self._max_failures:
            return StopReason.FAILURES
        return None


class Pace:
    """Slows one rank down that only fails, so that it does not fill the study with failures.

    Parameters
    ----------
    clock
        Returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._n_failed = 0
        self._started = 0.0

    def begin(self) -> None:
        """Note that an evaluation begins."""
        self._started = self._clock()

    def end(self, state: TrialState) -> None:
        """Note the state of the evaluation that has finished."""
        self._n_failed = self._n_failed + 1 if state == TrialState.FAIL else 0

    @property
    def seconds_left(self) -> float:
        """Seconds until the next evaluation should begin; not positive if it may begin now."""
        return self._started + interval(self._n_failed) - self._clock()


def interval(n_failed: int) -> float:
    """Return the least seconds between the starts of evaluations after failures in a row."""
    n_paced = n_failed - _UNPACED
    return 0.0 if n_paced < 0 else min(_FIRST_PACE * 2.0 ** min(n_paced, 10), _PACE)


def max_failures(state: RunState) -> int:
    """Return the number of failed evaluations in a row that ends a run."""
    chosen = state.settings.max_failures
    return default_max_failures(state.n_ranks) if chosen is None else chosen


def describe(reason: StopReason | None, state: RunState) -> str:
    """Return why a run ended, as one line.

    Parameters
    ----------
    reason
        Why it stopped before the study had its number of trials; None if it has them.
    state
        The run.
    """
    settings = state.settings
    was_so = not state.own(state.n_before, len(state.history)).any()
    if reason is None:
        return f"the study {'already ' if was_so else ''}has its {settings.n_trials} trials"
    if reason is StopReason.TARGET:
        return f"the target {settings.target} was {'already ' if was_so else ''}reached"
    if reason is StopReason.PATIENCE:
        return f"no improvement in the last {settings.patience} trials"
    if reason is StopReason.FAILURES:
        return f"the last {max_failures(state)} evaluations failed: {_last_failure(state)}"
    return reason.value


def _last_failure(state: RunState) -> str:
    """Return why the last failed evaluation of the run failed."""
    history = state.history
    own = state.own(0, len(history)) & (history.column("state") == TrialState.FAIL.value)
    if not own.any():
        return "no reason given"
    last = history.evaluation(int(own.nonzero()[0][-1]))
    return str(last.extras.user_attrs.get(FAIL_REASON, "no reason given"))
