"""Test functions with a known optimum, for demonstrations, tests and experiments.

Notation: ``x (m, d)`` points, ``f(x) (m,)`` values to minimize.

Sources: Surjanovic and Bingham, Virtual Library of Simulation Experiments (sfu.ca/~ssurjano);
the boxes are those of Egele et al., arXiv 2207.00479, where they used the function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Function = Callable[[FloatArray], FloatArray]


class SuggestsFloats(Protocol):
    """The part of an Optuna trial that a test function uses."""

    def suggest_float(self, name: str, low: float, high: float) -> float:
        """A float of the range."""


@dataclass(frozen=True)
class Problem:
    """A function to minimize over a box.

    Parameters
    ----------
    name
        As in `NAMES`, with what was done to it.
    function
        ``(m, d)`` to ``(m,)``.
    low, high
        The box, the same for each coordinate.
    argmin
        A point ``(d,)`` where it is lowest.
    optimum
        Its value there.
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
        """The function as an Optuna objective with parameters ``x0``, ``x1``, ..."""
        x = [trial.suggest_float(f"x{i}", self.low, self.high) for i in range(self.dimension)]
        return float(self.function(np.array([x]))[0])


def ackley(x: FloatArray) -> FloatArray:
    """One funnel with many dents."""
    radius = np.sqrt(np.mean(x**2, axis=1))
    waves = np.mean(np.cos(2 * np.pi * x), axis=1)
    # expm1, so that the optimum is 0 and not 4e-16.
    return -20 * np.expm1(-0.2 * radius) - np.e * np.expm1(waves - 1)


def levy(x: FloatArray) -> FloatArray:
    """Ridges of different height in every coordinate."""
    w = 1 + (x - 1) / 4
    first = np.sin(np.pi * w[:, 0]) ** 2
    middle = (w[:, :-1] - 1) ** 2 * (1 + 10 * np.sin(np.pi * w[:, :-1] + 1) ** 2)
    last = (w[:, -1] - 1) ** 2 * (1 + np.sin(2 * np.pi * w[:, -1]) ** 2)
    return first + middle.sum(axis=1) + last


def griewank(x: FloatArray) -> FloatArray:
    """A bowl with regular ripples."""
    i = np.arange(1, x.shape[1] + 1)
    return np.sum(x**2, axis=1) / 4000 - np.prod(np.cos(x / np.sqrt(i)), axis=1) + 1


#: Where x sin(sqrt(x)) is largest in the box, and how large it is there.
_SCHWEFEL_X, _SCHWEFEL_F = 420.968746359982, 418.9828872724338


def schwefel(x: FloatArray) -> FloatArray:
    """Many basins; the second best is far from the best.

    Outside of [-500, 500], where the formula has ever deeper basins, a quadratic penalty replaces
    it, so that the optimum stays the optimum when the function is shifted or rotated (Hansen et
    al., Real-parameter black-box optimization benchmarking 2009, f20).
    """
    inside = np.clip(x, -500, 500)
    basins = _SCHWEFEL_F - inside * np.sin(np.sqrt(np.abs(inside)))
    return np.sum(basins + 0.01 * (x - inside) ** 2, axis=1)


def rosenbrock(x: FloatArray) -> FloatArray:
    """A bent narrow valley."""
    return np.sum(100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2, axis=1)


def rastrigin(x: FloatArray) -> FloatArray:
    """A bowl with deep regular dents."""
    return np.sum(x**2 + 10 * (1 - np.cos(2 * np.pi * x)), axis=1)


def sphere(x: FloatArray) -> FloatArray:
    """A bowl."""
    return np.sum(x**2, axis=1)


_HARTMANN_ALPHA = np.array([1.0, 1.2, 3.0, 3.2])
_HARTMANN_A = np.array(
    [
        [10, 3, 17, 3.5, 1.7, 8],
        [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8],
        [17, 8, 0.05, 10, 0.1, 14],
    ]
)
_HARTMANN_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)
_HARTMANN_X = np.array([0.20168951, 0.15001069, 0.47687398, 0.27533243, 0.31165162, 0.65730053])


