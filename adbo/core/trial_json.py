"""How a trial is written as plain JSON values, and the ways in which it changes."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.trial import FrozenTrial, TrialState


def encode_trial(trial: FrozenTrial) -> dict[str, Any]:
    """A trial without its number and id.

    Raises
    ------
    TypeError
        If a categorical choice cannot be written as JSON.
    """
    return {
        "state": trial.state.name,
        "values": encode_values(trial.values),
        "params": {
            name: [float(d.to_internal_repr(trial.params[name])), encode_distribution(d)]
            for name, d in trial.distributions.items()
        },
        "user": trial.user_attrs,
        "system": trial.system_attrs,
        "steps": [[step, float(value)] for step, value in trial.intermediate_values.items()],
        "start": encode_time(trial.datetime_start),
        "complete": encode_time(trial.datetime_complete),
    }


def decode_trial(trial_id: int, number: int, fields: dict[str, Any]) -> FrozenTrial:
    """What `encode_trial` made."""
    distributions = {name: _distribution(text) for name, (_, text) in fields["params"].items()}
    return FrozenTrial(
        trial_id=trial_id,
        number=number,
        state=TrialState[fields["state"]],
        value=None,
        values=fields["values"],
        params={
            name: distributions[name].to_external_repr(internal)
            for name, (internal, _) in fields["params"].items()
        },
        distributions=distributions,
        user_attrs=fields["user"],
        system_attrs=fields["system"],
        intermediate_values={int(step): value for step, value in fields["steps"]},
        datetime_start=_time(fields["start"]),
        datetime_complete=_time(fields["complete"]),
    )


def encode_values(values: Sequence[float] | None) -> list[float] | None:
    """Objective values as floats that JSON knows."""
    return None if values is None else [float(value) for value in values]


def encode_time(time: datetime | None) -> str | None:
    """A time to the microsecond."""
    return None if time is None else time.isoformat()


def encode_distribution(distribution: BaseDistribution) -> str:
    """A distribution as JSON.

    Raises
    ------
    TypeError
        If a categorical choice cannot be written as JSON.
    """
    return distribution_to_json(distribution)


def changed(trial: FrozenTrial, kind: str, arguments: Sequence[Any]) -> FrozenTrial:
    """A trial after a change; the old one stays as it is, since somebody may be reading it.

    Parameters
    ----------
    trial
        Before the change.
    kind
        ``"state"`` with the name of the state, values, time; ``"param"`` with a name, the internal
        value, the distribution; ``"report"`` with step and value; ``"user"`` or ``"system"`` with
        the name and the value of an attribute.
    arguments
        As listed.
    """
    trial = copy.copy(trial)
    _CHANGES[kind](trial, *arguments)
    return trial


def _set_state(
    trial: FrozenTrial, state: str, values: list[float] | None, time: str | None
) -> None:
    trial.state = TrialState[state]
    if values is not None:
        trial.values = values
    if trial.state.is_finished():
        trial.datetime_complete = _time(time)
    elif trial.state is TrialState.RUNNING:
        trial.datetime_start = _time(time)


def _set_param(trial: FrozenTrial, name: str, internal: float, text: str) -> None:
    distribution = _distribution(text)
    trial.params = {**trial.params, name: distribution.to_external_repr(internal)}
    trial.distributions = {**trial.distributions, name: distribution}


def _report(trial: FrozenTrial, step: int, value: float) -> None:
    trial.intermediate_values = {**trial.intermediate_values, step: value}


def _set_user_attr(trial: FrozenTrial, name: str, value: Any) -> None:
    trial.user_attrs = {**trial.user_attrs, name: value}


def _set_system_attr(trial: FrozenTrial, name: str, value: Any) -> None:
    trial.system_attrs = {**trial.system_attrs, name: value}


_CHANGES: dict[str, Callable[..., None]] = {
    "state": _set_state,
    "param": _set_param,
    "report": _report,
    "user": _set_user_attr,
    "system": _set_system_attr,
}


# Trials share their distributions, and one takes 10 microseconds to read.
@functools.lru_cache(maxsize=4096)
def _distribution(text: str) -> BaseDistribution:
    return json_to_distribution(text)


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
