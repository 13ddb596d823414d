"""Where the time of the ranks went, from the starts and the ends of their evaluations.

A study stores when each evaluation began and ended, and which rank made it. What a rank did
between two evaluations (asking, sending, receiving) is not stored apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adbo.core.space import FloatArray
from adbo.report.page.columns import Columns


@dataclass(frozen=True)
class RankTimes:
    """Seconds of each rank of each job, ``(r,)``.

    The time of a rank is that of its job, from its first start of an evaluation to its last end.

    Parameters
    ----------
    job, rank
        Who it is.
    n_evaluations
        Number of finished evaluations.
    evaluating
        In evaluations that finished.
    between
        From the end of an evaluation to the start of the next one: asking, sending and receiving,
        and evaluations whose result was lost.
    before, after
        Before the first and after the last evaluation.
    gaps
        Seconds from each evaluation to the next one of the same rank, in no order.
    """

    job: NDArray[np.int64]
    rank: NDArray[np.int64]
    n_evaluations: NDArray[np.int64]
    evaluating: FloatArray
    between: FloatArray
    before: FloatArray
    after: FloatArray
    gaps: FloatArray

    def __len__(self) -> int:
        return len(self.rank)

    @property
    def total(self) -> FloatArray:
        """Seconds that each rank had, ``(r,)``."""
        return self.evaluating + self.between + self.before + self.after

    @property
    def utilization(self) -> float:
        """Fraction of the time of all ranks that was spent on evaluations that finished."""
        total = float(self.total.sum())
        return float(self.evaluating.sum()) / total if total > 0 else 0.0


def rank_times(columns: Columns) -> RankTimes:
    """Return where the time of each rank went, for the trials that adbo made."""
    timed = np.isfinite(columns.started) & np.isfinite(columns.finished) & (columns.rank >= 0)
    job, rank = columns.job[timed], columns.rank[timed]
    started, finished = columns.started[timed], columns.finished[timed]
    order = np.lexsort((started, rank, job))
    job, rank, started, finished = job[order], rank[order], started[order], finished[order]
    begins = np.flatnonzero((np.diff(job, prepend=-2) != 0) | (np.diff(rank, prepend=-2) != 0))
    if not begins.size:
        nothing = np.empty(0)
        integers = np.empty(0, np.int64)
        return RankTimes(integers, integers, integers, *[nothing] * 5)
    of_rank = np.repeat(np.arange(len(begins)), np.diff(begins, append=len(job)))
    counts = np.bincount(of_rank)
    evaluating = np.bincount(of_rank, finished - started).astype(float)
    first = np.minimum.reduceat(started, begins)
    last = np.maximum.reduceat(finished, begins)
    _, of_job = np.unique(job[begins], return_inverse=True)
    job_begin = np.full(of_job.max() + 1, np.inf)
    job_end = np.full(of_job.max() + 1, -np.inf)
    np.minimum.at(job_begin, of_job, first)
    np.maximum.at(job_end, of_job, last)
    same_rank = of_rank[1:] == of_rank[:-1]
    return RankTimes(
        job=job[begins],
        rank=rank[begins],
        n_evaluations=counts,
        evaluating=evaluating,
        between=np.maximum(last - first - evaluating, 0.0),
        before=first - job_begin[of_job],
        after=job_end[of_job] - last,
        gaps=np.maximum((started[1:] - finished[:-1])[same_rank], 0.0),
    )


def evaluations_at_once(columns: Columns, n_bins: int) -> tuple[FloatArray, FloatArray]:
    """Return the mean number of evaluations that ran at the same time.

    Parameters
    ----------
    columns
        The trials; evaluations that did not finish are not among them.
    n_bins
        Number of intervals of equal length from the first start to the last end.

    Returns
    -------
    edges
        Seconds from the first start ``(n_bins + 1,)``.
    running
        The mean number in each interval ``(n_bins,)``.
    """
    timed = np.isfinite(columns.started) & np.isfinite(columns.finished)
    started, finished = columns.started[timed], columns.finished[timed]
    if not started.size or finished.max() <= started.min():
        return np.zeros(n_bins + 1), np.zeros(n_bins)
    origin = started.min()
    edges = np.linspace(0.0, finished.max() - origin, n_bins + 1)
    # The busy seconds until t are the sum of (t - start) - (t - end) over what began and ended.
    begun = _seconds_since(started - origin, edges)
    ended = _seconds_since(finished - origin, edges)
    return edges, np.diff(begun - ended) / np.diff(edges)


def _seconds_since(times: FloatArray, edges: FloatArray) -> FloatArray:
    """Return for each edge the sum over the earlier times of the seconds since then."""
    times = np.sort(times)
    counts = np.searchsorted(times, edges, side="right")
    sums = np.concatenate([[0.0], np.cumsum(times)])
    result: FloatArray = counts * edges - sums[counts]
    return result
