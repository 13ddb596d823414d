"""The evaluations of a stored study, ready to be replayed on other numbers of workers."""

from __future__ import annotations

import numpy as np
from optuna.trial import TrialState

from adbo.report.page.columns import Columns
from adbo.report.page.time_use import rank_times
from adbo.report.prediction import Prediction, Replay


def replay_of(columns: Columns, sign: int) -> Replay:
    """Return the evaluations of a study, in the order in which they began.

    The pause before an evaluation is the time since its rank finished the one before; before the
    first one of a rank it is the median. Trials that adbo did not make have no pause: it is not
    known which process made them.
    """
    timed = np.isfinite(columns.started) & np.isfinite(columns.finished)
    order = np.flatnonzero(timed)[np.argsort(columns.started[timed], kind="stable")]
    started, finished = columns.started[order], columns.finished[order]
    job, rank = columns.job[order], columns.rank[order]
    by_rank = np.lexsort((started, rank, job))
    same = (np.diff(job[by_rank]) == 0) & (np.diff(rank[by_rank]) == 0) & (rank[by_rank][1:] >= 0)
    gaps = np.maximum(started[by_rank][1:] - finished[by_rank][:-1], 0.0)
    pauses = np.zeros(len(order))
    if same.any():
        pauses[rank >= 0] = np.median(gaps[same])
        pauses[by_rank[1:][same]] = gaps[same]
    costs = np.where(columns.complete[order], sign * columns.values[order, 0], np.inf)
    has_best = bool(np.isfinite(costs).any())
    return Replay(
        durations=finished - started,
        pauses=pauses,
        failed=(columns.state[order] == TrialState.FAIL.value).tolist(),
        best=int(np.argmin(costs)) if has_best else None,
    )


def measured(columns: Columns, replay: Replay) -> Prediction | None:
    """Return what the ranks of a study of one job did; None if they are not known."""
    times = rank_times(columns)
    if len(set(times.job.tolist())) != 1 or (columns.rank < 0).any():
        return None
    timed = np.isfinite(columns.started) & np.isfinite(columns.finished)
    begin = columns.started[timed].min()
    order = np.argsort(columns.started[timed], kind="stable")
    finished = columns.finished[timed][order]
    return Prediction(
        workers=len(times),
        evaluations=len(replay),
        failures=int(np.count_nonzero(replay.failed)),
        seconds=float(finished.max() - begin),
        utilization=times.utilization,
        seconds_to_best=None if replay.best is None else float(finished[replay.best] - begin),
    )
