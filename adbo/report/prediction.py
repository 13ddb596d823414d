"""How long a finished study would have taken on other numbers of workers.

The evaluations of the study are replayed, in the order in which they began, on other workers: each
worker that is free takes the next one, after the pause that came before it in the study. So the
prediction has the durations and the failures of the study, also if they changed on the way.

What it assumes: the evaluations and the pauses between them would be the same on any number of
workers. More workers know less when they ask, and send more messages; that is not in it.

Notation: ``n`` evaluations, in the order in which they began.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from adbo.core.errors import UsageError
from adbo.core.space import FloatArray

#: Replays draw what lies beyond the study from a stream of this seed, so that they are repeatable.
_SEED = 0

#: Numbers of workers that are predicted by default, as multiples of those of the study.
_MULTIPLES = (0.25, 0.5, 1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Replay:
    """The evaluations of a study that can be replayed.

    Parameters
    ----------
    durations
        Seconds of each evaluation ``(n,)``.
    pauses
        Seconds of its worker before it ``(n,)``.
    failed
        Whether it failed ``(n,)``.
    best
        The index of the evaluation with the best value; None without a complete one.
    """

    durations: FloatArray
    pauses: FloatArray
    failed: Sequence[bool]
    best: int | None

    def __len__(self) -> int:
        return len(self.durations)


@dataclass(frozen=True)
class Prediction:
    """What a number of workers did, or would do.

    Parameters
    ----------
    workers
        Number of workers.
    evaluations, failures
        Numbers of evaluations that finished, and of those that failed.
    seconds
        From the first start to the last end.
    utilization
        Fraction of the time of all workers that was spent on these evaluations.
    seconds_to_best
        Seconds until the best value was found; None if it was not.
    """

    workers: int
    evaluations: int
    failures: int
    seconds: float
    utilization: float
    seconds_to_best: float | None


def default_workers(n_ranks: int) -> list[int]:
    """Return the numbers of workers that are predicted for a study of a number of ranks."""
    return sorted({max(1, round(n_ranks * multiple)) for multiple in _MULTIPLES})


def predict(
    replay: Replay, workers: int, n_trials: int | None = None, seconds: float | None = None
) -> Prediction:
    """Replay a study on a number of workers.

    Parameters
    ----------
    replay
        The study, with at least one evaluation.
    workers
        Number of workers.
    n_trials
        Finished evaluations after which no worker begins another one, as ``adbo run --trials``.
        Evaluations beyond those of the study are drawn from it.
    seconds
        Time at which to end; evaluations that are running then do not count. Without this and
        `n_trials`, exactly the evaluations of the study are replayed.

    Raises
    ------
    UsageError
        If only the time ends the replay, and no evaluation or pause takes any.
    """
    takes_time = replay.durations.any() or replay.pauses.any()
    if seconds is not None and n_trials is None and not takes_time:
        raise UsageError(
            "no evaluation of the study takes time: give --trials, with or without --time"
        )
    most = len(replay) if n_trials is None and seconds is None else None
    evaluations = _evaluations(replay)
    free = [(0.0, worker, -1, 0.0) for worker in range(workers)]  # time, who, index, duration
    n_begun, n_finished, n_failed, busy, last, to_best = 0, 0, 0, 0.0, 0.0, None
    while free:
        now, worker, index, duration = heapq.heappop(free)
        if seconds is not None and now > seconds:
            break
        if index >= 0:
            n_finished += 1
            n_failed += bool(replay.failed[index % len(replay)])
            busy += duration
            last = now
            if index == replay.best:
                to_best = now
        if (n_trials is None or n_finished < n_trials) and n_begun != most:
            n_begun += 1
            new, duration, pause = next(evaluations)
            # All workers begin at once: the time is counted from the first start.
            pause = pause if index >= 0 else 0.0
            heapq.heappush(free, (now + pause + duration, worker, new, duration))
    end = seconds if seconds is not None and (n_trials is None or n_finished < n_trials) else last
    available = workers * end
    return Prediction(
        workers,
        n_finished,
        n_failed,
        end,
        busy / available if available > 0 else 0.0,
        to_best,
    )


def _evaluations(replay: Replay) -> Iterator[tuple[int, float, float]]:
    """Yield index, duration and pause of the evaluations, and then of drawn ones, without end.

    The index of a drawn evaluation is that of its origin plus a multiple of ``n``.
    """
    n = len(replay)
    durations, pauses = replay.durations.tolist(), replay.pauses.tolist()
    yield from zip(range(n), durations, pauses, strict=True)
    rng = np.random.default_rng(_SEED)
    while True:
        for index in rng.integers(n, size=1000).tolist():
            yield n + index, durations[index], pauses[index]
