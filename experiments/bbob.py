"""The 24 noiseless functions of BBOB, the benchmark of the COCO platform.

A problem such as ``f10:5`` is a function and its dimension; the seed is the number of the
instance, which moves the optimum and turns the axes. They need the package `coco-experiment`.

Hansen et al. (2021), COCO: a platform for comparing continuous optimizers in a black-box setting.
"""

from __future__ import annotations

import re

import numpy as np
from cases import Case
from optuna.distributions import FloatDistribution
from optuna.trial import BaseTrial

from adbo.core.errors import UsageError

N_FUNCTIONS = 24

#: Every parameter is between these bounds.
BOUNDS = (-5.0, 5.0)

#: The problems of a comparison if none are named.
NAMES = tuple(f"f{function}:5" for function in range(1, N_FUNCTIONS + 1))


def make_case(name: str, seed: int) -> Case:
    """Return a function; the seed is the number of its instance, from 1.

    Raises
    ------
    UsageError
        If there is no function of that name, or the seed is not positive.
    """
    from cocoex import BareProblem

    function, dimension = parse(name)
    if seed < 1:
        raise UsageError(f"seed is {seed}: for BBOB, it must be the number of an instance, from 1")
    problem = BareProblem("bbob", function, dimension, seed)
    optimum = problem.best_value()
    space = {f"x{i}": FloatDistribution(*BOUNDS) for i in range(dimension)}

    def regret(trial: BaseTrial) -> float:
        x = np.array([trial.suggest_float(name, *BOUNDS) for name in space])
        return max(float(problem(x)) - optimum, 0.0)  # rounding may go below the optimum

    return Case(space, regret)


def parse(name: str) -> tuple[int, int]:
    """Return the function and the dimension of a name such as ``f10:5``.

    Raises
    ------
    UsageError
        If there is no such function.
    """
    match = re.fullmatch(r"f(\d+):(\d+)", name)
    if match is None or not (1 <= int(match[1]) <= N_FUNCTIONS and int(match[2]) >= 2):
        raise UsageError(f"problem is {name!r}: must be f1 to f24 and a dimension, such as f10:5")
    return int(match[1]), int(match[2])
