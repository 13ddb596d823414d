"""Test functions with their box and optimum; shifted, stretched and rotated variants.

Notation: ``x (m, d)`` points, ``f(x) (m,)`` values to minimize.

The boxes are those of Egele et al. (arXiv 2207.00479) where they used the function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from adbo.benchmark_functions import functions
from adbo.benchmark_functions.functions import FloatArray
from adbo.benchmark_functions.names import parse_name

Function = Callable[[FloatArray], FloatArray]


class SuggestsFloats(Protocol):
    """The part of an Optuna trial that a test function uses."""

    def suggest_float(self, name: str, low: float, high: float) -> float:
        """Return a float of the range."""


@dataclass(frozen=True)
class Problem:
    """A function to minimize over a box.

    Parameters
    ----------
    name
        The name and dimension of a test function, after the names of its transformations.
    function
        ``(m, d)`` to ``(m,)``.
    low, high
        The box, the same for each coordinate.
    argmin
        A global minimizer ``(d,)``.
    optimum
        The value at `argmin`.
    """

    name: str
    function: Function
    low: float
    high: float
    argmin: FloatArray
    optimum: float

    @property
    def dimension(self) -> int:
        """Number of coordinates, ``d``."""
        return len(self.argmin)

    def objective(self, trial: SuggestsFloats) -> float:
        """Evaluate the function as an Optuna objective with parameters ``x0``, ``x1``, ..."""
        x = [trial.suggest_float(f"x{i}", self.low, self.high) for i in range(self.dimension)]
        return float(self.function(np.array([x]))[0])


@dataclass(frozen=True)
class _Definition:
    """A test function for any dimension, its box and the coordinates of its minimizer."""

    function: Function
    low: float
    high: float
    argmin: float | FloatArray


_DEFINITIONS = {
    "ackley": _Definition(functions.ackley, -32.768, 32.768, 0.0),
    "levy": _Definition(functions.levy, -10, 10, 1.0),
    "griewank": _Definition(functions.griewank, -600, 600, 0.0),
    "schwefel": _Definition(functions.schwefel, -500, 500, functions.SCHWEFEL_X),
    "rosenbrock": _Definition(functions.rosenbrock, -5, 10, 1.0),
    "rastrigin": _Definition(functions.rastrigin, -5.12, 5.12, 0.0),
    "sphere": _Definition(functions.sphere, -5, 5, 0.0),
    "hartmann6": _Definition(functions.hartmann6, 0, 1, functions.HARTMANN_X),
}


def parse(text: str) -> Problem:
    """Return the test function of a name and an optional dimension.

    Parameters
    ----------
    text
        For example ``ackley`` or ``ackley:10``.

    Raises
    ------
    ValueError
        If there is no such function, or it is not defined in that dimension.
    """
    name, dimension = parse_name(text)
    definition = _DEFINITIONS[name]
    argmin = np.broadcast_to(definition.argmin, dimension).astype(np.float64)
    return Problem(
        name=f"{name}:{dimension}",
        function=definition.function,
        low=definition.low,
        high=definition.high,
        argmin=argmin,
        optimum=float(definition.function(argmin[None, :])[0]),
    )


def shifted(problem: Problem, rng: np.random.Generator) -> Problem:
    """Return the function translated such that its optimum is uniformly distributed in the box.

    An optimizer then gains nothing from an optimum in the middle of the box or at equal
    coordinates. The box stays the same, and the function is evaluated at ``x - shift``, also where
    that is outside of the box; no value there is lower than the optimum.
    """
    target = rng.uniform(problem.low, problem.high, problem.dimension)
    shift = target - problem.argmin
    function = problem.function
    return replace(
        problem,
        name=f"shifted {problem.name}",
        function=lambda x: function(x - shift),
        argmin=target,
    )


def stretched(problem: Problem) -> Problem:
    """Return the function with coordinates scaled by 1 to sqrt(10) about its optimum.

    Level sets that were spheres become ellipsoids, as in f3 and f15 of Hansen et al.,
    Real-parameter black-box optimization benchmarking 2009.
    """
    function, centre = problem.function, problem.argmin
    factor = np.logspace(0, 0.5, problem.dimension)
    return replace(
        problem,
        name=f"stretched {problem.name}",
        function=lambda x: function((x - centre) * factor + centre),
    )


def rotated(problem: Problem, rng: np.random.Generator) -> Problem:
    """Return the function rotated at random about its optimum."""
    rotation, triangle = np.linalg.qr(rng.standard_normal((problem.dimension,) * 2))
    rotation *= np.sign(np.diag(triangle))
    function, centre = problem.function, problem.argmin
    return replace(
        problem,
        name=f"rotated {problem.name}",
        function=lambda x: function((x - centre) @ rotation + centre),
    )
