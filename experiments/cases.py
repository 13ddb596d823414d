"""The suite `cases` of `compare.py`: test functions of every kind of parameter, with known optima.

The name of a problem is that of a test function (`adbo.benchmark_functions`) or of one of `MIXED`,
optionally after some of `PREFIXES`. The seed determines how a function is shifted and rotated, and
the random tables of the others.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import BaseTrial

from adbo.benchmark_functions import problems as benchmark_functions
from adbo.benchmark_functions.problems import Problem
from adbo.core.errors import UsageError

#: Standard deviation of the noise of ``noisy:`` functions.
NOISE = 1.0

#: This fraction of the range of the first coordinate is the border of the points that fail, for
#: ``failing:`` functions: those on the other side of the border than the optimum.
FAILING_FROM = 0.5

PREFIXES = frozenset({"stretched", "rotated", "noisy", "failing"})

Regret = Callable[[BaseTrial], float]


@dataclass(frozen=True)
class Case:
    """A problem to minimize.

    Parameters
    ----------
    space
        All parameters.
    regret
        Returns the value of a trial less the minimum; asks the trial for its parameters.
    noise
        Standard deviation of the noise that is added to an observed value.
    fails
        Returns whether an evaluation of these parameters fails.
    """

    space: Mapping[str, BaseDistribution]
    regret: Regret
    noise: float = 0.0
    fails: Callable[[Mapping[str, Any]], bool] = lambda params: False


def make_case(name: str, seed: int) -> Case:
    """Return the case of a name and a seed.

    Raises
    ------
    UsageError
        If there is no case of that name.
    """
    # [seed, 0] and `default_rng(seed)` are the same stream. A method may draw its first point from
    # it, which would then be the optimum; so the case needs another stream.
    rng = np.random.default_rng([seed, 2])
    words = name.split(":")
    prefixes = list(itertools.takewhile(PREFIXES.__contains__, words))
    rest = ":".join(words[len(prefixes) :])
    if rest in MIXED:
        if set(prefixes) - {"noisy"}:
            raise UsageError(f"problem is {name!r}: {rest} can be noisy, but nothing else")
        case = MIXED[rest](rng)
    else:
        problem = benchmark_functions.shifted(benchmark_functions.parse(rest), rng)
        if "stretched" in prefixes:
            problem = benchmark_functions.stretched(problem)
        if "rotated" in prefixes:
            problem = benchmark_functions.rotated(problem, rng)
        case = _of_function(problem)
        if "failing" in prefixes:
            case = replace(case, fails=partial(_fails, problem))
    return replace(case, noise=NOISE) if "noisy" in prefixes else case


def suggest(trial: BaseTrial, name: str, distribution: BaseDistribution) -> Any:
    """Ask a trial for a parameter of a declared space."""
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high, log = distribution.low, distribution.high, distribution.log
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(name, int(low), int(high), log=log)
    return trial.suggest_float(name, low, high, log=log)


def _fails(problem: Problem, params: Mapping[str, Any]) -> bool:
    border = problem.low + FAILING_FROM * (problem.high - problem.low)
    return bool((params["x0"] > border) == (problem.argmin[0] < border))


def _of_function(problem: Problem) -> Case:
    space = {
        f"x{i}": FloatDistribution(problem.low, problem.high) for i in range(problem.dimension)
    }
    return Case(space, lambda trial: problem.objective(trial) - problem.optimum)


def _categorical(rng: np.random.Generator) -> Case:
    """Return six categorical parameters of eight choices; pairs of neighbours interact."""
    n, k = 6, 8
    best = rng.integers(k, size=n)
    single, pair = rng.random((n, k)), rng.random((n - 1, k, k))
    single[np.arange(n), best] = 0
    pair[np.arange(n - 1), best[:-1], best[1:]] = 0
    space = {f"c{i}": CategoricalDistribution([f"c{i}={j}" for j in range(k)]) for i in range(n)}

    def regret(trial: BaseTrial) -> float:
        chosen = [
            int(str(trial.suggest_categorical(name, d.choices))[-1]) for name, d in space.items()
        ]
        return float(
            single[np.arange(n), chosen].sum()
            + pair[np.arange(n - 1), chosen[:-1], chosen[1:]].sum()
        )

    return Case(space, regret)


def _integer(rng: np.random.Generator) -> Case:
    """Return six integers from 0 to 100, a bowl with local minima every seven."""
    best = rng.integers(10, 91, size=6)
    space = {f"i{i}": IntDistribution(0, 100) for i in range(6)}

    def regret(trial: BaseTrial) -> float:
        x = np.array([trial.suggest_int(name, 0, 100) for name in space]) - best
        return float(np.sum((x / 10) ** 2 + 1 - np.cos(2 * np.pi * x / 7)))

    return Case(space, regret)


def _logarithmic(rng: np.random.Generator) -> Case:
    """Return five numbers over six decades each, a bowl of their logarithms."""
    best = rng.uniform(-5, -1, size=5)
    space = {f"l{i}": FloatDistribution(1e-6, 1, log=True) for i in range(5)}

    def regret(trial: BaseTrial) -> float:
        x = np.log10([trial.suggest_float(name, 1e-6, 1, log=True) for name in space])
        return float(np.sum((x - best) ** 2))

    return Case(space, regret)


def _conditional(rng: np.random.Generator) -> Case:
    """Return a choice of three models with two to four parameters; the best model is steepest."""
    sizes, floors, slopes = {"a": 2, "b": 3, "c": 4}, rng.permutation([0.0, 0.5, 1.0]), (3, 10, 30)
    steep = dict(zip(sizes, np.array(slopes)[np.argsort(-floors).argsort()], strict=True))
    floor = dict(zip(sizes, floors, strict=True))
    best = {model: rng.uniform(-0.8, 0.8, size=n) for model, n in sizes.items()}
    space: dict[str, BaseDistribution] = {"model": CategoricalDistribution(list(sizes))}
    for model, n in sizes.items():
        space.update({f"{model}{i}": FloatDistribution(-1, 1) for i in range(n)})

    def regret(trial: BaseTrial) -> float:
        model = str(trial.suggest_categorical("model", list(sizes)))
        x = [trial.suggest_float(f"{model}{i}", -1, 1) for i in range(sizes[model])]
        return float(floor[model] + steep[model] * np.sum((np.array(x) - best[model]) ** 2))

    return Case(space, regret)


def _mixed(rng: np.random.Generator) -> Case:
    """Return a network to tune: floats, integers, choices, and a parameter of one choice only."""
    rate, decay = rng.uniform(-4, -1), rng.uniform(-6, -2)
    layers, units, drop = rng.integers(2, 8), rng.integers(5, 9), rng.integers(1, 9)
    kinds = ["relu", "tanh", "gelu", "silu", "elu"]
    costs = dict(zip(kinds, rng.permutation(np.linspace(0, 1, len(kinds))), strict=True))
    momentum = rng.uniform(0.3, 0.9)
    space = {
        "rate": FloatDistribution(1e-5, 1, log=True),
        "decay": FloatDistribution(1e-8, 1, log=True),
        "layers": IntDistribution(1, 10),
        "units": IntDistribution(8, 1024, log=True),
        "dropout": FloatDistribution(0, 0.9, step=0.1),
        "activation": CategoricalDistribution(kinds),
        "optimizer": CategoricalDistribution(["sgd", "adam", "lbfgs"]),
        "momentum": FloatDistribution(0, 1),
    }

    def regret(trial: BaseTrial) -> float:
        total = (np.log10(trial.suggest_float("rate", 1e-5, 1, log=True)) - rate) ** 2
        total += 0.3 * (np.log10(trial.suggest_float("decay", 1e-8, 1, log=True)) - decay) ** 2
        total += 0.1 * abs(trial.suggest_int("layers", 1, 10) - layers)
        total += 0.3 * abs(np.log2(trial.suggest_int("units", 8, 1024, log=True)) - units)
        total += abs(trial.suggest_float("dropout", 0, 0.9, step=0.1) - drop / 10)
        total += costs[str(trial.suggest_categorical("activation", kinds))]
        if trial.suggest_categorical("optimizer", ["sgd", "adam", "lbfgs"]) == "sgd":
            return float(total + 4 * (trial.suggest_float("momentum", 0, 1) - momentum) ** 2)
        return float(total + 0.5)

    return Case(space, regret)


def _faces(rng: np.random.Generator) -> Case:
    """Return an elongated bowl in five dimensions with its minimum on three faces of the box."""
    n, n_cut = 5, 3
    cut = np.arange(n) < n_cut
    sides = rng.integers(2, size=n)
    best = np.where(cut, sides, rng.uniform(0.2, 0.8, size=n))
    slope = np.where(cut, rng.uniform(0.3, 3, size=n) * np.where(sides, -1, 1), 0)
    axes = np.linalg.qr(rng.standard_normal((n, n)))[0] * np.logspace(0, 1, n)
    space = {f"x{i}": FloatDistribution(0, 1) for i in range(n)}

    def regret(trial: BaseTrial) -> float:
        step = np.array([trial.suggest_float(name, 0, 1) for name in space]) - best
        return float(np.sum((step @ axes) ** 2) + slope @ step)

    return Case(space, regret)


#: The problems that are no test functions of floats.
MIXED: Mapping[str, Callable[[np.random.Generator], Case]] = {
    "categorical": _categorical,
    "integer": _integer,
    "logarithmic": _logarithmic,
    "conditional": _conditional,
    "mixed": _mixed,
    "faces": _faces,
}

#: The problems of a comparison if none are named.
NAMES = (
    "ackley:5",
    "ackley:10",
    "rosenbrock:5",
    "hartmann6",
    "schwefel:5",
    "levy:10",
    "griewank:5",
    "rotated:rastrigin:5",
    "ackley:30",
    *MIXED,
    "noisy:sphere:5",
    "noisy:ackley:5",
    "failing:ackley:5",
)
