"""Wrong arguments of `adbo.optimize`: ValueError with one line, before anything is evaluated."""

from __future__ import annotations

import math
from typing import Any

import optuna
import pytest

import adbo

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"n_trials": "4"}, "trials is '4': it must be a positive integer"),
    ({"n_trials": math.nan}, "trials is nan"),
    ({"n_trials": True}, "trials is True"),
    ({"timeout": "4"}, "timeout is '4': it must be a positive number of seconds"),
    ({"timeout": 1e12}, "it must be a positive number of seconds, at most 9223372036"),
    ({"kappa": None}, "kappa is None: it must be a finite non-negative number"),
    ({"target": "a"}, "target is 'a': it must be a finite number"),
    ({"seed": "a"}, "seed is 'a': it must be a non-negative integer"),
    ({"seed": 1.5}, "seed is 1.5"),
    ({"retries": 1.5}, "retries is 1.5: it must be a non-negative integer"),
    ({"patience": 2.5}, "patience is 2.5: it must be a positive integer"),
    ({"max_failures": "a"}, "max failures is 'a': it must be a positive integer"),
    ({"direction": None}, "direction is None: it must be minimize or maximize"),
    ({"directions": 3}, "directions is 3: it must be a list of directions"),
    ({"enqueue": None}, "enqueue is None: it must be a list of dictionaries"),
    ({"strategies": 3}, "strategies is 3: it must be a list"),
    ({"trial_timeout": "a"}, "trial timeout is 'a': it must be a positive number of seconds"),
    ({"callbacks": lambda study, trial: None}, "it must be a list of functions"),
    ({"callbacks": [3]}, r"callbacks is \[3\]: it must be a list of functions"),
    ({"pruner": optuna.pruners.MedianPruner}, "it must be halving, none, or in Python a pruner"),
    ({"allowed": 3}, "allowed is 3: it must be a function"),
    ({"study_name": ""}, "study name is '': it must be a text"),
    ({"study_name": 3}, "study name is 3: it must be a text"),
    ({"resume": True}, "resume needs the name of the study: give study_name"),
    ({"storage": ""}, "storage is '': it must be a database URL"),
    ({"reduction_factor": "3"}, "reduction factor is '3': it must be an integer of at least 2"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[next(iter(w)) for w, _ in WRONG])
def test_nothing_is_evaluated(arguments: dict[str, Any], message: str) -> None:
    evaluated: list[float] = []

    def objective(trial: optuna.trial.BaseTrial) -> float:
        evaluated.append(trial.suggest_float("x", 0, 1))
        return evaluated[-1]

    with pytest.raises(ValueError, match=message):
        adbo.optimize(objective, **{"n_trials": 2, "storage": None, **arguments})
    assert not evaluated
