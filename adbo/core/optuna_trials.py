"""Evaluations as trials of Optuna, and back.

Notation: a trial's *name* is ``(rank, seq)``, stored as two user attributes.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from adbo.core.evaluation import Evaluation, Extras, Layout
from adbo.core.origins import from_text, to_text

#: The user attributes that hold a trial's name.
RANK, SEQ = "adbo:rank", "adbo:seq"

#: The attribute that holds the origin of a trial that the optimizer proposed, as text: a user
#: attribute of a trial with a name, a system attribute of one that `adbo.QUCBSampler` sampled.
STRATEGY = "adbo:strategy"

#: The system attribute of a trial that somebody enqueued and adbo is evaluating. Its value is the
#: id of the trial and the number of the job; a finished trial does not have it.
ENQUEUED = "adbo:enqueued"

#: The system attribute in which changes of the study's attributes travel to the database with a
#: trial: "user" and "system" to names and values. The stored trial does not have it.
STUDY_ATTRS = "adbo:study_attrs"

#: The system attribute in which Optuna keeps the parameters of an enqueued trial.
FIXED_PARAMS = "fixed_params"


def add_trial(study: optuna.Study, trial: FrozenTrial) -> None:
    """Add a trial as it is.

    `Study.add_trial` refuses a value outside its range, but Optuna evaluates what is enqueued even
    so.
    """
    study._storage.create_new_trial(study._study_id, template_trial=trial)


def evaluation_of(trial: FrozenTrial) -> Evaluation:
    """Return a finished trial as an evaluation."""
    distributions = {name: trial.distributions[name] for name in trial.params}
    values = tuple(map(float, trial.values or (math.nan,)))
    times = [t.timestamp() for t in (trial.datetime_start, trial.datetime_complete) if t]
    return named(
        Evaluation(
            rank=-1,
            seq=trial.number,
            state=trial.state,
            value=values[0],
            started=min(times, default=0.0),
            finished=max(times, default=0.0),
            layout=Layout.of(distributions, len(values)),
            internal=tuple(
                d.to_internal_repr(trial.params[name]) for name, d in distributions.items()
            ),
            extras=Extras(trial.user_attrs, trial.system_attrs, trial.intermediate_values),
            more_values=values[1:],
        )
    )


def trial_of(evaluation: Evaluation) -> FrozenTrial:
    """Return an evaluation as a finished trial; the storage will give it a number."""
    is_named = evaluation.rank >= 0
    return FrozenTrial(
        number=-1,
        trial_id=-1,
        state=evaluation.state,
        value=None,
        values=list(evaluation.values) if has_value(evaluation) else None,
        datetime_start=datetime.datetime.fromtimestamp(evaluation.started),
        datetime_complete=datetime.datetime.fromtimestamp(evaluation.finished),
        params=evaluation.params,
        distributions=dict(evaluation.layout.distributions),
        user_attrs=user_attrs(evaluation) if is_named else dict(evaluation.extras.user_attrs),
        system_attrs=system_attrs(evaluation),
        intermediate_values=dict(evaluation.extras.intermediate_values),
    )


def has_value(evaluation: Evaluation) -> bool:
    """Return whether the trial of an evaluation has values; in Optuna a failed trial has none."""
    return evaluation.state != TrialState.FAIL and not any(map(math.isnan, evaluation.values))


def user_attrs(evaluation: Evaluation) -> dict[str, Any]:
    """Return the user attributes of the trial: those of the evaluation, its name, its origin."""
    attrs = {**evaluation.extras.user_attrs, RANK: evaluation.rank, SEQ: evaluation.seq}
    text = to_text(evaluation.origin)
    if text is None:
        attrs.pop(STRATEGY, None)  # of a trial that was enqueued with the attributes of another
    else:
        attrs[STRATEGY] = text
    return attrs


def system_attrs(evaluation: Evaluation) -> dict[str, Any]:
    """Return the system attributes of the finished trial."""
    own = (ENQUEUED, STUDY_ATTRS)
    return {k: v for k, v in evaluation.extras.system_attrs.items() if k not in own}


def enqueued_id(evaluation: Evaluation) -> int | None:
    """Return the id of the enqueued trial of an evaluation; None if nobody enqueued it."""
    taken = evaluation.extras.system_attrs.get(ENQUEUED)
    return taken[0] if isinstance(taken, list) else None


def is_name(rank: object, seq: object) -> bool:
    """Return whether the values of two user attributes are the name of a trial.

    A trial that adbo did not make has a name (of rank -1) only if adbo had to store it again.
    """
    pairs = ((rank, -1), (seq, 0))
    return all(isinstance(n, int) and not isinstance(n, bool) and n >= low for n, low in pairs)


def name_of(user_attrs: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the name that user attributes hold, None if there is none."""
    rank, seq = user_attrs.get(RANK), user_attrs.get(SEQ)
    return (rank, seq) if is_name(rank, seq) else None  # type: ignore[return-value]


def origin_of(user_attrs: Mapping[str, Any], system_attrs: Mapping[str, Any]) -> int:
    """Return the code of the origin that the attributes of a trial hold; 0 if there is none."""
    attrs = system_attrs if name_of(user_attrs) is None else user_attrs
    return from_text(attrs.get(STRATEGY))


def named(evaluation: Evaluation) -> Evaluation:
    """Return a trial that was read, under the name and with the origin in its attributes."""
    extras = evaluation.extras
    name = name_of(extras.user_attrs)
    if name is None:
        origin = from_text(extras.system_attrs.get(STRATEGY))
        return replace(evaluation, origin=origin) if origin else evaluation
    own = (RANK, SEQ, STRATEGY)
    others = {key: value for key, value in extras.user_attrs.items() if key not in own}
    return replace(
        evaluation,
        rank=name[0],
        seq=name[1],
        extras=Extras(others, extras.system_attrs, extras.intermediate_values),
        origin=from_text(extras.user_attrs.get(STRATEGY)),
    )
