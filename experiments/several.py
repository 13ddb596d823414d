"""Compare adbo with Optuna's samplers on several objectives and with constraints.

    python experiments/several.py --output DIR

Workers whose evaluations take equally long ask and tell in turn, so each ask misses the results of
the others that are running. `several.csv` has a row for each run: the hypervolume from the
problem's reference point (more is better), or the best feasible value (less is better). Runs that
it has are not repeated.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import optuna
import pandas as pd
from optuna.study import StudyDirection
from several_problems import PROBLEMS, Outcome, Problem
from versions import check_version, code_version

import adbo
from adbo.core.front import Front
from adbo.core.hypervolume import hypervolume

COLUMNS = ("problem", "method", "workers", "evaluations", "seed", "value", "seconds", "version")


class Searcher(Protocol):
    """Proposes points and learns from their outcomes."""

    def ask(self) -> tuple[Any, dict[str, Any]]:
        """Return a token for `tell`, and parameters."""

    def tell(self, token: Any, outcome: Outcome) -> None:
        """Learn an outcome."""


class Adbo:
    """adbo's optimizer."""

    def __init__(self, problem: Problem, seed: int) -> None:
        directions = ["minimize"] * max(len(problem.reference), 1)
        self._optimizer = adbo.Optimizer(problem.space, directions=directions, seed=seed)

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


SAMPLERS: dict[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "tpe": lambda seed: optuna.samplers.TPESampler(
        seed=seed, multivariate=True, constant_liar=True
    ),
    "nsga2": lambda seed: optuna.samplers.NSGAIISampler(seed=seed, population_size=20),
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
}


def run(problem: Problem, searcher: Searcher, workers: int, n: int) -> float:
    """Return the hypervolume, or the best feasible value, after n evaluations."""
    running: deque[tuple[Any, Outcome]] = deque()
    outcomes = []
    for _ in range(n):
        token, params = searcher.ask()
        point = np.array([float(params[name]) for name in problem.space])
        running.append((token, problem.evaluate(point)))
        outcomes.append(running[-1][1])
        if len(running) == workers:
            searcher.tell(*running.popleft())
    feasible = np.array([v for v, c in outcomes if all(constraint <= 0 for constraint in c)])
    if not problem.reference:
        return float(feasible.min()) if len(feasible) else np.nan
    front = Front.empty(feasible.shape[1]).extended(np.arange(len(feasible)), feasible)
    return hypervolume(front.costs, np.array(problem.reference))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing, and print the medians."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS), choices=list(PROBLEMS))
    methods = ["adbo", *SAMPLERS]
    parser.add_argument("--methods", nargs="+", default=methods, choices=methods)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--evaluations", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=Path("several"), metavar="DIR")
    options = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "several.csv"
    if not path.exists():
        path.write_text(",".join(COLUMNS) + "\n")
    known, version = pd.read_csv(path), code_version()
    check_version(path, known["version"], version)
    done = set(known[list(COLUMNS[:5])].itertuples(index=False, name=None))
    for seed in options.seeds:
        for name in options.problems:
            for method in options.methods:
                key = (name, method, options.workers, options.evaluations, seed)
                if key in done:
                    continue
                problem, start = PROBLEMS[name], time.process_time()
                searcher: Searcher = (
                    Adbo(problem, seed)
                    if method == "adbo"
                    else OfOptuna(SAMPLERS[method], problem, seed)
                )
                value = run(problem, searcher, options.workers, options.evaluations)
                seconds = time.process_time() - start
                with path.open("a", newline="") as file:
                    csv.writer(file).writerow([*key, value, round(seconds, 1), version])
    table = pd.read_csv(path)
    medians = table.groupby(["problem", "method"], sort=False)["value"].median().unstack()
    print(medians.to_string(float_format="%.4g"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
