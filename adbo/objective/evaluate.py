"""Calling the objective, and turning its outcome into an evaluation.

This module does not know other ranks, databases or the clock; the time comes from a function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import optuna
from optuna.trial import BaseTrial, TrialState

from adbo.core.errors import one_line
from adbo.core.evaluation import Evaluation, Layout
from adbo.interruption.stopping import EvaluationAbandoned
from adbo.objective.trial import Trial

Objective = Callable[[BaseTrial], Any]


class FailedEvaluation(Exception):
    """Raised by what evaluates on behalf of the user; its text is the reason of the failure."""


class Result(NamedTuple):
    """What came of a call of the objective."""

    state: TrialState
    values: tuple[float, ...] = ()
    """One for each objective if it is complete."""
    reason: str | None = None
    """Why it failed, on one line."""


def evaluate(
    objective: Objective, trial: Trial, name: tuple[int, int], clock: Callable[[], float]
) -> Evaluation:
    """Call the objective and return its evaluation.

    Parameters
    ----------
    objective
        The user's function.
    trial
        The argument of the objective.
    name
        The ``(rank, seq)`` of the evaluation.
    clock
        Returns seconds since the epoch.

    Returns
    -------
    Evaluation
        COMPLETE with the values; PRUNED with the last intermediate value, if the objective raised
        `optuna.TrialPruned`; FAIL with the reason as a user attribute, if it raised anything else
        or returned NaN, something that is not a number, or another number of values than the
        study has directions.

    Raises
    ------
    EvaluationAbandoned, KeyboardInterrupt
        If the run must end.
    """
    result = result_of(objective, trial, len(trial.study.directions))
    running = trial.running
    running.is_over = True
    if result.state is TrialState.PRUNED:
        values: tuple[float, ...] = (running.last_intermediate_value,)
    else:
        values = result.values or (math.nan,)
    return Evaluation(
        rank=name[0],
        seq=name[1],
        state=result.state,
        value=values[0],
        started=running.started,
        finished=clock(),
        layout=Layout.of(running.distributions, len(values)),
        internal=tuple(running.internal.values()),
        extras=running.extras(result.reason),
        more_values=values[1:],
    )


def result_of(objective: Objective, trial: Trial, n_objectives: int) -> Result:
    """Call the objective and return its result; see `evaluate`."""
    try:
        values, reason = _numbers(objective(trial), n_objectives)
    except optuna.TrialPruned:
        return Result(TrialState.PRUNED)
    except (EvaluationAbandoned, KeyboardInterrupt):
        raise
    except FailedEvaluation as failure:
        return Result(TrialState.FAIL, reason=str(failure))
    except BaseException as error:  # such as GeneratorExit, or a panic of a library in Rust
        return Result(TrialState.FAIL, reason=describe_error(error))
    state = TrialState.COMPLETE if reason is None else TrialState.FAIL
    return Result(state, values, reason)


def describe_error(error: BaseException) -> str:
    """Return the type and the text of an error, on one line."""
    text = one_line(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _numbers(result: Any, n_objectives: int) -> tuple[tuple[float, ...], str | None]:
    """Return the values and None, or no values and why Optuna would refuse the result."""
    is_several = isinstance(result, Sequence) and not isinstance(result, str)
    results = result if is_several else [result]
    if len(results) != n_objectives:
        return (), (
            f"The number of the values {len(results)} did not match the number of the objectives"
            f" {n_objectives}"
        )
    values = []
    for one in results:
        try:
            value = float(one)
        except (TypeError, ValueError):
            return (), one_line(f"The value {one!r} could not be cast to float")
        if math.isnan(value):
            return (), f"The value {value} is not acceptable"
        values.append(value)
    return tuple(values), None
