"""Real problems from the literature with their best known values: fits, designs, controllers.

Each family is a module; `FAMILIES` lists them. A problem is the function of its name, whose
docstring tells its source. The seed varies its data mildly: true parameters, loads or layouts.

A fit of data without noise has its minimum 0 at the true parameters. The best known values of
other problems are in `best_known.json`, for some seeds; `real_best_known.py` makes that file.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cases import Case, suggest
from optuna.trial import BaseTrial

from adbo.core.errors import UsageError
from real import control, curve_fits, designs, ode_fits, optics, paths, plants, structures
from real.problem import MakeProblem, Problem, bounded

FAMILIES: tuple[tuple[MakeProblem, ...], ...] = (
    curve_fits.PROBLEMS,
    ode_fits.PROBLEMS,
    designs.PROBLEMS,
    structures.PROBLEMS,
    optics.PROBLEMS,
    control.PROBLEMS,
    paths.PROBLEMS,
    plants.PROBLEMS,
)

PROBLEMS: Mapping[str, MakeProblem] = {
    make.__name__: make for family in FAMILIES for make in family
}

NAMES: tuple[str, ...] = tuple(PROBLEMS)

BEST_KNOWN = Path(__file__).with_name("best_known.json")


def make_case(name: str, seed: int) -> Case:
    """Return a problem of `NAMES` as a case of the experiments.

    Raises
    ------
    UsageError
        If there is no problem of that name, or no best known value of that seed.
    """
    problem = make_problem(name, seed)
    best = bounded(problem.value(best_point(name, seed)))

    def regret(trial: BaseTrial) -> float:
        x = [suggest(trial, name, distribution) for name, distribution in problem.space.items()]
        return bounded(problem.value(x)) - best

    def fails(params: Mapping[str, Any]) -> bool:
        return problem.fails([params[name] for name in problem.space])

    return Case(problem.space, regret, fails=fails)


def make_problem(name: str, seed: int) -> Problem:
    """Return a problem of `NAMES`.

    Raises
    ------
    UsageError
        If there is no problem of that name.
    """
    if name not in PROBLEMS:
        raise UsageError(f"problem is {name!r}; must be one of {', '.join(NAMES)}")
    return PROBLEMS[name](np.random.default_rng([seed, 4]))


def best_point(name: str, seed: int) -> Sequence[Any]:
    """Return the best known point of a problem, in the order of its space.

    Raises
    ------
    UsageError
        If no best known point is stored for that seed.
    """
    point = make_problem(name, seed).best
    if point is None:
        stored = stored_points().get(name, {})
        if str(seed) not in stored:
            raise UsageError(
                f"seed is {seed}; the best value of {name} is known for the seeds"
                f" {', '.join(stored) or '(none)'}; real_best_known.py searches for others"
            )
        point = stored[str(seed)]["point"]
    return point


@functools.cache
def stored_points() -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """Return what `best_known.json` holds: the value and the point of each problem and seed."""
    return json.loads(BEST_KNOWN.read_text()) if BEST_KNOWN.exists() else {}
