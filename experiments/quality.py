"""How close adbo, random search and TPE come to the optimum, with as many evaluations each.

    python experiments/quality.py --output quality.csv --problems ackley:5 levy:10 --seeds 0 1 2

Workers run side by side on a virtual clock; an evaluation takes 60 +- 10 virtual seconds. The
functions are shifted at random, those called ``rotated:...`` also rotated. A row of the file is
one part, a method on a problem with a seed; parts that are there are not repeated.
"""

from __future__ import annotations

import argparse
import csv
import heapq
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Protocol

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import FloatDistribution

from adbo import optimizer, problems
from adbo.problems import Problem
from adbo.space import FloatArray

PROBLEMS = (
    "ackley:5",
    "ackley:10",
    "rosenbrock:5",
    "hartmann6",
    "schwefel:5",
    "levy:10",
    "griewank:5",
    "rotated:rastrigin:5",
    "ackley:30",
)

#: Virtual seconds of an evaluation: mean, standard deviation, least.
DURATION = (60.0, 10.0, 1.0)

KEYS = ("method", "problem", "workers", "evaluations", "seed")


class Searcher(Protocol):
    """A method: proposes points as mappings and takes in their values."""

    def ask(self) -> Mapping[str, float]:
        """The next point."""

    def tell(self, params: Mapping[str, float], value: float) -> None:
        """Its value."""


class RandomSearch:
    """Uniform in the box."""

    def __init__(self, space: Mapping[str, FloatDistribution], seed: int) -> None:
        self._space, self._rng = space, np.random.default_rng(seed)

    def ask(self) -> Mapping[str, float]:
        """A uniform point."""
        return {name: self._rng.uniform(d.low, d.high) for name, d in self._space.items()}

    def tell(self, params: Mapping[str, float], value: float) -> None:
        """Nothing is learned."""


class TPE:
    """Optuna's, multivariate, with constant liar."""

    def __init__(self, space: Mapping[str, FloatDistribution], seed: int) -> None:
        sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
        self._study, self._space = optuna.create_study(sampler=sampler), dict(space)
        self._trials: dict[tuple[float, ...], optuna.Trial] = {}

    def ask(self) -> Mapping[str, float]:
        """The next point."""
        trial = self._study.ask(self._space)
        self._trials[tuple(trial.params.values())] = trial
        return trial.params

    def tell(self, params: Mapping[str, float], value: float) -> None:
        """Its value."""
        self._study.tell(self._trials.pop(tuple(params.values())), value)


METHODS: Mapping[str, Callable[[Mapping[str, FloatDistribution], int], Searcher]] = {
    "adbo": lambda space, seed: optimizer.Optimizer(space, seed=seed),
    "random": RandomSearch,
    "tpe": TPE,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing, then print the table."""
    options = _parser().parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    parts = list(plan(options))
    done = load(options.output)
    for part in parts:
        if part not in done:
            done[part] = regret(*part)
            append(options.output, part, done[part])
    print(table({part: done[part] for part in parts}))
    return 0


def plan(options: argparse.Namespace) -> Iterator[tuple[str, str, int, int, int]]:
    """All parts, in the order of `KEYS`."""
    for problem, method, seed in product(options.problems, options.methods, options.seeds):
        yield method, problem, options.workers, options.evaluations, seed


def regret(method: str, name: str, workers: int, evaluations: int, seed: int) -> float:
    """The best value found, less the optimum."""
    problem = make_problem(name, seed)
    space = {
        f"x{i}": FloatDistribution(problem.low, problem.high) for i in range(problem.dimension)
    }
    searcher = METHODS[method](space, seed)
    mean, deviation, least = DURATION
    rng = np.random.default_rng([seed, 1])

    def finish(now: float) -> float:
        return now + max(rng.normal(mean, deviation), least)

    running = [(finish(0.0), worker, searcher.ask()) for worker in range(workers)]
    heapq.heapify(running)
    best = np.inf
    for _ in range(evaluations):
        now, worker, params = heapq.heappop(running)
        point: FloatArray = np.array([list(params.values())])
        value = float(problem.function(point)[0])
        best = min(best, value)
        searcher.tell(params, value)
        heapq.heappush(running, (finish(now), worker, searcher.ask()))
    return best - problem.optimum


def make_problem(name: str, seed: int) -> Problem:
    """A test function, shifted, and rotated if its name says so."""
    # A stream of its own: [seed, 0] is that of `default_rng(seed)`, whose first numbers are the
    # first point of a method; that point would be the optimum.
    rng = np.random.default_rng([seed, 2])
    prefix, _, rest = name.partition(":")
    if prefix == "rotated":
        return problems.rotated(problems.shifted(problems.parse(rest), rng), rng)
    return problems.shifted(problems.parse(name), rng)


def load(path: Path) -> dict[tuple[str, str, int, int, int], float]:
    """Regrets of the parts in the file."""
    if not path.exists():
        return {}
    frame = pd.read_csv(path)
    return dict(
        zip(frame[list(KEYS)].itertuples(index=False, name=None), frame["regret"], strict=True)
    )


def append(path: Path, part: tuple[str, str, int, int, int], value: float) -> None:
    """Add a row to the file."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow([*KEYS, "regret"])
        writer.writerow([*part, repr(value)])


def table(regrets: Mapping[tuple[str, str, int, int, int], float]) -> str:
    """Median [least, largest] over the seeds, a row for each problem, a column for each method."""
    frame = pd.DataFrame(
        [[*part, value] for part, value in regrets.items()], columns=[*KEYS, "regret"]
    )
    cells = frame.groupby(["problem", "method"], sort=False)["regret"].agg(
        lambda r: f"{r.median():.2g} [{r.min():.2g}, {r.max():.2g}]"
    )
    return cells.unstack().to_string()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--problems", nargs="+", default=PROBLEMS)
    parser.add_argument("--seeds", nargs="+", type=int, default=(300, 301, 302, 303, 304))
    parser.add_argument("--evaluations", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=tuple(METHODS))
    parser.add_argument("--output", type=Path, default=Path("quality.csv"), metavar="CSV")
    return parser


if __name__ == "__main__":
    sys.exit(main())
