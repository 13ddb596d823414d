"""The summary of a run, of a simulation, or of a stored study: what ``--json`` writes."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState

from adbo.core.strategy_counts import StrategyCounts

if TYPE_CHECKING:
    from adbo.core.history import History


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How far a study is, and how well its workers were used.

    Fields with the default None are left out of the JSON object where they do not apply.

    Parameters
    ----------
    study_name, storage, direction
        The study; the storage without a password, ``"none"`` without one.
    method, seed
        Of a simulation.
    best_value, best_params
        Of the incumbent; None before the first complete evaluation.
    recommended_value, recommended_params
        The predicted value and the parameters of what the model believes best: on a noisy
        objective, the incumbent is the luckiest evaluation.
    strategies
        Name of each strategy that was asked to its numbers of ``asks`` and ``improvements``, over
        the whole study; see `adbo.core.strategy_counts`.
    n_complete, n_pruned, n_fail
        Finished trials by state, including those of earlier runs.
    n_running, n_waiting
        Unfinished trials of a stored study.
    n_before
        Finished trials that the study had at the start of the run.
    n_own
        Evaluations of this job; the others since the start are of other jobs or programs.
    n_jobs
        Jobs that have worked on the study, this one included; of a simulation, its jobs.
    n_ranks, n_workers
        Ranks of a run, or of all jobs of a study; virtual workers of a simulation.
    wall_seconds
        Seconds from the start of the run to its end, virtual in a simulation; for a stored study
        from the first start of a trial to the last result.
    utilization
        Fraction of the workers' time that was spent on evaluations that finished; for a stored
        study, of the time from the first start to the last result of each job.
    utilization_attainable
        The utilization of a simulation if asking and telling took no time.
    ask_seconds_median
        Median of the seconds that an ask took; NaN, null in JSON, if nothing was asked.
    news_age_seconds
        Of a simulation, the median and the 99 % quantile of the age at which ranks see a record.
    evaluations_per_rank
        Finished evaluations of this run by rank, or of a study by job and rank.
    status, reason
        The exit status of a run, and one line that says why it ended.
    """

    study_name: str
    storage: str
    direction: str
    method: str | None = None
    best_value: float | None
    best_params: dict[str, Any] | None
    recommended_value: float | None = None
    recommended_params: dict[str, Any] | None = None
    strategies: StrategyCounts | None = None
    n_complete: int
    n_pruned: int
    n_fail: int
    n_running: int | None = None
    n_waiting: int | None = None
    n_before: int | None = None
    n_own: int | None = None
    n_jobs: int | None = None
    n_ranks: int | None = None
    n_workers: int | None = None
    wall_seconds: float
    utilization: float
    utilization_attainable: float | None = None
    ask_seconds_median: float | None = None
    news_age_seconds: list[float] | None = None
    evaluations_per_rank: list[int]
    seed: int | None = None
    status: int | None = None
    reason: str | None = None

    @property
    def n_finished(self) -> int:
        """Number of complete, pruned and failed trials."""
        return self.n_complete + self.n_pruned + self.n_fail

    def to_json(self) -> dict[str, Any]:
        """Return the fields that apply as a JSON object."""
        values = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.default is not None or getattr(self, field.name) is not None
        }
        if "ask_seconds_median" in values and math.isnan(values["ask_seconds_median"]):
            values["ask_seconds_median"] = None
        return values


def best_of(history: History) -> tuple[float | None, dict[str, Any] | None]:
    """Return the value and the parameters of the incumbent, None where there is none."""
    best = history.best
    if best is None:
        return None, None
    return float(history.column("value")[best]), history.evaluation(best).params


def counts_of(history: History) -> tuple[int, int, int]:
    """Return the numbers of complete, pruned and failed evaluations."""
    counts = history.counts
    return counts[TrialState.COMPLETE], counts[TrialState.PRUNED], counts[TrialState.FAIL]
