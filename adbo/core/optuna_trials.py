"""Evaluations as Optuna's trials, and back.

Notation: a trial's *name* is ``(rank, seq)``, stored as two user attributes.
"""

from __future__ import annotations

import datetime
import math
from dataclasses import replace
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from adbo.core.evaluation import Evaluation, Extras, Layout

#: The user attributes that hold a trial's name.
RANK, SEQ = "adbo:rank", "adbo:seq"

#: The system attribute of a trial that was enqueued by somebody and is being evaluated by adbo:
#: its id. It is gone when the trial is finished.
ENQUEUED = "adbo:enqueued"


def evaluation_of(trial: FrozenTrial) -> Evaluation:
    """A finished Optuna trial as an evaluation."""
    distributions = {name: trial.distributions[name] for name in trial.params}
    times = [t.timestamp() for t in (trial.datetime_start, trial.datetime_complete) if t]
    return named(
        Evaluation(
            rank=-1,
            seq=trial.number,
            state=trial.state,
            value=math.nan if trial.values is None else float(trial.values[0]),
            started=min(times, default=0.0),
            finished=max(times, default=0.0),
            layout=Layout(distributions),
            internal=tuple(
                d.to_internal_repr(trial.params[name]) for name, d in distributions.items()
            ),
            extras=Extras(trial.user_attrs, trial.system_attrs, trial.intermediate_values),
        )
    )


def trial_of(evaluation: Evaluation) -> FrozenTrial:
    """An evaluation as a finished Optuna trial; its number is for a storage to give."""
    named = evaluation.rank >= 0
    return FrozenTrial(
        number=-1,
        trial_id=-1,
        state=evaluation.state,
        value=evaluation.value if has_value(evaluation) else None,
        datetime_start=datetime.datetime.fromtimestamp(evaluation.started),
        datetime_complete=datetime.datetime.fromtimestamp(evaluation.finished),
        params=evaluation.params,
        distributions=dict(evaluation.layout.distributions),
        user_attrs=user_attrs(evaluation) if named else dict(evaluation.extras.user_attrs),
        system_attrs=system_attrs(evaluation),
        intermediate_values=dict(evaluation.extras.intermediate_values),
    )


def has_value(evaluation: Evaluation) -> bool:
    """Whether its trial has a value: Optuna gives none to a failed one."""
    return evaluation.state != TrialState.FAIL and not math.isnan(evaluation.value)


def user_attrs(evaluation: Evaluation) -> dict[str, Any]:
    """The user attributes of its trial: its own, then its name."""
    return {**evaluation.extras.user_attrs, RANK: evaluation.rank, SEQ: evaluation.seq}


def system_attrs(evaluation: Evaluation) -> dict[str, Any]:
    """The system attributes of its trial when it is finished."""
    return {k: v for k, v in evaluation.extras.system_attrs.items() if k != ENQUEUED}


def is_name(rank: object, seq: object) -> bool:
    """Whether two user attributes are the name of a trial that adbo made."""
    return all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in (rank, seq))


def named(evaluation: Evaluation) -> Evaluation:
    """A trial as it was read, under the name that its user attributes tell, if they do."""
    attrs = evaluation.extras.user_attrs
    if not is_name(attrs.get(RANK), attrs.get(SEQ)):
        return evaluation
    others = {key: value for key, value in attrs.items() if key not in (RANK, SEQ)}
    extras = Extras(others, evaluation.extras.system_attrs, evaluation.extras.intermediate_values)
    return replace(evaluation, rank=attrs[RANK], seq=attrs[SEQ], extras=extras)
