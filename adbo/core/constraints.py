"""The constraints of evaluations: numbers that are at most 0 if a trial is feasible.

They are what `optuna.trial.Trial.set_constraint` sets, or the `constraints_func` of a sampler of
Optuna returns: system attributes of the trial, which travel and are stored as all others are.

Notation: ``m`` evaluations, ``c`` constraints.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

#: The system attribute with a list of constraints, and the start of those with one of a name.
_KEY, _PREFIX = "constraints", "constraints:"


def constraints_of(system_attrs: Mapping[str, Any]) -> dict[str, float]:
    """Return the constraints of a trial by name; those of a list have their numbers as names.

    What is no number, which other programs may have stored, counts as violated.
    """
    if not system_attrs:
        return {}
    listed = system_attrs.get(_KEY) or ()
    is_list = isinstance(listed, Sequence) and not isinstance(listed, str)
    listed = listed if is_list else [listed]
    constraints = {str(number): _number(value) for number, value in enumerate(listed)}
    for key, value in system_attrs.items():
        if key.startswith(_PREFIX):
            constraints[key.removeprefix(_PREFIX)] = _number(value)
    return constraints


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return math.inf
    return math.inf if math.isnan(number) else number


def as_system_attrs(constraints: Mapping[str, float]) -> dict[str, float]:
    """Return constraints by name as the system attributes of a trial."""
    return {_PREFIX + name: float(value) for name, value in constraints.items()}


def violation(constraints: FloatArray) -> FloatArray:
    """Return the sum of the positive constraints ``(m,)`` of rows ``(m, c)``.

    It is 0 where a trial is feasible; constraints that it does not have, NaN, are satisfied.
    """
    return np.asarray(np.where(constraints > 0, constraints, 0.0).sum(axis=1))
