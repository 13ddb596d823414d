"""The summary of a stored study, from its trials."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from adbo.core.summary import Summary


def summarize_study(study: optuna.Study, storage: str) -> Summary:
    """Return the summary of a stored study.

    Parameters
    ----------
    study
        A study that adbo mirrored; other studies count as those of one rank.
    storage
        The name of its storage.
    """
    trials = study.get_trials(deepcopy=False)
    finished = [trial for trial in trials if trial.state.is_finished()]
    states = [trial.state for trial in trials]
    best = study.best_trial if TrialState.COMPLETE in states else None
    ranks = [t.user_attrs["adbo:rank"] for t in finished if "adbo:rank" in t.user_attrs]
    n_ranks = len(set(ranks)) or 1
    wall_seconds, busy_seconds = _times(finished)
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
        n_ranks=n_ranks,
        wall_seconds=wall_seconds,
        utilization=busy_seconds / (n_ranks * wall_seconds) if wall_seconds > 0 else 0.0,
        evaluations_per_rank=np.bincount(ranks).tolist() if ranks else [],
    )


def _times(finished: Sequence[FrozenTrial]) -> tuple[float, float]:
    """Return the seconds from the first start to the last end, and the sum of the durations."""
    times = [(trial.datetime_start, trial.datetime_complete) for trial in finished]
    spans = [(a.timestamp(), b.timestamp()) for a, b in times if a is not None and b is not None]
    if not spans:
        return 0.0, 0.0
    wall_seconds = max(end for _, end in spans) - min(start for start, _ in spans)
    return wall_seconds, sum(end - start for start, end in spans)