def hartmann6(x: FloatArray) -> FloatArray:
    """Six local minima in six dimensions."""
    squares = (x[:, None, :] - _HARTMANN_P) ** 2
    return -np.exp(-np.sum(_HARTMANN_A * squares, axis=2)) @ _HARTMANN_ALPHA


@dataclass(frozen=True)
class _Family:
    """A test function for any dimension, or for a single one."""

    function: Function
    low: float
    high: float
    argmin: float | FloatArray
    default: int
    smallest: int = 1
    largest: int = 10_000


_FAMILIES = {
    "ackley": _Family(ackley, -32.768, 32.768, 0.0, 5),
    "levy": _Family(levy, -10, 10, 1.0, 10),
    "griewank": _Family(griewank, -600, 600, 0.0, 10),
    "schwefel": _Family(schwefel, -500, 500, _SCHWEFEL_X, 5),
    "rosenbrock": _Family(rosenbrock, -5, 10, 1.0, 5, smallest=2),
    "rastrigin": _Family(rastrigin, -5.12, 5.12, 0.0, 5),
    "sphere": _Family(sphere, -5, 5, 0.0, 5),
    "hartmann6": _Family(hartmann6, 0, 1, _HARTMANN_X, 6, smallest=6, largest=6),
}

NAMES: tuple[str, ...] = tuple(_FAMILIES)


def parse(text: str) -> Problem:
    """Find a test function by its name and optional dimension.

    Parameters
    ----------
    text
        Such as ``ackley`` or ``ackley:10``.

    Raises
    ------
    ValueError
        If there is no such function, or not for that dimension.
    """
    name, colon, number = text.partition(":")
    family = _FAMILIES.get(name)
    if family is None:
        raise ValueError(f"no test function {name!r}: there are {', '.join(NAMES)}")
    valid = not colon or (number.isascii() and number.isdigit())
    dimension = int(number) if valid and colon else family.default
    if not valid or not family.smallest <= dimension <= family.largest:
        span = f"a whole number from {family.smallest} to {family.largest}"
        if family.smallest == family.largest:
            span = f"{family.smallest}"
        raise ValueError(f"the dimension of {name} is {number!r}: it must be {span}")
    argmin = np.broadcast_to(family.argmin, dimension).astype(np.float64)
    return Problem(
        name=f"{name}:{dimension}",
        function=family.function,
        low=family.low,
        high=family.high,
        argmin=argmin,
        optimum=float(family.function(argmin[None, :])[0]),
    )


def shifted(problem: Problem, rng: np.random.Generator) -> Problem:
    """The same function moved as a whole, its optimum anywhere in the box.

    What an optimizer gains from an optimum in the middle of the box, or at equal coordinates, is
    lost. The box stays, and the function is evaluated at ``x - shift``: parts of it move out of
    the box, others, of its formula outside, move in. None of those is lower than the optimum.
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
    """The same function, its coordinates from 1 to sqrt(10) times as steep, about its optimum.

    What was round is long, as the functions f3 and f15 of Hansen et al., Real-parameter black-box
    optimization benchmarking 2009.
    """
    function, center = problem.function, problem.argmin
    factor = np.logspace(0, 0.5, problem.dimension)
    return replace(
        problem,
        name=f"stretched {problem.name}",
        function=lambda x: function((x - center) * factor + center),
    )


def rotated(problem: Problem, rng: np.random.Generator) -> Problem:
    """The same function rotated at random about its optimum, which stays where it is."""
    rotation, triangle = np.linalg.qr(rng.standard_normal((problem.dimension,) * 2))
    rotation *= np.sign(np.diag(triangle))
    function, center = problem.function, problem.argmin
    return replace(
        problem,
        name=f"rotated {problem.name}",
        function=lambda x: function((x - center) @ rotation + center),
    )
