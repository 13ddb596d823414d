"""The summary of a run, of a simulation, or of a stored study: what ``--json`` writes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.trial import TrialState

from adbo.core.hypervolume import hypervolume, worst
from adbo.core.strategy_counts import StrategyCounts

if TYPE_CHECKING:
    from adbo.core.history import History
    from adbo.core.space import FloatArray


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How far a study is, and how well its workers were used.

    Fields with the default None are left out of the JSON object where they do not apply.

    Parameters
    ----------
    study_name, storage
        The study; the storage without a password, ``"none"`` without one.
    direction, directions
        Of one objective, or of several.
    method, seed
        Of a simulation.
    best_value, best_params
        Of the incumbent; None before the first complete and feasible evaluation, and for several
        objectives.
    best_values
        The best value of each of several objectives.
    pareto_front
        Of several objectives: the ``values`` and ``params`` of each evaluation that no other one
        dominates, in the order of the first objective; see `adbo.core.front.MOST`.
    hypervolume, reference_point
        How much the front dominates, and from where on: the worst value of each objective among
        all complete and feasible evaluations.
    n_infeasible
        Complete evaluations that violate a constraint; None without constraints.
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
        study, of the time from the first start to the last result of each job; NaN, null in JSON,
        if its trials do not say which rank made them.
    utilization_attainable
        The utilization of a simulation if asking and telling took no time; None if evaluations
        were pruned.
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
    direction: str | None = None
    directions: list[str] | None = None
    method: str | None = None
    best_value: float | None
    best_params: dict[str, Any] | None
    best_values: list[float] | None = None
    pareto_front: list[dict[str, Any]] | None = None
    hypervolume: float | None = None
    reference_point: list[float] | None = None
    n_infeasible: int | None = None
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
        """Return the fields that apply."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.default is not None or getattr(self, field.name) is not None
        }


def best_of(history: History) -> dict[str, Any]:
    """Return the fields of a summary that say what is best."""
    complete = history.column("state") == TrialState.COMPLETE.value
    feasible = history.violation(slice(None)) == 0
    fields: dict[str, Any] = {}
    if history.constraint_names:
        fields["n_infeasible"] = int(np.count_nonzero(complete & ~feasible))
    directions = ["minimize" if sign > 0 else "maximize" for sign in history.signs]
    if len(directions) > 1:
        costs = history.costs(np.flatnonzero(complete & feasible))
        return {**fields, "directions": directions, **_front_of(history, costs)}
    best = history.best
    return {
        **fields,
        "direction": directions[0],
        "best_value": None if best is None else float(history.column("value")[best]),
        "best_params": None if best is None else history.evaluation(best).params,
    }


def _front_of(history: History, costs: FloatArray) -> dict[str, Any]:
    """Return the front, where ``costs (m, q)`` are those of complete, feasible evaluations."""
    signs, front = np.array(history.signs), history.front
    order = np.argsort(front.costs[:, 0], kind="stable")
    fields: dict[str, Any] = {
        "best_value": None,
        "best_params": None,
        "pareto_front": [
            {"values": list(evaluation.values), "params": evaluation.params}
            for evaluation in map(history.evaluation, front.rows[order].tolist())
        ],
    }
    reference = worst(costs)
    if not len(front.rows) or np.isnan(reference).any():
        return fields
    return {
        **fields,
        "best_values": (signs * front.costs.min(axis=0)).tolist(),
        "hypervolume": hypervolume(front.costs, reference),
        "reference_point": (signs * reference).tolist(),
    }


def counts_of(history: History) -> tuple[int, int, int]:
    """Return the numbers of complete, pruned and failed evaluations."""
    counts = history.counts
    return counts[TrialState.COMPLETE], counts[TrialState.PRUNED], counts[TrialState.FAIL]
