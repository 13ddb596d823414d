"""Trials and evaluations as plain JSON values.

The file of rescued evaluations and the replicated storage use these forms. `encode_...` returns
what `json.dumps` takes; `decode_...` is the inverse.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.trial import FrozenTrial, TrialState

from adbo.core.evaluation import Evaluation, Extras, Layout
from adbo.core.origins import from_text, to_text


def encode_distribution(distribution: BaseDistribution) -> str:
    """Return a distribution as JSON text.

    Raises
    ------
    TypeError
        If a categorical choice is not a JSON value.
    """
    return distribution_to_json(distribution)


# Cached, since thousands of trials share a few distributions, which are slow to parse.
@functools.lru_cache(maxsize=4096)
def decode_distribution(text: str) -> BaseDistribution:
    """Return the distribution of a JSON text; equal texts give the same object."""
    return json_to_distribution(text)


@functools.lru_cache(maxsize=4096)
def decode_layout(texts: tuple[tuple[str, str], ...], n_values: int = 1) -> Layout:
    """Return the layout of (name, distribution as JSON); equal texts give the same object."""
    return Layout.of({name: decode_distribution(text) for name, text in texts}, n_values)


def encode_evaluation(evaluation: Evaluation) -> dict[str, Any]:
    """Return a finished evaluation as a JSON object that people can read."""
    user_attrs, system_attrs, steps = _encode_extras(evaluation.extras)
    return {
        "rank": evaluation.rank,
        "seq": evaluation.seq,
        "state": evaluation.state.name,
        **_encode_objectives(evaluation),
        "params": evaluation.params,
        "started": evaluation.started,
        "finished": evaluation.finished,
        "strategy": to_text(evaluation.origin),
        "user_attrs": user_attrs,
        "system_attrs": system_attrs,
        "intermediate_values": steps,
        "internal": list(evaluation.internal),
        "distributions": {
            name: json.loads(encode_distribution(distribution))
            for name, distribution in evaluation.layout.distributions.items()
        },
    }


def decode_evaluation(fields: dict[str, Any]) -> Evaluation:
    """Return the evaluation that `encode_evaluation` encoded.

    Raises
    ------
    ValueError, LookupError, TypeError, AttributeError
        If the object is not of that form.
    """
    distributions = fields["distributions"].items()
    extras = (fields[name] for name in ("user_attrs", "system_attrs", "intermediate_values"))
    values = fields["values"] if "values" in fields else [fields["value"]]
    value, *more_values = map(float, values)
    return Evaluation(
        rank=int(fields["rank"]),
        seq=int(fields["seq"]),
        state=TrialState[fields["state"]],
        value=value,
        started=float(fields["started"]),
        finished=float(fields["finished"]),
        layout=decode_layout(
            tuple((name, json.dumps(d)) for name, d in distributions), len(values)
        ),
        internal=tuple(float(value) for value in fields["internal"]),
        extras=Extras(**_decode_extras(*extras)),
        origin=from_text(fields.get("strategy")),
        more_values=tuple(more_values),
    )


def _encode_objectives(evaluation: Evaluation) -> dict[str, Any]:
    """Return the value of one objective, or the values of several."""
    if evaluation.more_values:
        return {"values": list(evaluation.values)}
    return {"value": evaluation.value}


def encode_trial(trial: FrozenTrial) -> dict[str, Any]:
    """Return an Optuna trial as a JSON object, without its number and id.

    Raises
    ------
    TypeError
        If a categorical choice is not a JSON value.
    """
    user_attrs, system_attrs, steps = _encode_extras(trial)
    return {
        "state": trial.state.name,
        "values": encode_values(trial.values),
        "params": {
            name: [float(d.to_internal_repr(trial.params[name])), encode_distribution(d)]
            for name, d in trial.distributions.items()
        },
        "user": user_attrs,
        "system": system_attrs,
        "steps": steps,
        "start": encode_time(trial.datetime_start),
        "complete": encode_time(trial.datetime_complete),
    }


def decode_trial(trial_id: int, number: int, fields: dict[str, Any]) -> FrozenTrial:
    """Return the trial that `encode_trial` encoded, with its id and number."""
    params = fields["params"].items()
    distributions = {name: decode_distribution(text) for name, (_, text) in params}
    return FrozenTrial(
        trial_id=trial_id,
        number=number,
        state=TrialState[fields["state"]],
        value=None,
        values=fields["values"],
        params={
            name: distributions[name].to_external_repr(internal) for name, (internal, _) in params
        },
        distributions=distributions,
        datetime_start=decode_time(fields["start"]),
        datetime_complete=decode_time(fields["complete"]),
        **_decode_extras(fields["user"], fields["system"], fields["steps"]),
    )


def encode_values(values: Sequence[float] | None) -> list[float] | None:
    """Return objective values as built-in floats; None stays None."""
    return None if values is None else [float(value) for value in values]


def encode_time(time: datetime | None) -> str | None:
    """Return a time in ISO format, to the microsecond; None stays None."""
    return None if time is None else time.isoformat()


def decode_time(text: str | None) -> datetime | None:
    """Return the time that `encode_time` encoded."""
    return None if text is None else datetime.fromisoformat(text)


def _encode_extras(source: Extras | FrozenTrial) -> list[Any]:
    """Return user attributes, system attributes, and pairs of step and intermediate value."""
    steps = [[step, float(value)] for step, value in source.intermediate_values.items()]
    return [dict(source.user_attrs), dict(source.system_attrs), steps]


def _decode_extras(user_attrs: Any, system_attrs: Any, steps: Any) -> dict[str, Any]:
    """Return the keyword arguments for `Extras` or `FrozenTrial`."""
    return {
        "user_attrs": dict(user_attrs),
        "system_attrs": dict(system_attrs),
        "intermediate_values": {int(step): float(value) for step, value in steps},
    }
