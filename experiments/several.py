"""Compare adbo with Optuna's samplers on several objectives and with constraints.

    python experiments/several.py --output DIR

Workers whose evaluations take equally long ask and tell in turn, so each ask misses the results of
the others that are running. `several.csv` has a row for each run: the hypervolume as a fraction of
the box up to the problem's reference point (more is better), or the best feasible value (less is
better), which is infinite if none was feasible. Runs that it has are not repeated. `adbo-penalty`
is adbo with penalties in place of constraints; `adbo-allowed` is given the constraints as what is
allowed, and so evaluates feasible points only. `adbo-limits` and `tpe-limits` are told the
reference point as a limit of each objective.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import itertools
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.study import StudyDirection
from several_problems import CONSTRAINED, FRONTS, Outcome, Point, Problem, problem
from several_tuning import TUNING
from versions import check_version, code_version

import adbo
from adbo.core.allowed import Predicate
from adbo.core.front import Front
from adbo.core.hypervolume import hypervolume
from adbo.core.space import SearchSpace

COLUMNS = ("problem", "method", "workers", "evaluations", "seed", "value", "seconds", "version")

PROBLEMS = (*FRONTS, *TUNING, *CONSTRAINED)


class Searcher(Protocol):
    """Proposes points and learns from their outcomes."""

    @property
    def waits(self) -> bool:
        """Whether it needs results before it can propose another point."""

    def ask(self) -> tuple[Any, dict[str, Any]]:
        """Return a token for `tell`, and parameters."""

    def tell(self, token: Any, outcome: Outcome) -> None:
        """Learn an outcome."""


class Adbo:
    """adbo's optimizer."""

    waits = False

    def __init__(self, problem: Problem, seed: int, allowed: Predicate | None = None) -> None:
        directions = ["minimize"] * max(len(problem.reference), 1)
        self._optimizer = adbo.Optimizer(
            problem.space, directions=directions, seed=seed, allowed=allowed
        )

    def ask(self) -> tuple[Any, dict[str, Any]]:
        """Return the parameters twice."""
        params = self._optimizer.ask()
        return params, params

    def tell(self, token: Any, outcome: Outcome) -> None:
        """Learn an outcome."""
        values, constraints = outcome
        self._optimizer.tell(token, values, {str(i): c for i, c in enumerate(constraints)})


class OfOptuna:
    """A sampler of Optuna."""

    waits = False

    def __init__(
        self, make: Callable[[int], optuna.samplers.BaseSampler], problem: Problem, seed: int
    ) -> None:
        directions = [StudyDirection.MINIMIZE] * max(len(problem.reference), 1)
        self._study = optuna.create_study(sampler=make(seed), directions=directions)
        self._space = dict(problem.space)

    def ask(self) -> tuple[Any, dict[str, Any]]:
        """Return a trial and its parameters."""
        trial = self._study.ask(self._space)
        return trial, trial.params

    def tell(self, token: Any, outcome: Outcome) -> None:
        """Learn an outcome."""
        values, constraints = outcome
        for i, constraint in enumerate(constraints):
            token.set_constraint(str(i), constraint)
        self._study.tell(token, values)


class OfPymoo:
    """NSGA-II of pymoo, whose workers wait for the last one of each generation."""

    def __init__(self, problem: Problem, workers: int, seed: int) -> None:
        from pymoo.algorithms.moo.nsga2 import NSGA2
        from pymoo.core.problem import Problem as OfUnitCube

        self._space = SearchSpace(problem.space)
        middle = self._space.from_unit(np.full((1, len(problem.space)), 0.5))[0]
        values, constraints = problem.evaluate(point_of(problem, self._space.decode(middle)))
        cube = OfUnitCube(len(problem.space), len(values), len(constraints), xl=0.0, xu=1.0)
        self._algorithm = NSGA2(pop_size=workers)
        self._algorithm.setup(cube, termination=("n_gen", sys.maxsize), seed=seed, verbose=False)
        self._outcomes: dict[int, Outcome] = {}
        self._next = 0
        self._generation: Any = ()

    @property
    def waits(self) -> bool:
        """Whether the generation has been handed out, and not all of it has come back."""
        return self._next == len(self._generation) > len(self._outcomes)

    def ask(self) -> tuple[Any, dict[str, Any]]:
        """Return the number of an individual, and its parameters."""
        if self._next == len(self._generation):
            if len(self._generation):
                values, constraints = zip(
                    *(self._outcomes[i] for i in range(self._next)), strict=True
                )
                self._generation.set("F", np.array(values), "G", np.array(constraints))
                self._algorithm.tell(infills=self._generation)
            self._generation, self._next, self._outcomes = self._algorithm.ask(), 0, {}
        number, self._next = self._next, self._next + 1
        unit = self._generation[number].X[None]
        return number, self._space.decode(self._space.from_unit(unit)[0])

    def tell(self, token: Any, outcome: Outcome) -> None:
        """Learn an outcome."""
        self._outcomes[token] = outcome


SAMPLERS: dict[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "tpe": lambda seed: optuna.samplers.TPESampler(
        seed=seed, multivariate=True, constant_liar=True
    ),
    "gp": lambda seed: optuna.samplers.GPSampler(seed=seed),
    "nsga2": lambda seed: optuna.samplers.NSGAIISampler(seed=seed, population_size=50),
    "nsga3": lambda seed: optuna.samplers.NSGAIIISampler(seed=seed, population_size=50),
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
}


