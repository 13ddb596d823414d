"""The changes that a trial of a replicated storage can undergo."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from adbo.core.trial_json import decode_distribution, decode_time


def changed(trial: FrozenTrial, kind: str, arguments: Sequence[Any]) -> FrozenTrial:
    """Return a copy of a trial after a change.

    The original stays as it is, since another thread may be reading it.

    Parameters
    ----------
    trial
        The trial before the change.
    kind
        ``"state"`` with the name of the state, values, time; ``"param"`` with a name, the internal
        value, the distribution; ``"report"`` with step and value; ``"user"`` or ``"system"`` with
        the name and the value of an attribute.
    arguments
        The arguments of that kind, as listed.
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
        trial.datetime_complete = decode_time(time)
    elif trial.state is TrialState.RUNNING:
        trial.datetime_start = decode_time(time)


def _set_param(trial: FrozenTrial, name: str, internal: float, text: str) -> None:
    distribution = decode_distribution(text)
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
