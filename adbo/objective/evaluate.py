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
from adbo.core.evaluation import Evaluation
from adbo.interruption.stopping import EvaluationAbandoned
from adbo.objective.trial import Trial

Objective = Callable[[BaseTrial], Any]


class FailedEvaluation(Exception):
    """Raised by what evaluates on behalf of the user; its text is the reason of the failure."""


class Result(NamedTuple):
    """What came of a call of the objective."""

    state: TrialState
    value: float = math.nan
    """NaN unless it is complete."""
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
        COMPLETE with the value; PRUNED with the last intermediate value, if the objective raised
        `optuna.TrialPruned`; FAIL with the reason as a user attribute, if it raised anything else
        or returned NaN or something that is not a number.

    Raises
    ------
    EvaluationAbandoned, KeyboardInterrupt
        If the run must end.
    """
    result = result_of(objective, trial)
    running = trial.running
    running.is_over = True
    is_pruned = result.state is TrialState.PRUNED
    return Evaluation(
        rank=name[0],
        seq=name[1],
        state=result.state,
        value=running.last_intermediate_value if is_pruned else result.value,
        started=running.started,
        finished=clock(),
        layout=running.layout,
        internal=tuple(running.internal.values()),
        extras=running.extras(result.reason),
    )


def result_of(objective: Objective, trial: Trial) -> Result:
    """Call the objective and return its result; see `evaluate`."""
    try:
        value, reason = _number(objective(trial))
    except optuna.TrialPruned:
        return Result(TrialState.PRUNED)
    except (EvaluationAbandoned, KeyboardInterrupt):
        raise
    except FailedEvaluation as failure:
        return Result(TrialState.FAIL, reason=str(failure))
    except BaseException as error:  # such as GeneratorExit, or a panic of a library in Rust
        return Result(TrialState.FAIL, reason=describe_error(error))
    state = TrialState.COMPLETE if reason is None else TrialState.FAIL
    return Result(state, value, reason)


def describe_error(error: BaseException) -> str:
    """Return the type and the text of an error, on one line."""
    text = one_line(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _number(result: Any) -> tuple[float, str | None]:
    """Return the result as a float and None, or NaN and why Optuna would refuse the result."""
    if isinstance(result, Sequence) and not isinstance(result, str):
        if len(result) != 1:
            return math.nan, (
                f"The number of the values {len(result)} did not match the number of the"
                " objectives 1"
            )
        result = result[0]
    try:
        value = float(result)
    except (TypeError, ValueError):
        return math.nan, f"The value {result!r} could not be cast to float"
    if math.isnan(value):
        return math.nan, f"The value {value} is not acceptable"
    return value, None
