"""What a real problem is, and the ways to write its search space down."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

FloatArray = NDArray[np.float64]

#: A value that is not finite, or above this one, is reported as this one.
LARGEST = 1e9


@dataclass(frozen=True)
class Problem:
    """A problem to minimize.

    Parameters
    ----------
    space
        All parameters.
    value
        Returns the value of a point: the parameters in the order of the space.
    best
        A point with the least value, if it is known without a search.
    fails
        Returns whether the evaluation of a point fails.
    outcome
        Returns the value of a point without penalties, and its constraints, if it has some.
    """

    space: Mapping[str, BaseDistribution]
    value: Callable[[Sequence[Any]], float]
    best: Sequence[Any] | None = None
    fails: Callable[[Sequence[Any]], bool] = lambda x: False
    outcome: Outcome | None = None


#: Returns the value of a point, and constraints, which are violated if they are positive.
Outcome = Callable[[Sequence[Any]], tuple[float, Sequence[float]]]

MakeProblem = Callable[[np.random.Generator], Problem]


def bounded(value: float) -> float:
    """Return a value as a finite number: `LARGEST` if it is larger or not a number."""
    return float(value) if value < LARGEST else LARGEST


def linear(**bounds: tuple[float, float]) -> dict[str, BaseDistribution]:
    """Return floats between bounds."""
    return {name: FloatDistribution(low, high) for name, (low, high) in bounds.items()}


def logarithmic(**bounds: tuple[float, float]) -> dict[str, BaseDistribution]:
    """Return floats between bounds, on a logarithmic scale."""
    return {name: FloatDistribution(low, high, log=True) for name, (low, high) in bounds.items()}


def integers(**bounds: tuple[int, int]) -> dict[str, BaseDistribution]:
    """Return integers between bounds, both included."""
    return {name: IntDistribution(low, high) for name, (low, high) in bounds.items()}


def choices(**values: Sequence[Any]) -> dict[str, BaseDistribution]:
    """Return categorical parameters."""
    return {name: CategoricalDistribution(tuple(all_of)) for name, all_of in values.items()}


def vary(rng: np.random.Generator, values: Sequence[float], spread: float = 0.1) -> list[float]:
    """Return each value times a random factor between exp(-spread) and exp(spread)."""
    factors = np.exp(rng.uniform(-spread, spread, size=len(values)))
    return [float(value * factor) for value, factor in zip(values, factors, strict=True)]


def constrained(
    space: Mapping[str, BaseDistribution],
    outcome: Outcome,
    penalty: Callable[[Sequence[float]], float],
) -> Problem:
    """Return a problem whose violated constraints are a penalty."""

    def value(x: Sequence[Any]) -> float:
        cost, constraints = outcome(x)
        return float(cost + penalty(constraints))

    return Problem(space, value, outcome=outcome)


def quadratic_penalty(constraints: Sequence[float], weight: float) -> float:
    """Return a smooth penalty: the weight times the sum of the squared violations g > 0."""
    return weight * sum(max(g, 0.0) ** 2 for g in constraints)


def cliff_penalty(constraints: Sequence[float], height: float) -> float:
    """Return a penalty with a step: the height for each violated constraint, plus its violation.

    The violation is added as log(1 + g), so that it leads back whatever its unit.
    """
    return sum(height * (1 + math.log1p(g)) for g in constraints if g > 0)
