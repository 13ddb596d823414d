"""The summary of a stored study, from its trials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from adbo.core.job import job_of
from adbo.core.optuna_trials import name_of
from adbo.core.summary import Summary


def summarize_study(study: optuna.Study, storage: str) -> Summary:
    """Return the summary of a stored study.

    Parameters
    ----------
    study
        A study that adbo mirrored; all trials that adbo did not make count as those of one rank.
    storage
        The name of its storage.
    """
    trials = study.get_trials(deepcopy=False)
    finished = [trial for trial in trials if trial.state.is_finished()]
    states = [trial.state for trial in trials]
    best = study.best_trial if TrialState.COMPLETE in states else None
    names = [name_of(trial.user_attrs) for trial in finished]
    jobs: dict[int, list[FrozenTrial]] = {}
    ranks: Counter[tuple[int, int]] = Counter()
    for trial, name in zip(finished, names, strict=True):
        job = -1 if name is None else job_of(name[1])
        jobs.setdefault(job, []).append(trial)
        if name is not None:
            ranks[job, name[0]] += 1
    wall_seconds, busy_seconds = _times(finished)
    available = sum(
        _times(made)[0] * max(1, sum(of == job for of, _ in ranks)) for job, made in jobs.items()
    )
    return Summary(
        study_name=study.study_name,
        storage=storage,
        direction=study.direction.name.lower(),
        best_value=None if best is None else best.value,
        best_params=None if best is None else best.params,
        n_complete=states.count(TrialState.COMPLETE),
        n_pruned=states.count(TrialState.PRUNED),
        n_fail=states.count(TrialState.FAIL),
        n_running=states.count(TrialState.RUNNING),
        n_waiting=states.count(TrialState.WAITING),
        n_jobs=len(jobs.keys() - {-1}),
        n_ranks=len(ranks) or 1,
        wall_seconds=wall_seconds,
        utilization=busy_seconds / available if available > 0 else 0.0,
        evaluations_per_rank=[ranks[rank] for rank in sorted(ranks)],
    )


def _times(finished: Sequence[FrozenTrial]) -> tuple[float, float]:
    """Return the seconds from the first start to the last end, and the sum of the durations."""
    times = [(trial.datetime_start, trial.datetime_complete) for trial in finished]
    spans = [(a.timestamp(), b.timestamp()) for a, b in times if a is not None and b is not None]
    if not spans:
        return 0.0, 0.0
    wall_seconds = max(end for _, end in spans) - min(start for start, _ in spans)
    return wall_seconds, sum(end - start for start, end in spans)