#: The method with penalties, the one with a predicate, and the end of the names of methods with
#: limits.
PENALTY, ALLOWED, LIMITS = "adbo-penalty", "adbo-allowed", "-limits"

#: The package that a method needs, if adbo does not need it.
NEEDS = {"gp": "torch", "pymoo-nsga2": "pymoo"}


def make_searcher(method: str, problem: Problem, workers: int, seed: int) -> Searcher:
    """Return a method for a problem."""
    sampler = SAMPLERS.get(method.removesuffix(LIMITS))
    if sampler is not None:
        return OfOptuna(sampler, problem, seed)
    if method == "pymoo-nsga2":
        return OfPymoo(problem, workers, seed)

    def allowed(params: Mapping[str, Any]) -> bool:
        _, constraints = problem.evaluate(point_of(problem, params))
        return max(constraints) <= 0

    return Adbo(problem, seed, allowed if method == ALLOWED else None)


def point_of(problem: Problem, params: Mapping[str, Any]) -> Point:
    """Return parameters as numbers, a choice of a text as its index."""
    numbers = (_number(params[name], of_one) for name, of_one in problem.space.items())
    return np.array(list(numbers))


def _number(value: Any, distribution: BaseDistribution) -> float:
    if isinstance(value, str):
        assert isinstance(distribution, CategoricalDistribution)
        return float(distribution.choices.index(value))
    return float(value)


def run(
    problem: Problem,
    searcher: Searcher,
    workers: int,
    n: int,
    seen: Callable[[Point, Outcome], Outcome] = lambda point, outcome: outcome,
) -> list[Outcome]:
    """Return the outcomes of n evaluations; the searcher may see others in their place."""
    running: deque[tuple[Any, Outcome]] = deque()
    outcomes = []
    for _ in range(n):
        while running and (len(running) == workers or searcher.waits):
            searcher.tell(*running.popleft())
        token, params = searcher.ask()
        point = point_of(problem, params)
        outcomes.append(problem.evaluate(point))
        running.append((token, seen(point, outcomes[-1])))
    return outcomes


def seen_by(method: str, problem: Problem) -> Callable[[Point, Outcome], Outcome]:
    """Return what a method sees of the outcome of a point."""

    def seen(point: Point, outcome: Outcome) -> Outcome:
        if method == PENALTY:
            assert problem.penalized is not None
            return problem.penalized(point)
        values, constraints = outcome
        if method == ALLOWED:
            return values, []
        if method.endswith(LIMITS):
            return values, [*constraints, *np.subtract(values, problem.reference).tolist()]
        return outcome

    return seen


def score(problem: Problem, outcomes: Sequence[Outcome]) -> float:
    """Return the hypervolume of feasible outcomes, or the best feasible value."""
    feasible = np.array([v for v, c in outcomes if all(constraint <= 0 for constraint in c)])
    if not problem.reference:
        return float(feasible.min()) if len(feasible) else np.inf
    reference = np.array(problem.reference, dtype=float)
    ideal = np.array(problem.ideal or np.zeros(len(reference)))
    front = Front.empty(len(reference)).extended(np.arange(len(feasible)), feasible)
    return hypervolume(front.costs, reference) / float(np.prod(reference - ideal))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing, and print the medians."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS), choices=list(PROBLEMS))
    methods = ["adbo", PENALTY, ALLOWED, f"adbo{LIMITS}", *SAMPLERS, f"tpe{LIMITS}", "pymoo-nsga2"]
    missing = {m for m, package in NEEDS.items() if importlib.util.find_spec(package) is None}
    installed = [method for method in methods if method not in missing]
    parser.add_argument("--methods", nargs="+", default=installed, choices=methods)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--evaluations", type=int, nargs="+", default=[300])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--output", type=Path, default=Path("several"), metavar="DIR")
    options = parser.parse_args(arguments)
    for method in missing.intersection(options.methods):
        parser.error(f"{method} needs {NEEDS[method]}, which is not installed")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "several.csv"
    if not path.exists():
        path.write_text(",".join(COLUMNS) + "\n")
    known, version = pd.read_csv(path, dtype={"version": str}), code_version()
    check_version(path, known["version"], version)
    done = set(known[list(COLUMNS[:5])].itertuples(index=False, name=None))
    n = max(options.evaluations)
    for seed, name, method in itertools.product(options.seeds, options.problems, options.methods):
        if (name, method, options.workers, n, seed) in done:
            continue
        if method in (PENALTY, ALLOWED) and name not in CONSTRAINED:
            continue
        if method.endswith(LIMITS) and name in CONSTRAINED:
            continue
        instance = TUNING[name] if name in TUNING else problem(name, seed)
        start = time.process_time()
        searcher = make_searcher(method, instance, options.workers, seed)
        outcomes = run(instance, searcher, options.workers, n, seen_by(method, instance))
        seconds = round(time.process_time() - start, 1)
        with path.open("a", newline="") as file:
            for number in options.evaluations:
                key = (name, method, options.workers, number, seed)
                csv.writer(file).writerow(
                    [*key, score(instance, outcomes[:number]), seconds, version]
                )
    table = pd.read_csv(path, dtype={"version": str})
    keys = ["evaluations", "problem", "method"]
    medians = table.groupby(keys, sort=False)["value"].median().unstack()
    print(medians.to_string(float_format="%.4g"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
